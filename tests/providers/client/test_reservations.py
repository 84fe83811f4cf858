"""The manager within limits, against upstreams that keep them themselves and count who gets past them."""

from __future__ import annotations

import json
from collections import Counter, deque
from contextlib import suppress
from random import Random

import anyio
import pytest
from trio.testing import MockClock

from providers.adapters import HttpReply, HttpRequest
from providers.budgets import BudgetRef, CallSizes
from providers.catalog.model import Candidate, Limit, Model, Provider
from providers.catalog.quirks import Quirks
from providers.client.manager import ProviderManager
from providers.client.reservations import AT_ONCE
from providers.errors import (
    AllAttemptsFailed,
    BudgetSpent,
    NoRoute,
    ProviderError,
    QuotaSpent,
    RateLimited,
    ServerFault,
    StreamBroken,
    Unreachable,
)
from providers.events import AttemptStarted, RouteChosen, WaitingForProvider
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.sqlite import SqliteLedger
from providers.messages import FinishReason, Needs, Request, Response, TextDelta, Usage, assistant, user
from providers.policy.model import Policy
from providers.windows import Fixed, Paced, Rolling

pytestmark = pytest.mark.anyio
NOON = 1_795_176_000.0
ASK = Request((user("hi"),), max_output_tokens=50)
TOKENS = 30


@pytest.fixture
def anyio_backend():
    """Virtual time, from 0 in every test."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def clock() -> float:
    return NOON + anyio.current_time()


class Dialect:
    """A dialect in which a reply's status says everything."""

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        return HttpRequest("POST", candidate.provider.name, {}, b"")

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
        return Response(assistant("hello"), FinishReason.STOP, Usage(20, output=10))

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        if reply.status != 429:
            return ServerFault("broken", status=reply.status)
        kind = QuotaSpent if reply.body else RateLimited
        until = reply.headers.get("retry-after")
        return kind("too many", status=429, retry_at=None if until is None else now + float(until))

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> Stream:
        return Stream()


class Stream:
    ended = whole = False

    def feed(self, data: bytes) -> list[TextDelta]:
        return [TextDelta(data.decode())]

    def finish(self) -> Response:
        return Response(assistant("hello"), FinishReason.STOP, Usage(20, output=10))


class Net:
    """Upstreams by name. Each takes `seconds` for an answer; `rolling` is the limit that it keeps, exactly."""

    def __init__(self, **replies) -> None:
        self.calls: Counter[str] = Counter()
        self.violations = 0
        self.replies = replies
        self.seconds = 0.0
        self.rolling: tuple[int, float] | None = None
        self.times: deque[float] = deque()

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        self.calls[request.url] += 1
        await anyio.sleep(self.seconds / 2)
        reply = self._admit(request.url)
        await anyio.sleep(self.seconds / 2)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _admit(self, name: str) -> HttpReply:
        now = clock()
        if self.rolling is not None:
            most, window = self.rolling
            while self.times and self.times[0] <= now - window:
                self.times.popleft()
            if len(self.times) >= most:
                self.violations += 1
                return HttpReply(429, {}, b"")
            self.times.append(now)
        reply = self.replies.get(name, HttpReply(200, {}, b"{}"))
        return reply(self.calls[name]) if callable(reply) else reply

    async def open_stream(self, request: HttpRequest, **limits: float):
        return Socket(await self.send(request, **limits))


class Socket:
    def __init__(self, reply: HttpReply) -> None:
        self.status, self.headers, self.chunks = reply.status, reply.headers, [b"hel", b"lo", b""]

    async def read(self) -> bytes:
        await anyio.sleep(0.1)
        return self.chunks.pop(0)

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


def candidate(name: str, *limits: Limit, **more) -> Candidate:
    model = Model("m", 10_000, 1_000)
    return Candidate(Provider(name, "test", name, None, {"m": model}, limits=limits, **more), model, f"sk-{name}")


def manager(net: Net, *candidates: Candidate, **policy) -> ProviderManager:
    names = tuple(each.name for each in candidates)
    return ProviderManager(
        candidates,
        Policy({"worker": names}, last_resort=(), **({"strategy": "chain"} | policy)),
        adapters={"test": Dialect()},
        transport=net,
        clock=clock,
        rng=Random(4),
    )


