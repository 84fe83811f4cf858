"""The provider manager against tiny adapters and a network made of functions, on both event loops."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import anyio
import pytest
from trio.testing import MockClock

from providers.adapters import HttpReply, HttpRequest
from providers.budgets import BudgetRef, CallSize, CallSizes
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.emit import EndsOnly
from providers.errors import (
    AllAttemptsFailed,
    AuthFailed,
    BadReply,
    BadRequest,
    BudgetSpent,
    Declined,
    NoRoute,
    Overloaded,
    ProviderError,
    RateLimited,
    Reason,
    ReasonCode,
    ServerFault,
    StreamBroken,
    TimedOut,
    Unreachable,
    Unsupported,
)
from providers.events import AttemptEnded, AttemptStarted, RouteChosen, WaitingForProvider
from providers.messages import (
    Capability,
    FinishReason,
    Needs,
    Reasoning,
    Request,
    Response,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    assistant,
    user,
)
from providers.policy.model import Policy

pytestmark = pytest.mark.anyio
ASK = Request((user("hi"),))
ERRORS = {
    400: BadRequest,
    401: AuthFailed,
    403: Declined,
    404: Unsupported,
    429: RateLimited,
    500: ServerFault,
    503: Overloaded,
}


class Clock:
    """The time in seconds, of the running event loop: real on asyncio, virtual where a test asks for it."""

    def __call__(self) -> float:
        return anyio.current_time()


class Plain:
    """A dialect of one JSON object: {"say": text}. Streamed: its lines, then END."""

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        return HttpRequest("POST", candidate.provider.name, {}, b"stream" if stream else b"whole")

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
        try:
            return says(json.loads(reply.body)["say"])
        except (ValueError, KeyError, TypeError):
            raise BadReply("not a sound answer") from None

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        wait = reply.headers.get("retry-after")
        error = ERRORS[reply.status](reply.body.decode(), status=reply.status)
        error.retry_at = None if wait is None else now + float(wait)
        return error

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> PlainStream:
        return PlainStream()


class PlainStream:
    whole = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    @property
    def ended(self) -> bool:
        return self.lines[-1:] == ["END"]

    def feed(self, data: bytes) -> list[TextDelta]:
        new = [line for line in data.decode().splitlines() if line != "PING"]
        self.lines += new
        return [TextDelta(line) for line in new if line != "END"]

    def finish(self) -> Response:
        if not self.lines or self.lines[-1] != "END":
            raise StreamBroken("no END")
        return says("".join(self.lines[:-1]), len(self.lines))


class Local:
    def __init__(self, *answers: Response | ProviderError) -> None:
        self.answers = list(answers)

    def respond(self, request: Request, candidate: Candidate) -> Response:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def says(text: str, output: int = 5) -> Response:
    return Response(assistant(text), FinishReason.STOP, Usage(10, output=output))


def ok(text: str = "hello") -> HttpReply:
    return HttpReply(200, {}, json.dumps({"say": text}).encode())


def refused(status: int, body: str = "no", **headers: str) -> HttpReply:
    return HttpReply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


HANG = "hang"


class Socket:
    """Chunks to be read one at a time; an error among them is raised, HANG never ends."""

    def __init__(self, net: Net, status: int, headers: dict[str, str], chunks: list) -> None:
        self.net, self.status, self.headers, self.chunks = net, status, headers, chunks

    async def read(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        chunk = self.chunks.pop(0) if self.chunks else b""
        if chunk == HANG:
            await anyio.sleep_forever()
        if isinstance(chunk, float):
            await anyio.sleep(chunk)
            return b"PING\n"
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.net.open_sockets -= 1


@dataclass
class Net:
    """A transport: what each provider answers, in turn; the last answer goes on for ever.

    (seconds, answer) comes late.
    """

    answers: dict[str, list]
    calls: list[str] = field(default_factory=list)
    open_sockets: int = 0

    def _next(self, provider: str):
        self.calls.append(provider)
        answers = self.answers[provider]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def send(self, request, *, connect_s, first_byte_s, idle_s, total_s) -> HttpReply:
        await anyio.lowlevel.checkpoint()
        answer = self._next(request.url)
        if isinstance(answer, tuple):
            late, answer = answer
            await anyio.sleep(late)
        if answer == HANG:
            with anyio.move_on_after(first_byte_s):
                await anyio.sleep_forever()
            raise TimedOut("nothing came", phase="first_token")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def open_stream(self, request, *, connect_s, first_byte_s, idle_s, total_s) -> Socket:
        answer = await self.send(
            request, connect_s=connect_s, first_byte_s=first_byte_s, idle_s=idle_s, total_s=total_s
        )
        self.open_sockets += 1
        if isinstance(answer, HttpReply):
            return Socket(self, answer.status, dict(answer.headers), [answer.body])
        return Socket(self, 200, {}, list(answer))


class Budgets:
    """Counts what is reserved and how each reservation ends. `room` is how many it grants."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.reserved: list[tuple[int, int]] = []
        self.settled: list[tuple[int, int]] = []
        self.turns: list[int] = []
        self.ends: Counter[int] = Counter()
        self.sizes, self.records = CallSizes(), 0

    is_capped = True

    def place(self) -> int:
        return 1

    async def reserve_now(self, size: CallSize, place: int):
        if len(self.reserved) >= self.room:
            raise BudgetSpent(BudgetRef("squad"), "max_tokens", 1, 1, size.tokens)
        self.reserved.append((size.cost_of(size.usual), size.tokens + size.usual))
        self.turns.append(size.turns)
        return _Held(self, len(self.reserved), size)

    def closed_once(self) -> bool:
        return all(self.ends[n] == 1 for n in range(1, len(self.reserved) + 1))


