"""Short deadlines: who is asked, who answers, and when exactly a turn ends. On a clock that jumps."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import anyio
import pytest
from trio.testing import MockClock

from providers.adapters import HttpReply, HttpRequest
from providers.catalog.model import Candidate, Limit, Model, Price, Provider
from providers.client.manager import ProviderManager, built_in
from providers.errors import AllAttemptsFailed, ProviderError, TimedOut
from providers.limits.ledger.memory import MemoryLedger
from providers.messages import Needs, Request, Response, TextDelta, user
from providers.policy.model import Policy
from providers.routing.health import CLOSED, FAIR_S, FAULTS_TO_OPEN
from providers.windows import Rolling
from tests.providers.exam.wire import DONE, TEXT, body, event, finished, spoken

pytestmark = pytest.mark.anyio

CHAT = "openai-chat"
TURNS = 12
HOW = pytest.mark.parametrize("how", ["complete", "stream"])


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def forever(piece: bytes, every: float) -> AsyncIterator[bytes]:
    while True:
        yield piece
        await anyio.sleep(every)


async def says(*pieces: bytes | float) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, float):
            await anyio.sleep(piece)
        else:
            yield piece


ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
STREAMS = {
    "first byte": lambda: says(1e9),
    "comments": lambda: forever(b": keep-alive\n\n", 0.1),
    "blank lines": lambda: forever(b"\r\n", 0.1),
    "roles": lambda: forever(ROLE, 0.1),
    "letters": lambda: forever(b"d", 0.1),
    "stall": lambda: says(spoken(CHAT, "Hel"), 1e9),
    "talks": lambda: forever(spoken(CHAT, "word "), 0.3),
}
HANGS = ["connect", "head", "first byte", "comments", "blank lines", "roles", "letters"]


class Socket:
    status, headers = 200, {}

    def __init__(self, net: Net, pieces: AsyncIterator[bytes]) -> None:
        self.net, self.pieces = net, pieces
        net.open += 1

    async def read(self) -> bytes:
        return await anext(self.pieces, b"")

    async def aclose(self) -> None:
        self.net.open -= 1


class Net:
    """A transport that keeps to no limit itself: each provider behaves as its word says."""

    def __init__(self, **behaviours: str) -> None:
        self.behaviours, self.calls, self.open = behaviours, list[str](), 0

    async def _begun(self, request: HttpRequest) -> str:
        name = request.url.split("/")[2]
        self.calls.append(name)
        behaviour = self.behaviours[name]
        if behaviour in ("connect", "head"):
            await anyio.sleep_forever()
        kind, _, seconds = behaviour.partition("=")
        if kind == "slow":
            await anyio.sleep(float(seconds))
        return kind

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        if await self._begun(request) not in ("well", "slow"):
            await anyio.sleep_forever()
        return HttpReply(200, {}, body(CHAT))

    async def open_stream(self, request: HttpRequest, **limits: float) -> Socket:
        kind = await self._begun(request)
        return Socket(self, STREAMS.get(kind, lambda: says(spoken(CHAT), finished(CHAT), DONE))())


def manager_of(
    net: Net, ledger: MemoryLedger | None = None, limits: tuple[Limit, ...] = (), **policy
) -> ProviderManager:
    model = Model("m", context=8192, max_output=512, price=Price(0, 0))
    candidates = [
        Candidate(Provider(name, CHAT, f"https://{name}/v1", "KEY", {"m": model}, limits=limits), model, key="key")
        for name in net.behaviours
    ]
    given = {"strategy": "chain", "last_resort": (), **policy}
    return ProviderManager(
        candidates,
        Policy({"worker": tuple(c.name for c in candidates)}, **given),
        adapters=built_in(),
        transport=net,
        clock=anyio.current_time,
        rng=Random(1),
        ledger=ledger,
    )


async def ask(manager: ProviderManager, how: str, deadline: float) -> Response:
    request = Request((user("hi"),), max_output_tokens=50, needs=Needs(deadline_s=deadline))
    if how == "complete":
        return await manager.complete(request)
    async with manager.stream(request) as deltas:
        async for _ in deltas:
            pass
    return deltas.response


async def ended(manager: ProviderManager, how: str, deadline: float) -> tuple[Response | Exception, float]:
    began = anyio.current_time()
    try:
        answer: Response | Exception = await ask(manager, how, deadline)
    except (ProviderError, AllAttemptsFailed) as error:
        answer = error
    return answer, anyio.current_time() - began


@HOW
@pytest.mark.parametrize("hang", HANGS)
@pytest.mark.parametrize(("deadline", "candidates"), [(5.0, 2), (5.0, 3), (5.0, 4), (3.0, 2), (4.0, 3), (2.0, 4)])
@pytest.mark.few(42)
async def test_all_but_the_last_hang_and_every_turn_is_answered_in_time(how, hang, deadline, candidates):
    names = [f"p{n}" for n in range(candidates)]
    net = Net(**{**dict.fromkeys(names, hang), names[-1]: "well"})
    manager = manager_of(net)
    for turn in range(TURNS):
        answer, took = await ended(manager, how, deadline)
        assert isinstance(answer, Response), (turn, answer)
        assert (answer.text, answer.provider) == (TEXT, names[-1])
        assert took <= deadline
        await anyio.sleep(1.0)
    assert net.open == 0
    if deadline / candidates >= FAIR_S:
        assert Counter(net.calls)[names[0]] == FAULTS_TO_OPEN, "who had a fair time and hung is left alone"


@HOW
@pytest.mark.parametrize("hang", [*HANGS, "stall"])
@pytest.mark.parametrize("deadline", [0.0, 0.001, 0.05, 1.0, 5.0])
@pytest.mark.parametrize("hedge", [None, 0.3])
@pytest.mark.parametrize("on_break", ["error", "restart"])
@pytest.mark.few(160)
async def test_where_all_hang_the_turn_ends_at_its_deadline(how, hang, deadline, hedge, on_break):
    net = Net(a=hang, b=hang, c=hang)
    answer, took = await ended(manager_of(net, hedge_after=hedge, on_break=on_break), how, deadline)
    assert isinstance(answer, (TimedOut, AllAttemptsFailed))
    assert took == pytest.approx(deadline, abs=0.01)
    assert net.open == 0


@HOW
async def test_a_hedge_and_its_first_leave_time_for_the_third(how):
    net = Net(a="head", b="head", c="well")
    answer, took = await ended(manager_of(net, hedge_after=0.5), how, 3.0)
    assert isinstance(answer, Response)
    assert answer.provider == "c"
    assert net.calls == ["a", "b", "c"]
    assert took <= 3.0


@HOW
@pytest.mark.parametrize("deadline", [0.05, 0.3])
async def test_an_absurd_haste_opens_no_breaker(how, deadline):
    net = Net(a="slow=0.4", b="slow=0.4")
    manager = manager_of(net)
    for _ in range(10):
        answer, _ = await ended(manager, how, deadline)
        assert isinstance(answer, AllAttemptsFailed)
    assert {state.breaker for state in manager.fleet.states.values()} == {CLOSED}
    answer, _ = await ended(manager, how, 5.0)
    assert answer.provider == "a"


@HOW
async def test_a_well_fleet_that_is_slow_answers_what_it_usually_can(how):
    """An even share of the deadline would be too little for each of four."""
    net = Net(**dict.fromkeys("abcd", "slow=1.5"))
    manager = manager_of(net)
    assert isinstance((await ended(manager, how, 60.0))[0], Response)
    for _ in range(5):
        answer, _ = await ended(manager, how, 5.0)
        assert (answer.provider, len(answer.attempts)) == ("a", 1)


async def test_a_deadline_in_the_middle_of_a_stream_that_speaks_is_the_callers_alone():
    net = Net(a="talks", b="well")
    manager = manager_of(net)
    for _ in range(5):
        error, took = await ended(manager, "stream", 15.0)
        assert isinstance(error, TimedOut)
        assert (error.phase, took) == ("total", pytest.approx(15.0))
    assert manager.fleet.states["a/m"].breaker == CLOSED
    assert net.open == 0


async def test_a_stall_after_the_first_word_is_the_providers_fault_under_a_short_deadline_too():
    manager = manager_of(Net(a="stall"))
    for _ in range(FAULTS_TO_OPEN):
        error, took = await ended(manager, "stream", 5.0)
        assert isinstance(error, TimedOut)
        assert took == pytest.approx(5.0)
    assert manager.fleet.states["a/m"].breaker.state(anyio.current_time()) == "open"


async def test_a_stall_after_the_first_word_leaves_time_for_who_begins_anew():
    net, said = Net(a="stall", b="well"), list[str]()
    manager, began = manager_of(net, on_break="restart"), anyio.current_time()
    async with manager.stream(Request((user("hi"),), needs=Needs(deadline_s=5.0))) as deltas:
        async for delta in deltas:
            said.append(delta.text if isinstance(delta, TextDelta) else type(delta).__name__)
    assert said == ["Hel", "Restarted", TEXT]
    assert anyio.current_time() - began <= 5.0


@HOW
async def test_a_slow_ledger_takes_its_time_from_the_attempt_and_not_from_the_deadline(how):
    class Slow(MemoryLedger):
        async def reserve(self, *reservation, **more):
            await anyio.sleep(0.7)
            return await super().reserve(*reservation, **more)

    plenty = (Limit("requests", 1_000_000, Rolling(86400)),)
    answer, took = await ended(manager_of(Net(a="head", b="head"), Slow(), plenty), how, 3.0)
    assert isinstance(answer, AllAttemptsFailed)
    assert took == pytest.approx(3.0, abs=0.01)
