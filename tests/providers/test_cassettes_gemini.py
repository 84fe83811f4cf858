"""Recorded traffic of Gemini, through the real decoder. The recordings are not the project's: absent, we skip."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import anyio
import anyio.abc
import pytest

from providers.adapters import HttpReply
from providers.adapters.gemini.encode import Gemini
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.client.manager import open_manager
from providers.documents.unicode import clean
from providers.errors import (
    AllAttemptsFailed,
    AuthFailed,
    ContextTooLong,
    ProviderError,
    RateLimited,
    Unsupported,
)
from providers.messages import (
    FinishReason,
    Reasoning,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
    ToolResult,
    Usage,
    tool,
    user,
)
from providers.policy.model import Policy

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "cassettes"
NOW = 1_790_000_000.0
GEMINI = Gemini()
ASK = Request((user("hi"),))
ROW = load_catalog().serving("gemini", "some-model").providers["gemini"]
HERE = Candidate(ROW, ROW.models["some-model"], "AIza-loopback")

# What a reader of each recording expects: how its text begins, its calls, how it ends, its ledger.
ANSWERS = {
    "plain__ellmer__google_web_search__2": (
        "As mentioned, that was **May** (specifically, May 21, 2014).",
        [],
        FinishReason.STOP,
        Usage(input=274, output=29, reasoning=293),
    ),
    "plain__logfire__test_instrument_google_genai_no_content__1": (
        "It is rainy in Boston.\n",
        [],
        FinishReason.STOP,
        Usage(input=39, output=7),
    ),
    "stream__fantasy__simple_object_streaming__0": (
        '{"age":30,"city":"Paris","name":"Alice"}',
        [],
        FinishReason.STOP,
        Usage(input=20, output=14, reasoning=288),
    ),
    "stream_tool__fantasy__thinking_streaming__0": (
        "",
        [("weather", {"location": "Florence, Italy"})],
        FinishReason.TOOL_CALLS,
        Usage(input=54, output=14, reasoning=62),
    ),
    "tool__crewAI__TestGeminiStructuredPlanning_test_gemini_research_workflow_generates_s__4": (
        "",
        [
            (
                "generate_report",
                {
                    "findings": "The AI agent market is currently valued at $50 billion and is experiencing a strong "
                    "growth rate of 15% year-over-year. Key players in the industry are contributing to this "
                    "expansion, driven by increasing adoption across various sectors.",
                    "title": "Current State of the AI Agent Market",
                },
            )
        ],
        FinishReason.TOOL_CALLS,
        Usage(input=227, cache_read=330, output=73, reasoning=70),
    ),
    "tool__dd-trace-py__agent_run_async__0": (
        "",
        [("search_docs", {"query": "test"}), ("multiply", {"a": 5, "b": 3})],
        FinishReason.TOOL_CALLS,
        Usage(input=194, output=33, reasoning=216),
    ),
}
ERRORS = {
    "error400__ruby_llm__chat_error_handling_with_gemini_gemini_2_5_flash_raises_appropriate_au__0": (
        AuthFailed,
        "API key not valid. Please pass a valid API key.",
        None,
    ),
    "error404__crewAI__TestCrewMultimodalGemini_test_image_file_gemini_gemini_1_5_flash__0": (
        Unsupported,
        "models/gemini-1.5-flash is not found for API version v1beta",
        None,
    ),
    "error429__ruby_llm__chat_real_error_scenarios_gemini_gemini_2_5_flash_handles_context_leng__0": (
        RateLimited,
        "You exceeded your current quota",
        NOW + 48.939935699,
    ),
    "400_array_wrapped": (Unsupported, "Function call is missing a thought_signature", None),
    "400_context": (ContextTooLong, "The input token count exceeds the maximum", None),
    "400_missing_thought_signature": (Unsupported, "Function call is missing a thought_signature", None),
}


def load(path: Path) -> tuple[HttpReply, bool]:
    response = json.loads(path.read_text("utf-8"))["response"]
    body = base64.b64decode(response["body_base64"]) if "body_base64" in response else response["body"].encode()
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return HttpReply(response["status"], headers, body), response["is_stream"]


def streamed(pieces: list[bytes]):
    """Return what the deltas say, joined, and the answer or error."""
    decoder = GEMINI.stream_decoder(ASK, HERE, NOW)
    said, thought, calls = "", "", []
    try:
        for piece in pieces:
            for delta in decoder.feed(piece):
                match delta:
                    case TextDelta(text):
                        said += text
                    case ReasoningDelta(text):
                        thought += text
                    case ToolCallDelta():
                        calls.append(delta)
        outcome = decoder.finish()
    except ProviderError as error:
        outcome = type(error), str(error)
    return said, thought, calls, outcome


@asynccontextmanager
async def replayed(path: Path, seen: list[bytes]) -> AsyncIterator[str]:
    """Serve the recording on a socket, in pieces of its own framing; yield the base URL. `seen` gets the requests."""
    reply, is_stream = load(path)
    rng = Random(7)

    async def serve(client: anyio.abc.SocketStream) -> None:
        async with client:
            head, _, body = (await client.receive()).partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < size:
                body += await client.receive()
            seen.append(head + b"\r\n\r\n" + body)
            kind = b"text/event-stream" if is_stream else b"application/json"
            framing = b"content-type: %s\r\ntransfer-encoding: chunked\r\nconnection: close" % kind
            await client.send(b"HTTP/1.1 %d Recorded\r\n%s\r\n\r\n" % (reply.status, framing))
            at = 0
            while at < len(reply.body):
                piece = reply.body[at : at + rng.randrange(1, 600)]
                await client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                at += len(piece)
            await client.send(b"0\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/v1beta"
        tasks.cancel_scope.cancel()


def read(path: Path):
    reply, is_stream = load(path)
    return streamed([reply.body])[3] if is_stream else GEMINI.decode(reply, ASK, HERE, NOW)


if not RECORDINGS.is_dir():
    pytest.skip("the recordings are not beside this checkout", allow_module_level=True)

ALL = sorted([*RECORDINGS.glob("gemini/*.json"), *RECORDINGS.glob("_reported/gemini/*.json")])
FINE = [p for p in ALL if load(p)[0].status == 200]
FAILED = [p for p in ALL if load(p)[0].status != 200]
STREAMS = [p for p in FINE if load(p)[1]]


def test_every_expectation_has_its_recording():
    assert {p.stem for p in FINE} >= ANSWERS.keys()
    assert {p.stem for p in FAILED} >= ERRORS.keys()
    assert STREAMS


@pytest.mark.parametrize("path", FINE, ids=lambda p: p.stem)
def test_a_recorded_answer_is_read(path):
    answer = read(path)
    raw = load(path)[0].body
    assert (answer.provider, answer.model) == ("gemini", "some-model")
    assert clean(answer.text) == answer.text
    assert answer.usage.total == int(raw.rpartition(b'"totalTokenCount":')[2].split(b",")[0]) > 0
    assert raw.count(b'"thoughtSignature"') == sum(bool(getattr(p, "opaque", None)) for p in answer.message.parts)
    if path.stem in ANSWERS:
        text, calls, finish, usage = ANSWERS[path.stem]
        assert answer.text == text
        assert [(call.name, call.parse()) for call in answer.tool_calls] == calls
        assert (answer.finish, answer.usage) == (finish, usage)


def test_recorded_thoughts_are_kept_apart():
    answer = read(next(p for p in STREAMS if "thinking" in p.stem))
    thought, call = answer.message.parts
    assert isinstance(thought, Reasoning)
    assert thought.text.startswith("**Determining the Weather Inquiry**\n\nI've pinpointed")
    assert "– I'll activate" in thought.text
    assert call.opaque.startswith("CiQBvj72+y6VX8BA4jMLQJOJvw")
    assert call.made_by == HERE.maker


@pytest.mark.parametrize("path", FINE, ids=lambda p: p.stem)
def test_a_recorded_answer_goes_back_as_it_came(path):
    """Its signatures stand on the parts that they came with, its calls are answered in order."""
    answer = read(path)
    results = [ToolResult(call.id, call.name, f"{at}") for at, call in enumerate(answer.tool_calls)]
    follow_up = Request((user("hi"), answer.message, tool(*results) if results else user("and?")))
    contents = json.loads(GEMINI.encode(follow_up, HERE, stream=False).body)["contents"]
    raw = load(path)[0].body.decode()
    for part in contents[1]["parts"]:
        if "thoughtSignature" in part:
            assert part["thoughtSignature"] in raw
    signed = [part for part in contents[1]["parts"] if "thoughtSignature" in part]
    assert len(signed) == raw.count('"thoughtSignature"')
    sent = [part["functionCall"] for part in contents[1]["parts"] if "functionCall" in part]
    assert sent == [{"name": call.name, "args": call.parse()} for call in answer.tool_calls]
    if results:
        assert [part["functionResponse"]["response"] for part in contents[2]["parts"]] == [
            {"output": result.content} for result in results
        ]


@pytest.mark.parametrize("path", FAILED, ids=lambda p: p.stem)
def test_a_recorded_error_is_understood(path):
    reply, _ = load(path)
    error = GEMINI.classify(reply, HERE, NOW)
    assert isinstance(error, ProviderError)
    assert error.status == reply.status
    assert error.message
    assert not error.message.startswith(("{", "[", "<"))
    if path.stem in ERRORS:
        kind, words, at = ERRORS[path.stem]
        assert type(error) is kind
        assert error.message.startswith(words)
        assert error.retry_at == pytest.approx(at)


@pytest.mark.parametrize("path", STREAMS, ids=lambda p: p.stem)
def test_a_recorded_stream_reads_the_same_in_any_pieces(path):
    body = load(path)[0].body
    whole = streamed([body])
    said, thought, calls, answer = whole
    assert said == answer.text
    assert thought == "".join(p.text for p in answer.message.parts if isinstance(p, Reasoning))
    assert [(d.id, d.name, d.arguments) for d in calls] == [(c.id, c.name, c.arguments) for c in answer.tool_calls]
    assert streamed([body[i : i + 1] for i in range(len(body))]) == whole
    rng = Random(7)
    for _ in range(20):
        cuts = sorted(rng.sample(range(len(body)), 9))
        assert streamed([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]) == whole


@pytest.mark.parametrize("path", STREAMS, ids=lambda p: p.stem)
def test_a_recorded_stream_cut_anywhere_is_whole_or_broken(path):
    body = load(path)[0].body
    answer = streamed([body])[3]
    offsets = range(0, len(body), 7)
    outcomes = [streamed([body[:at]])[3] for at in offsets]
    assert isinstance(outcomes[0], tuple)
    for at, outcome in zip(offsets, outcomes, strict=True):
        assert outcome == answer or issubclass(outcome[0], ProviderError), at


@pytest.mark.parametrize("path", STREAMS, ids=lambda p: p.stem)
def test_a_recorded_stream_without_alt_sse_reads_the_same(path):
    """The same replies as the array that comes where `alt=sse` is not asked for: only the framing differs."""
    body = load(path)[0].body
    events = [line[6:] for line in body.split(b"\r\n") if line.startswith(b"data: ")]
    array = b"[" + b"\n,\r\n".join(events) + b"\n]\n"
    whole = streamed([body])
    assert streamed([array]) == whole
    assert streamed([array[i : i + 1] for i in range(len(array))]) == whole
    assert GEMINI.decode(HttpReply(200, {}, array), ASK, HERE, NOW) == whole[3]


@pytest.mark.parametrize("path", [p for p in FINE if p not in STREAMS], ids=lambda p: p.stem)
def test_a_recorded_answer_cut_short_is_an_error(path):
    body = load(path)[0].body.rstrip()
    for at in range(0, len(body), 13):
        with pytest.raises(ProviderError):
            GEMINI.decode(HttpReply(200, {}, body[:at]), ASK, HERE, NOW)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", [*FINE, *(p for p in FAILED if p.stem in ERRORS and "429" not in p.stem)], ids=lambda p: p.stem
)
async def test_a_recording_is_read_off_a_socket(path):
    seen: list[bytes] = []
    is_stream = load(path)[1]
    async with replayed(path, seen) as url:
        environ = {"GEMINI_API_KEY": "AIza-loopback", "GEMINI_BASE_URL": url}
        catalog = load_catalog().serving("gemini", "some-model")
        policy = Policy({"worker": (HERE.name,)}, last_resort=())
        async with open_manager(policy, catalog, environ) as manager:
            try:
                if is_stream:
                    async with manager.stream(ASK) as deltas:
                        async for _ in deltas:
                            pass
                    outcome = deltas.response
                else:
                    outcome = await manager.complete(ASK)
            except (AllAttemptsFailed, ProviderError) as error:
                outcome = error
    head, _, body = seen[0].partition(b"\r\n\r\n")
    method = b"streamGenerateContent?alt=sse" if is_stream else b"generateContent"
    assert head.startswith(b"POST /v1beta/models/some-model:%s HTTP/1.1\r\n" % method)
    assert b"x-goog-api-key: AIza-loopback" in head
    assert json.loads(body) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    if path in FINE:
        expected = read(path)
        assert (outcome.message, outcome.finish, outcome.usage) == (expected.message, expected.finish, expected.usage)
    else:
        first = outcome.exceptions[0] if isinstance(outcome, AllAttemptsFailed) else outcome
        assert type(first) is ERRORS[path.stem][0]
