"""What happened, keyed by meaning: the truth of a run.

A *unit* is one task of a run (one element of a `for_each`, one conversation). A *key* names a step inside it by
meaning: where in its work, turn, call; never a count of calls, so code that runs again finds its own answers even when
tasks were reordered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from agents.run_context import StepKey
from orchestrator.errors import OrchestratorError
from orchestrator.events import Event
from orchestrator.journal.spent import SpentBy, SpentRow
from orchestrator.units import Unit, text_of

Fence = int
"""Grows with each claim of a unit. An owner that holds an older fence can no longer write."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The step ended before: this is its result."""

    result: Any


@dataclass(frozen=True, slots=True)
class Go:
    """The step is to be done now. `attempt` counts from 1; above 1, an earlier attempt gave no result."""

    attempt: int


class UnitReport(NamedTuple):
    """How the work of a unit ended in another process than the one that drives the run. `number` grows by run."""

    number: int
    unit: Unit
    outcome: Any


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What a run is made of, recorded before anything else of it.

    `text` is the squad's YAML, `file` where it stood, `sources` what it refers to (see `sources.py`). `parts` are
    digests of the plan, part by part, by which a later resume tells what was changed; `dependency_digests` are of all
    that each task's work is made of, by which an edit tells what runs again. `options` are the caller's: `stub`, `out`,
    `max_cost_usd`, `timeout_s`, `priority`. It holds from the event after the first `since` ones on. `edition` is that
    of the rules by which the run goes on (`orchestrator/squad/plan.py`); records of earlier releases do not name it.
    """

    squad: str
    file: str = ""
    text: str = field(default="", repr=False)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    dependency_digests: Mapping[str, str] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    since: int = 0
    edition: int = 1
    home: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Marks of the journal that it was recorded in, which a copy of it elsewhere does not bear. The journal makes
    them; earlier releases made none."""

    @property
    def priority(self) -> int:
        """How soon a cluster's workers begin its work: what is of a higher one goes first."""
        return int(self.options.get("priority", 0))


class RunLine(NamedTuple):
    """One run as a list shows it. `status` is "running" until its last event; so is that of a run that was killed."""

    run: str
    squad: str
    created_at: float
    status: str
    cost: int | None
    """Micro-USD, None where it is unknown."""


class InFlightStep(NamedTuple):
    """A step without a result, one of whose attempts was not given up: it was in flight when its process ended."""

    unit: Unit
    key: StepKey

    @property
    def path(self) -> str:
        """The step as text: `build[S-1]/try-1/turn-1/model`."""
        return text_of(self.unit, self.key)


class StepRecord(NamedTuple):
    """One step as it is recorded. `done`: it has a `result`; else it may be in flight."""

    unit: Unit
    key: StepKey
    request_hash: bytes
    done: bool
    result: Any
    in_flight: bool


class JournalError(OrchestratorError):
    """The record of a run cannot be kept or read. It ends the run: what is not recorded must not be done."""


class Fenced(JournalError):
    """The unit was claimed by another owner: what this one writes no longer counts."""


class StepChanged(JournalError):
    """A recorded step was asked for with another request: the plan or the input changed under the run."""


class RunExists(JournalError):
    """A run of this id is recorded already."""

    hint = "resume it with `orchestrator runs resume`, or give the new run another --run-id"


class RunBusy(JournalError):
    """Another process drives the run."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        """What to do about it; may be empty."""


class JournalUnusable(JournalError):
    """The journal cannot be opened or written: no folder, no leave, no room, or not a journal of this release."""


class JournalMissing(JournalUnusable):
    """There is no journal where one was to be read."""


class JournalBusy(JournalUnusable):
    """Another process keeps the journal from being written: it is at work, or it was stopped in the middle."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class JournalDamaged(JournalUnusable):
    """What is stored is not what was written. None of it is guessed."""


