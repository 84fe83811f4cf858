"""`orchestrator ask --model PROVIDER/MODEL --json`, each provider's row, answered by a recording of that provider."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from providers.catalog.file import load_catalog
from tests.providers.recordings import ABSENT, FOLDER, Served, framed, recordings, serving

if not FOLDER.is_dir():
    pytest.skip(ABSENT, allow_module_level=True)

# By row: whose recording, and what a reader finds in it. Of Cloudflare and Ollama there is no whole answer in the
# dialect that their rows speak.
ASKED = {
    "openai": ("openai/structured", '{\n  "greeting": "hello"\n}', 21, 10),
    "anthropic": ("anthropic/plain__ellmer__anthropic_tool_image", "Here's an adorable kitten for you! 🐱", 925, 75),
    "gemini": ("gemini/plain__logfire", "It is rainy in Boston.\n", 39, 7),
    "groq": ("groq/plain__fantasy", "The current temperature in Florence, Italy is 40°C.", 143, 13),
    "cerebras": ("cerebras/plain__req_llm__tool", "sum=5", 133, 7),
    "openrouter": ("openrouter/structured", '{"name":"John","age":30}', 181, 12),
    "mistral": ("mistral/structured", '{"result": 8}', 24, 7),
    "nvidia": ("nvidia/plain__nemo_guardrails__nim", "Hello! How can I assist you today?", 23, 146),
    "deepseek": ("deepseek/structured", '{\n  "result": 8\n}', 44, 9),
    "together": ("together/plain", " Why don't we ever hear secrets", 18, 35),
    "local": ("llamacpp/plain__fantasy__simple", "Olá!", 84, 47),
}
ALL = list(recordings())


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder and an environment without other providers."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_TOKEN", "_BASE_URL")) or name.startswith("ORCHESTRATOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_provider_is_asked():
    known = {name for name, row in load_catalog().providers.items() if row.dialect != "scripted"}
    assert known - ASKED.keys() == {"cloudflare", "ollama"}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", ASKED)
def test_ask_answers(name: str, served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    start, text, read, written = ASKED[name]
    (recording,) = [each for each in ALL if each.name.startswith(start)]
    row = load_catalog().providers[name]
    monkeypatch.setenv(f"{row.env_prefix}_BASE_URL", served.put(framed(recording, [recording.body])))
    monkeypatch.setenv(f"{row.env_prefix}_API_KEY", "replayed")
    model = row.full_name(next(iter(row.models)))

    code = main(["ask", "hello", "--model", model, "--json"])

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert document["text"].startswith(text)
    assert document["finish_reason"] == "stop"
    assert (document["provider"], row.full_name(document["model"])) == (name, model)
    assert (document["usage"]["input_tokens"], document["usage"]["output_tokens"]) == (read, written)
