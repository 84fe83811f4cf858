"""Runs whose memory asks for vectors, killed after each of their records: equal ends, nothing paid twice unseen."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents.events import TextsEmbedded
from agents.memory.store import MemoryStore
from orchestrator import Squad
from orchestrator.errors import RunNotFound, RunOver
from orchestrator.events import CallRepeated, RunFinished
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.memory_setting import FILE
from orchestrator.runtime import open_run, resume_run
from providers.embeddings import EmbeddingResponse, Embeddings
from providers.messages import FinishReason, Message, Request, Response, Text, ToolCall, ToolResult, Usage, assistant
from tests import processes
from tests.components import imported
from tests.local_servers import meaning_of
from tests.orchestrator.crashes import Doomed
from tests.orchestrator.squads import Answers

imported("numpy", "embeddings")
SQUAD = """\
name: pair
memory: {embeddings: {model: openai/text-embedding-3-small}}
agents:
  ann: {persona: {name: Ann, role: Answers., tier: worker}}
tasks:
  note: {agent: ann, description: Jot the terms down.}
  plan: {agent: ann, needs: [note], description: Plan the payment.}
outputs:
  plan: ${{ tasks.plan.output }}
"""
TURNS = (("remember", {"text": "Every invoice is due in 30 days."}), ("search_memory", {"query": "money"}))


def _answer(_: str, request: Request) -> Response:
    results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    if "Jot" in request.messages[1].text and len(results) < len(TURNS):
        name, arguments = TURNS[len(results)]
        part: Any = ToolCall(f"c{len(results)}", name, json.dumps(arguments))
        return Response(Message("assistant", (part,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "f", "f", 10)
    told = ["due in 30 days" in request.messages[1].text, *("due in 30 days" in result.content for result in results)]
    return Response(
        Message("assistant", (Text(json.dumps(told)),)), FinishReason.STOP, Usage(10, output=5), "f", "f", 10
    )


class Embedding(Answers):
    """Makes vectors, and notes in a file that it did: that is what was paid."""

    def __init__(self, paid: Path) -> None:
        super().__init__(_answer)
        self.paid = paid

    async def embed(self, texts: Sequence[str], *, hear: Any, **_: Any) -> Embeddings:
        with self.paid.open("a") as file:
            file.write(json.dumps(list(texts)) + "\n")
        await anyio.lowlevel.checkpoint()
        vectors = tuple(map(meaning_of, texts))
        hear(EmbeddingResponse(assistant(), FinishReason.STOP, Usage(3), "openai", "small", 1, vectors=vectors))
        return Embeddings(vectors, "small")


def child(folder: str, commits: int) -> None:
    """Be a process that goes on with the run, or begins it, and dies after so many commits (0: never)."""
    anyio.run(_drive, Path(folder), commits)


async def _drive(folder: Path, commits: int) -> None:
    given = Squad.from_file(folder / "squad.yaml")
    shared: dict[str, Any] = {"manager": Embedding(folder / "paid"), "state": folder / "state"}
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


def begun(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "squad.yaml").write_text(SQUAD)
    return folder


def end_of(folder: Path) -> tuple[Any, list[str], int, int]:
    """Return how the run ended, what was paid, how often it was told that a call is made again, and what is billed."""
    assert processes.end(processes.start(child, str(folder), 0)) == 0
    with MemoryStore.open(folder / "state" / FILE) as store:
        assert store.without_vector("text-embedding-3-small") == []
    finished, told, billed = anyio.run(_recorded, folder)
    return finished, (folder / "paid").read_text().splitlines(), told, billed


async def _recorded(folder: Path) -> tuple[Any, int, int]:
    async with SqliteJournal(folder / "journal.db") as journal:
        assert (await replay(journal, "r")).is_equal
        events = [event.data for event in await journal.events("r")]
    [finished] = [one for one in events if isinstance(one, RunFinished)]
    told = sum(isinstance(one, CallRepeated) for one in events)
    return (finished.status, finished.outputs), told, sum(isinstance(one, TextsEmbedded) for one in events)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str], int, int]:
    """How the run ends that nothing kills."""
    return end_of(begun(tmp_path_factory.mktemp("whole") / "run"))


@pytest.mark.long
@pytest.mark.parametrize("commits", range(1, 26))
def test_a_killed_run_ends_as_another_and_pays_for_vectors_as_it_tells(
    tmp_path: Path, whole: tuple[Any, list[str], int, int], commits: int
) -> None:
    cut = begun(tmp_path / "cut")
    expected, paid, _, billed = whole
    assert expected == ("done", {"plan": "[true]"})
    assert len(paid) == billed == 4  # two questions, one search, one record
    killed = processes.end(processes.start(child, str(cut), commits))
    if killed == 0:
        assert commits > 12, "it has fewer commits"
        return
    assert killed == -signal.SIGKILL
    finished, again, told, counted = end_of(cut)
    assert finished == expected
    assert len(again) - len(paid) <= told  # what was paid twice was in flight, and is told
    assert counted >= billed - told