class Runs(Protocol):
    """Which runs there are, what each is made of, and who drives it. All raise `JournalUnusable`."""

    async def create(
        self, run: str, manifest: RunManifest, events: Sequence[Event] = (), steps: Sequence[StepRecord] = ()
    ) -> None:
        """Record a new run, with the events and the ended steps that it takes over, at once. Raise `RunExists`."""

    async def edit(
        self,
        run: str,
        manifest: RunManifest,
        events: Sequence[Event],
        steps: Sequence[StepRecord] = (),
        over: Collection[Unit] = (),
    ) -> None:
        """Record at once that a run is made of something else from now on: `manifest` holds, what held before is kept.

        `steps` are handed back from now on as if they had ended in their units, also where one was begun there and
        has no result yet; a result that is there stays. The units in `over` are final, however they stood. The
        caller drives the run.
        """

    async def manifest(self, run: str) -> RunManifest:
        """Return what a run is made of, as it was edited last. Raise `RunNotFound`."""

    async def manifests(self, run: str) -> Sequence[RunManifest]:
        """Return what a run was made of at first, and after each edit. Raise `RunNotFound`."""

    async def runs(
        self,
        limit: int | None = 100,
        *,
        statuses: Collection[str] = (),
        squad: str | None = None,
        asking: bool = False,
        skip: int = 0,
    ) -> Sequence[RunLine]:
        """Return the latest runs, newest first: those of these statuses and this squad, or all.

        `asking`: only those that have asked a person something, be it answered or not. The first `skip` are left out.
        """

    async def run_count(self, *, statuses: Collection[str] = (), squad: str | None = None) -> int:
        """Return how many runs there are: of these statuses and this squad, or all."""

    async def remove(self, run: str) -> bool:
        """Forget a run for good, and return whether there was one. Raise `RunBusy` while a process drives it."""

    def driving(self, run: str) -> AbstractAsyncContextManager[None]:
        """Be the only driver of the run while the block lasts, over all processes. Raise `RunBusy`.

        All that was given to be recorded is recorded when the block is left, even by a cancellation.
        """

    async def is_driven(self, run: str) -> bool:
        """Return whether a process drives the run now."""

    def between_commits(self) -> AbstractContextManager[None]:
        """Have no write of this process under way while the block lasts: one that is stopped in it holds up others."""

    def is_at_home(self, manifest: RunManifest) -> bool:
        """Return whether the run was recorded in this journal, in this place: else others wrote its record, it was
        moved, or an earlier release made it, which made no marks."""

    async def reclaim(self) -> bool:
        """Give the room of removed runs back to the disk. False: a run is at work, so it is left to a later time."""

    async def room(self) -> int:
        """Return the bytes that the record takes on a disk."""


