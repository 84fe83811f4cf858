"""Thoughts and signatures go back to the model that made them, and to no other: in every dialect, over turns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from orchestrator.journal.codec import pack, unpack
from providers.adapters import Adapter, HttpReply
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.quirks import Quirks
from providers.messages import Message, Reasoning, Request, ToolCall, ToolResult, tool, user

SEAL = "SEALEDBLOB"
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@dataclass(frozen=True)
class Case:
    adapter: Adapter
    dialect: str
    reply: Any
    quirks: Quirks = field(default_factory=Quirks)


def chat(**thought: Any) -> Any:
    message = {"role": "assistant", "content": "hm", "tool_calls": [CALL], **thought}
    return {"model": "an-echoed-name", "choices": [{"message": message, "finish_reason": "tool_calls"}]}


DETAILS = [{"type": "reasoning.encrypted", "data": SEAL, "index": 0}]
CASES = {
    "anthropic": Case(
        AnthropicMessages(),
        "anthropic-messages",
        {
            "model": "an-echoed-name",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": SEAL},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            ],
            "stop_reason": "tool_use",
        },
    ),
    "anthropic redacted": Case(
        AnthropicMessages(),
        "anthropic-messages",
        {
            "content": [
                {"type": "redacted_thinking", "data": SEAL},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            ],
            "stop_reason": "tool_use",
        },
    ),
    "gemini": Case(
        Gemini(),
        "gemini",
        {
            "modelVersion": "an-echoed-name",
            "candidates": [
                {
                    "content": {"parts": [{"functionCall": {"name": "look", "args": {}}, "thoughtSignature": SEAL}]},
                    "finishReason": "STOP",
                }
            ],
        },
    ),
    "details": Case(
        OpenAIChat(), "openai-chat", chat(reasoning_details=DETAILS), Quirks(reasoning_field="reasoning_details")
    ),
    "content": Case(
        OpenAIChat(), "openai-chat", chat(reasoning_content=SEAL), Quirks(reasoning_field="reasoning_content")
    ),
}


def candidate(case: Case, provider: str = "home", model: str = "large", account: int = 1) -> Candidate:
    models = {name: Model(name, 8000, 1000) for name in ("large", "small", "large-2026-05-14", "vendor/large")}
    row = Provider(provider, case.dialect, "https://api.test/v1", None, models, case.quirks)
    return Candidate(row, models[model], account=account)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def answered(case: Case, by: Candidate) -> Message:
    reply = HttpReply(200, {}, json.dumps(case.reply).encode())
    return case.adapter.decode(reply, Request((user("go"),)), by, 0.0).message


def goes_back(case: Case, message: Message, to: Candidate) -> bool:
    call = message.tool_calls[0]
    request = Request((user("go"), message, tool(ToolResult(call.id, call.name, "rain"))))
    return SEAL.encode() in case.adapter.encode(request, to, stream=False).body


def recorded(message: Message) -> Message:
    packed = pack(message)
    found: Message = unpack(packed.data, packed.bodies.__getitem__)
    return found


def old(message: Message) -> Message:
    """Return what a journal of an earlier release holds: the provider alone is named."""
    return replace(
        message,
        parts=tuple(
            replace(part, made_by="home") if isinstance(part, Reasoning | ToolCall) and part.made_by else part
            for part in message.parts
        ),
    )


def test_they_go_back_to_their_model_whatever_name_it_echoed(case: Case) -> None:
    message = answered(case, candidate(case))
    for _ in range(2):
        assert goes_back(case, message, candidate(case))
        assert goes_back(case, message, candidate(case, account=2)), "one provider's accounts share them"
        assert goes_back(case, recorded(message), candidate(case)), "also out of a journal"


@pytest.mark.parametrize(
    ("provider", "model"),
    [("home", "small"), ("home", "large-2026-05-14"), ("home", "vendor/large"), ("away", "large")],
)
def test_they_go_to_no_other_model_and_to_no_other_provider(case: Case, provider: str, model: str) -> None:
    message = answered(case, candidate(case))
    other = candidate(case, provider, model)
    for _ in range(2):
        assert not goes_back(case, message, other)
        assert goes_back(case, message, candidate(case))
    assert not goes_back(case, answered(case, other), candidate(case))


def test_of_what_an_earlier_release_recorded_the_model_is_not_known(case: Case) -> None:
    message = old(answered(case, candidate(case)))
    assert not goes_back(case, message, candidate(case))
    assert recorded(message).digest == message.digest


def test_the_digests_of_recorded_messages_stay() -> None:
    """A resumed run compares them: these are of the release before."""
    thought = Message("assistant", (Reasoning("hm", "sig", "anthropic"), ToolCall("c", "look", "{}")))
    signed = Message("assistant", (ToolCall("c", "look", "{}", "sig", "gemini"),))
    assert [each.digest.hex()[:16] for each in (thought, signed)] == ["117957a77bafca66", "2cd45cb8ca6ce977"]
