"""A journal on a bad disk: what it says, what it keeps, and that it invents nothing."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents.events import TurnEnded
from agents.run_context import StepKey
from orchestrator.errors import OrchestratorError
from orchestrator.events import Event, RunFinished, TaskEnded
from orchestrator.journal.protocols import JournalDamaged, JournalUnusable, RunManifest
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.schema import MIGRATIONS
from orchestrator.runtime import open_run, resume_run
from orchestrator.units import Unit
from providers.messages import FinishReason, Usage
from tests import processes
from tests.orchestrator.squads import Answers, squad

pytestmark = pytest.mark.anyio
A = Unit("a")


def event(seq: int) -> Event:
    return Event("r", A, (), 0, seq, 1.5, TaskEnded("a", "ok", {"n": seq, "text": f"answer {seq} " * 40}))


def bill(turn: int) -> Event:
    ended = TurnEnded("ann", turn, "lab", "m", Usage(turn, output=5), 7 * turn, FinishReason.STOP)
    return Event("r", A, ("try-1",), turn, 1, 1.5, ended)


TURNS = range(1, 40)


async def written(file: Path) -> Path:
    """Return the file of a closed journal with a run in it."""
    async with SqliteJournal(file) as journal:
        await write_run(journal)
    return file


async def write_run(journal: SqliteJournal) -> None:
    await journal.create("r", RunManifest("pair", text="name: pair\n" * 40))
    fence = await journal.claim("r", A, "me") or 0
    for turn in TURNS:
        await journal.begin("r", A, StepKey((), turn, "model"), b"h", fence)
        await journal.finish(
            "r", A, StepKey((), turn, "model"), fence, f"answer {turn}" * 40, [event(turn), bill(turn)]
        )
    await journal.begin("r", A, StepKey((), 40, "model"), b"h", fence)
    await journal.signal("r", "note", "hold on " * 40, "once")


async def read(file: Path) -> list[Any]:
    """Return all that the journal tells of the run, as whoever goes on with it asks for it."""
    async with SqliteJournal(file) as journal:
        told = [await journal.manifest("r"), await journal.events("r"), await journal.signals("r")]
        told.append(await journal.spent(["task", "agent", "model", "quarter"]))
        told.append(await journal.cut_short("r"))
        fence = await journal.claim("r", A, "me") or 0
        return [*told, *[await journal.begin("r", A, StepKey((), turn, "model"), b"h", fence) for turn in TURNS]]


def torn(data: bytes) -> Iterator[bytes]:
    """Yield the file with a bit of each page flipped, four times, and cut off after each page and inside it."""
    dice = random.Random(1)
    for start in range(0, len(data), 4096):
        for _ in range(4):
            flipped = bytearray(data)
            flipped[start + dice.randrange(4096)] ^= 1 << dice.randrange(8)
            yield bytes(flipped)
        if start:
            yield data[:start]
            yield data[: start + dice.randrange(1, 4096)]


@pytest.mark.long
async def test_no_flipped_bit_and_no_cut_invents_anything(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    data = file.read_bytes()
    whole, refused = await read(file), 0
    for number, found in enumerate(torn(data)):
        copy = tmp_path / str(number) / "journal.db"
        copy.parent.mkdir()
        copy.write_bytes(found)
        try:
            assert await read(copy) == whole
        except (JournalUnusable, OrchestratorError) as error:
            refused += 1
            if isinstance(error, JournalDamaged):
                assert copy.with_name("journal.db.damaged").exists(), "kept beside it"
        shutil.rmtree(copy.parent)
    assert refused > 40


async def test_a_torn_log_of_a_killed_process_loses_its_end_at_most(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        await write_run(journal)
        whole = await journal.events("r")
        data, log = (tmp_path / "journal.db").read_bytes(), (tmp_path / "journal.db-wal").read_bytes()
    lengths, dice = set(), random.Random(1)
    for number in range(20):
        copy = tmp_path / str(number) / "journal.db"
        copy.parent.mkdir()
        copy.write_bytes(data)
        found, place = bytearray(log), dice.randrange(len(log))
        if number % 2:
            found[place] ^= 1 << dice.randrange(8)
        else:
            del found[place:]
        copy.with_name("journal.db-wal").write_bytes(found)
        try:
            async with SqliteJournal(copy) as journal:
                events = await journal.events("r")
                assert events == whole[: len(events)]
                lengths.add(len(events))
        except JournalUnusable:
            pass  # the tables themselves were in what was lost, or it is told as damaged
    assert len(lengths) > 5


async def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE users (name TEXT)")
    db.commit()
    db.close()
    with pytest.raises(JournalUnusable, match="a database of something else"):
        SqliteJournal(other)
    later = await written(tmp_path / "later.db")
    db = sqlite3.connect(later)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(JournalUnusable, match="written by a later release"):
        SqliteJournal(later)


async def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalUnusable, match="file"):
        SqliteJournal(tmp_path / "file" / "journal.db")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user whom folders' modes hold: root's own are not held by any."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches, and none can write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="the modes of folders are those of POSIX")
async def test_a_folder_that_can_only_be_read_is_said_before_anything_is_spent(open_folder: Path) -> None:
    new, old, manager = open_folder / "new.db", open_folder / "old.db", Answers()
    await written(old)
    open_folder.chmod(0o555)
    for file in (new, old):
        with as_nobody(), pytest.raises(JournalUnusable, match=str(file)):
            async with SqliteJournal(file) as journal, open_run(squad({"a": "x"}), journal=journal, manager=manager):
                pass
    assert manager.asked == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow above `size` bytes: what a full disk is to who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_disk_that_is_full_at_any_write_stops_the_run_and_it_goes_on_later(tmp_path: Path) -> None:
    tasks: dict[str, Any] = {f"t{n}": "x" for n in range(3)}
    tasks["last"] = {"agent": "bob", "needs": list(tasks), "description": "y"}
    given = squad(tasks, outputs={"last": "${{ tasks.last.output }}"})
    stopped = 0
    for number, room in enumerate(range(0, 200_000, 4096)):
        folder = tmp_path / str(number)
        async with SqliteJournal(folder / "journal.db") as journal:
            await journal.create("before", RunManifest("x"))
        size = largest_in(folder)
        manager = Answers(lambda agent, request: f"{agent} says {len(request.messages)} " * 50)
        ended = await with_room(given, folder / "journal.db", manager, size + room)
        if ended:
            break
        stopped += 1
        async with SqliteJournal(folder / "journal.db") as journal:
            if "r" in [line.run for line in await journal.runs()]:
                async with resume_run(given, "r", journal=journal, manager=manager) as run:
                    events = [event async for event in run]
                assert run.result.status == "done"
                assert run.result.outputs["last"] == "bob says 2 " * 50
                repeated = [event for event in events if event.type == "call.repeated"]
                assert len(manager.asked) <= 4 + len(repeated)
    assert stopped > 3


@pytest.mark.skipif(os.name == "nt", reason="the limit of a file's size is POSIX's")
async def test_a_journal_writes_again_once_there_is_room_and_no_run_misses_what_was_lost(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        async with journal.driving("first"):
            with largest_file(largest_in(tmp_path)), pytest.raises(JournalUnusable):
                await journal.create("first", RunManifest("x" * 100_000))
            with pytest.raises(JournalUnusable):
                await journal.create("second", RunManifest("x"))
        await journal.create("third", RunManifest("x"))
        async with journal.driving("fourth"):
            await journal.create("fourth", RunManifest("x"))
        assert {line.run for line in await journal.runs()} == {"third", "fourth"}


@pytest.mark.long
async def test_a_disk_that_is_full_while_the_journal_is_made_is_said_as_that(tmp_path: Path) -> None:
    refused = set()
    for number, room in enumerate(range(0, 200_000, 4096)):
        file = tmp_path / str(number) / "journal.db"
        try:
            with largest_file(room):
                await written(file)
        except JournalUnusable as error:
            refused.add(str(error).rpartition(": ")[2])
            await written(file.with_name("other.db"))
        else:
            break
        if file.exists():
            async with SqliteJournal(file) as journal:
                await journal.runs()
    assert refused
    assert refused <= {"disk I/O error", "database or disk is full"}


async def with_room(given: Any, file: Path, manager: Answers, size: int) -> bool:
    """Return whether a run came to its end with files of at most `size` bytes."""
    async with SqliteJournal(file) as journal:
        with largest_file(size):
            try:
                async with open_run(given, run_id="r", journal=journal, manager=manager) as run:
                    async for _ in run:
                        pass
            except JournalUnusable:
                return False
    return True


def largest_in(folder: Path) -> int:
    return max(file.stat().st_size for file in folder.iterdir() if file.is_file())


PROCESSES, RUNS = 4, 6
FLOCK = squad(
    {"a": "x", "b": "y", "c": {"agent": "bob", "needs": ["a", "b"], "description": "z"}},
    outputs={"c": "${{ tasks.c.output }}"},
)


def work_beside_others(file: str, number: int) -> None:
    """Be one of several processes that make and use one journal at once, for many runs at once."""

    async def one(journal: SqliteJournal, name: str) -> None:
        manager = Answers(lambda agent, request: f"{agent} in {name} " * 20)
        async with open_run(FLOCK, run_id=name, journal=journal, manager=manager) as run:
            async for _ in run:
                pass
        assert run.result.status == "done"

    async def all_of_them() -> None:
        async with SqliteJournal(file) as journal, anyio.create_task_group() as tasks:
            for run in range(RUNS):
                tasks.start_soon(one, journal, f"run-{number}-{run}")

    anyio.run(all_of_them)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_processes_on_one_folder_record_all_of_their_runs(tmp_path: Path) -> None:
    file = tmp_path / "state" / "journal.db"
    made = [processes.start(work_beside_others, str(file), number) for number in range(PROCESSES)]
    assert [processes.end(process) for process in made] == [0] * PROCESSES
    async with SqliteJournal(file) as journal:
        lines = {line.run: line.status for line in await journal.runs(1000)}
        assert lines == {f"run-{n}-{run}": "done" for n in range(PROCESSES) for run in range(RUNS)}
        for name in lines:
            events = await journal.events(name)
            finished = events[-1].data
            assert isinstance(finished, RunFinished)
            assert finished.outputs == {"c": f"bob in {name} " * 20}
            assert [event.type for event in events].count("turn.ended") == 3
