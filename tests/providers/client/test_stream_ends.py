"""When a stream is over: what its dialect says, and how long what may follow is waited for. On a clock that jumps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import anyio
import pytest
from trio.testing import MockClock

from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager, built_in
from providers.client.reply import AFTERWORD_S
from providers.errors import AllAttemptsFailed, ProviderError, TimedOut
from providers.messages import Request, Response, user
from providers.policy.model import Policy, Timeouts
from tests.providers.exam.wire import DONE, USAGE, event, finished, spoken

pytestmark = pytest.mark.anyio

ASK = Request((user("hi"),))
HANG = 1e9
LIMITS = Timeouts(connect=5.0, first_token=10.0, between_chunks=30.0, total=120.0)


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@dataclass
class Scripted:
    """A transport whose every reply says these pieces; a number is a pause of so many seconds."""

    pieces: list[bytes | float]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    closed: int = 0

    async def open_stream(self, request, **limits: float) -> Scripted:
        return self

    async def read(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        pause = 0.0
        while self.pieces and isinstance(self.pieces[0], float):
            pause += self.pieces.pop(0)
        await anyio.sleep(pause)
        return self.pieces.pop(0) if self.pieces else b""

    async def aclose(self) -> None:
        self.closed += 1


async def streamed(dialect: str, *pieces: bytes | float) -> tuple[Response | ProviderError, float]:
    """Return what a stream came to, and after how many seconds."""
    model = Model("m", context=8192, max_output=512, price=Price(0, 0))
    only = Candidate(Provider("only", dialect, "https://only.test/v1", "KEY", {"m": model}), model, key="key")
    policy = Policy({"worker": ("only/m",)}, timeouts=LIMITS, last_resort=(), attempts_per_turn=1)
    net = Scripted(list(pieces))
    manager = ProviderManager(
        [only], policy, adapters=built_in(), transport=net, rng=Random(1), clock=anyio.current_time
    )
    began = anyio.current_time()
    async with manager.stream(ASK) as deltas:
        try:
            async for _ in deltas:
                pass
            ended = deltas.response
        except ProviderError as error:
            ended = error
        except AllAttemptsFailed as error:
            ended = error.exceptions[0]
    assert net.closed == 1
    return ended, anyio.current_time() - began


def chat(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def gemini(text: str | None, finish: str | None = None) -> bytes:
    parts = [] if text is None else [{"text": text}]
    found = {"content": {"role": "model", "parts": parts}}
    return event({"candidates": [{**found, "finishReason": finish} if finish else found]})


STOP = {"openai-chat": "stop", "gemini": "STOP"}
SAY = {"openai-chat": chat, "gemini": gemini}
each = pytest.mark.parametrize("dialect", ["openai-chat", "gemini"])


@pytest.mark.parametrize(
    ("dialect", "end"),
    [
        ("openai-chat", DONE),
        ("openai-chat", b"data: [DONE]\r\n\r\n"),
        ("anthropic-messages", event({"type": "message_stop"})),
        ("gemini", DONE),
    ],
)
async def test_a_terminator_ends_it_at_once(dialect, end):
    answer, took = await streamed(dialect, spoken(dialect), finished(dialect) + end, HANG)
    assert answer.text == "Hello there."
    assert took <= 0.2


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic-messages", "gemini"])
async def test_a_reason_ends_it_after_a_moment(dialect):
    answer, took = await streamed(dialect, spoken(dialect), 3.0, finished(dialect), HANG)
    assert answer.text == "Hello there."
    assert took == pytest.approx(3 + AFTERWORD_S)


async def test_usage_that_comes_within_the_moment_is_taken():
    answer, took = await streamed("openai-chat", spoken("openai-chat"), chat(None, "stop"), 0.8, USAGE, HANG)
    assert answer.usage.output == 7
    assert took == pytest.approx(AFTERWORD_S), "usage is no content: it puts nothing off"


@each
async def test_a_reason_with_every_piece_cuts_nothing_off(dialect):
    say, stop = SAY[dialect], STOP[dialect]
    pieces = (say("a", stop), 0.9, say("b", stop), 8.0, say("c", stop), 20.0)
    answer, took = await streamed(dialect, *pieces, DONE)
    assert (answer.text, took) == ("abc", pytest.approx(28.9))
    if dialect == "openai-chat":  # whose streams have a terminator: without it nobody knows whether c was the last
        answer, _ = await streamed(dialect, *pieces)
        assert type(answer).__name__ == "StreamBroken"


@each
async def test_a_reason_before_the_first_word_ends_nothing(dialect):
    say, stop = SAY[dialect], STOP[dialect]
    empty = say(None, stop)
    answer, took = await streamed(dialect, empty, empty, 6.0, say("late"), 2.0, say(" but whole"), empty, 1.0)
    assert (answer.text, took) == ("late but whole", pytest.approx(9.0))


@pytest.mark.parametrize(
    ("dialect", "withheld"),
    [("openai-chat", chat(None, "content_filter")), ("gemini", gemini(None, "SAFETY"))],
)
async def test_a_refusal_without_a_word_is_told_after_a_moment(dialect, withheld):
    error, took = await streamed(dialect, withheld, HANG)
    assert (type(error).__name__, took) == ("Declined", pytest.approx(AFTERWORD_S))


NOTHING = {
    "comment": b": OPENROUTER PROCESSING\n\n",
    "blank": b"\n",
    "role": event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}),
    "empty": event({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
    "no choices": event({"choices": []}),
    "null": chat(None),
}


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize(
    ("before", "phase", "due"), [([], "first_token", 10.0), ([chat("Hi")], "between_chunks", 30.0)]
)
async def test_what_is_no_content_puts_off_no_limit(nothing, before, phase, due):
    error, took = await streamed("openai-chat", *before, *[NOTHING[nothing], 0.7] * 200)
    assert isinstance(error, TimedOut)
    assert (error.phase, took, error.silent_s) == (phase, pytest.approx(due), pytest.approx(due))


async def test_the_total_holds_for_a_stream_that_speaks_for_ever():
    error, took = await streamed("openai-chat", *[chat("word "), 5.0] * 200)
    assert isinstance(error, TimedOut)
    assert (error.phase, took) == ("total", pytest.approx(120.0))
    assert error.silent_s < 5.1, "it did speak, up to the last"


async def test_the_body_of_a_refusal_is_not_waited_for_long():
    model = Model("m", context=8192, max_output=512, price=Price(0, 0))
    only = Candidate(Provider("only", "openai-chat", "https://only.test/v1", "KEY", {"m": model}), model, key="key")
    policy = Policy({"worker": ("only/m",)}, timeouts=LIMITS, last_resort=(), attempts_per_turn=1)
    net = Scripted([b'{"error": {"message": "slow', HANG], 429, {"retry-after": "20"})
    manager = ProviderManager([only], policy, adapters=built_in(), transport=net, clock=anyio.current_time)
    with pytest.raises(AllAttemptsFailed) as failed:
        async with manager.stream(ASK) as deltas:
            await anext(deltas)
    assert type(failed.value.exceptions[0]).__name__ == "RateLimited"
    assert anyio.current_time() < 10
