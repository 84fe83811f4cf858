"""What a PostgreSQL journal can be told, whether by itself or within a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from agents.run_context import StepKey
from orchestrator.events import Event
from orchestrator.journal.postgres.deciding import StoredRecord
from orchestrator.journal.postgres.operations import (
    AppendEvents,
    BeginStep,
    CancelRun,
    ClaimUnit,
    CreateRun,
    EditRun,
    FinishStep,
    GiveSignal,
    GiveUpStep,
    JournalCall,
    RecordOfUnit,
    ReportUnit,
    TakeReports,
    encoded,
    named,
    of_manifest,
    step_named,
    taken_steps,
)
from orchestrator.journal.protocols import Fence, Go, Recorded, RunManifest, StepRecord
from orchestrator.journal.records import packed, refuse_bad_id, rows_of, spent_in
from orchestrator.units import Unit


class PostgresWrites:
    """The half of a `Journal` that writes. `_do` brings an operation about, `_value` reads a record that it met."""

    async def _do(self, operation: JournalCall) -> Any:
        raise NotImplementedError

    async def _value(self, data: bytes) -> Any:
        raise NotImplementedError

    def _driver(self, run: str) -> Fence | None:
        """Return the fence under which this process drives the run, if it does."""
        raise NotImplementedError

    def _at_home(self, manifest: RunManifest) -> RunManifest:
        """Return the manifest with the marks of this journal."""
        raise NotImplementedError

    async def create(
        self, run: str, manifest: RunManifest, events: Sequence[Event] = (), steps: Sequence[StepRecord] = ()
    ) -> None:
        refuse_bad_id(run)
        fields, taken = of_manifest(self._at_home(manifest)), taken_steps(steps)
        await self._do(CreateRun(run=run, events=rows_of(events), taken=taken, driver=self._driver(run), **fields))

    async def edit(
        self,
        run: str,
        manifest: RunManifest,
        events: Sequence[Event],
        steps: Sequence[StepRecord] = (),
        over: Collection[Unit] = (),
    ) -> None:
        refuse_bad_id(run)
        fields, final = of_manifest(self._at_home(manifest)), [named(unit.path) for unit in over]
        rows, taken = rows_of(events), taken_steps(steps)
        await self._do(EditRun(run=run, events=rows, taken=taken, over=final, driver=self._driver(run), **fields))

    async def claim(self, run: str, unit: Unit, owner: str) -> Fence | None:
        refuse_bad_id(run)
        fence: Fence | None = await self._do(ClaimUnit(run=run, unit=named(unit.path), owner=encoded(owner)))
        return fence

    async def begin(
        self, run: str, unit: Unit, key: StepKey, request_hash: bytes, fence: Fence, events: Sequence[Event] = ()
    ) -> Recorded | Go:
        refuse_bad_id(run)
        rows, of, step = rows_of(events), named(unit.path), step_named(unit, key)
        found = await self._do(
            BeginStep(run=run, unit=of, step=step, fence=fence, request_hash=request_hash, events=rows)
        )
        if isinstance(found, StoredRecord):
            return Recorded(await self._value(found.data))
        assert isinstance(found, Go), "a step is recorded, or it is to be done"
        return found

    async def finish(
        self, run: str, unit: Unit, key: StepKey, fence: Fence, result: Any, events: Sequence[Event] = ()
    ) -> None:
        refuse_bad_id(run)
        rows, of, step, (tokens, cost) = rows_of(events), named(unit.path), step_named(unit, key), spent_in(result)
        ended = FinishStep(run=run, unit=of, step=step, fence=fence, record=packed(result), events=rows)
        await self._do(replace(ended, tokens=tokens, cost=cost))

    async def give_up(self, run: str, unit: Unit, key: StepKey, fence: Fence) -> None:
        refuse_bad_id(run)
        await self._do(GiveUpStep(run=run, unit=named(unit.path), step=step_named(unit, key), fence=fence))

    async def end(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        refuse_bad_id(run)
        await self._do(RecordOfUnit(run=run, unit=named(unit.path), fence=fence, events=rows_of(events), is_end=True))

    async def park(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        await self.record(run, unit, fence, events)

    async def record(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event]) -> None:
        refuse_bad_id(run)
        await self._do(RecordOfUnit(run=run, unit=named(unit.path), fence=fence, events=rows_of(events)))

    async def record_calls(
        self, run: str, unit: Unit, fence: Fence, events: Sequence[Event], ids: Sequence[str]
    ) -> None:
        refuse_bad_id(run)
        await self._do(RecordOfUnit(run=run, unit=named(unit.path), fence=fence, events=rows_of(events), holds=ids))

    async def report(
        self, run: str, unit: Unit, fence: Fence, outcome: Any, events: Sequence[Event] = (), *, is_final: bool
    ) -> None:
        refuse_bad_id(run)
        of, record, rows = named(unit.path), packed(outcome), rows_of(events)
        await self._do(ReportUnit(run=run, unit=of, fence=fence, record=record, is_final=is_final, events=rows))

    async def take_reports(self, run: str, number: int, events: Sequence[Event] = ()) -> None:
        refuse_bad_id(run)
        await self._do(TakeReports(run=run, number=number, events=rows_of(events), driver=self._driver(run)))

    async def append(self, run: str, events: Sequence[Event]) -> None:
        refuse_bad_id(run)
        if events:
            await self._do(AppendEvents(run=run, events=rows_of(events), driver=self._driver(run)))

    async def signal(self, run: str, name: str, value: Any, idempotency_key: str) -> Any:
        refuse_bad_id(run)
        given = GiveSignal(run=run, name=encoded(name), key=encoded(idempotency_key), record=packed(value))
        found = await self._do(given)
        return await self._value(found.data) if isinstance(found, StoredRecord) else value

    async def request_cancel(self, run: str) -> None:
        refuse_bad_id(run)
        await self._do(CancelRun(run=run))