class _Held:
    def __init__(self, budgets: Budgets, number: int, size: CallSize) -> None:
        self.budgets, self.number, self.size, self.output = budgets, number, size, size.usual

    async def recorded(self) -> None:
        self.budgets.records += 1

    def settle(self, cost: int, tokens: int) -> None:
        self.budgets.ends[self.number] += 1
        self.budgets.settled.append((cost, tokens))

    def release(self) -> None:
        self.budgets.ends[self.number] += 1


def candidates(*names: str, dialect: str = "plain") -> list[Candidate]:
    model = Model("m", 100_000, 1000, frozenset(Capability), Price(1.0, 2.0))
    return [Candidate(Provider(name, dialect, "", None, {"m": model}), model, "sk-secret") for name in names]


def manager_of(net: Net, **policy) -> ProviderManager:
    known = candidates(*net.answers)
    policy = {"tiers": {"worker": tuple(c.name for c in known)}, "last_resort": ()} | policy
    return ProviderManager(
        known, Policy(**policy), adapters={"plain": Plain()}, transport=net, clock=Clock(), rng=Random(1)
    )


def local_manager(*answers, names=("a", "b")) -> ProviderManager:
    known = candidates(*names, dialect="local")
    return ProviderManager(known, Policy({"worker": tuple(c.name for c in known)}), adapters={"local": Local(*answers)})


