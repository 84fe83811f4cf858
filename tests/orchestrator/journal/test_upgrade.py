"""Journals that earlier releases wrote: opened, shown and gone on with by this one. `samples/make.py` makes them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator import Squad
from orchestrator.errors import RunCancelled
from orchestrator.events import RunFinished
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.schema import MIGRATIONS
from orchestrator.runtime import resume_run
from tests.orchestrator.samples.make import HERE, LONG, TEXT, Manager

pytestmark = pytest.mark.anyio
SAMPLES = sorted(file.name for file in HERE.glob("journal-*.db"))
DOCS = f"bob has seen 2{LONG}"


@pytest.fixture(params=SAMPLES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(HERE / request.param, tmp_path / "journal.db"))


def test_there_is_a_journal_of_each_older_schema() -> None:
    assert {f"journal-{version}.db" for version in range(1, len(MIGRATIONS))} <= set(SAMPLES)


async def test_a_journal_of_an_older_release_reads_as_it_was_written(file: Path) -> None:
    async with SqliteJournal(file) as journal:
        lines = {line.run: (line.squad, line.status, line.cost) for line in await journal.runs()}
        events = await journal.events("ended")
        assert await journal.cancel_requested("cancelled")
        assert await journal.signals("cancelled") == [("note", {"text": LONG})]
    assert lines == {
        "cancelled": ("sample", "running", None),
        "cut": ("sample", "running", None),
        "ended": ("sample", "done", 28),
    }
    finished = events[-1].data
    assert isinstance(finished, RunFinished)
    assert finished.outputs == {"docs": DOCS}
    assert [event.type for event in events].count("turn.ended") == 4
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


async def test_what_runs_of_an_older_release_cost_is_known_before_and_after_it_is_upgraded(file: Path) -> None:
    async with SqliteJournal(file, is_lazy=True) as journal:
        before = sorted(await journal.spent(["run", "agent", "task"]))
        assert {row.names: row.spending.cost for row in await journal.spent(["run"])} == {("cut",): 14, ("ended",): 28}
        await journal.request_cancel("cut")
        assert sorted(await journal.spent(["run", "agent", "task"])) == before


async def test_a_run_of_an_older_release_goes_on_and_pays_nothing_twice(file: Path) -> None:
    manager = Manager()
    async with SqliteJournal(file) as journal:
        squad = Squad.from_text((await journal.manifest("cut")).text, "sample.yaml")
        async with resume_run(squad, "cut", journal=journal, manager=manager) as run:
            events = [event async for event in run]
        with pytest.raises(RunCancelled):
            async with resume_run(Squad.from_text(TEXT, "sample.yaml"), "cancelled", journal=journal):
                pass
    assert run.result.status == "done"
    assert run.result.outputs == {"docs": DOCS}
    assert run.result.cost == 28
    assert manager.asked == ["ann", "bob"]  # the call in flight again, and what had not begun
    assert [event.type for event in events].count("call.repeated") == 1
