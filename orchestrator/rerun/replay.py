"""A recorded run once more, from its record alone: does the same code say the same, and what did a model get to read?

No provider, tool or person is asked and nothing is written: artifacts are compared by their SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.events import RoutingReread
from orchestrator.journal.protocols import Journal, JournalError, RunManifest
from orchestrator.rerun.decisions import UnitBegun, decisions_of
from orchestrator.rerun.diff import Change, changes_between
from orchestrator.rerun.record import Answers, Difference, RecordPart, StepAt, parts_of_record
from orchestrator.rerun.unit_replay import UnitsReplayed
from orchestrator.run.history import history_of
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan
from orchestrator.squad.sources import with_routing
from providers.messages import Request

Functions = Mapping[str, Callable[..., bool]]
NONE: Functions = {}


class NotReplayable(JournalError):
    """The record does not hold what a replay needs."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that is recorded of a run, made ready to be played."""

    run: str
    manifests: tuple[RunManifest, ...]
    parts: tuple[RecordPart, ...]
    answers: Answers

    def squad(self, part: int, functions: Functions = NONE) -> Squad:
        """Return the squad that a part of the run was made of, out of the record alone."""
        manifest = self._about(part)
        if manifest.options.get("chat"):
            raise NotReplayable(f"{self.run} is a chat: what is said next is nobody's to foresee")
        if not manifest.text:
            raise NotReplayable(f"the record of {self.run} does not hold its squad")
        return Squad.from_text(manifest.text, manifest.file, sources=manifest.sources, functions=functions)

    def plan(self, part: int, squad: Squad) -> Plan:
        """Return what `squad` makes of the inputs of a part. Raise `PlanError` where they do not fit."""
        # The caller's own caps are left out: whether one was reached is recorded.
        about = self._about(part)
        return squad.plan(about.inputs, squad.builtin(None), about.edition)

    def squads(self, part: int, functions: Functions = NONE) -> Iterator[Squad]:
        """Yield the squad of a part, then what it became with each routing file that the run read on its way."""
        yield self.squad(part, functions)
        manifest = self._about(part)
        for event in (place.event.data for one in self.parts for place in one.places):
            if isinstance(event, RoutingReread) and event.text:
                sources = with_routing(manifest.sources, event.file, event.text)
                yield Squad.from_text(manifest.text, manifest.file, sources=sources, functions=functions)

    def artifacts(self, events: int | None = None) -> dict[str, str]:
        """Return path -> SHA-256 of what was written in the first so many events."""
        last = self.parts[-1] if self.parts else RecordPart(())
        recorded = (*last.before, *(place.event for place in last.places))[:events]
        return {path: written.sha256 for path, (_, written) in history_of(recorded).artifacts.items()}

    def _about(self, part: int) -> RunManifest:
        recorded = len(self.parts[part].before)
        return next(manifest for manifest in reversed(self.manifests) if manifest.since <= recorded)


@dataclass(frozen=True, slots=True)
class Replay:
    """How a replay ended. `events` were equal, and are all that is recorded where there is no `difference`.

    `artifacts` are path -> SHA-256. `changes` says how the request of the first step that differs would read now.
    """

    run: str
    events: int
    artifacts: Mapping[str, str] = field(default_factory=dict)
    difference: Difference | None = None
    changes: tuple[Change, ...] = ()
    has_end: bool = True
    """False: the record ends where the run's process was killed."""

    @property
    def is_equal(self) -> bool:
        return self.difference is None


async def read_record(journal: Journal, run: str) -> Record:
    """Return all that the journal holds of a run. Raise `RunNotFound`."""
    manifests = tuple(await journal.manifests(run))
    parts = tuple(parts_of_record(await journal.events(run)))
    ended_in = {step: i for i, part in enumerate(parts) for step in part.answered}
    steps = {StepAt(step.unit, step.key): step for step in await journal.steps(run)}
    return Record(run, manifests, parts, Answers(run, steps, ended_in))


async def replay(journal: Journal, run: str, *, against: Squad | None = None, functions: Functions = NONE) -> Replay:
    """Run a recorded run again, as its own squad has it, or as `against` has it: up to the first difference.

    `functions` are the conditions that an embedding program gave. Raises `RunNotFound`, `NotReplayable`, and
    `PlanError` where the recorded inputs do not fit `against`.
    """
    record = await read_record(journal, run)
    for number in range(len(record.parts)):
        plan = record.plan(number, against or record.squad(number, functions))
        if (difference := await _part_again(record, number, plan)) is not None:
            changes = () if against is None else await _changes(record, number, difference, functions)
            return Replay(run, difference.number, record.artifacts(difference.number), difference, changes)
    has_end = bool(record.parts) and record.parts[-1].finished is not None
    return Replay(run, sum(len(part.places) for part in record.parts), record.artifacts(), has_end=has_end)


async def _part_again(record: Record, number: int, plan: Plan) -> Difference | None:
    """Return the first difference of a part: of the run's decisions, or inside one of the units that they begin."""
    part, found = record.parts[number], list[Difference]()
    past = history_of(part.before)
    units = UnitsReplayed(part, number, plan, record.answers, past)
    await units.take_over()
    for event in decisions_of(part, plan, past, record.run):
        if isinstance(event, Difference):
            found.append(event)
        elif (difference := (await units.replay(event)).difference) is not None:
            found.append(difference)
    return min(found, key=lambda difference: difference.number, default=None)


async def _changes(record: Record, number: int, difference: Difference, functions: Functions) -> tuple[Change, ...]:
    if difference.step is None or difference.request is None:
        return ()
    try:
        asked = await request_of(record, number, difference.step, functions)
    except NotReplayable:
        return ()  # nor does the recorded squad ask so any more: the code does not
    return tuple(changes_between(asked, difference.request))


async def request_of(record: Record, number: int, step: StepAt, functions: Functions = NONE) -> Request:
    """Return what a model's step asked for in part `number`. Raise `NotReplayable` where it cannot be made again."""
    plan, part = record.plan(number, record.squad(number, functions)), record.parts[number]
    past = history_of(part.before)
    units = UnitsReplayed(part, number, plan, record.answers, past)
    await units.take_over()
    for event in decisions_of(part, plan, past, record.run):
        if isinstance(event, UnitBegun) and event.unit == step.unit:
            request = (await units.replay(event, step)).request
            if request is not None:
                return request
    raise NotReplayable(f"this release does not make the request of {step.path} that was recorded")