def ask(seconds: float | None = None) -> Request:
    return Request(ASK.messages, max_output_tokens=50, needs=Needs(deadline_s=seconds))


async def used(router: ProviderManager, name: str, at: int = 0) -> float:
    bound = router.reservations.bound(router.fleet.states[f"{name}/m"].candidate)
    return (await router.reservations.ledger.usage(bound.meters, clock()))[at].used


PER_MINUTE = Limit("requests", 10, Rolling(60))


class TestOneCall:
    async def test_it_is_booked_with_the_providers_own_figures(self):
        router = manager(
            Net(), candidate("a", PER_MINUTE, Limit("total", 1000, Rolling(60)), Limit("input", 1000, Rolling(60)))
        )
        await router.complete(ASK)
        assert [await used(router, "a", at) for at in range(3)] == [1, 30, 20]

    @pytest.mark.parametrize(
        ("error", "requests", "tokens"),
        [
            (Unreachable("refused"), 0, 0),
            (Unreachable("hung up", sent=True), 1, 55),
            (HttpReply(500, {}, b""), 1, 0),
            (HttpReply(429, {"retry-after": "300"}, b""), 1, 0),
            (StreamBroken("in the middle"), 1, 55),
        ],
    )
    async def test_what_the_provider_does_not_count_is_given_back(self, error, requests, tokens):
        net = Net(a=lambda n: error)
        router = manager(net, candidate("a", PER_MINUTE, Limit("total", 1000, Rolling(60))), attempts_per_turn=1)
        with pytest.raises(AllAttemptsFailed):
            await router.complete(ask(5))
        assert [await used(router, "a", at) for at in range(2)] == [requests, tokens]

    async def test_a_cancelled_call_is_booked_as_it_was_expected(self):
        net = Net()
        net.seconds = 10
        router = manager(net, candidate("a", PER_MINUTE, Limit("total", 1000, Rolling(60))))
        with anyio.move_on_after(1):
            await router.complete(ASK)
        assert [await used(router, "a", at) for at in range(2)] == [1, 55]

    async def test_nothing_is_held_where_our_own_purse_is_empty(self):
        class Empty:
            is_capped, sizes = True, CallSizes()

            def place(self):
                return 1

            async def reserve_now(self, size, place):
                raise BudgetSpent(BudgetRef("squad"), "max_tokens", 1, 1, size.tokens)

        router = manager(Net(), candidate("a", PER_MINUTE))
        with pytest.raises(BudgetSpent):
            await router.complete(ASK, budgets=Empty())
        async with router.stream(ASK, budgets=Empty()) as deltas:
            with pytest.raises(BudgetSpent):
                await anext(deltas)
        assert await used(router, "a") == 0

    async def test_a_stream_is_booked_whole_left_or_never_begun(self):
        router = manager(Net(), candidate("a", PER_MINUTE, Limit("total", 1000, Rolling(60))))
        async with router.stream(ASK) as deltas:
            assert "".join([delta.text async for delta in deltas]) == "hello"
        assert [await used(router, "a", at) for at in range(2)] == [1, 30]
        async with router.stream(ASK) as deltas:
            await anext(deltas)
        assert [await used(router, "a", at) for at in range(2)] == [2, 85]
        async with router.stream(ASK):
            pass
        assert await used(router, "a") == 2

    async def test_limits_of_an_account_are_shared_by_its_models(self):
        one, other = Model("m", 10_000, 1_000), Model("n", 10_000, 1_000)
        row = Provider("a", "test", "a", None, {"m": one, "n": other}, limits=(Limit("requests", 2, Rolling(60)),))
        router = manager(Net(), Candidate(row, one, "k"), Candidate(row, other, "k"))
        for _ in range(2):
            await router.complete(ASK)
        with pytest.raises(NoRoute) as refused:
            await router.complete(ask(5))
        assert set(refused.value.reasons) == {"a/m", "a/n"}

    async def test_two_keys_have_two_counts_and_no_key_shows(self):
        model = Model("m", 10_000, 1_000)
        row = Provider("a", "test", "a", None, {"m": model}, limits=(PER_MINUTE,))
        router = manager(Net(), Candidate(row, model, "sk-one"))
        keys = {router.reservations.bound(Candidate(row, model, key)).meters[0].key for key in ("sk-one", "sk-two")}
        assert len(keys) == 2
        assert not any("sk-" in key for key in keys)


