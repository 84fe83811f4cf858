"""How units ended elsewhere, as the journals tell it that several processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
import pytest

from agents.run_context import StepKey
from orchestrator.events import Event, GateAnswered, RunFinished, TaskEnded, TaskParked, TaskStarted
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import Fenced, Recorded, RunManifest, SharedJournal
from orchestrator.units import Unit
from providers.messages import Usage
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
A, B = Unit("a"), Unit("b", "S/1 🦊\0", 2)


@pytest.fixture(params=["memory", "postgres"])
async def journal(request: pytest.FixtureRequest) -> AsyncIterator[SharedJournal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    async with open_journal(request.getfixturevalue("postgres_url")) as opened:
        yield opened


def event(seq: int, unit: Unit | None = A) -> Event:
    return Event("r", unit, (), 0, seq, 0.0, TaskStarted("a", 1, "mary"))


def ended(text: str) -> tuple[TaskEnded, None]:
    return TaskEnded("a", "ok", text * 300), None


async def claimed(journal: SharedJournal, unit: Unit) -> int:
    fence = await journal.claim("r", unit, "me")
    assert fence is not None
    return fence


async def test_reports_are_told_in_their_order_until_they_are_taken(journal: SharedJournal) -> None:
    await journal.create("r", RunManifest("one"))
    first, second = await claimed(journal, A), await claimed(journal, B)
    await journal.report("r", B, second, ended("🦊"), [event(1, B)], is_final=True)
    await journal.report("r", A, first, ended("x"), [event(1)], is_final=True)
    told = await journal.reports("r")
    assert [(one.unit, one.outcome) for one in told] == [(B, ended("🦊")), (A, ended("x"))]
    await journal.take_reports("r", told[0].number, [event(2)])
    assert await journal.reports("r") == told[1:]
    assert list(await journal.events("r")) == [event(1, B), event(1), event(2)]
    await journal.take_reports("r", told[1].number)
    assert await journal.reports("r") == []


async def test_a_unit_that_was_reported_as_final_is_claimed_no_more(journal: SharedJournal) -> None:
    fence = await claimed(journal, A)
    await journal.report("r", A, fence, ended("x"), is_final=True)
    assert await journal.claim("r", A, "me") is None
    with pytest.raises(Fenced):
        await journal.report("r", A, fence, ended("y"), is_final=True)
    assert len(await journal.reports("r")) == 1


async def test_a_unit_that_paused_goes_on_with_what_is_recorded(journal: SharedJournal) -> None:
    fence, key = await claimed(journal, A), StepKey((), 1, "model")
    await journal.begin("r", A, key, b"h", fence)
    await journal.finish("r", A, key, fence, "said")
    await journal.report("r", A, fence, (TaskParked("a", None, "asks", None), None), is_final=False)
    later = await claimed(journal, A)
    assert await journal.begin("r", A, key, b"h", later) == Recorded("said")
    await journal.report("r", A, later, ended("x"), is_final=True)
    assert [type(one.outcome[0]) for one in await journal.reports("r")] == [TaskParked, TaskEnded]


async def test_a_former_owner_reports_nothing(journal: SharedJournal) -> None:
    old = await claimed(journal, A)
    await claimed(journal, A)
    with pytest.raises(Fenced):
        await journal.report("r", A, old, ended("late"), [event(1)], is_final=True)
    assert await journal.reports("r") == []
    assert list(await journal.events("r")) == []


async def test_a_watcher_gets_each_report_once(journal: SharedJournal) -> None:
    await journal.create("r", RunManifest("one"))
    units = [Unit("a", str(number)) for number in range(20)]
    got: list[Unit] = []

    async def work() -> None:
        for unit in units:
            await journal.report("r", unit, await claimed(journal, unit), ended("x"), is_final=True)

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks, aclosing(journal.watch_reports("r")) as batches:
            tasks.start_soon(work)
            async for batch in batches:
                got += [report.unit for report in batch]
                await journal.take_reports("r", batch[-1].number)
                if len(got) == len(units):
                    break
    assert got == units


async def test_a_run_that_waits_is_told_of_once_something_was_said_to_it(journal: SharedJournal) -> None:
    finished = RunFinished("r", "waiting", {}, {}, Usage(), 0, {}, False)
    await journal.create("r", RunManifest("one"), [Event("r", None, (), 0, 1, 0.0, finished)])
    assert await journal.told() == []
    await journal.signal("r", "gate", {"said": "yes"}, "k")
    assert await journal.told() == ["r"]
    async with journal.driving("r"):
        assert await journal.told() == []
    assert await journal.told() == []
    async with journal.driving("r"):
        await journal.signal("r", "gate", {"said": "no"}, "l")
    assert await journal.told() == ["r"]
    await journal.append("r", [Event("r", None, (), 0, 2, 0.0, GateAnswered("a", "approve", "", "api"))])
    assert await journal.told() == ["r"]