class TestComplete:
    async def test_an_answer_says_whose_it_is_what_it_cost_and_how_it_was_had(self):
        response = await manager_of(Net({"a": [ok("hello")]})).complete(ASK)
        assert (response.text, response.provider, response.model) == ("hello", "a", "m")
        assert response.cost == 20
        assert [(a.provider, a.outcome) for a in response.attempts] == [("a", "ok")]

    @pytest.mark.parametrize(
        ("broken", "error"),
        [
            (refused(500), "ServerFault"),
            (refused(503), "Overloaded"),
            (refused(429, retry_after="30"), "RateLimited"),
            (refused(401), "AuthFailed"),
            (refused(404), "Unsupported"),
            (Unreachable("connection reset"), "Unreachable"),
            (ok(""), "BadReply"),
            (ok(" \n"), "BadReply"),
            (HttpReply(200, {}, b'{"say": "hel'), "BadReply"),
            (HttpReply(200, {}, b"<html>It works!</html>"), "BadReply"),
        ],
    )
    async def test_the_next_candidate_answers(self, broken, error):
        net, seen, budgets = Net({"a": [broken], "b": [ok()]}), [], Budgets()
        response = await manager_of(net).complete(ASK, emit=seen.append, budgets=budgets)
        assert net.calls == ["a", "b"]
        assert [(a.provider, a.outcome, a.error) for a in response.attempts] == [
            ("a", "failed", error),
            ("b", "ok", None),
        ]
        assert [type(e) for e in seen] == [RouteChosen, AttemptStarted, AttemptEnded, AttemptStarted, AttemptEnded]
        assert seen[0].candidates == ("a/m", "b/m")
        assert budgets.closed_once()
        assert "sk-secret" not in repr((response, seen))

    async def test_who_asks_for_ends_only_is_told_no_more(self):
        net, seen = Net({"a": [refused(500)], "b": [ok()]}), []
        await manager_of(net).complete(ASK, emit=EndsOnly(seen.append))
        assert [(type(each), each.outcome) for each in seen] == [(AttemptEnded, "failed"), (AttemptEnded, "ok")]

    async def test_a_rate_limited_candidate_is_left_alone_until_it_said(self):
        net = Net({"a": [refused(429, retry_after="30"), ok()], "b": [ok()]})
        manager = manager_of(net)
        for _ in range(5):
            await manager.complete(ASK)
        assert net.calls == ["a", *"bbbbb"]

    async def test_a_refused_key_costs_one_call(self):
        net = Net({"a": [refused(401)], "b": [ok()]})
        manager = manager_of(net)
        for _ in range(5):
            await manager.complete(ASK)
        assert net.calls == ["a", *"bbbbb"]

    async def test_all_down(self):
        net = Net({name: [Unreachable("down")] for name in "abcdef"})
        manager, budgets = manager_of(net), Budgets()
        with pytest.raises(AllAttemptsFailed) as failed:
            await manager.complete(ASK, budgets=budgets)
        assert [e.provider for e in failed.value.exceptions] == ["a", "b", "c", "d"]
        assert budgets.closed_once()
        assert budgets.settled == []

    async def test_nobody(self):
        manager = ProviderManager(
            candidates("a", dialect="klingon"),
            Policy({"worker": ("a/m", "b/m")}),
            adapters={},
            unconfigured={"b": Reason(ReasonCode.NO_KEY, "no key: set B")},
        )
        assert manager.configured == ()
        with pytest.raises(NoRoute) as failed:
            await manager.complete(ASK)
        assert failed.value.reasons == {
            "a/m": Reason(ReasonCode.UNKNOWN, "dialect klingon is not built in"),
            "b/m": Reason(ReasonCode.NO_KEY, "no key: set B"),
        }

    async def test_never_ends_the_turn(self):
        net = Net({"a": [refused(403)], "b": [ok()]})
        with pytest.raises(Declined):
            await manager_of(net).complete(ASK)
        assert net.calls == ["a"]

    async def test_an_answer_that_will_not_do_is_paid_and_counts_as_failed(self):
        def accept(response: Response) -> None:
            if response.text != "good":
                raise BadReply("not the schema")

        net, budgets = Net({"a": [ok("bad")], "b": [ok("good")]}), Budgets()
        response = await manager_of(net).complete(ASK, budgets=budgets, accept=accept)
        assert response.text == "good"
        assert [a.error for a in response.attempts] == ["BadReply", None]
        assert budgets.settled == [(20, 15), (20, 15)]
        assert budgets.closed_once()

    async def test_answers_that_callers_do_not_take_open_no_breaker(self):
        def accept(response: Response) -> None:
            raise BadReply("not the schema")

        net = Net({"a": [ok()]})
        manager = manager_of(net, attempts_per_turn=1)
        for _ in range(10):
            with pytest.raises(AllAttemptsFailed):
                await manager.complete(ASK, accept=accept)
        assert len(net.calls) == 10

    async def test_the_purse_is_asked_for_the_estimate(self):
        budgets = Budgets()
        await manager_of(Net({"a": [ok()]})).complete(ASK, budgets=budgets)
        tokens = ASK.input_tokens
        assert budgets.reserved == [(tokens + 2 * 1000, tokens + 1000)]
        capped, budgets = Request(ASK.messages, max_output_tokens=50), Budgets()
        await manager_of(Net({"a": [ok()]})).complete(capped, budgets=budgets)
        assert budgets.reserved == [(tokens + 2 * 50, tokens + 50)]

    async def test_a_spent_budget_ends_the_turn_and_no_candidate_suffers(self):
        net, budgets, seen = Net({"a": [refused(500)], "b": [ok()]}), Budgets(room=1), []
        manager = manager_of(net)
        with pytest.raises(BudgetSpent):
            await manager.complete(ASK, budgets=budgets, emit=seen.append)
        assert net.calls == ["a"]
        assert budgets.closed_once()
        assert manager.fleet.states["b/m"].breaker.faults == 0

    async def test_a_cancelled_attempt_is_told_as_what_was_sent_and_counts_as_all_that_it_may_be_billed_for(self):
        net, budgets, seen = Net({"a": [HANG]}), Budgets(), []
        with anyio.move_on_after(0.01) as scope:
            await manager_of(net).complete(ASK, budgets=budgets, emit=seen.append)
        assert scope.cancelled_caught
        assert budgets.closed_once()
        assert budgets.settled == budgets.reserved == [(ASK.input_tokens + 2000, ASK.input_tokens + 1000)]
        assert (seen[-1].outcome, seen[-1].cost, seen[-1].in_doubt) == ("cancelled", ASK.input_tokens, True)

    async def test_a_bug_is_not_taken_for_a_providers_failure(self):
        def accept(response: Response) -> None:
            raise ZeroDivisionError

        budgets = Budgets()
        with pytest.raises(ZeroDivisionError):
            await manager_of(Net({"a": [ok()]})).complete(ASK, budgets=budgets, accept=accept)
        assert budgets.closed_once()

    async def test_answers_of_this_process_take_the_same_way(self):
        response = await local_manager(ServerFault("scripted"), says("ok")).complete(ASK)
        assert [(a.provider, a.outcome) for a in response.attempts] == [("a", "failed"), ("b", "ok")]

    async def test_an_answer_of_this_process_can_be_cancelled(self):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await local_manager(says("ok")).complete(ASK)
        assert scope.cancelled_caught