class TestWhenALimitIsReached:
    @pytest.mark.parametrize("strategy", ["tier", "chain"])
    async def test_the_next_candidate_is_asked_and_nothing_is_wasted(self, strategy):
        net, events = Net(), []
        router = manager(net, candidate("a", Limit("requests", 200, Rolling(86400))), candidate("b"), strategy=strategy)
        for _ in range(250):
            await router.complete(ASK, emit=events.append)
        assert net.calls == {"a": 200, "b": 50}
        assert [e.provider for e in events if isinstance(e, AttemptStarted)].index("b") == 200
        reasons = [e.refused["a/m"] for e in events if isinstance(e, RouteChosen) and e.refused]
        assert reasons[0] == "its limit of 200 requests in 24 h is used up until 2026-11-21T12:24:00Z"
        assert router.fleet.states["a/m"].blocked_until(clock())[0] == NOON + 86400 + 1440

    async def test_a_turn_waits_for_the_earliest_instant_within_its_deadline(self):
        net, events = Net(), []
        router = manager(net, candidate("a", Limit("requests", 1, Fixed(10))))
        await router.complete(ask(30))
        await router.complete(ask(30), emit=events.append)
        (waited,) = [e for e in events if isinstance(e, WaitingForProvider)]
        assert 0 <= waited.until - NOON - 10 <= 0.25
        with pytest.raises(NoRoute) as refused:
            await router.complete(ask(5))
        assert refused.value.earliest == NOON + 20

    async def test_calls_are_spaced_by_500_ms(self):
        net = Net()
        net.rolling = (1, 0.5)
        router = manager(net, candidate("a", Limit("requests", 1, Paced(0.5))))
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(router.complete, ask(60))
        assert net.calls["a"] == 12
        assert net.violations == 0
        assert clock() - NOON >= 5.5

    async def test_a_large_call_waits_while_a_small_one_goes(self):
        router = manager(Net(), candidate("a", Limit("total", 100, Rolling(60))))
        await router.complete(ASK)
        large = Request((user("hi " * 80),), max_output_tokens=10, needs=Needs(deadline_s=1))
        with pytest.raises(NoRoute):
            await router.complete(large)
        await router.complete(ask(1))

    async def test_what_can_never_fit_says_so(self):
        router = manager(Net(), candidate("a", Limit("input", 10, Rolling(60))))
        with pytest.raises(NoRoute, match="more than its limit of 10 input in 1 min allows at all"):
            await router.complete(Request((user("hi " * 80),)))

    async def test_an_answer_expected_to_be_long_fits_an_empty_window(self):
        router = manager(Net(), candidate("a", Limit("total", 100, Rolling(60))))
        await router.complete(Request((user("hi"),), max_output_tokens=900))
        assert await used(router, "a") == 30

    async def test_calls_that_come_back_with_less_make_room_at_once(self):
        net = Net()
        net.seconds = 1
        router = manager(net, candidate("a", Limit("total", 100, Rolling(3600))))
        async with anyio.create_task_group() as tasks:
            for _ in range(2):  # each holds 55, and comes to 30
                tasks.start_soon(router.complete, ask(30))
        assert clock() - NOON < 3

    @pytest.mark.long
    @pytest.mark.parametrize("seconds", [0.0, pytest.param(0.8, marks=pytest.mark.long)])
    async def test_three_times_the_load_meets_no_429_and_uses_the_limit(self, seconds):
        net = Net()
        net.seconds, net.rolling = seconds, (60, 60)
        router = manager(net, candidate("a", Limit("requests", 60, Rolling(60))))
        done = []

        async def caller(number):
            await anyio.sleep(number / 3)
            with suppress(NoRoute, AllAttemptsFailed):
                done.append(await router.complete(ask(20)))

        async with anyio.create_task_group() as tasks:
            for number in range(1800):  # three a second for ten minutes; one a second is allowed
                tasks.start_soon(caller, number)
        assert net.violations == 0
        assert len(done) >= 0.95 * 60 * 10

    async def test_a_crowd_that_waits_for_one_place_does_not_all_go_to_the_ledger_for_it(self):
        class Far(MemoryLedger):
            asked = 0

            async def reserve(self, amounts, lease, now, ttl):
                self.asked += 1
                await anyio.sleep(0.1)
                return await super().reserve(amounts, lease, now, ttl)

        one, seconds = candidate("a", Limit("requests", 1, Fixed(1))), 10
        router, ledger = manager(Net(), one), Far()
        router.reservations.ledger = ledger
        done = []

        async def caller():
            with suppress(NoRoute):
                done.append(await router.complete(ask(seconds)))

        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(caller)
        assert len(done) == seconds
        assert ledger.asked <= (AT_ONCE + 1) * (seconds + 1)

    async def test_a_policy_adopted_meanwhile_brings_its_own_limits(self):
        router = manager(Net(), candidate("a", Limit("requests", 1, Rolling(86400))))
        await router.complete(ASK)
        with pytest.raises(NoRoute):
            await router.complete(ask(1))
        router.fleet.adopt(router.fleet.policy, [candidate("a", Limit("requests", 2, Rolling(86400)))])
        await router.complete(ask(1))
        with pytest.raises(NoRoute):
            await router.complete(ask(1))
        router.fleet.adopt(router.fleet.policy, [candidate("a", Limit("requests", 2, Rolling(86400)))])
        assert router.fleet.states["a/m"].blocked_until(clock())


