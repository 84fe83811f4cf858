"""Runs that remember, killed after each of their records and right after a memory is written: equal ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents.memory.records import MemoryRecord
from agents.memory.store import MemoryStore
from orchestrator import Squad
from orchestrator.errors import RunNotFound, RunOver
from orchestrator.events import CallRepeated, RunFinished
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.memory_setting import FILE
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, Text, ToolCall, ToolResult, Usage
from tests import processes
from tests.orchestrator.crashes import Doomed
from tests.orchestrator.squads import Answers

SQUAD = """\
name: pair
memory: true
knowledge: docs
agents:
  ann: {persona: {name: Ann, role: Answers., tier: worker}}
  bob: {persona: {name: Bob, role: Answers., tier: worker}, memory: {scope: agent}}
tasks:
  plan: {agent: ann, description: Plan the deploys of the zebra.}
  check: {agent: bob, needs: [plan], description: Check the deploys of the zebra.}
outputs:
  plan: ${{ tasks.plan.output }}
  check: ${{ tasks.check.output }}
"""
TURNS = (
    ("remember", {"text": "Deploys of the zebra go out on Tuesdays."}),
    ("search_memory", {"query": "zebra"}),
    ("search_knowledge", {"query": "zebra"}),
)


def _answer(_: str, request: Request) -> Response:
    results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    if len(results) < len(TURNS):
        name, arguments = TURNS[len(results)]
        part: Any = ToolCall(f"c{len(results)}", name, json.dumps(arguments))
        return Response(Message("assistant", (part,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "f", "f", 10)
    told = "zebra go out on Tuesdays" in request.messages[1].text
    said = json.dumps([told, *(result.content.partition(";")[2] for result in results)])
    return Response(Message("assistant", (Text(said),)), FinishReason.STOP, Usage(10, output=5), "f", "f", 10)


class DoomedStore(MemoryStore):
    """Kills the process right after it wrote so many times."""

    left = 0

    def remember(self, records: Iterable[MemoryRecord], now: float) -> list[tuple[MemoryRecord, bool]]:
        kept = super().remember(records, now)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return kept


def child(folder: str, commits: int, writes: int) -> None:
    """Be a process that goes on with the run, or begins it, and dies after so many commits or writes (0: never)."""
    anyio.run(_drive, Path(folder), commits, writes)


async def _drive(folder: Path, commits: int, writes: int) -> None:
    given = Squad.from_file(folder / "squad.yaml")
    store = DoomedStore.open(folder / "state" / FILE)
    store.left = writes
    shared: dict[str, Any] = {"manager": Answers(_answer), "state": folder / "state", "memory": store}
    async with SqliteJournal(folder / "journal.db") as opened:
        journal: Any = Doomed(opened, commits) if commits else opened
        try:
            await opened.manifest("r")
            opening = resume_run(given, "r", journal=journal, **shared)
        except RunNotFound:
            opening = open_run(given, run_id="r", journal=journal, **shared)
        try:
            async with opening as run:
                async for _ in run:
                    pass
        except RunOver:  # it was killed right after its last record
            pass
        finally:
            store.close()


def begun(folder: Path) -> Path:
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "zebra.md").write_text("# Zebra\n\nThe zebra is striped.\n")
    (folder / "squad.yaml").write_text(SQUAD)
    return folder


def end_of(folder: Path) -> tuple[Any, list[tuple[str, str, str]], int]:
    """Return how the run ended, what is remembered, and how often it was told that a call is made again."""
    assert processes.end(processes.start(child, str(folder), 0, 0)) == 0
    with MemoryStore.open(folder / "state" / FILE) as store:
        records = [(one.scope, one.source.unit, one.id) for one in store.records(None, 0)]
    finished, told = anyio.run(_recorded, folder)
    return finished, sorted(records), told


async def _recorded(folder: Path) -> tuple[Any, int]:
    async with SqliteJournal(folder / "journal.db") as journal:
        assert (await replay(journal, "r")).is_equal
        events = [event.data for event in await journal.events("r")]
    [finished] = [one for one in events if isinstance(one, RunFinished)]
    return (finished.status, finished.outputs), sum(isinstance(one, CallRepeated) for one in events)


KILLS = [(0, 1), (0, 2), *((commits, 0) for commits in (6, *range(1, 6), *range(7, 40)))]
"""(commits, writes) after which the process dies. A run has fewer than 40 commits."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[tuple[str, str, str]], int]:
    """How the run ends that nothing kills."""
    return end_of(begun(tmp_path_factory.mktemp("whole") / "run"))


@pytest.mark.few(1)
@pytest.mark.parametrize(("commits", "writes"), KILLS)
def test_a_killed_run_ends_as_another_and_remembers_once(
    tmp_path: Path, whole: tuple[Any, list[tuple[str, str, str]], int], commits: int, writes: int
) -> None:
    cut = begun(tmp_path / "cut")
    expected, kept, _ = whole
    assert [(scope, unit) for scope, unit, _ in kept] == [("pair", "plan"), ("pair/bob", "check")]
    killed = processes.end(processes.start(child, str(cut), commits, writes))
    if killed == 0:
        assert commits > 20, "it has fewer commits"
        return
    assert killed == -signal.SIGKILL
    finished, records, told = end_of(cut)
    assert (finished, records) == (expected, kept)
    assert told >= min(writes, 1)  # the call was in flight: that it is made again is told
