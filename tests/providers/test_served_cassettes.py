"""Recorded exchanges served over a real socket, and read as the manager reads them: transport, dialect, books.

Each is served whole, in chunks of any size, cut short with a proper end, and torn off. Cuts at every offset (of small
bodies; of large ones at every border of an event and at random) feed the decoder directly, for speed: that is what the
transport would hand it. The recordings are not the project's: absent, we skip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from providers import errors
from providers.adapters import HttpReply
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, ProviderError
from providers.messages import Reasoning, ReasoningDelta, Request, Response, TextDelta, Usage, user
from providers.policy.model import Policy, Timeouts
from providers.transport import open_transport
from tests.providers.recordings import (
    ABSENT,
    ADAPTERS,
    FOLDER,
    Recording,
    Served,
    events,
    framed,
    rechunked,
    recordings,
    serving,
)

pytestmark = pytest.mark.anyio

ASK = Request((user("hi"),))
NOW = 1_754_667_634.0  # 2025-08-08 15:40:34 UTC: when OpenRouter sent the 429 that is recorded
SMALL = 2_500  # bytes up to which a body is cut at every offset
TIMEOUTS = Timeouts(connect=5, first_token=5, between_chunks=5, total=20)


@dataclass(frozen=True)
class Said:
    """What a reader of a recording finds. A long text: its beginning, its length, the head of its SHA-256."""

    text: str | tuple[str, int, str]
    usage: Usage
    finish: str = "stop"
    calls: tuple[tuple[str, str], ...] = ()
    thought: tuple[str, int] = ("", 0)
    cost: int | None = None


@dataclass(frozen=True)
class Failed:
    """The error, and in how many seconds to try again."""

    error: type[ProviderError]
    retry_s: float | None = None


def used(prompt: int, output: int, *, cached: int = 0, reasoning: int = 0) -> Usage:
    return Usage(input=prompt - cached, cache_read=cached, output=output - reasoning, reasoning=reasoning)


FLORENCE = ("weather", '{"location":"Florence, Italy"}')
PERSON = '{"name": "John Doe", "age": 30, "occupation": "Software Engineer"}'

# By vendor and the beginning of the file's name.
EXPECTED: dict[str, Said | Failed] = {
    "cerebras/plain__pydantic-ai": Said(r"\(4 + 3 = 7\).", used(98, 47, reasoning=27), thought=("User asks", 73)),
    "cerebras/plain__req_llm__token": Said(("### The Origins of Drago", 462, "62bb2de7"), used(17, 100), "length"),
    "cerebras/plain__req_llm__tool": Said("sum=5", used(133, 7)),
    "cerebras/plain__req_llm__usage": Said("Hello! ٩(◕‿◕｡", used(11, 10), "length"),
    "cerebras/stream__req_llm__reasoning": Said(
        ("**Approach:** Multiply 1", 105, "9ffd1846"), used(102, 77), thought=("We need to briefly", 90)
    ),
    "cerebras/stream__req_llm__streaming": Said(("Hello, stardust traveler", 76, "e016bb9b"), used(30, 21)),
    "cerebras/stream_tool": Said("", used(355, 45), "tool_calls", (("structured_output", PERSON),)),
    "cerebras/tool": Said(
        "",
        used(322, 65, cached=256, reasoning=58),
        "tool_calls",
        (("nonUsefulTool", "{}"),),
        ("The user is asking a", 249),
    ),
    "cerebras/429": Failed(errors.RateLimited, 54),
    "cerebras/stream_error": Failed(errors.ServerFault),
    "cloudflare/429_capacity": Failed(errors.Overloaded),
    "cloudflare/429_neurons": Failed(errors.QuotaSpent, (24 - 15) * 3600 - 40 * 60 - 34),  # until midnight UTC
    "deepseek/200": Said("hi", used(1, 1)),
    "deepseek/402": Failed(errors.QuotaSpent),
    "deepseek/stream_keepalive": Said("hi", Usage()),
    "deepseek/error400": Failed(errors.ContextTooLong),
    "deepseek/error401": Failed(errors.AuthFailed),
    "deepseek/stream__dd": Said(
        "The product of 17 and 23 is 391.", used(17, 47, reasoning=34), thought=('We are asked: "What ', 105)
    ),
    "deepseek/stream__openllmetry": Said(("Sure! Here's a techy jok", 340, "0bcbbcd6"), used(12, 89)),
    "deepseek/structured": Said('{\n  "result": 8\n}', used(44, 9)),
    "deepseek/tool": Said(
        "Let me get your name and roll the die!",
        used(875, 79, reasoning=26),
        "tool_calls",
        (("get_player_name", "{}"), ("roll_dice", "{}")),
        ("Great, now I have ac", 105),
    ),
    "groq/413": Failed(errors.RequestTooLarge),
    "groq/429": Failed(errors.RateLimited, 5.289),
    "groq/error400": Failed(errors.BadReply),
    "groq/error404": Failed(errors.Unsupported),
    "groq/plain__fantasy": Said("The current temperature in Florence, Italy is 40°C.", used(143, 13)),
    "groq/plain__req": Said("It's nice to meet you. Is there something", used(38, 10), "length"),
    "groq/stream__openinferenc": Said(("Hello! It's nice to meet", 96, "bd9056ab"), used(12, 26)),
    "groq/stream__pydantic": Said(
        ("The weather in San Franc", 200, "5490fde4"), used(5003, 359), thought=("<think>\nTo find the ", 6255)
    ),
    "groq/stream__req": Failed(errors.BadReply),
    "groq/stream_tool": Said(
        ("I'll perform both additi", 77, "b37ae4c7"),
        used(201, 58),
        "tool_calls",
        (("add", '{"a":2,"b":3}'), ("multiply", '{"a":2,"b":3}')),
    ),
    "groq/structured": Said(
        '{"city":"Mexico City","country":"Mexico"}', used(178, 94), thought=('The user asks: "What', 319)
    ),
    "llamacpp/400": Failed(errors.ContextTooLong),
    "llamacpp/500": Failed(errors.ContextTooLong),
    "llamacpp/plain__fantasy__simple": Said("Olá!", used(84, 47), thought=('The user says: "Say ', 132)),
    "llamacpp/plain__fantasy__thinking": Said(
        ("Here’s the current weath", 215, "306f739d"), used(206, 57, cached=170)
    ),
    "llamacpp/stream__": Said("The current weather in Florence, Italy is **40\u202f°C**.", used(197, 18, cached=161)),
    "llamacpp/stream_tool": Said(
        "", used(139, 42, cached=138), "tool_calls", (FLORENCE,), ("We need to call func", 67)
    ),
    "llamacpp/tool": Said("", used(139, 51, cached=134), "tool_calls", (FLORENCE,), ('The user asks: "What', 110)),
    "mistral/400": Failed(errors.BadRequest),
    "mistral/422_message_is_json": Failed(errors.BadRequest),
    "mistral/422_message_is_object": Failed(errors.BadRequest),
    "mistral/429_1300": Failed(errors.RateLimited),
    "mistral/429_kong": Failed(errors.RateLimited),
    "mistral/capacity": Failed(errors.Overloaded),
    "mistral/error401": Failed(errors.AuthFailed),
    "mistral/plain__ai": Said(('**Holiday Name: "World K', 1925, "744e3a01"), used(13, 434)),
    "mistral/plain__dd": Said(("The sky appears blue due", 434, "60d15111"), used(9, 100), "length"),
    "mistral/plain__openllmetry": Said(("Why did OpenTelemetry go", 79, "04d5b8a2"), used(20, 18, cached=10)),
    "mistral/plain__pydantic": Said(("The current weather in *", 95, "8200d062"), used(100, 29, cached=99)),
    "mistral/stream__": Said(
        ("To cross the street safe", 607, "e61ff78a"), used(10, 232), thought=("Okay, the user is as", 421)
    ),
    "mistral/stream_tool": Said("", used(96, 23), "tool_calls", (("get_weather", '{"city": "San Francisco"}'),)),
    "mistral/structured": Said('{"result": 8}', used(24, 7)),
    "nvidia/400": Failed(errors.BadRequest),
    "nvidia/429": Failed(errors.RateLimited),
    "nvidia/plain__nemo_guardrails__nemotron": Said(
        ("I’m a versatile, convers", 713, "d2ee9ef5"), used(84, 1028), thought=("We need to respond a", 91)
    ),
    "nvidia/plain__nemo_guardrails__nim": Said(
        "Hello! How can I assist you today?", used(23, 146), thought=("Hmm, the user asked ", 560)
    ),
    "ollama/error401": Failed(errors.AuthFailed),
    "ollama/stream_tool": Said(
        "",
        used(300, 45),
        "tool_calls",
        (("weather", '{"latitude":"48.8575","longitude":"2.3514"}'),),
        ("We need to fetch wea", 61),
    ),
    "openai/429": Failed(errors.QuotaSpent),
    "openai/error403": Failed(errors.Unsupported),
    "openai/error404__elastic": Failed(errors.Unsupported),
    "openai/error404__pydantic": Failed(errors.Unsupported),
    "openai/plain__crewAI": Said(("Thought: I now can give ", 1033, "ed746a4a"), used(952, 203)),
    "openai/plain__dd": Said(("Structuring a database s", 527, "68d02ce2"), used(1220, 100, cached=1152), "length"),
    "openai/stream_tool": Said(
        "", used(417, 44), "tool_calls", (("get_weather", '{"city": "Mexico City"}'), ("get_product_name", "{}"))
    ),
    "openai/structured": Said('{\n  "greeting": "hello"\n}', used(21, 10)),
    "openrouter/error400": Failed(errors.ContextTooLong),
    "openrouter/error401": Failed(errors.AuthFailed),
    "openrouter/error403": Failed(errors.Declined),
    "openrouter/error404": Failed(errors.Unsupported),
    "openrouter/error429": Failed(errors.RateLimited, 26),
    "openrouter/plain__dd": Said(
        ("The capital of France is", 380, "ada61e6a"),
        used(14, 164, reasoning=46),
        thought=("The user is asking a", 184),
        cost=4170,
    ),
    "openrouter/plain__fantasy": Said(
        ("The current weather in *", 310, "24abcdbf"),
        used(212, 109, cached=128, reasoning=28),
        thought=("The weather in Flore", 108),
        cost=568,
    ),
    "openrouter/stream__": Failed(errors.BadRequest),
    "openrouter/structured": Said('{"name":"John","age":30}', used(181, 12), cost=241),
    "together/plain": Said((" Why don't we ever hear ", 115, "afbdb7d8"), used(18, 35)),
    "together/stream": Said("1, 2, 3, 4, 5.", used(41, 15)),
    "together/tool": Said("", used(198, 24), "tool_calls", (("get_current_weather", '{"city":"Paris"}'),)),
}  # fmt: skip


if not FOLDER.is_dir():
    pytest.skip(ABSENT, allow_module_level=True)

ALL = list(recordings())
by_name = pytest.mark.parametrize("recording", ALL, ids=[recording.name[:60] for recording in ALL])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


def expected_of(recording: Recording) -> Said | Failed | None:
    found = [value for key, value in EXPECTED.items() if recording.name.startswith(key)]
    return found[0] if len(found) == 1 else None


async def ask(recording: Recording, pieces: list[bytes], served: Served) -> Response | ProviderError:
    """Return what the manager makes of one exchange."""
    candidate = recording.candidate(served.put(pieces))
    policy = Policy({"worker": (candidate.name,)}, timeouts=TIMEOUTS, attempts_per_turn=1, last_resort=())
    async with open_transport() as transport:
        manager = ProviderManager(
            [candidate], policy, adapters=ADAPTERS, transport=transport, clock=lambda: NOW, rng=Random(1)
        )
        try:
            if not recording.streamed:
                return await manager.complete(ASK)
            return await heard(manager)
        except AllAttemptsFailed as failed:
            (error,) = failed.exceptions
            return error
        except ProviderError as error:
            return error


async def heard(manager: ProviderManager) -> Response:
    """Return a streamed answer, whose deltas told all of it."""
    said: dict[type, list[str]] = {TextDelta: [], ReasoningDelta: []}
    async with manager.stream(ASK) as deltas:
        async for delta in deltas:
            said.setdefault(type(delta), []).append(getattr(delta, "text", ""))
    answer = deltas.response
    assert answer is not None
    assert "".join(said[TextDelta]) == answer.text
    assert "".join(said[ReasoningDelta]) == thought_of(answer)
    return answer


def directly(recording: Recording, body: bytes) -> Response | ProviderError:
    """Return what the dialect makes of `body`, without a socket."""
    candidate, reply = recording.candidate(), HttpReply(recording.status, recording.headers, body)
    try:
        if recording.status != 200:
            return recording.adapter.classify(reply, candidate, NOW)
        if not recording.streamed:
            return recording.adapter.decode(reply, ASK, candidate, NOW)
        decoder = recording.adapter.stream_decoder(ASK, candidate, NOW)
        decoder.feed(body)
        return decoder.finish()
    except ProviderError as error:
        return error


# ---- what must come out


def thought_of(answer: Response) -> str:
    return "".join(part.text for part in answer.message.parts if isinstance(part, Reasoning))


def digest(text: str, like: str | tuple[str, int, str]) -> str | tuple[str, int, str]:
    if isinstance(like, str):
        return text
    return text[: len(like[0])], len(text), hashlib.sha256(text.encode()).hexdigest()[:8]


def assert_as_expected(outcome: Response | ProviderError, expected: Said | Failed) -> None:
    if isinstance(expected, Failed):
        assert type(outcome) is expected.error
        assert isinstance(outcome, ProviderError)
        retry_s = None if outcome.retry_at is None else outcome.retry_at - NOW
        assert retry_s == (None if expected.retry_s is None else pytest.approx(expected.retry_s, abs=0.001))
        return
    assert isinstance(outcome, Response), outcome
    assert digest(outcome.text, expected.text) == expected.text
    assert outcome.finish == expected.finish
    assert tuple((call.name, call.arguments) for call in outcome.tool_calls) == expected.calls
    assert outcome.usage == expected.usage
    start, length = expected.thought
    assert (thought_of(outcome)[: len(start)], len(thought_of(outcome))) == (start, length)
    assert outcome.cost == expected.cost


def assert_same(outcome: Response | ProviderError, whole: Response | ProviderError) -> None:
    if isinstance(whole, ProviderError):
        assert isinstance(outcome, ProviderError)
        assert (type(outcome), outcome.message, outcome.status) == (type(whole), whole.message, whole.status)
        return
    assert isinstance(outcome, Response), outcome
    assert (outcome.message, outcome.finish, outcome.usage) == (whole.message, whole.finish, whole.usage)


def assert_failed_or_whole(outcome: Response | ProviderError, whole: Response | ProviderError) -> None:
    """The usage may be missing: it stands behind the end of the answer."""
    if isinstance(outcome, Response):
        assert isinstance(whole, Response), outcome
        assert (outcome.text, outcome.tool_calls, outcome.finish) == (whole.text, whole.tool_calls, whole.finish)


def test_every_recording_of_the_dialect_is_expected_once():
    chat = [recording for recording in ALL if recording.dialect == "openai-chat"]
    found = {key: [r.name for r in chat if r.name.startswith(key)] for key in EXPECTED}
    assert [key for key, names in found.items() if len(names) != 1] == []
    assert [r.name for r in chat if expected_of(r) is None] == []


@by_name
async def test_whole(recording: Recording, served: Served):
    pieces = events(recording.body) if recording.streamed else [recording.body]
    outcome = await ask(recording, framed(recording, pieces), served)
    if (expected := expected_of(recording)) is not None:
        assert_as_expected(outcome, expected)
    assert_same(outcome, directly(recording, recording.body))


@by_name
@pytest.mark.few(105)
async def test_in_other_chunks(recording: Recording, served: Served):
    rng = Random(recording.name)
    pieces = framed(recording, rechunked(recording.body, rng))
    assert_same(await ask(recording, pieces, served), directly(recording, recording.body))
    # The bytes of the framing too come in any pieces.
    data = b"".join(pieces)
    assert_same(await ask(recording, rechunked(data, rng), served), directly(recording, recording.body))


@by_name
@pytest.mark.few(105)
async def test_cut_short_on_the_wire(recording: Recording, served: Served):
    rng, whole = Random(recording.name), directly(recording, recording.body)
    for torn in (False, True):
        at = rng.randrange(len(recording.body))
        pieces = framed(recording, [recording.body[:at]], torn=torn)
        outcome = await ask(recording, pieces, served)
        assert_failed_or_whole(outcome, whole)
        if recording.status == 200 and not recording.streamed and recording.body[at:].strip():
            assert isinstance(outcome, ProviderError)


@pytest.mark.long
@by_name
def test_cut_at_every_offset(recording: Recording):
    body, whole = recording.body, directly(recording, recording.body)
    if len(body) <= SMALL:
        offsets = set(range(len(body)))
    else:
        rng, at = Random(recording.name), 0
        offsets = {rng.randrange(len(body)) for _ in range(64)}
        for event in events(body) if recording.streamed else []:
            at += len(event)
            offsets |= {at - 2, at - 1, at, min(at + 1, len(body))}
    for offset in sorted(offsets):
        assert_failed_or_whole(directly(recording, body[:offset]), whole)