@asynccontextmanager
async def collected(manager: ProviderManager, **how) -> AsyncIterator[tuple]:
    """Stream to the end; yields the stream, its deltas and the error that ended it."""
    deltas, error = [], None
    async with manager.stream(ASK, **how) as stream:
        try:
            async for delta in stream:
                deltas.append(delta.text)  # noqa: PERF401  # what came before an error is looked at too
        except (ProviderError, AllAttemptsFailed) as caught:
            error = caught
        yield stream, deltas, error


class TestStream:
    async def test_deltas_then_the_answer(self):
        net, budgets, seen = Net({"a": [[b"hel\n", b"lo\nthere\n", b"END\n"]]}), Budgets(), []
        async with collected(manager_of(net), budgets=budgets, emit=seen.append) as (stream, deltas, error):
            assert (deltas, error) == (["hel", "lo", "there"], None)
            assert stream.response.text == "hellothere"
            assert (stream.response.provider, stream.response.cost) == ("a", 18)
        assert net.open_sockets == 0
        assert budgets.settled == [(18, 14)]
        assert budgets.closed_once()
        assert [type(e) for e in seen] == [RouteChosen, AttemptStarted, AttemptEnded]

    @pytest.mark.parametrize(
        "broken",
        [
            refused(500, "sorry"),
            refused(429, retry_after="30"),
            Unreachable("reset"),
            [],
            [b"PING\n"],
            [b"END\n"],
            [StreamBroken("reset by peer")],
        ],
    )
    async def test_before_the_first_content_the_next_candidate_takes_over(self, broken):
        net, budgets = Net({"a": [broken], "b": [[b"hello\n", b"END\n"]]}), Budgets()
        async with collected(manager_of(net), budgets=budgets) as (stream, deltas, error):
            assert (deltas, error) == (["hello"], None)
            assert [a.outcome for a in stream.response.attempts] == ["failed", "ok"]
        assert net.open_sockets == 0
        assert budgets.closed_once()

    @pytest.mark.parametrize("cut", [[b"hel\n"], [b"hel\n", StreamBroken("reset by peer")]])
    async def test_after_it_the_break_is_told_and_what_was_heard_is_booked(self, cut):
        net, budgets = Net({"a": [cut], "b": [[b"hello\n", b"END\n"]]}), Budgets()
        async with collected(manager_of(net), budgets=budgets) as (stream, deltas, error):
            assert deltas == ["hel"]
            assert isinstance(error, StreamBroken)
            assert error.provider == "a"
            assert stream.response is None
            assert [delta async for delta in stream] == [], "an ended stream stays ended"
        assert net.calls == ["a"]
        assert net.open_sockets == 0
        assert budgets.closed_once()
        assert budgets.settled == [(ASK.input_tokens + 2 * 2, ASK.input_tokens + 2)]

    async def test_all_down(self):
        net = Net({name: [refused(503)] for name in "ab"})
        async with collected(manager_of(net, attempts_per_turn=2)) as (_, deltas, error):
            assert deltas == []
            assert [type(e) for e in error.exceptions] == [Overloaded, Overloaded]
        assert net.open_sockets == 0

    async def test_a_caller_that_leaves_closes_the_socket_and_the_books(self):
        net, budgets, seen = Net({"a": [[b"hel\n", HANG]]}), Budgets(), []
        async with manager_of(net).stream(ASK, budgets=budgets, emit=seen.append) as stream:
            async for _ in stream:
                break
        assert net.open_sockets == 0
        assert budgets.closed_once()
        assert seen[-1].outcome == "cancelled"

    async def test_a_cancelled_caller_too(self):
        net, budgets = Net({"a": [[b"hel\n", HANG]]}), Budgets()
        with anyio.move_on_after(0.01) as scope:
            async with manager_of(net).stream(ASK, budgets=budgets) as stream:
                async for _ in stream:
                    pass
        assert scope.cancelled_caught
        assert net.open_sockets == 0
        assert budgets.closed_once()

    async def test_a_spent_budget_ends_it(self):
        net, budgets = Net({"a": [refused(500)], "b": [[b"END\n"]]}), Budgets(room=1)
        async with manager_of(net).stream(ASK, budgets=budgets) as stream:
            with pytest.raises(BudgetSpent):
                await anext(stream)
        assert net.calls == ["a"]
        assert budgets.closed_once()

    async def test_an_unread_stream_costs_nothing(self):
        net = Net({"a": [[b"END\n"]]})
        async with manager_of(net).stream(ASK):
            pass
        assert net.calls == []

    async def test_an_answer_of_this_process_comes_in_pieces(self):
        whole = Response(
            assistant(Reasoning("hmm"), "a text of more than sixteen letters", ToolCall("1", "look", '{"at": 1}')),
            FinishReason.TOOL_CALLS,
        )
        async with local_manager(whole).stream(ASK) as stream:
            deltas = [delta async for delta in stream]
        texts = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
        assert len(texts) == 3
        assert "".join(texts) == whole.text
        assert deltas[-1] == ToolCallDelta(0, "1", "look", '{"at": 1}')
        assert stream.response.message == whole.message


