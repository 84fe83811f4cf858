"""Kill -9 at every record of an edited resume, and of a fork: gone on with, nothing that is recorded is paid again."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio
import pytest

from orchestrator import Squad
from orchestrator.errors import RunNotFound, RunOver
from orchestrator.events import CallRepeated, Event, RunEdited
from orchestrator.fork import fork_run
from orchestrator.journal.protocols import Journal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from tests import processes
from tests.orchestrator.crashes import Counting, Doomed, OverSocket, agent, seeds
from tests.orchestrator.killed import at_records, records

TASKS: dict[str, Any] = {
    "brief": {"agent": "ann", "description": "Study it.", "output_file": "brief.md"},
    "left": {"agent": "bob", "needs": ["brief"], "description": "Left.", "output_file": "left.md"},
    "right": {"agent": "ann", "needs": ["brief"], "description": "Right.", "output_file": "right.md"},
    "build": {
        "agent": "bob",
        "needs": ["right"],
        "for_each": "${{ inputs.parts }}",
        "key": "${{ item }}",
        "description": "Build ${{ item }}.",
    },
    "docs": {"agent": "ann", "needs": ["left", "build"], "description": "Write it.", "output_file": "docs.md"},
}
EDITED = {**TASKS, "left": {**TASKS["left"], "description": "Left, edited."}}
AGAIN = 2
"""Turns that the edit touches: of `left` and of `docs`."""
How = Literal["open", "new", "edit", "fork", "resume"]


@dataclass(frozen=True)
class Order:
    """What a process is to do in its folder, dying after `commits` records."""

    folder: str
    port: int
    how: How
    commits: int = 0


class Struck(Doomed):
    WRITES = (*Doomed.WRITES, "edit")


def squad_of(tasks: dict[str, Any]) -> Squad:
    inputs = {"parts": {"type": "list", "default": ["x", "y"]}}
    agents = {"ann": agent(), "bob": agent()}
    return Squad.from_mapping({"version": 1, "name": "five", "inputs": inputs, "agents": agents, "tasks": tasks})


def child(order: Order) -> None:
    anyio.run(_drive, order)


async def _drive(order: Order) -> None:
    folder = Path(order.folder)
    async with SqliteJournal(folder / "journal.db") as opened:
        journal: Journal = Struck(opened, order.commits) if order.commits else opened  # type: ignore[assignment]
        shared: dict[str, Any] = {"manager": OverSocket(order.port), "journal": journal}
        match order.how:
            case "open":
                opening = open_run(squad_of(TASKS), run_id="r", out=folder / "r", **shared)
            case "new":
                opening = open_run(squad_of(EDITED), run_id="r", out=folder / "r", **shared)
            case "edit":
                opening = resume_run(squad_of(EDITED), "r", edited=True, **shared)
            case "fork":
                opening = fork_run(squad_of(EDITED), "r", run_id="f", out=folder / "f", **shared)
            case "resume":
                opening = resume_run(squad_of(EDITED), "f", **shared)
        try:
            async with opening as run:
                async for _ in run:
                    pass
        except RunOver:  # it was killed right after its last record
            return
    assert run.result.status == "done"


def run_process(order: Order) -> int:
    """Return its exit code: 0, or -9 where it was killed."""
    return processes.end(processes.start(child, order))


def recorded(folder: Path, run: str) -> list[Event]:
    async def read() -> list[Event]:
        async with SqliteJournal(folder / "journal.db") as journal:
            try:
                await journal.manifest(run)
            except RunNotFound:
                return []
            return list(await journal.events(run))

    return anyio.run(read)


def check(folder: Path, run: str, whole: Whole, provider: Counting, asked: frozenset[str]) -> None:
    """Whatever was done to it, its files are those of a new run, and only what was reported was paid twice."""
    events = recorded(folder, run)
    assert len({event.id for event in events}) == len(events)
    assert files_in(folder / run) == files_in(whole.files)
    assert set(provider.answered) == asked
    reported = sum(isinstance(event.data, CallRepeated) for event in events)
    lost = sum(len(event.data.in_flight) for event in events if isinstance(event.data, RunEdited))
    assert (provider.answered - Counter(asked)).total() <= reported + lost


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class Whole(NamedTuple):
    """The files of a new run of the edited squad, and what is asked by it, and by one of the squad as it was."""

    files: Path
    asked: frozenset[str]
    asked_before: frozenset[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    asked = {}
    for how in ("open", "new"):
        folder = tmp_path_factory.mktemp(how)
        with Counting().serving() as provider:
            assert run_process(Order(str(folder), provider.port, how)) == 0  # type: ignore[arg-type]  # one of them
        asked[how] = frozenset(provider.answered)
    assert len(asked["new"] - asked["open"]) == AGAIN
    return Whole(folder / "r", asked["new"], asked["open"])


@pytest.mark.long
@at_records
@pytest.mark.parametrize("how", ["edit", "fork"])
def test_killed_at_every_record_and_gone_on_with(tmp_path: Path, whole: Whole, how: How, step: int) -> None:
    for commits in records(step, 100):
        folder = tmp_path / str(commits)
        folder.mkdir()
        with Counting().serving() as provider:
            order = Order(str(folder), provider.port, "open")
            assert run_process(order) == 0
            over = run_process(replace(order, how=how, commits=commits)) == 0
            if not over:
                again: How = "resume" if how == "fork" and recorded(folder, "f") else how
                assert run_process(replace(order, how=again)) == 0
        check(folder, "r" if how == "edit" else "f", whole, provider, whole.asked | whole.asked_before)
        if over:
            break
    assert commits > 4 * AGAIN, "the edit itself, and each claim, intent, result and end is a record"


@pytest.mark.parametrize("seed", seeds(1, 6))
def test_a_run_that_was_killed_is_edited_and_killed_again_and_again(tmp_path: Path, whole: Whole, seed: int) -> None:
    dice = random.Random(seed)
    with Counting().serving() as provider:
        order = Order(str(tmp_path), provider.port, "open", dice.randrange(3, 30))
        assert run_process(order) == -9
        asked = frozenset(provider.answered)
        while run_process(replace(order, how="edit", commits=dice.randrange(1, 15))) != 0:
            pass
    assert asked <= whole.asked_before
    check(tmp_path, "r", whole, provider, asked | whole.asked)
