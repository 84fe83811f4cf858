"""What was spent, added up: nothing twice, nothing lost, nothing unknown taken for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event, RunForked
from orchestrator.journal.protocols import JournalDamaged, RunManifest
from orchestrator.journal.spent import Spending
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.run.spending import By, asked_by, spending
from orchestrator.units import place_of
from providers.events import AttemptEnded, AttemptStarted
from providers.messages import FinishReason, Usage

pytestmark = pytest.mark.anyio
DAY = 1_795_176_000.0 - 12 * 3600
"""Midnight UTC that begins 2026-11-20."""


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    async with SqliteJournal(tmp_path / "journal.db") as made:
        yield made


def turn(agent: str, cost: int | None, provider: str = "groq") -> TurnEnded:
    return TurnEnded(agent, 1, provider, "m", Usage(8, 2, 0, 4, 1), cost, FinishReason.STOP)


def lost(cost: int | None, outcome: str = "failed") -> AttemptEnded:
    detail = 'so "usage": it says'
    return AttemptEnded(1, "lab", "m", outcome, "BadReply", detail, 5.0, None, 1, Usage(10), cost)


async def record(journal: SqliteJournal, run: str, *told: tuple[str, Any], at: float = DAY + 60) -> None:
    events = [Event(run, *place_of(path), 0, number, at + number, data) for number, (path, data) in enumerate(told, 1)]
    await journal.create(run, RunManifest(f"squad of {run}"), events)


async def test_turns_and_lost_attempts_count_and_others_do_not(journal: SqliteJournal) -> None:
    answered = AttemptEnded(1, "groq", "m", "ok", None, None, 5.0)
    refused = AttemptEnded(1, "lab", "m", "failed", "ServerFault", 'no "usage": down', 5.0)
    path = "build[S-1]/try-1"
    await record(
        journal,
        "r1",
        (path, TurnStarted("ann", 1)),
        (path, AttemptStarted(1, "lab", "m")),
        (path, refused),
        (path, lost(7)),
        (path, answered),
        (path, turn("ann", 100)),
    )
    await record(journal, "r2", ("plan/try-1", turn("bob", None)), ("plan/try-2", turn("bob", 50)))
    found: dict[By, dict[str, Spending]] = {}
    for by in get_args(By):
        found[by], total = spending(await journal.spent([asked_by(by)]), by, UTC)
        assert total == Spending(3, 1, 40, 15, 6, 3, 157, 1)
        assert sum(each.cost for each in found[by].values()) == total.cost
    assert {name: (each.turns, each.lost, each.cost, each.unknown) for name, each in found["provider"].items()} == {
        "groq": (3, 0, 150, 1),
        "lab": (0, 1, 7, 0),
    }
    assert {name: each.cost for name, each in found["agent"].items()} == {"ann": 107, "bob": 50}
    assert list(found["model"]) == ["groq/m", "lab/m"]
    assert list(found["run"]) == ["r1", "r2"]
    assert {name: each.cost for name, each in found["squad"].items()} == {"squad of r1": 107, "squad of r2": 50}
    assert list(found["task"]) == ["build", "plan"]


async def test_a_day_is_one_of_the_time_zone_and_counts_from_its_first_instant(journal: SqliteJournal) -> None:
    await record(journal, "before", ("a", turn("ann", 1)), at=DAY - 1.001)
    await record(journal, "after", ("a", turn("ann", 2)), at=DAY - 0.999)
    found, _ = spending(await journal.spent(["quarter"]), "day", UTC)
    assert {day: each.cost for day, each in found.items()} == {"2026-11-19": 1, "2026-11-20": 2}
    assert list(spending(await journal.spent(["quarter"]), "day", ZoneInfo("America/Los_Angeles"))[0]) == ["2026-11-19"]
    assert [row.names for row in await journal.spent(["run"], DAY)] == [("after",)]


async def test_what_a_fork_took_over_was_paid_by_its_source(journal: SqliteJournal) -> None:
    forked = RunForked("r1", ("a",), (), (), Usage(), 100)
    await record(journal, "r1", ("a", turn("ann", 100)))
    await record(journal, "r2", ("a", turn("ann", 100)), ("", forked), ("b", turn("ann", 5)))
    assert spending(await journal.spent(["run"]), "run", UTC)[1].cost == 105


async def test_a_record_that_is_damaged_is_not_added_up(journal: SqliteJournal) -> None:
    import sqlite3

    await record(journal, "r1", ("a", turn("ann", 100)))
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE bills SET cost = 900")
    db.close()
    with pytest.raises(JournalDamaged):
        await journal.spent(["run"])
