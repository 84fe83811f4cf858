"""What calls of many processes hold of a run's caps, as the journals keep it that several processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import anyio
import pytest

from orchestrator.events import Event, TaskEnded, TaskStarted
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import Fenced, HeldCall, HoldChanges, RunManifest, SharedJournal
from orchestrator.units import Unit
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
A, B = Unit("a"), Unit("b", "S/1 🦊\0", 2)
KINDS = (TaskStarted,)


@pytest.fixture(params=["memory", "postgres"])
async def journal(request: pytest.FixtureRequest) -> AsyncIterator[SharedJournal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    async with open_journal(request.getfixturevalue("postgres_url")) as opened:
        yield opened


def event(seq: int, unit: Unit | None = A) -> Event:
    return Event("r", unit, (), 0, seq, 0.0, TaskStarted("a", 1, "mary"))


async def claimed(journal: SharedJournal, unit: Unit) -> int:
    fence = await journal.claim("r", unit, "me")
    assert fence is not None
    return fence


def call(name: str, unit: Unit, fence: int, *, waits: bool = False) -> HeldCall:
    return HeldCall(name, unit, fence, 7, 1 << 60, 1, ("squad", "agent \ud800\0🦊"), waits)


async def held(journal: SharedJournal) -> list[HeldCall]:
    """Return what is held, without its numbers, and with what a column holds."""
    found: list[HeldCall] = []

    def look(events: Sequence[tuple[int, Event]], holds: Sequence[HeldCall]) -> HoldChanges:
        found[:] = holds
        return HoldChanges()

    await journal.hold("r", KINDS, 0, look)
    numbers = [one.number for one in found]
    assert numbers == sorted(set(numbers))
    return [one._replace(number=0, tokens=1 << 60) for one in found]


async def put(journal: SharedJournal, *calls: HeldCall, drop: Sequence[str] = ()) -> list[str]:
    """Put holds, and return the names of those that are none."""
    return [one.id for one in await journal.hold("r", KINDS, 0, lambda *_: HoldChanges(calls, drop))]


async def test_what_one_holds_the_next_one_sees_in_the_order_in_which_they_came(journal: SharedJournal) -> None:
    first, second = await claimed(journal, A), await claimed(journal, B)
    assert await put(journal, call("z", A, first), call("y", B, second, waits=True)) == []
    assert await put(journal, call("x", A, first)) == []
    assert [one.id for one in await held(journal)] == ["z", "y", "x"]
    await put(journal, call("y", B, second), drop=["z"])
    assert await held(journal) == [call("y", B, second), call("x", A, first)], "who waited keeps its place"


async def test_a_hold_of_a_unit_that_ended_or_was_claimed_by_another_is_none(journal: SharedJournal) -> None:
    first, second = await claimed(journal, A), await claimed(journal, B)
    await put(journal, call("x", A, first), call("y", B, second))
    await journal.end("r", A, first)
    assert await held(journal) == [call("y", B, second)]
    again = await claimed(journal, B)
    assert await held(journal) == []
    refused = await put(
        journal, call("a", A, first), call("b", B, second), call("c", B, again), call("d", Unit("d"), 1)
    )
    assert refused == ["a", "b", "d"]
    assert await held(journal) == [call("c", B, again)]


async def test_a_hold_goes_with_the_record_of_its_call_or_not_at_all(journal: SharedJournal) -> None:
    fence = await claimed(journal, A)
    await put(journal, call("x", A, fence), call("y", A, fence))
    await journal.record_calls("r", A, fence, [event(1)], ["x"])
    assert await held(journal) == [call("y", A, fence)]
    with pytest.raises(Fenced):
        await journal.record_calls("r", A, fence - 1, [event(2)], ["y"])
    assert (await held(journal), list(await journal.events("r"))) == ([call("y", A, fence)], [event(1)])


async def test_it_is_decided_by_what_is_recorded_since(journal: SharedJournal) -> None:
    fence, told = await claimed(journal, A), list[Sequence[tuple[int, Event]]]()
    other = Event("r", A, (), 0, 2, 0.0, TaskEnded("a", "ok", None))
    await journal.record("r", A, fence, [event(1), other, event(3)])
    for after in (0, 1, 3):
        await journal.hold("r", KINDS, after, lambda events, _: told.append(events) or HoldChanges())
    assert [list(each) for each in told] == [[(1, event(1)), (3, event(3))], [(3, event(3))], []]


async def test_a_run_that_is_gone_holds_nothing(journal: SharedJournal) -> None:
    await journal.create("r", RunManifest("one"))
    await put(journal, call("x", A, await claimed(journal, A)))
    assert await journal.remove("r")
    assert await put(journal, call("x", A, 1)) in (["x"], [])
    await claimed(journal, A)
    assert await held(journal) == []


async def test_who_waits_is_woken_by_what_is_recorded_and_by_what_is_freed(journal: SharedJournal) -> None:
    fence, woken = await claimed(journal, A), anyio.Event()

    async def wait() -> None:
        async with aclosing(journal.stirs("r")) as stirs:
            async for _ in stirs:
                woken.set()

    async def until_woken() -> None:
        nonlocal woken
        await woken.wait()
        woken = anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(PATIENCE_S):
            await journal.record("r", A, fence, [event(1)])
            await until_woken()
            await put(journal, call("x", A, fence))
            await put(journal, drop=["x"])
            await until_woken()
        tasks.cancel_scope.cancel()


async def test_two_processes_never_hold_more_than_there_is(postgres_url: str) -> None:
    async with open_journal(postgres_url) as one, open_journal(postgres_url) as other:
        fences = [await claimed(one, A), await claimed(other, B)]
        granted = [0, 0]

        async def ask(which: int, number: int) -> None:
            journal: SharedJournal = (one, other)[which]  # type: ignore[assignment]  # the URL is of one
            mine = call(f"{which} {number}", (A, B)[which], fences[which])

            def decide(_: object, holds: Sequence[HeldCall]) -> HoldChanges:
                return HoldChanges([mine] if len(holds) < 25 else [])

            await journal.hold("r", KINDS, 0, decide)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                for which in (0, 1):
                    tasks.start_soon(ask, which, number)
        found = await held(one)  # type: ignore[arg-type]  # as above
        for hold in found:
            granted[hold.unit == B] += 1
        assert sum(granted) == 25
        assert all(granted)
