"""Recorded traffic of Anthropic through the real decoder. The recordings are not the project's: absent, we skip."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from providers.adapters import HttpReply
from providers.adapters.anthropic.decode import REDACTED
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.catalog.model import Candidate, Model, Provider
from providers.documents.unicode import clean
from providers.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    Declined,
    Overloaded,
    ProviderError,
    QuotaSpent,
    StreamBroken,
    Unsupported,
)
from providers.messages import (
    FinishReason,
    Image,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    user,
)
from tests.providers.adapters.anthropic.test_transcript import assert_valid

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "cassettes"
NOW = 1_790_000_000.0
CHAT = AnthropicMessages()
MODEL = Model("some-model", 200_000, 64_000)
HERE = Candidate(Provider("anthropic", "anthropic-messages", "https://x.test/v1", None, {MODEL.name: MODEL}), MODEL)
ASK = Request((user("hi"),))

if not RECORDINGS.is_dir():
    pytest.skip("the recordings are not beside this checkout", allow_module_level=True)


@dataclass(frozen=True)
class Answer:
    """What a person reads in a recording."""

    begins: str
    finish: FinishReason
    usage: Usage
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    thinks: str | None = None
    """How its reasoning begins. None: it has none."""


ANSWERS = {
    "plain__crewAI__TestCrewMultimodalAnthropic_test_pdf_file_anthropic_claude_sonnet_4_20__0": Answer(
        'The file "agents.pdf" is a research paper', FinishReason.LENGTH, Usage(118, output=4096)
    ),
    "plain__ellmer__anthropic_tool_image__1": Answer(
        "Here's an adorable kitten for you! 🐱 Look", FinishReason.STOP, Usage(925, output=75)
    ),
    "plain__ellmer__anthropic_web_search__2": Answer(
        "May 2014 — ggplot2 1.0.0 was released",
        FinishReason.STOP,
        Usage(2, cache_read=11131, cache_write=18, output=44, reasoning=44),
        thinks="",
    ),
    "stream__req_llm__object_streaming_auto__0": Answer(
        '{"age": 32, "name": "Sarah Chen", "occupation": "Software Engineer"}', FinishReason.STOP, Usage(232, output=23)
    ),
    "stream_tool__fantasy__thinking_streaming__0": Answer(
        "",
        FinishReason.TOOL_CALLS,
        Usage(424, output=109),
        (("weather", {"location": "Florence, Italy"}),),
        thinks="The user is asking for weather information for Florence, Italy.",
    ),
    "stream_tool__openinferenc__test_anthropic_instrumentation_multiple_tool_calling_streaming__0": Answer(
        "I'll check both the current weather and time in New York simultaneously right away!",
        FinishReason.TOOL_CALLS,
        Usage(721, output=113),
        (("get_weather", {"location": "New York, NY"}), ("get_time", {"timezone": "America/New_York"})),
    ),
}
ERRORS = {
    "400_lone_surrogate": (BadRequest, "not valid JSON"),
    "429_spend_limit": (QuotaSpent, "spend limit reached"),
    "529_overloaded": (Overloaded, "Overloaded"),
    "stream_error_event": (Overloaded, "Overloaded"),
    "stream__ai__anthropic_refusal_chunks__0": (Declined, "violative cyber content"),
    "error400__ruby_llm__chat_real_error_scenarios_anthropic_claude_haiku_4_5_handles_context_l__0": (
        ContextTooLong,
        "3333404 tokens > 200000",
    ),
    "error401__dd-trace-py__anthropic_completion_invalid_api_key__0": (AuthFailed, "invalid x-api-key"),
    "error404__pydantic-ai__test_model_name_suggestion_anthropic__0": (Unsupported, "model: claude-sonet-4-5"),
}


def load(path: Path) -> tuple[dict[str, Any], HttpReply, bool]:
    recording = json.loads(path.read_text("utf-8"))
    response = recording["response"]
    headers = {name.lower(): value for name, value in response["headers"].items()}
    reply = HttpReply(response["status"], headers, response["body"].encode())
    return (recording.get("request") or {}).get("json") or {}, reply, response["is_stream"]


ALL = sorted(p for p in RECORDINGS.rglob("*.json") if p.parent.name == "anthropic")
SOUND = [p for p in ALL if load(p)[1].status == 200]
STREAMS = [p for p in SOUND if load(p)[2]]


def name_of(path: Path) -> str:
    return path.stem[:60]


def streamed(body: bytes, cuts: tuple[int, ...] = ()) -> tuple[str, str, list[list[str]], Response]:
    """Return the deltas, joined, and the answer of `body` in pieces."""
    decoder, said, thought, calls = CHAT.stream_decoder(ASK, HERE, NOW), "", "", list[list[str]]()
    for start, stop in pairwise((0, *sorted(cuts), len(body))):
        for delta in decoder.feed(body[start:stop]):
            match delta:
                case TextDelta(text):
                    said += text
                case ReasoningDelta(text):
                    thought += text
                case ToolCallDelta(index, call_id, name, arguments):
                    calls += [["", "", ""]] * (index == len(calls))
                    calls[index] = [a + b for a, b in zip(calls[index], (call_id, name, arguments), strict=True)]
    return said, thought, calls, decoder.finish()


def read(path: Path) -> Response:
    """Return the answer, or raise the error, that a recording is."""
    _, reply, is_stream = load(path)
    if reply.status != 200:
        raise CHAT.classify(reply, HERE, NOW)
    return streamed(reply.body)[-1] if is_stream else CHAT.decode(reply, ASK, HERE, NOW)


def test_every_recording_is_expected():
    assert {p.stem for p in ALL} >= ANSWERS.keys() | ERRORS.keys()


@pytest.mark.parametrize("path", [p for p in ALL if p.stem in ANSWERS], ids=name_of)
def test_a_recorded_answer_is_read(path):
    answer, wanted = read(path), ANSWERS[path.stem]
    assert answer.text.startswith(wanted.begins)
    assert (answer.finish, answer.usage) == (wanted.finish, wanted.usage)
    assert tuple((call.name, call.parse()) for call in answer.tool_calls) == wanted.calls
    assert all(call.id.startswith("toolu_") for call in answer.tool_calls)
    thoughts = [part for part in answer.message.parts if isinstance(part, Reasoning)]
    assert [bool(part.opaque) and part.made_by == HERE.maker for part in thoughts] == [True] * len(thoughts)
    assert bool(thoughts) == (wanted.thinks is not None)
    assert "".join(part.text for part in thoughts).startswith(wanted.thinks or "")


@pytest.mark.parametrize("path", [p for p in ALL if p.stem in ERRORS], ids=name_of)
def test_a_recorded_error_is_understood(path):
    kind, words = ERRORS[path.stem]
    with pytest.raises(kind, match=words) as raised:
        read(path)
    assert type(raised.value) is kind
    if kind is Declined:
        assert raised.value.category == "cyber"


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_any_recording_is_an_answer_or_an_error(path):
    """Holds for recordings that nobody has read yet, too."""
    try:
        answer = read(path)
    except ProviderError as found:
        error = found
    else:
        assert answer.text.strip() or answer.tool_calls
        assert clean(answer.text) == answer.text
        assert answer.usage.total > 0
        return
    assert error.message
    assert not error.message.startswith(("{", "<"))


def outcome(body: bytes, cuts: tuple[int, ...] = ()) -> Any:
    try:
        return streamed(body, cuts)
    except ProviderError as error:
        return type(error), str(error)


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_a_recorded_stream_is_the_same_however_it_comes(path):
    body, random = load(path)[1].body, Random(path.stem)
    whole = outcome(body)
    for _ in range(20):
        assert outcome(body, tuple(random.choices(range(len(body)), k=random.randint(1, 60)))) == whole
    assert outcome(body, tuple(range(len(body)))) == whole
    assert outcome(body.replace(b"\n", b"\r\n"), (5, 50, 500)) == whole
    if len(whole) == 4:
        said, thought, calls, answer = whole
        assert said == answer.text
        assert thought == "".join(part.text for part in answer.message.parts if isinstance(part, Reasoning))
        assert calls == [[call.id, call.name, call.arguments] for call in answer.tool_calls]


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_a_recorded_stream_that_is_cut_is_broken_or_whole(path):
    body = load(path)[1].body
    whole = outcome(body)
    for cut in range(0, len(body), 1 + len(body) // 400):
        found = outcome(body[:cut])
        assert found == whole or found[0] is StreamBroken


def parts_of(content: Any) -> list[Part]:
    """Return recorded content as our parts; what we have no part for is left out."""
    found: list[Part] = []
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        match block:
            case {"type": "text", "text": text}:
                found.append(Text(text))
            case {"type": "image", "source": {"media_type": media_type}}:
                found.append(Image(media_type, b"image"))
            case {"type": "tool_use", "id": call_id, "name": name, "input": given}:
                found.append(ToolCall(call_id, name, json.dumps(given)))
            case {"type": "tool_result", "tool_use_id": call_id, "content": str(text)}:
                found.append(ToolResult(call_id, "tool", text))
            case {"type": "thinking", "thinking": text, "signature": signature}:
                found.append(Reasoning(text, signature, "anthropic"))
            case {"type": "redacted_thinking", "data": data}:
                found.append(Reasoning("", REDACTED + data, "anthropic"))
    return found


@pytest.mark.parametrize("path", [p for p in SOUND if load(p)[0].get("messages")], ids=name_of)
def test_a_recorded_conversation_and_its_answer_go_on(path):
    """What the vendor took and gave, we can send again with the answer behind it."""
    asked = tuple(Message(turn["role"], tuple(parts_of(turn["content"]))) for turn in load(path)[0]["messages"])
    answer = read(path)
    results = tuple(ToolResult(call.id, call.name, "done") for call in answer.tool_calls)
    follow = Message("tool", results) if results else user("go on")
    turns = json.loads(CHAT.encode(Request((*asked, answer.message, follow)), HERE, stream=False).body)["messages"]
    assert_valid(turns)
    assert {"type": "text", "text": answer.text} in turns[-2]["content"] or not answer.text
    for call in answer.tool_calls:
        assert {"type": "tool_use", "id": call.id, "name": call.name, "input": call.parse()} in turns[-2]["content"]
    for part in answer.message.parts:
        if isinstance(part, Reasoning):
            assert {"type": "thinking", "thinking": part.text, "signature": part.opaque} in turns[-2]["content"]