class StepLog(Protocol):
    """The units and steps of runs. Guarantees: a step that `finish` recorded is handed back by every later `begin`; its
    events are recorded with it or not at all, in the order of the calls; a stale fence writes nothing."""

    async def claim(self, run: str, unit: Unit, owner: str) -> Fence | None:
        """Take the unit and return a fence above all earlier ones; None where it has ended."""

    async def begin(
        self, run: str, unit: Unit, key: StepKey, request_hash: bytes, fence: Fence, events: Sequence[Event] = ()
    ) -> Recorded | Go:
        """Return the step's recorded result, or record the intent. Raise `Fenced`, `StepChanged`."""

    async def finish(
        self, run: str, unit: Unit, key: StepKey, fence: Fence, result: Any, events: Sequence[Event] = ()
    ) -> None:
        """Record the step's result and its events in one transaction; a first result stays. Raise `Fenced`."""

    async def give_up(self, run: str, unit: Unit, key: StepKey, fence: Fence) -> None:
        """Record that the step's latest attempt ended without a result: it is in flight no more. Raise `Fenced`."""

    async def end(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        """Record that the unit is final: no later claim gets it. Raise `Fenced`."""

    async def park(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        """Pause the unit: the next claim gets it. Raise `Fenced`."""

    async def record(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event]) -> None:
        """Record events of a unit's work that belong to no step of it. Raise `Fenced`."""

    async def cut_short(self, run: str, unit: Unit | None = None) -> Sequence[InFlightStep]:
        """Return the steps in flight of units that have not ended: of all, or of one of them."""

    async def steps(self, run: str) -> Sequence[StepRecord]:
        """Return all steps of a run that were begun, in the order of their units and keys."""


class EventLog(Protocol):
    """The events of runs, each once, in the order in which they were recorded."""

    async def append(self, run: str, events: Sequence[Event]) -> None:
        """Record events that belong to no step. An event whose id is recorded is ignored."""

    async def events(self, run: str, after_seq: int = 0, most: int | None = None) -> Sequence[Event]:
        """Return the recorded events after `after_seq`, in the order in which they were recorded: all, or the first
        `most` of them."""

    async def events_of_unit(self, run: str, unit: Unit) -> Sequence[Event]:
        """Return the recorded events of one unit's work, all its steps included, in the order of their recording."""

    async def events_of_kinds(
        self, run: str, kinds: Collection[type], after_seq: int = 0
    ) -> Sequence[tuple[int, Event]]:
        """Return (sequence, event) after `after_seq` of the events whose `data` is of these classes."""

    async def last_seq(self, run: str) -> int:
        """Return the sequence number of the last event so far, which is how many there are."""

    def watch(self, run: str, after_seq: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        """Yield (sequence, event) after `after_seq`, then each new one as it is recorded, without gap or duplicate.

        It never ends by itself: iterate inside `contextlib.aclosing`.
        """

    async def spent(self, by: Sequence[SpentBy], since: float = 0.0) -> Sequence[SpentRow]:
        """Return what all runs spent since (epoch seconds UTC), added up under the names of each of `by`.

        What a fork took over is not in it: the run that it came from paid for it. An attempt whose answer was not used
        counts for the agent who had the turn.
        """

    async def spent_in_ways(self, *ways: tuple[Sequence[SpentBy], float]) -> Sequence[Sequence[SpentRow]]:
        """Return what `spent` would of each (by, since), all of one state of the record."""

    async def turns(self, since: float, until: float, most: int) -> Sequence[Event]:
        """Return the events that tell of the latest `most` turns of all runs in a time (epoch seconds UTC): when each
        began, its attempts, its waits and its end; run by run, without what a fork took over."""


class Signals(Protocol):
    """What people and other processes tell a run: answers, and that it should stop."""

    async def signal(self, run: str, name: str, value: Any, idempotency_key: str) -> Any:
        """Record a person's answer or another outside fact, and return the value that stands under `idempotency_key`.

        The first one stands, over all processes: where it is not `value` itself, another was there before.
        """

    async def signals(self, run: str) -> Sequence[tuple[str, Any]]:
        """Return the (name, value) pairs signalled so far, oldest first."""

    def watch_signals(self, run: str) -> AsyncGenerator[tuple[str, Any], None]:
        """Yield the (name, value) pairs signalled so far, then each new one.

        One of this process comes at once; one of another process within 15 s, and sooner where the watcher has not
        waited for long. It never ends by itself: iterate inside `contextlib.aclosing`.
        """

    async def request_cancel(self, run: str) -> None:
        """Ask the process that drives the run to stop it."""

    async def cancel_requested(self, run: str) -> bool: ...


class Journal(Runs, StepLog, EventLog, Signals, Protocol):
    """All of a journal. Functions take the part that they need."""

    async def aclose(self) -> None:
        """Record what is waiting, then release everything. Closing twice does nothing."""


class Reports(Protocol):
    """How units ended that other processes work on, for the one that drives their run. Guarantees: each report is taken
    once, in the order in which they were made, though processes are killed."""

    async def report(
        self, run: str, unit: Unit, fence: Fence, outcome: Any, events: Sequence[Event] = (), *, is_final: bool
    ) -> None:
        """Record a unit's last events, that it is final or paused, and a report of its `outcome`, at once.

        Raise `Fenced`."""

    async def reports(self, run: str) -> Sequence[UnitReport]:
        """Return the reports that were not taken yet, oldest first."""

    def watch_reports(self, run: str) -> AsyncGenerator[Sequence[UnitReport], None]:
        """Yield the reports that were not taken yet, oldest first, then new ones as they come, each once.

        It never ends by itself: iterate inside `contextlib.aclosing`.
        """

    async def take_reports(self, run: str, number: int, events: Sequence[Event] = ()) -> None:
        """Record at once that the reports up to `number` are taken, and the events of the run that follow from it."""

    async def told(self) -> Sequence[str]:
        """Return the runs that wait for people, are driven by no process, and to which something was said since the
        last one drove them."""


class HeldCall(NamedTuple):
    """What a call may take under caps that several processes draw on, as long as its beginning is not on record.

    `of` names the accounts. `waits`: there is no room for it yet; then it holds nothing, and keeps its place.
    """

    id: str
    unit: Unit
    fence: Fence
    cost: int
    """Micro-USD."""
    tokens: int
    turns: int
    of: tuple[str, ...]
    waits: bool = False
    number: int = 0
    """Its place among all of the run: it grows, and the journal gives it."""


class HoldChanges(NamedTuple):
    """Holds that are new, or changed, and the ids of those that are no more."""

    put: Sequence[HeldCall] = ()
    drop: Collection[str] = ()


DecideHolds = Callable[[Sequence[tuple[int, Event]], Sequence[HeldCall]], HoldChanges]


class Holds(Protocol):
    """What calls of a run hold of its caps that are about to be made, in whichever process. Guarantee: of two that ask
    at once, one sees what the other holds, and what is recorded until then."""

    async def hold(
        self, run: str, kinds: Collection[type], after_seq: int, decide: DecideHolds
    ) -> Collection[HeldCall]:
        """Change what is held, as `decide` says: it is given (sequence, event) after `after_seq` of the events whose
        `data` is of these classes, and the holds in the order of their numbers. Nothing is recorded of the run
        meanwhile. It may be called again, where it is not known whether the change was made.

        Holds of a unit that has ended, or was claimed by another owner, are none any more. Return the new ones that are
        none.
        """

    async def record_calls(
        self, run: str, unit: Unit, fence: Fence, events: Sequence[Event], ids: Sequence[str]
    ) -> None:
        """Record events of a unit's work, and that these holds are no more, at once: the events tell of their calls
        from then on. Raise `Fenced`."""

    def stirs(self, run: str) -> AsyncGenerator[None, None]:
        """Yield whenever something more may be recorded of a run or a hold is no more. It may miss some.

        It never ends by itself: iterate inside `contextlib.aclosing`.
        """


class SharedJournal(Journal, Reports, Holds, Protocol):
    """A journal that several processes work on, on one run too."""
