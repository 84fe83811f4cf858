"""A journal on a bad disk: what it says, what it keeps, and that it invents nothing."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.events import Event, TaskEnded
from orchestrator.journal import About, JournalDamaged, JournalUnusable
from orchestrator.journal.schema import MIGRATIONS
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from tests.orchestrator.squads import Answers, squad

pytestmark = pytest.mark.anyio


def event(seq: int) -> Event:
    return Event("r", "a", 0, seq, 1.5, TaskEnded("a", "ok", {"n": seq, "text": f"answer {seq} " * 40}))


async def written(file: Path) -> Path:
    """Return the file of a closed journal with a run in it."""
    async with SqliteJournal(file) as journal:
        await journal.create("r", About("pair", text="name: pair\n" * 40))
        fence = await journal.claim("r/a", "me") or 0
        for seq in range(1, 40):
            await journal.begin("r/a", f"turn-{seq}", b"h", fence)
            await journal.finish("r/a", f"turn-{seq}", fence, f"answer {seq}" * 40, [event(seq)])
    return file


async def read(file: Path) -> list[Any]:
    async with SqliteJournal(file) as journal:
        return [await journal.about("r"), *await journal.events("r")]


async def test_no_flipped_byte_and_no_cut_invents_anything(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    whole, data = await read(file), file.read_bytes()
    dice, refused = random.Random(1), 0
    for number in range(120):
        copy = tmp_path / str(number) / "journal.db"
        copy.parent.mkdir()
        torn = bytearray(data)
        if number % 3:
            torn[dice.randrange(len(torn))] ^= 1 << dice.randrange(8)
        else:
            del torn[dice.randrange(4096, len(torn)) :]
        copy.write_bytes(torn)
        try:
            assert await read(copy) == whole
        except (JournalUnusable, OrchestratorError) as error:
            refused += 1
            if isinstance(error, JournalDamaged):
                assert copy.with_name("journal.db.damaged").read_bytes() == bytes(torn), "kept as it was found"
        shutil.rmtree(copy.parent)
    assert refused > 40


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run the tests as another user")
async def test_a_folder_that_can_only_be_read_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(JournalUnusable):
            SqliteJournal(tmp_path / "journal.db")
    finally:
        tmp_path.chmod(0o700)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow above `size` bytes: what a full disk is to who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_disk_that_is_full_at_any_write_stops_the_run_and_it_goes_on_later(tmp_path: Path) -> None:
    tasks: dict[str, Any] = {f"t{n}": "x" for n in range(3)}
    tasks["last"] = {"agent": "bob", "needs": list(tasks), "description": "y"}
    given = squad(tasks, outputs={"last": "${{ tasks.last.output }}"})
    stopped = 0
    for number, room in enumerate(range(0, 200_000, 4096)):
        folder = tmp_path / str(number)
        async with SqliteJournal(folder / "journal.db") as journal:
            await journal.create("before", About("x"))
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
