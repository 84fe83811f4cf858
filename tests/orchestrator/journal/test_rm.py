"""Taking runs out of a journal: nothing of the others is touched, and the file becomes small again."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import RunNotFound
from orchestrator.journal.protocols import Journal, RunBusy, RunManifest
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run
from providers.messages import Request
from tests.orchestrator.rerun.test_edit import FOUR, echo
from tests.orchestrator.run.test_resume import begin, cut, hanging_at, journal, turn
from tests.orchestrator.squads import Answers, squad
from tests.orchestrator.test_fork import fork

__all__ = ["journal"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    async with SqliteJournal(tmp_path / "journal.db") as made:
        yield made


async def large(journal: Journal, run: str, size: int = 300_000) -> None:
    """Record a run of so many bytes that no compression makes smaller."""
    text = random.Random(run).randbytes(size).decode("latin-1")
    await journal.create(run, RunManifest("large", text=text, inputs={"shared": "the same in each" * 100}))


async def test_a_removed_run_is_gone_and_its_name_is_free(journal: Journal) -> None:
    await cut(squad(FOUR), journal, hanging_at(2, echo), turn(2))
    assert await journal.remove("r")
    assert not await journal.remove("r")
    with pytest.raises(RunNotFound):
        await journal.manifest("r")
    assert (await journal.events("r"), await journal.cut_short("r"), await journal.runs()) == ([], [], [])
    manager = Answers(echo)
    await begin(squad(FOUR), journal, manager)
    assert len(manager.asked) == 4, "nothing of the earlier one was handed back"


async def test_a_run_at_work_is_not_removed(journal: Journal) -> None:
    async with open_run(squad(FOUR), run_id="r", journal=journal, manager=hanging_at(1)):
        with pytest.raises(RunBusy):
            await journal.remove("r")
    assert (await journal.manifest("r")).squad == "test"


async def test_a_fork_outlives_the_run_that_it_was_made_of(kept: SqliteJournal) -> None:
    def long(agent: str, request: Request) -> str:
        return echo(agent, request) + " and so on" * 50

    whole = await begin(squad(FOUR), kept, Answers(long))
    await fork(FOUR, kept, start="c", manager=Answers(long))
    await kept.remove("r")
    assert await kept.reclaim()
    went = await fork(FOUR, kept, "f", start="c", run_id="g", manager=Answers(long))
    assert went.asked == ["third"]
    assert went.result.texts == whole.texts


async def test_the_file_is_as_small_as_if_the_removed_runs_had_never_been(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "one.db") as one, SqliteJournal(tmp_path / "ten.db") as ten:
        await large(one, "r-0")
        for number in range(10):
            await large(ten, f"r-{number}")
        before = await one.manifest("r-0")
        assert size(tmp_path / "ten.db") > 8 * size(tmp_path / "one.db")
        for number in range(1, 10):
            await ten.remove(f"r-{number}")
        assert await ten.reclaim()
        assert await ten.manifest("r-0") == before, "what it shared with the others is still there"
        assert size(tmp_path / "ten.db") <= size(tmp_path / "one.db") + 3 * 4096
        await ten.remove("r-0")
        await ten.reclaim()
    with closing(sqlite3.connect(tmp_path / "ten.db")) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables} == dict.fromkeys(
            tables, 0
        )


async def test_a_file_that_never_gave_room_back_does_from_then_on(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("PRAGMA journal_mode = WAL")
    async with SqliteJournal(tmp_path / "journal.db") as old:
        for number in range(4):
            await large(old, f"r-{number}")
        before = size(tmp_path / "journal.db")
        for number in range(4):
            await old.remove(f"r-{number}")
            assert await old.reclaim()
        assert size(tmp_path / "journal.db") < before / 4


async def test_room_is_given_back_only_while_no_run_is_at_work(kept: SqliteJournal) -> None:
    await large(kept, "old")
    await kept.remove("old")
    async with kept.driving("r"):
        assert kept.driven() == ["r"]
        assert not await kept.reclaim()
    assert await kept.reclaim()


async def test_a_text_that_is_recorded_meanwhile_stays(tmp_path: Path) -> None:
    """Another process refers to a text that nobody referred to when the search for such began."""
    async with SqliteJournal(tmp_path / "journal.db") as mine, SqliteJournal(tmp_path / "journal.db") as other:
        await large(mine, "old")
        await mine.remove("old")

        async def record() -> None:
            for number in range(20):
                await other.create(f"r-{number}", manifest)

        manifest = RunManifest("large", text=random.Random("old").randbytes(300_000).decode("latin-1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(record)
            for _ in range(5):
                await mine.reclaim()
        for number in range(20):
            assert (await mine.manifest(f"r-{number}")).text == manifest.text


def size(file: Path) -> int:
    """Return the bytes on disk, with what is not yet in the file itself."""
    return sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*") if not part.name.endswith("-shm"))
