"""Runs of a cluster: the record is here as that of any run, and the work is done by its workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import anyio

from agents.events import TurnEnded
from orchestrator.cli.app import Settings
from orchestrator.cli.clusters import cluster_at
from orchestrator.cli.desk import GivenToQuestion
from orchestrator.cli.journals import RecordedRuns
from orchestrator.cli.local_desk import LocalDesk
from orchestrator.cli.remote.fetched import put_artifact
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.next_step import Question, answers_of
from orchestrator.cluster.opening import ClusterDatabase
from orchestrator.cluster.standing import unserved
from orchestrator.dispatch.cluster.job import RUNS
from orchestrator.events import ArtifactWritten, GateOpened
from orchestrator.journal.opening import place_of_journal
from orchestrator.journal.protocols import RunLine
from orchestrator.run.approvals import questions_of
from orchestrator.run.delta_stream import answers_after
from orchestrator.run.deltas import Position, RunDelta
from orchestrator.run.history import history_of
from orchestrator.run.recorded import RecordedRun
from orchestrator.run.standing import UNFINISHED, state_in
from providers.documents.unicode import printable

QUEUED = "queued"
"""The state of a run that waits for a worker."""
FAILED_THERE = (
    "workers could not go on with some runs, and try again: their logs say why (a key that none has, for one)"
)
LOOKS_S = 2.0
"""How often it is looked whether a run that waits has a worker."""


@dataclass(frozen=True, slots=True)
class ClusterDesk(LocalDesk):
    """A `FollowedDesk` over a cluster's journal and queue."""

    is_elsewhere: ClassVar[bool] = True
    cluster: ClusterDatabase

    @property
    def place(self) -> str:
        return str(self.records.place)

    def goes_on_by(self, run: str, questions: Sequence[Question], *, is_chat: bool) -> str:
        """An answer has a worker go on with the run; without a question it is resumed."""
        if is_chat:
            return LocalDesk.goes_on_by(self, run, questions, is_chat=True)
        answers = answers_of(self.command, run, questions)
        last = self.command("runs", "watch" if answers else "resume", run)
        return " && ".join([*answers, last])

    async def state(self, run: str) -> str:
        journal = self.records.journal
        return await self._now(
            run, await state_in(journal, run, history_of(await journal.events(run)).status or "running")
        )

    async def latest(self, limit: int, states: Sequence[str], squad: str | None) -> Sequence[tuple[RunLine, str]]:
        found = await LocalDesk.latest(self, limit, states, squad)
        return [(line, await self._now(line.run, state)) for line, state in found]

    async def record(self, run: str) -> RecordedRun:
        found = await LocalDesk.record(self, run)
        return replace(found, state=await self._now(run, found.state))

    async def _now(self, run: str, state: str) -> str:
        """Return the state of a run whose record says this one: what no process drives may wait for a worker."""
        return QUEUED if state == UNFINISHED and await self.cluster.queue.live(run) else state

    async def is_last(self, run: str, number: int) -> bool:
        """Return whether no event came after the one of this number, and none will for an answer that was given."""
        if not await LocalDesk.is_last(self, run, number):
            return False
        return not (await questions_of(self.records.journal, run)).is_run_to_go_on

    async def questions_of(self, run: str) -> Sequence[GateOpened]:
        return (await questions_of(self.records.journal, run)).open

    async def answer(self, run: str, given: GivenToQuestion) -> tuple[str, str]:
        if (await self.records.journal.manifest(run)).options.get("chat"):
            return await LocalDesk.answer(self, run, given)
        gate = await self.answered(run, given)
        if told := await self.went_on(run):
            return gate.name, told
        await self.cluster.drive(run)
        return gate.name, await self.where_it_waits() or "the next free worker goes on with the run"

    async def where_it_waits(self) -> str:
        """Return why what is submitted now is not begun soon, and what to do; empty where workers serve it."""
        status = await self.cluster.queue.status()
        missing = unserved(status)
        if not missing:
            again = RUNS in status.queues and status.queues[RUNS].again
            return FAILED_THERE if again else ""
        named = " and ".join(f"`{queue}`" for queue in missing)
        start = self.command("worker")
        return f"queued: no worker serves {named}; start one: {start}"

    async def tell_where_it_waits(self, run: str, tell: Callable[[str], None]) -> None:
        """Tell why a run is not at work, once for each reason, until cancelled."""
        told = ""
        while True:
            waits = "" if await self.records.journal.is_driven(run) else await self.where_it_waits()
            if waits != told:
                tell(waits or "a worker is there")
                told = waits
            await anyio.sleep(LOOKS_S)

    async def spoken(self, run: str, after: str) -> AsyncGenerator[RunDelta, None]:
        """Yield what agents say after a position, each answer once it is recorded."""
        seen, ended = Position.of(after).ended, 0
        async with aclosing(self.records.journal.watch(run)) as events:
            async for _, event in events:
                if not isinstance(event.data, TurnEnded):
                    continue
                ended += 1
                if ended > seen:
                    for answer in await answers_after(self.records.journal, run, seen):
                        seen = answer.number
                        for delta in answer.deltas():
                            yield delta

    async def fetch(self, run: str, names: Collection[str], out: Path, *, overwrite: bool) -> None:
        """Write files from the record. What a tool wrote has no text there: it is in the workers' folder alone."""
        written = await self.cluster.journal.events_of_kinds(run, (ArtifactWritten,))
        texts = {event.data.path: event.data.text for _, event in written}
        for name in names:
            if name in texts:
                data = texts[name].encode("utf-8", "surrogatepass")
                await anyio.to_thread.run_sync(partial(put_artifact, out, name, data, overwrite=overwrite))
            else:
                self.console.warn(printable(f"{name} is not in the record: it is in the folder that workers write to"))
        if texts:
            self.console.say(printable(f"its files are in {out}"))


@asynccontextmanager
async def cluster_desk(settings: Settings, db: str) -> AsyncIterator[ClusterDesk]:
    """Open a cluster. Raise `NothingSelected` where nothing is recorded there."""
    console = Console(settings)
    async with cluster_at(db, console.warn, create=False) as cluster:
        records = RecordedRuns(cluster.journal, place_of_journal(db), settings, console, db)
        yield ClusterDesk(records, cluster)