class TestTheProvidersWord:
    async def test_a_spent_day_costs_one_call_until_its_reset(self):
        reset = 3600.0
        net = Net(a=lambda n: HttpReply(429, {"retry-after": f"{reset - (clock() - NOON)}"}, b"day"))
        day = Limit("requests", 1000, Rolling(86400))
        first, second = manager(net, candidate("a", day), candidate("b")), None
        for _ in range(50):
            await first.complete(ASK)
        assert net.calls["a"] == 1
        second = manager(net, candidate("a", day), candidate("b"))  # another process on the same ledger
        second.reservations.ledger = first.reservations.ledger
        for _ in range(50):
            await second.complete(ASK)
        assert net.calls == {"a": 1, "b": 100}
        await anyio.sleep(reset)
        await second.complete(ASK)
        assert net.calls["a"] == 2

    async def test_headers_take_room_away(self):
        headers = {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "2"}
        net = Net(a=HttpReply(200, {**headers, "x-ratelimit-reset-requests": "30s"}, b""))
        router = manager(net, candidate("a", Limit("requests", 10, Rolling(60))), candidate("b"))
        for _ in range(5):
            await router.complete(ASK)
        assert net.calls == {"a": 3, "b": 2}

    async def test_published_limits_are_hints_once_the_provider_confirms_them(self):
        published = Limit("requests", 1, Rolling(86400), published=True)
        net = Net(a=lambda n: HttpReply(200, {"x-ratelimit-limit-requests": "40", remaining: str(40 - n)}, b""))
        remaining = "x-ratelimit-remaining-requests"
        router = manager(net, candidate("a", published, quirks=Quirks(request_window=86400)))
        state = router.fleet.states["a/m"]
        assert state.headroom is None
        for _ in range(36):
            await router.complete(ASK)
        assert state.headroom is None
        await router.complete(ASK)
        assert net.calls["a"] == 37
        assert state.headroom == 0.075
        assert state.blocked_until(clock()) is None
        await anyio.sleep(61)
        state.blocked_until(clock())
        assert state.headroom is None


async def test_a_ledger_that_is_down_ends_no_turn(tmp_path):
    (tmp_path / "limits").write_bytes(b"no database" * 99)
    a = candidate("a", Limit("requests", 8, Rolling(60)))
    policy = Policy({"worker": ("a/m",)}, last_resort=())
    ledger = SqliteLedger(tmp_path / "limits")
    router = ProviderManager([a], policy, adapters={"test": Dialect()}, transport=Net(), clock=clock, ledger=ledger)
    for _ in range(2):  # its share of eight
        await router.complete(ask(1))
    with pytest.raises(NoRoute):
        await router.complete(ask(1))
    await ledger.aclose()


async def test_without_limits_nothing_is_asked_of_the_ledger():
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(json.dumps(name))

    router = manager(Net(), candidate("a"))
    router.reservations.ledger = Untouchable()
    await router.complete(ASK)
    async with router.stream(ASK) as deltas:
        assert [delta.text async for delta in deltas] == ["hel", "lo", ""][:2]
