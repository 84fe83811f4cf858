"""The journal's contract. Every implementation is driven through it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from math import inf
from pathlib import Path

import anyio
import pytest

from agents.events import TurnEnded, TurnStarted
from agents.run_context import StepKey
from orchestrator.errors import RunNotFound
from orchestrator.events import Event, GateOpened, RunFinished, RunForked, RunResumed, TaskStarted
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import (
    Fenced,
    Go,
    InFlightStep,
    Journal,
    Recorded,
    RunBusy,
    RunExists,
    RunManifest,
    StepChanged,
    StepRecord,
)
from orchestrator.journal.spent import Spending, SpentRow
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.units import Unit
from providers.events import AttemptEnded
from providers.messages import FinishReason, Usage
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
A = Unit("a")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def journal(request: pytest.FixtureRequest, anyio_backend_name: str, tmp_path: Path) -> AsyncIterator[Journal]:
    if request.param == "postgres":
        if anyio_backend_name != "asyncio":
            pytest.skip("PostgreSQL's client runs on asyncio alone")
        async with open_journal(request.getfixturevalue("postgres_url")) as cluster:
            yield cluster
        return
    made: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    yield made
    await made.aclose()


def key(name: str) -> StepKey:
    return StepKey((), 0, name)


def event(seq: int) -> Event:
    return Event("r", A, (), 0, seq, 0.0, TaskStarted("a", 1, "mary"))


async def held(journal: Journal) -> int:
    fence = await journal.claim("r", A, "me")
    assert fence is not None
    return fence


async def test_a_finished_step_is_handed_back_for_ever(journal: Journal) -> None:
    fence = await held(journal)
    assert await journal.begin("r", A, key("turn-1"), b"h", fence) == Go(1)
    await journal.finish("r", A, key("turn-1"), fence, {"said": "🦊"})
    assert await journal.begin("r", A, key("turn-1"), b"h", fence) == Recorded({"said": "🦊"})
    later = await held(journal)
    assert await journal.begin("r", A, key("turn-1"), b"h", later) == Recorded({"said": "🦊"})


@pytest.mark.parametrize("asked", [b"h", b"other"])
@pytest.mark.parametrize("ended", ["in flight", "given up", "cut short twice"])
async def test_an_edit_ends_a_step_that_was_begun(journal: Journal, asked: bytes, ended: str) -> None:
    await journal.create("r", RunManifest("one"))
    fence = await held(journal)
    await journal.begin("r", A, key("turn-1"), asked, fence)
    if ended == "given up":
        await journal.give_up("r", A, key("turn-1"), fence)
    if ended == "cut short twice":
        fence = await held(journal)
        await journal.begin("r", A, key("turn-1"), asked, fence)
    step = StepRecord(A, key("turn-1"), b"h", True, "taken", False)
    await journal.edit("r", RunManifest("two"), (), [step])
    assert await journal.steps("r") == [step]
    assert await journal.cut_short("r") == []
    await journal.finish("r", A, key("turn-1"), fence, "late")
    assert await journal.begin("r", A, key("turn-1"), b"h", fence) == Recorded("taken")
    later = await held(journal)
    with pytest.raises(StepChanged):
        await journal.begin("r", A, key("turn-1"), b"another", later)
    assert await journal.begin("r", A, key("turn-1"), b"h", later) == Recorded("taken")


async def test_an_edit_leaves_a_result_that_is_there(journal: Journal) -> None:
    await journal.create("r", RunManifest("one"))
    fence = await held(journal)
    await journal.begin("r", A, key("turn-1"), b"h", fence)
    await journal.finish("r", A, key("turn-1"), fence, "first")
    await journal.edit("r", RunManifest("two"), (), [StepRecord(A, key("turn-1"), b"other", True, "taken", False)])
    assert await journal.begin("r", A, key("turn-1"), b"h", fence) == Recorded("first")


async def test_a_step_cut_short_runs_again_under_the_same_key(journal: Journal) -> None:
    assert await journal.begin("r", A, key("turn-1"), b"h", await held(journal)) == Go(1)
    assert await journal.begin("r", A, key("turn-1"), b"h", await held(journal)) == Go(2)


async def test_a_units_own_events_and_those_of_a_kind_are_found_among_all(journal: Journal) -> None:
    b, fence = Unit("b", "S/1", 2), await held(journal)
    inside = Event("r", A, ("try-1",), 1, 1, 0.0, TurnStarted("mary", 1))
    await journal.append("r", [Event("r", None, (), 0, 1, 0.0, RunResumed((), ()))])
    await journal.record("r", A, fence, [inside, event(1)])
    await journal.append("r", [Event("r", b, ("try-1",), 0, 1, 0.0, TurnStarted("bob", 1))])
    assert await journal.events_of_unit("r", A) == [inside, event(1)]
    assert [one.unit for one in await journal.events_of_unit("r", b)] == [b]
    assert await journal.events_of_unit("r", Unit("b")) == []
    assert [seq for seq, _ in await journal.events_of_kinds("r", (TurnStarted, RunResumed))] == [1, 2, 4]
    assert [seq for seq, _ in await journal.events_of_kinds("r", (TurnStarted,), 2)] == [4]
    with pytest.raises(Fenced):
        await journal.record("r", A, fence + 1, [event(2)])
    assert len(await journal.events("r")) == 4


async def test_steps_cut_short_are_told_of_one_unit_alone(journal: Journal) -> None:
    fence = await held(journal)
    await journal.begin("r", A, key("turn-1"), b"h", fence)
    other = await journal.claim("r", Unit("b"), "me")
    assert other is not None
    await journal.begin("r", Unit("b"), key("turn-1"), b"h", other)
    assert await journal.cut_short("r", A) == [InFlightStep(A, key("turn-1"))]
    assert len(await journal.cut_short("r")) == 2


async def test_a_stale_owner_writes_nothing(journal: Journal) -> None:
    old = await held(journal)
    await journal.begin("r", A, key("turn-1"), b"h", old)
    new = await held(journal)
    assert new > old
    with pytest.raises(Fenced):
        await journal.finish("r", A, key("turn-1"), old, "late")
    with pytest.raises(Fenced):
        await journal.end("r", A, old)
    assert isinstance(await journal.begin("r", A, key("turn-1"), b"h", new), Go)


async def test_another_request_under_a_recorded_key_is_refused(journal: Journal) -> None:
    fence = await held(journal)
    await journal.begin("r", A, key("turn-1"), b"h", fence)
    await journal.finish("r", A, key("turn-1"), fence, "x")
    with pytest.raises(StepChanged, match="turn-1"):
        await journal.begin("r", A, key("turn-1"), b"other", fence)


async def test_an_ended_unit_is_not_claimed_again_but_a_parked_one_is(journal: Journal) -> None:
    await journal.park("r", A, await held(journal))
    await journal.end("r", A, await held(journal))
    assert await journal.claim("r", A, "me") is None


async def test_the_first_result_of_a_step_stays(journal: Journal) -> None:
    fence = await held(journal)
    await journal.begin("r", A, key("turn-1"), b"h", fence)
    await journal.finish("r", A, key("turn-1"), fence, "first", [event(1)])
    await journal.finish("r", A, key("turn-1"), fence, "second", [event(1), event(2)])
    assert await journal.begin("r", A, key("turn-1"), b"h", fence) == Recorded("first")
    assert await journal.events("r") == [event(1), event(2)]


async def test_every_call_brings_its_events_in_order(journal: Journal) -> None:
    fence = await held(journal)
    await journal.begin("r", A, key("turn-1"), b"h", fence, [event(1)])
    await journal.finish("r", A, key("turn-1"), fence, "x", [event(2)])
    await journal.park("r", A, fence, [event(3)])
    fence = await held(journal)
    await journal.end("r", A, fence, [event(4)])
    await journal.append("r", [event(5)])
    assert [found.seq for found in await journal.events("r")] == [1, 2, 3, 4, 5]
    assert [found.seq for found in await journal.events("r", after_seq=3)] == [4, 5]


async def test_what_was_cut_short_is_known_until_it_is_finished_given_up_or_its_unit_ended(journal: Journal) -> None:
    fence = await held(journal)
    for name in ("given up", "finished", "begun again", "cut"):
        await journal.begin("r", A, key(name), b"h", fence)
    await journal.finish("r", A, key("finished"), fence, "x")
    await journal.give_up("r", A, key("given up"), fence)
    await journal.give_up("r", A, key("begun again"), fence)
    await journal.begin("r", A, key("begun again"), b"h", fence)
    assert await journal.cut_short("r") == [InFlightStep(A, key("begun again")), InFlightStep(A, key("cut"))]
    await journal.end("r", A, fence)
    assert await journal.cut_short("r") == []


async def test_a_run_is_made_once_and_known_by_what_it_is_made_of(journal: Journal) -> None:
    manifest = RunManifest(
        "pair", "/x/squad.yaml", "name: pair 🦊" * 99, {"idea": ["tea", 1.5]}, {"task a": "d"}, {"stub": True}, 7.5
    )
    await journal.create("r", manifest)
    assert await journal.manifest("r") == manifest
    with pytest.raises(RunExists):
        await journal.create("r", manifest)
    with pytest.raises(RunNotFound):
        await journal.manifest("other")
    assert await journal.events("other") == []


async def test_runs_are_listed_newest_first_with_how_they_ended(journal: Journal) -> None:
    for name in ("one", "two", "three"):
        await journal.create(name, RunManifest(name))
    finished = RunFinished("one", "waiting", {}, {}, Usage(), 12, {}, False)
    await journal.append("one", [Event("one", None, (), 0, 1, 0.0, finished)])
    await journal.append(
        "two", [Event("two", None, (), 0, 1, 0.0, finished), Event("two", None, (), 0, 2, 0.0, RunResumed((), ()))]
    )
    lines = [(line.run, line.status, line.cost) for line in await journal.runs()]
    assert lines == [("three", "running", None), ("two", "running", None), ("one", "waiting", 12)]
    assert [line.run for line in await journal.runs(limit=1)] == ["three"]
    assert [line.run for line in await journal.runs(1, skip=1)] == ["two"]
    assert [line.run for line in await journal.runs(None, skip=1)] == ["two", "one"]
    assert await journal.runs(5, skip=3) == []
    counts = [
        await journal.run_count(),
        await journal.run_count(statuses=["running"]),
        await journal.run_count(squad="-"),
    ]
    assert counts == [3, len(await journal.runs(statuses=["running"])), 0]
    assert await journal.runs(asking=True) == []
    asks = Event("two", A, (), 0, 1, 0.0, GateOpened("a", "?", ("approve",), {}, 1))
    await journal.append("two", [asks])
    await journal.append("three", [asks._replace(run_id="three")])
    for _ in range(2):
        assert [line.run for line in await journal.runs(statuses=["running"], asking=True)] == ["three", "two"]
    assert [line.run for line in await journal.runs(1, asking=True, skip=1)] == ["two"]
    await journal.remove("three")
    await journal.create("three", RunManifest("three"))
    assert [line.run for line in await journal.runs(asking=True)] == ["two"]


async def test_one_driver_a_run(journal: Journal) -> None:
    async with journal.driving("r"):
        with pytest.raises(RunBusy):
            async with journal.driving("r"):
                raise AssertionError("two at once")
        async with journal.driving("other"):
            pass
    async with journal.driving("r"):
        pass


async def test_whether_a_run_is_driven_is_known_and_room_is_given_back_only_where_none_is(journal: Journal) -> None:
    await journal.create("r", RunManifest("one"))
    async with journal.driving("r"):
        assert await journal.is_driven("r")
        assert not await journal.is_driven("other")
        assert not await journal.reclaim()
    assert not await journal.is_driven("r")
    assert await journal.reclaim()
    assert await journal.room() >= 0


async def test_what_was_spent_is_what_turns_and_lost_attempts_took_but_not_what_a_fork_took_over(
    journal: Journal,
) -> None:
    usage = Usage(10, output=5)
    lost = AttemptEnded(1, "p", "m", "failed", "Timeout", None, 1.0, usage=usage, cost=2)
    refused = AttemptEnded(1, "p", "m", "failed", "RateLimited", None, 1.0)
    turn = TurnEnded("ann", 1, "p", "m", usage, 7, FinishReason.STOP)
    said = (TurnStarted("ann", 1), lost, turn, TaskStarted("a", 1, "mary"))
    events = [Event("r", A, ("try-1",), 0, seq, float(seq), data) for seq, data in enumerate(said, 1)]
    other = [Event("r", Unit("b"), ("try-1",), 0, seq, 9.0, data) for seq, data in enumerate((said[0], refused), 1)]
    await journal.append("r", [*events, *other])
    forked = Event("f", None, (), 0, 1, 10.0, RunForked("r", ("a",), (), (), usage, 7))
    own = Event("f", A, ("try-1",), 0, 9, 11.0, turn)
    await journal.append("f", [*[event._replace(run_id="f") for event in events], forked, own])
    turns = Spending(turns=2, input=20, output=10, cost=14)
    assert {row.names: row.spending for row in await journal.spent(["run", "agent", "model", "task", "quarter"])} == {
        ("r", "ann", "p/m", "a", 0): Spending(1, 1, 20, 10, 0, 0, 9),
        ("f", "ann", "p/m", "a", 0): Spending(1, 0, 10, 5, 0, 0, 7),
    }
    assert await journal.spent(["provider"], 3.0) == [SpentRow(("p",), turns)]
    assert await journal.spent(["squad"], 100.0) == []
    assert await journal.spent([], 100.0) == []
    in_all = Spending(2, 1, 30, 15, 0, 0, 16)
    assert await journal.spent_in_ways((["provider", "model"], 0.0), (["provider"], 3.0), (["squad"], 100.0)) == [
        [SpentRow(("p", "p/m"), in_all)],
        [SpentRow(("p",), turns)],
        [],
    ]
    assert await journal.spent_in_ways() == []
    assert await journal.turns(0.0, inf, 100) == [*events[:3], *other, own]
    assert await journal.turns(2.0, 9.0, 100) == events[1:3]
    assert await journal.turns(0.0, inf, 1) == [*other, own]


async def test_what_was_given_is_recorded_when_its_driver_leaves(journal: Journal) -> None:
    """Whoever drives next must find all of it, also where the first one was cancelled in the middle of it."""
    given = anyio.Event()

    async def record() -> None:
        given.set()
        await journal.append("r", [event(n) for n in range(1, 500)])

    async with anyio.create_task_group() as tasks, journal.driving("r"):
        tasks.start_soon(record)
        await given.wait()
        tasks.cancel_scope.cancel()
    assert len(await journal.events("r")) == 499


async def test_a_journal_may_be_closed_twice_and_leaves_no_writer(journal: Journal) -> None:
    await journal.append("r", [event(1)])
    for _ in range(2):
        await journal.aclose()
        assert not [thread.name for thread in threading.enumerate() if "journal" in thread.name.lower()]


async def test_signals_count_once(journal: Journal) -> None:
    await journal.signal("r", "approve", "approve", "k1")
    await journal.signal("r", "approve", "reject", "k1")
    await journal.signal("r", "approve", "reject", "k2")
    assert list(await journal.signals("r")) == [("approve", "approve"), ("approve", "reject")]


async def test_who_watches_for_signals_gets_each_once_those_before_and_those_after(journal: Journal) -> None:
    told: list[object] = []
    first, all_of_them = anyio.Event(), anyio.Event()

    async def watch() -> None:
        async with aclosing(journal.watch_signals("r")) as signals:
            async for _, value in signals:
                told.append(value)
                first.set()
                if value == "last":
                    all_of_them.set()

    await journal.signal("r", "gate", "before", "k1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        with anyio.fail_after(PATIENCE_S):
            await first.wait()
            await journal.signal("other", "gate", "elsewhere", "k1")
            await journal.signal("r", "gate", "again", "k1")
            await journal.signal("r", "gate", "after", "k2")
            await journal.signal("r", "gate", "last", "k3")
            await all_of_them.wait()
        tasks.cancel_scope.cancel()
    assert told == ["before", "after", "last"]


async def test_cancel_is_asked_for_not_done(journal: Journal) -> None:
    assert not await journal.cancel_requested("r")
    await journal.request_cancel("r")
    assert await journal.cancel_requested("r")


async def test_events_are_read_from_any_place_on_and_no_more_of_them_than_wanted(journal: Journal) -> None:
    assert (await journal.last_seq("r"), await journal.events("r", 0, 3)) == (0, [])
    await journal.append("r", [event(number) for number in range(1, 6)])
    await journal.append("other", [event(1)])
    assert await journal.last_seq("r") == 5
    for after, most, wanted in ((0, 2, [1, 2]), (0, 5, [1, 2, 3, 4, 5]), (0, 9, [1, 2, 3, 4, 5]), (3, 1, [4])):
        assert [found.seq for found in await journal.events("r", after, most)] == wanted
    assert [found.seq for found in await journal.events("r", 4, 9)] == [5]
    assert (await journal.events("r", 5, 2), await journal.events("r", 2, 0)) == ([], [])


async def test_watchers_see_each_event_once_from_where_they_left(journal: Journal) -> None:
    seen: list[tuple[int, int]] = []
    await journal.append("r", [event(1), event(2)])

    async def watch() -> None:
        async with aclosing(journal.watch("r", 1)) as events:
            async for seq, found in events:
                seen.append((seq, found.seq))
                if seq == 4:
                    return

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await anyio.lowlevel.checkpoint()
            await journal.append("r", [event(2), event(3)])  # 2 is a replay
            await anyio.lowlevel.checkpoint()
            await journal.append("r", [event(4)])
    assert seen == [(2, 2), (3, 3), (4, 4)]


async def test_what_another_process_takes_over_is_known_at_once(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db") as mine, SqliteJournal(tmp_path / "journal.db") as other:
        first = await held(mine)
        await mine.begin("r", A, key("turn-1"), b"h", first)
        await mine.finish("r", A, key("turn-1"), first, "done", [event(1)])
        again = await held(mine)
        theirs = await held(other)
        await other.append("r", [event(2)])
        assert await mine.begin("r", A, key("turn-1"), b"h", again) == Recorded("done"), "it stays true for all"
        with pytest.raises(Fenced):
            await mine.begin("r", A, key("turn-2"), b"h", again)
        await mine.append("r", [event(2), event(3)])
        await other.end("r", A, theirs)
        assert await mine.claim("r", A, "me") is None
        assert [seen.seq for seen in await mine.events("r")] == [1, 2, 3]


async def test_a_bill_may_be_small_and_the_next_one_large(journal: Journal) -> None:
    def turn(number: int, tokens: int) -> Event:
        return Event(
            "r", A, (), number, 1, 1.0, TurnEnded("ann", number, "p", "m", Usage(tokens), tokens, FinishReason.STOP)
        )

    for number, tokens in enumerate((1, 40_000, 3_000_000_000), 1):
        await journal.append("r", [turn(number, tokens)])
    ((_, spending),) = await journal.spent(["run"])
    assert (spending.input, spending.cost) == (3_000_040_001, 3_000_040_001)