class TestVirtualTime:
    """Deadlines and waits on a clock that jumps to whatever is next."""

    @pytest.fixture
    def anyio_backend(self):
        return "trio", {"clock": MockClock(autojump_threshold=0)}

    async def test_a_candidate_that_hangs_leaves_time_for_the_others(self):
        net = Net({"a": [HANG], "b": [ok()]})
        response = await manager_of(net).complete(ASK)
        assert [(a.provider, a.error) for a in response.attempts] == [("a", "TimedOut"), ("b", None)]
        assert response.latency_ms == pytest.approx(60_000)

    async def test_everyone_hangs_and_the_turn_ends_at_its_deadline(self):
        began = anyio.current_time()
        with pytest.raises(AllAttemptsFailed):
            await manager_of(Net({"a": [HANG], "b": [HANG]})).complete(
                Request(ASK.messages, needs=Needs(deadline_s=20.0))
            )
        assert anyio.current_time() - began == pytest.approx(20.0)

    async def test_a_streamed_answer_that_will_not_do_is_billed_as_a_whole_one_is(self):
        budgets = Budgets()
        manager = manager_of(Net({"a": [[b"END\n"]], "b": [[b"hello\n", b"END\n"]]}))
        async with collected(manager, budgets=budgets) as (stream, deltas, error):
            assert (deltas, error) == (["hello"], None)
        assert [attempt.error for attempt in stream.response.attempts] == ["BadReply", None]
        assert budgets.settled == [(12, 11), (14, 12)]
        assert budgets.closed_once()

    async def test_a_streams_pace_is_its_first_token_and_the_speed_after_it(self):
        manager = manager_of(Net({"a": [[2.0, b"x\n" * 512, 8.0, b"END\n"]]}))
        async with manager.stream(ASK) as deltas:
            _ = [delta async for delta in deltas]
        assert manager.fleet.states["a/m"].track.pace(manager.clock()) == pytest.approx(2 + 8 * 256 / 513)

    async def test_a_transport_that_forgets_the_time_is_cut_off(self):
        class Deaf(Net):
            async def send(self, request, **limits):
                self.calls.append(request.url)
                await anyio.sleep_forever()

        with pytest.raises(AllAttemptsFailed) as failed:
            await manager_of(Deaf({"a": []})).complete(Request(ASK.messages, needs=Needs(deadline_s=20.0)))
        assert [e.phase for e in failed.value.exceptions] == ["total"]

    async def test_retry_after_is_waited_for_where_nobody_else_is_there(self):
        net, seen = Net({"a": [refused(429, retry_after="12"), ok()]}), []
        began = anyio.current_time()
        await manager_of(net).complete(ASK, emit=seen.append)
        assert 12.0 <= anyio.current_time() - began <= 12.25
        waits = [event for event in seen if isinstance(event, WaitingForProvider)]
        assert len(waits) == 1
        assert waits[0].reason == "a/m: asked before in this turn"

    async def test_a_held_fleet_past_the_deadline_fails_at_once_with_the_instant(self):
        manager = manager_of(Net({"a": [refused(429, retry_after="100")]}))
        request = Request(ASK.messages, needs=Needs(deadline_s=30.0))
        began = anyio.current_time()
        with pytest.raises(AllAttemptsFailed):
            await manager.complete(request)
        with pytest.raises(NoRoute) as failed:
            await manager.complete(request)
        assert failed.value.earliest == pytest.approx(began + 100.0)
        assert anyio.current_time() == began

    async def test_a_breaker_closes_again_after_its_rest(self):
        net = Net({"a": [*[Unreachable("down")] * 3, ok("back")], "b": [ok("spare")]})
        manager = manager_of(net, strategy="chain")
        said = [(await manager.complete(ASK)).text for _ in range(5)]
        await anyio.sleep(31)
        said += [(await manager.complete(ASK)).text for _ in range(2)]
        assert said == ["spare"] * 5 + ["back"] * 2
        assert net.calls.count("a") == 5

    @pytest.mark.parametrize(
        ("chunks", "phase", "after"),
        [
            ([HANG], "first_token", 10.0),
            ([4.0, 4.0, 4.0, HANG], "first_token", 10.0),
            ([b"hel\n", HANG], "between_chunks", 30.0),
            ([b"hel\n", *[20.0] * 9], "between_chunks", 30.0),
            ([b"hel\n", *[20.0, b"lo\n"] * 9], "total", 120.0),
        ],
    )
    async def test_a_stream_that_stalls_is_given_up_in_its_phase(self, chunks, phase, after):
        net = Net({"a": [chunks]})
        began = anyio.current_time()
        async with collected(manager_of(net, attempts_per_turn=1)) as (_, _, error):
            assert (error if isinstance(error, TimedOut) else error.exceptions[0]).phase == phase
            assert anyio.current_time() - began == pytest.approx(after)
        assert net.open_sockets == 0

    async def test_closing_a_socket_that_hangs_is_not_waited_for(self):
        class Stuck(Socket):
            async def aclose(self):
                self.net.open_sockets -= 1
                await anyio.sleep_forever()

        net = Net({"a": [[b"hel\n", b"END\n"]]})
        opened = net.open_stream

        async def stuck(request, **limits):
            socket = await opened(request, **limits)
            return Stuck(net, socket.status, socket.headers, socket.chunks)

        net.open_stream = stuck
        began = anyio.current_time()
        async with collected(manager_of(net)) as (stream, _, _):
            assert stream.response.text == "hel"
        assert anyio.current_time() - began == pytest.approx(0.1)
