"""The journal's contract. Every implementation is driven through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from orchestrator.events import Event, TaskStarted
from orchestrator.journal import Fenced, Go, Journal, Recorded, StepChanged
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite import SqliteJournal

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    made: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    yield made
    await made.aclose()


def event(seq: int) -> Event:
    return Event("r", "a", 0, seq, 0.0, TaskStarted("a", 1, "mary"))


async def held(journal: Journal) -> int:
    fence = await journal.claim("r/a", "me")
    assert fence is not None
    return fence


async def test_a_finished_step_is_handed_back_for_ever(journal: Journal) -> None:
    fence = await held(journal)
    assert await journal.begin("r/a", "turn-1", b"h", fence) == Go(1, "r/a/turn-1")
    await journal.finish("r/a", "turn-1", fence, {"said": "🦊"})
    assert await journal.begin("r/a", "turn-1", b"h", fence) == Recorded({"said": "🦊"})
    later = await held(journal)
    assert await journal.begin("r/a", "turn-1", b"h", later) == Recorded({"said": "🦊"})


async def test_a_step_cut_short_runs_again_under_the_same_idempotency_key(journal: Journal) -> None:
    assert await journal.begin("r/a", "turn-1", b"h", await held(journal)) == Go(1, "r/a/turn-1")
    assert await journal.begin("r/a", "turn-1", b"h", await held(journal)) == Go(2, "r/a/turn-1")


async def test_a_stale_owner_writes_nothing(journal: Journal) -> None:
    old = await held(journal)
    await journal.begin("r/a", "turn-1", b"h", old)
    new = await held(journal)
    assert new > old
    with pytest.raises(Fenced):
        await journal.finish("r/a", "turn-1", old, "late")
    with pytest.raises(Fenced):
        await journal.end("r/a", old)
    assert isinstance(await journal.begin("r/a", "turn-1", b"h", new), Go)


async def test_another_request_under_a_recorded_key_is_refused(journal: Journal) -> None:
    fence = await held(journal)
    await journal.begin("r/a", "turn-1", b"h", fence)
    await journal.finish("r/a", "turn-1", fence, "x")
    with pytest.raises(StepChanged, match="turn-1"):
        await journal.begin("r/a", "turn-1", b"other", fence)


async def test_an_ended_unit_is_not_claimed_again_but_a_parked_one_is(journal: Journal) -> None:
    await journal.park("r/a", await held(journal), "a person")
    await journal.end("r/a", await held(journal))
    assert await journal.claim("r/a", "me") is None


async def test_signals_count_once(journal: Journal) -> None:
    await journal.signal("r", "approve", "approve", "k1")
    await journal.signal("r", "approve", "reject", "k1")
    await journal.signal("r", "approve", "reject", "k2")
    assert list(await journal.signals("r")) == [("approve", "approve"), ("approve", "reject")]


async def test_cancel_is_asked_for_not_done(journal: Journal) -> None:
    assert not await journal.cancel_requested("r")
    await journal.request_cancel("r")
    assert await journal.cancel_requested("r")


async def test_watchers_see_each_event_once_from_where_they_left(journal: Journal) -> None:
    seen: list[tuple[int, int]] = []
    await journal.append("r", [event(1), event(2)])

    async def watch() -> None:
        async with aclosing(journal.watch("r", 1)) as events:
            async for seq, found in events:
                seen.append((seq, found.seq))
                if seq == 4:
                    return

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await anyio.lowlevel.checkpoint()
            await journal.append("r", [event(2), event(3)])  # 2 is a replay
            await anyio.lowlevel.checkpoint()
            await journal.append("r", [event(4)])
    assert seen == [(2, 2), (3, 3), (4, 4)]
