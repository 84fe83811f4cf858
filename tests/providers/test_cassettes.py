"""Recorded traffic of real vendors, through the real decoder. The recordings are not the project's: absent, we skip."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from providers.adapters import HttpReply
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider
from providers.documents.unicode import clean
from providers.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    ContextTooLong,
    Declined,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    RequestTooLarge,
    ServerFault,
    Unsupported,
)
from providers.messages import ReasoningDelta, Request, TextDelta, ToolCallDelta, user

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "cassettes"
VENDORS = {
    "openai", "groq", "cerebras", "openrouter", "mistral", "nvidia", "cloudflare", "deepseek", "together", "llamacpp",
    "ollama",
}  # fmt: skip
FINISH = b'"finish_reason":"'
NOW = 1_790_000_000.0
CHAT = OpenAIChat()
ASK = Request((user("hi"),))

BY_STATUS = {
    400: (BadRequest, ContextTooLong, Unsupported, BadReply, Declined, AuthFailed),
    401: (AuthFailed,),
    402: (QuotaSpent, RateLimited),
    403: (AuthFailed, Declined, Unsupported),
    404: (Unsupported,),
    413: (RequestTooLarge,),
    422: (BadRequest, Unsupported),
    429: (RateLimited, QuotaSpent, Overloaded),
    500: (ServerFault, ContextTooLong),
    503: (Overloaded,),
}


def recordings() -> list[Path]:
    """Return the files of Chat Completions exchanges. Other dialects of the same vendors are not ours to read."""
    files = [p for p in sorted(RECORDINGS.rglob("*.json")) if VENDORS & set(p.relative_to(RECORDINGS).parts)]
    return [p for p in files if is_chat(json.loads(p.read_text("utf-8")))]


def is_chat(recording: dict) -> bool:
    response = recording["response"]
    url = (recording.get("request") or {}).get("url")
    if url is not None:
        return url.split("?")[0].endswith("/chat/completions")
    # Quoted bodies carry no address: Ollama's own NDJSON and Cloudflare's own `result` are other dialects.
    return "ndjson" not in response["headers"].get("content-type", "") and '"result": {' not in response["body"]


def body_of(response: dict) -> bytes:
    if "body_base64" in response:
        return base64.b64decode(response["body_base64"])
    return response["body"].encode()


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> tuple[Candidate, HttpReply, bool]:
    response = json.loads(path.read_text("utf-8"))["response"]
    model = Model("some-model", 8000, 1000)
    provider = Provider(path.parent.name, "openai-chat", "https://vendor.test/v1", None, {model.name: model})
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return Candidate(provider, model), HttpReply(response["status"], headers, body_of(response)), response["is_stream"]


def streamed(candidate: Candidate, body: bytes, step: int):
    """Return the deltas' texts joined, and the answer or error, of `body` fed `step` bytes at a time."""
    decoder = CHAT.stream_decoder(ASK, candidate, NOW)
    said, thought, calls = [], [], {}
    try:
        for start in range(0, len(body), step):
            for delta in decoder.feed(body[start : start + step]):
                match delta:
                    case TextDelta(text):
                        said.append(text)
                    case ReasoningDelta(text):
                        thought.append(text)
                    case ToolCallDelta(index, call_id, name, arguments):
                        before = calls.get(index, ("", "", ""))
                        calls[index] = tuple(map(str.__add__, before, (call_id, name, arguments)))
        outcome = decoder.finish()
    except ProviderError as error:
        outcome = type(error), str(error)
    return "".join(said), "".join(thought), calls, outcome


def assert_sound(answer, body: bytes) -> None:
    assert answer.text.strip() or answer.tool_calls
    assert clean(answer.text) == answer.text
    for call in answer.tool_calls:
        assert call.id
        assert call.name
        assert isinstance(call.parse(), dict)
    assert (answer.finish == "tool_calls") == bool(answer.tool_calls)
    if b'"total_tokens"' in body:
        totals = [int(part.split(b",")[0].split(b"}")[0]) for part in body.split(b'"total_tokens":')[1:]]
        assert answer.usage.total == totals[-1] > 0


if not RECORDINGS.is_dir():
    pytest.skip("the recordings are not beside this checkout", allow_module_level=True)

ALL = recordings()
ERRORS = [p for p in ALL if load(p)[1].status != 200]
WHOLE = [p for p in ALL if load(p)[1].status == 200 and not load(p)[2]]
STREAMS = [p for p in ALL if load(p)[1].status == 200 and load(p)[2]]


def test_every_vendor_is_heard():
    assert {p.parent.name for p in ALL} == VENDORS


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_a_recorded_answer_is_read(path):
    candidate, reply, _ = load(path)
    answer = CHAT.decode(reply, ASK, candidate, NOW)
    assert (answer.provider, answer.model) == (path.parent.name, "some-model")
    assert_sound(answer, reply.body)


@pytest.mark.parametrize("path", ERRORS, ids=name_of)
def test_a_recorded_error_is_understood(path):
    candidate, reply, _ = load(path)
    error = CHAT.classify(reply, candidate, NOW)
    assert isinstance(error, BY_STATUS[reply.status])
    assert error.status == reply.status
    assert error.message
    assert not error.message.startswith(("{", "[", "<"))
    assert error.retry_at is None or NOW <= error.retry_at <= NOW + 30 * 86400
    if "context" in path.stem:
        assert isinstance(error, ContextTooLong)


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_a_recorded_stream_is_the_same_however_it_is_cut(path):
    candidate, reply, _ = load(path)
    said, thought, calls, outcome = whole = streamed(candidate, reply.body, len(reply.body))
    for step in (1, 7, 1000):
        assert streamed(candidate, reply.body, step) == whole
    assert streamed(candidate, reply.body.replace(b"\n", b"\r\n"), 11) == whole
    if "error" in path.stem or b"event: error" in reply.body:
        assert isinstance(outcome, tuple)
        return
    assert_sound(outcome, reply.body)
    assert said == outcome.text
    assert thought == "".join(getattr(part, "text", "") for part in outcome.message.parts if hasattr(part, "opaque"))
    assert list(calls.values()) == [(call.id, call.name, call.arguments) for call in outcome.tool_calls]


@pytest.mark.parametrize("path", [p for p in STREAMS if FINISH in load(p)[1].body], ids=name_of)
def test_a_recorded_stream_that_is_cut_short_is_never_taken_for_whole(path):
    candidate, reply, _ = load(path)
    start = reply.body.rindex(b"data:", 0, reply.body.index(FINISH))
    *_, outcome = streamed(candidate, reply.body[:start], 4096)
    assert isinstance(outcome, tuple)
