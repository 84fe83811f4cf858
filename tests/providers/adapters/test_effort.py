"""Reasoning effort: said in each dialect's own word, and only to models that reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.messages import OutputSchema, Request, user

CATALOG = load_catalog()
SCHEMA = OutputSchema({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})


def sent(adapter: Adapter, name: str, **more: Any) -> dict[str, Any]:
    found = CATALOG.find(name)
    assert found is not None
    request = Request((user("hi"),), **more)
    body: dict[str, Any] = json.loads(adapter.encode(request, Candidate(*found, key="k"), stream=False).body)
    return body


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("openai/gpt-6-luna", "reasoning_effort", "low"),
        ("groq/openai/gpt-oss-120b", "reasoning_effort", "low"),
        ("openrouter/openai/gpt-oss-120b", "reasoning", {"effort": "low"}),
    ],
)
def test_chat_completions_say_it_as_the_row_wants(name: str, field: str, value: object) -> None:
    assert sent(OpenAIChat(), name, effort="low")[field] == value
    assert field not in sent(OpenAIChat(), name)


@pytest.mark.parametrize("name", ["local/default", "deepseek/deepseek-v4-pro", "nvidia/nemotron-3-nano-30b-a3b"])
def test_who_does_not_reason_or_has_no_field_is_not_told(name: str) -> None:
    name = name if CATALOG.find(name) else next(n for n in CATALOG.names() if n.startswith(name.partition("/")[0]))
    assert not {"reasoning_effort", "reasoning"} & set(sent(OpenAIChat(), name, effort="high"))


def test_messages_say_it_beside_the_schema() -> None:
    name = "anthropic/claude-haiku-5-5"
    assert sent(AnthropicMessages(), name, effort="high")["output_config"] == {"effort": "high"}
    both = sent(AnthropicMessages(), name, effort="high", output_schema=SCHEMA)["output_config"]
    assert (both["effort"], both["format"]["type"]) == ("high", "json_schema")
    assert "output_config" not in sent(AnthropicMessages(), name)


def test_gemini_says_it_as_a_level() -> None:
    config = sent(Gemini(), "gemini/gemini-3.8-flash", effort="medium")["generationConfig"]
    assert config["thinkingConfig"] == {"thinkingLevel": "MEDIUM"}
    assert "generationConfig" not in sent(Gemini(), "gemini/gemini-3.8-flash")
