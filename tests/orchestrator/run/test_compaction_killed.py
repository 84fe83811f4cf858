"""Kill -9 at every record of a run whose histories are summarised: resumed, it ends as if nothing had happened."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents import tool
from agents.events import ContextSummarised, HistorySummarised
from orchestrator.events import CallRepeated
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests import processes
from tests.orchestrator.crashes import Counting, Doomed
from tests.orchestrator.killed import Whole, at_records, check, difference_in_replay, kill_at, recorded, records
from tests.orchestrator.squads import Answers, squad


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole("compacted", tmp_path_factory.mktemp("compacted"))


def test_killed_once_it_ends_as_if_nothing_had_happened(tmp_path: Path, whole: Whole) -> None:
    made = [event for event in whole.events if isinstance(event.data, HistorySummarised)]
    assert len(made) > 3
    assert {event.data.failed for event in made} == {""}
    assert sum(isinstance(event.data, ContextSummarised) for event in whole.events) == 3
    with Counting().serving() as provider:
        kill_at(20, "compacted", tmp_path, provider)
    check(tmp_path, whole, provider)
    assert difference_in_replay(tmp_path) is None


@pytest.mark.long
@at_records
def test_killed_at_every_record_it_ends_as_if_nothing_had_happened(tmp_path: Path, whole: Whole, step: int) -> None:
    for commits in records(step):
        folder = tmp_path / str(commits)
        folder.mkdir()
        with Counting().serving() as provider:
            over = kill_at(commits, "compacted", folder, provider, backend=("asyncio", "trio")[commits % 2])
        check(folder, whole, provider)
        assert difference_in_replay(folder) is None
        if over:
            break
    assert commits > 30, "every claim, intent, result and end is a record"


PAGE = "A text of some length, of which more follows. " * 80


class Narrow(Answers):
    """A manager whose models take little; it notes what it was asked in a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self._said)
        self._file = folder / "asked"

    def room(self, request: Request) -> int:
        return 8_000

    def _said(self, agent: str, request: Request) -> Any:
        with self._file.open("a") as file:
            file.write(b"".join(message.digest for message in request.messages).hex() + "\n")
        if "You shorten the older part" in request.messages[0].text:
            return f"In short: {'theirs' if 'theirs' in request.messages[-1].text else 'ours'}."
        last = max((int(call.id[1:]) for message in request.messages for call in message.tool_calls), default=-1)
        if last == 6:
            return f"Read, with {len(request.messages)} messages in view."
        call = ToolCall(f"c{last + 1}", ("ours", "theirs")[last % 2], f'{{"page": {last + 1}}}')
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(10), "fake", "fake", 10)


async def drive_narrow(folder: Path, commits: int, backend: str = "") -> None:
    """Begin the run, or go on with it; die after so many records."""

    @tool(risk="read_only", blocking=False, idempotent=True)
    def ours(page: int) -> str:
        """Read a page of our own."""
        return f"ours {page}: {PAGE}"

    @tool(risk="read_only", blocking=False, untrusted=True, idempotent=True)
    def theirs(page: int) -> str:
        """Read a page of others."""
        return f"theirs {page}: {PAGE}"

    people = {"ann": {"role": "Reads.", "tools": ["ours", "theirs"]}}
    made = squad({"a": "Read."}, people=people, tools=[ours, theirs], outputs={"a": "${{ tasks.a.output }}"})
    async with SqliteJournal(folder / "journal.db") as opened:
        journal: Any = Doomed(opened, commits) if commits else opened
        if await opened.runs():
            opening = resume_run(made, "r", journal=journal, manager=Narrow(folder))
        else:
            opening = open_run(made, journal=journal, manager=Narrow(folder), run_id="r")
        async with opening as run:
            async for _ in run:
                pass
        (folder / "result.json").write_text(json.dumps([run.result.status, dict(run.result.outputs)]))


def narrow(folder: str, commits: int, backend: str) -> None:
    anyio.run(drive_narrow, Path(folder), commits, backend=backend)


@pytest.mark.long
@at_records
def test_a_run_that_goes_by_its_models_room_ends_the_same_wherever_it_is_killed(tmp_path: Path, step: int) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    anyio.run(drive_narrow, whole, 0)
    places = {event.step[-1] for event in recorded(whole) if isinstance(event.data, HistorySummarised)}
    assert places == {"summary", "summary-of-others"}
    asked = Counter((whole / "asked").read_text().split())
    for commits in records(step):
        folder = tmp_path / str(commits)
        folder.mkdir()
        backend = ("asyncio", "trio")[commits % 2]
        code = processes.end(processes.start(narrow, str(folder), commits, backend))
        if code != 0 and not (recorded(folder)[-1:] and recorded(folder)[-1].type == "run.finished"):
            anyio.run(drive_narrow, folder, 0)
        if (folder / "result.json").exists():
            assert (folder / "result.json").read_text() == (whole / "result.json").read_text()
        again = Counter((folder / "asked").read_text().split())
        assert len(again) == len(asked), "the same requests, no other"  # but for the numbers of fences
        told = sum(isinstance(event.data, CallRepeated) for event in recorded(folder))
        assert again.total() - len(again) <= told, "a call was paid twice, and nobody was told"
        assert difference_in_replay(folder) is None
        if code == 0:
            break
    assert commits > 30
