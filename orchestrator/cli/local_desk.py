"""Runs in the journal of this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.cli.app import Settings
from orchestrator.cli.desk import GivenToQuestion
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.journals import open_records, run_named
from orchestrator.cli.local_list import LocalList
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.next_step import Question, answer_line
from orchestrator.cli.ui.reasons import Document
from orchestrator.errors import CommentMissing
from orchestrator.events import GateOpened, to_json
from orchestrator.run.approvals import answer_question, goes_on, questions_of
from orchestrator.run.delta_stream import answers_after
from orchestrator.run.deltas import RunDelta
from orchestrator.run.history import history_of
from orchestrator.run.recorded import RecordedRun, recorded_run
from orchestrator.run.standing import UNDECIDED

MOST_RUNS = 1000
"""Runs that are looked through for open questions, the latest first."""


@dataclass(frozen=True, slots=True)
class LocalDesk(LocalList):
    """A `Desk` over a journal."""

    is_elsewhere: ClassVar[bool] = False
    """Whether other processes do the runs' work: they are gone on with there, and followed from here."""

    @property
    def settings(self) -> Settings:
        return self.records.settings

    @property
    def console(self) -> Console:
        return self.records.console

    def command(self, *words: str) -> str:
        return self.records.command(*words)

    def goes_on_by(self, run: str, questions: Sequence[Question], *, is_chat: bool) -> str:
        return answer_line(self.command, run, questions, is_chat=is_chat)

    async def run_named(self, word: str) -> str:
        return await run_named(self.records.journal, word)

    async def record(self, run: str) -> RecordedRun:
        return await recorded_run(self.records.journal, run)

    async def follow(self, run: str, after: int = 0) -> AsyncGenerator[tuple[int, Document], None]:
        await self.records.journal.manifest(run)
        async with aclosing(self.records.journal.watch(run, after)) as events:
            async for number, event in events:
                yield number, to_json(event)

    async def answers(self, run: str, after: int) -> AsyncGenerator[tuple[int, Sequence[RunDelta]], None]:
        while found := await answers_after(self.records.journal, run, after):
            for answer in found:
                yield answer.number, answer.deltas()
            after = found[-1].number

    async def is_last(self, run: str, number: int) -> bool:
        return await self.records.journal.last_seq(run) <= number

    async def cancel(self, run: str) -> bool:
        journal = self.records.journal
        await journal.manifest(run)
        past = history_of(await journal.events(run))
        if past.is_over:
            raise NothingSelected(f"the run {run} is over: {past.status}")
        await journal.request_cancel(run)
        return await journal.is_driven(run)

    async def questions(self) -> Sequence[tuple[str, GateOpened]]:
        journal = self.records.journal
        lines = await journal.runs(MOST_RUNS, statuses=UNDECIDED)
        return [(line.run, gate) for line in lines for gate in (await questions_of(journal, line.run)).open]

    async def question(self, run: str, name: str | None) -> GateOpened:
        return (await questions_of(self.records.journal, run)).named(name)

    async def answered(self, run: str, given: GivenToQuestion) -> GateOpened:
        """Enter an answer, and return its question. Raise `Unusable` for what is no choice."""
        journal, (name, choice, comment, edited, for_run) = self.records.journal, given
        try:
            return await answer_question(journal, run, name, choice, comment, by="cli", edited=edited, for_run=for_run)
        except CommentMissing as error:
            raise Unusable(str(error), f'orchestrator approvals revise {run} {name or ""} --comment "..."') from None
        except ValueError as error:
            raise Unusable(str(error)) from None

    async def answer(self, run: str, given: GivenToQuestion) -> tuple[str, str]:
        journal, gate = self.records.journal, await self.answered(run, given)
        if told := await self.went_on(run):
            return gate.name, told
        is_chat = (await journal.manifest(run)).options.get("chat")
        goes_on_by = ("chat", "--session", run) if is_chat else ("runs", "resume", run)
        return gate.name, f"next: {self.command(*goes_on_by)}"

    async def went_on(self, run: str) -> str:
        """Return what to say of a run that needs nothing to go on with an answer; empty for one that does."""
        if await goes_on(self.records.journal, run):
            return "the run is at work and continues with this answer"
        past = history_of(await self.records.journal.events(run))
        return f"the run went on at once and is over: {past.status}" if past.is_over else ""


@asynccontextmanager
async def local_desk(settings: Settings, db: str | None) -> AsyncIterator[LocalDesk]:
    """Open the journal of earlier runs. Raise `NothingSelected` where there is none."""
    async with open_records(settings, db) as records:
        yield LocalDesk(records)
