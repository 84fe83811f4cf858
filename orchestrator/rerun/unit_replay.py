"""One unit's work, done again alone: its steps are answered from the record, and what it says must be recorded.

Nothing else goes on meanwhile, so nothing waits. What happened at the same time inside the unit, at places of which
neither lies in the other, may stand in the record in any order.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn

from agents import RunContext
from agents.run_context import StepKey
from orchestrator.events import (
    ArtifactWritten,
    BudgetReached,
    ControlUnread,
    ConversationEnded,
    ElementEnded,
    Event,
    MessageSpoken,
    TaskEnded,
    TaskParked,
    TaskResumed,
    TaskRetried,
)
from orchestrator.journal.protocols import JournalError, StepRecord
from orchestrator.rerun.decisions import UnitBegun
from orchestrator.rerun.record import Answers, Difference, PlacedEvent, RecordPart, StepAt, same
from orchestrator.run.accounts import AccountScope
from orchestrator.run.assignment import Assignment
from orchestrator.run.conversation import budget_reason
from orchestrator.run.crew import Crew
from orchestrator.run.history import TOLD_AGAIN, RunHistory, telling
from orchestrator.run.unit_work import settled
from orchestrator.run.work_clock import UnitClock
from orchestrator.run.work_time import waited_in
from orchestrator.run.worker import TaskRunner
from orchestrator.squad.elements import task_of
from orchestrator.squad.plan import Plan, Steps, Switch, TaskPlan
from orchestrator.units import SAID, StepPath, Unit
from providers.budgets import BudgetRef
from providers.emit import Emit
from providers.errors import BudgetSpent
from providers.messages import Request, Response

BUDGET_KINDS = ("max_cost", "max_tokens", "max_time", "max_turns")


class NotRecorded(JournalError):
    """The record does not say how this went on: a step failed or was cut off there, or the code asks another one."""


class UnitsReplayed:
    """The units of one part, and what they share. They make no request and write no file."""

    def __init__(self, part: RecordPart, number: int, plan: Plan, answers: Answers, past: RunHistory) -> None:
        self.part, self.number, self.answers, self.past = part, number, answers, past
        self.plan = plan
        self.told = past.told.copy()
        self.unit: UnitReplay | None = None
        self.tasks = TaskRunner(Crew(plan, self, self.now, self._emit_at, run=answers.run), pause=_at_once)

    async def take_over(self) -> None:
        """Let the units know whose the files are that earlier processes wrote."""
        for unit, written in self.past.artifacts.values():
            await self.tasks.files.take_over(unit, written)

    async def replay(self, begun: UnitBegun, target: StepAt | None = None) -> UnitReplay:
        """Do a unit's work again, and return how far that went; with a `target`, as far as this step's request."""
        self.unit = UnitReplay(self, begun, target)
        await self.unit.run()
        return self.unit

    async def complete(self, request: Request, **_: Any) -> Response:
        """Take the request of a step that the record cannot answer."""
        assert self.unit is not None, "units make requests"
        self.unit.request = request
        raise NotRecorded("a replay asks no person")

    def now(self) -> float:
        """Return when the newest event was recorded that the unit has come to."""
        return self.part.places[0 if self.unit is None else self.unit.latest].event.at

    def _emit_at(self, unit: Unit, step: StepPath) -> Emit:
        assert self.unit is not None, "units speak"
        assert self.unit.unit == unit, "one unit is replayed at a time"
        return self.unit.emitter(step)


class _Unanswered(NamedTuple):
    """A step whose result is not in the record. `work` makes its request; `is_begun`: the record knows the step."""

    at: StepAt
    is_begun: bool
    work: Callable[[], Awaitable[Any]]


class RecordedClock(UnitClock):
    """Tells how long a unit waited for people in its record, up to a place there. Here nobody is waited for."""

    def __init__(self, places: Sequence[int], waited: Sequence[float], latest: Callable[[], int]) -> None:
        super().__init__()
        self._places = places
        self._waits = waited
        self._latest = latest

    def waited(self) -> float:
        came_to = bisect_right(self._places, self._latest())
        return self._waits[came_to - 1] if came_to else 0.0


@dataclass(slots=True)
class UnitReplay:
    """One unit being replayed. `left` are the places of its events in the part that the code has not come to."""

    shared: UnitsReplayed
    begun: UnitBegun
    target: StepAt | None = None
    request: Request | None = None
    difference: Difference | None = None
    left: list[int] = field(init=False)
    latest: int = field(init=False)
    """The newest place that the code has come to."""
    _inside: dict[StepAt, list[int]] = field(default_factory=dict)
    """The places of what happened inside each step that the code has not asked for."""
    _task: TaskPlan = field(init=False)
    _unanswered: list[_Unanswered] = field(default_factory=list)
    _stuck: list[StepPath] = field(default_factory=list)
    """Where the code cannot go on."""
    _is_capturing: bool = False

    def __post_init__(self) -> None:
        self._task = _without_timeouts(task_of(self.shared.plan, self.unit.task))
        self.left, self.latest = self._without_pauses(self.shared.part.of_unit(self.unit)), self.begun.number
        for i in self.left:
            if (at := self._place(i).at) is not None:
                self._inside.setdefault(at, []).append(i)

    def _without_pauses(self, places: list[int]) -> list[int]:
        """Return the places without those where the unit paused and went on: nothing that it did was told twice."""
        resumed = [i for i in places if isinstance(self._place(i).event.data, TaskResumed)]
        parked = [i for i in places if isinstance(self._place(i).event.data, TaskParked)]
        left_out = {*resumed, *parked[: len(resumed)]}
        return [i for i in places if i not in left_out]

    @property
    def unit(self) -> Unit:
        return self.begun.unit

    async def run(self) -> None:
        """Do the work, once more after each try that failed, until it ends, the record does, or they differ."""
        tried, task = self.shared.past.tried.get(self.unit, 0), self._task
        # By this clock no budget's time is ever up: whether it was is recorded.
        ctx = RunContext(emit=self.emitter(()), do=self._do, budgets=AccountScope((), lambda: -math.inf))
        clock = self._clock()
        while True:
            begun = self.begun
            given = Assignment(self.unit, begun.values, begun.review, tried, clock=clock, taint=begun.taint)
            self._unanswered.clear()
            self._stuck.clear()
            try:
                return self._say((), await settled(self.unit, self.shared.tasks.perform(task, given, ctx)))
            except (NotRecorded, BudgetSpent):
                if self.request is not None or not await self._is_tried_again(tried):
                    return None
                tried += 1

    def _clock(self) -> RecordedClock:
        at, part = tuple(self.left), self.shared.part
        # What another process asked is waited for again as soon as the unit comes to it, over what is recorded.
        still_open = [name for name, gate in self.shared.past.gates.items() if gate.unit == self.unit]
        events, began = [self._place(i).event for i in at], part.places[self.begun.number].event.at
        return RecordedClock(at, list(waited_in(events, self.unit, still_open, began)), lambda: self.latest)

    # -- what the code says

    def emitter(self, step: StepPath) -> Emit:
        def emit(payload: Any) -> None:
            if not self._is_capturing:
                self._say(step, payload)

        return emit

    def _say(self, step: StepPath, payload: Any) -> None:
        """Come to what is said in the record. Raise `NotRecorded` where it is not there."""
        if isinstance(payload, ArtifactWritten) and self._is_refused():
            raise self._stopped_at(step, "the disk refused the file")
        if isinstance(payload, TOLD_AGAIN) and self.shared.told[said := telling(self.unit, step, payload)]:
            self.shared.told[said] -= 1
            return
        for i in self.left:
            place = self._place(i)
            made = place.event._replace(step=step, data=payload)
            if place.step is None and same(place.event, _as_told_then(place.event.data, made)):
                self._come_to([i])
                return
            if _depend(_path(place), step):
                if self._is_out_of_time(place.event.data):
                    break
                raise self._differing(i, place.event, made)
        raise self._stopped_at(step, "what is said now was not recorded any more")

    def _stopped_at(self, step: StepPath, why: str) -> NotRecorded:
        """Return the error that leaves the code at a place."""
        self._stuck.append(step)
        return NotRecorded(why)

    def _is_refused(self) -> bool:
        """Return whether the file that is written now could not be: no disk is asked again."""
        match self._next_said():
            case TaskEnded(error_kind="CannotWrite") | ElementEnded(error_kind="CannotWrite"):
                return True  # as earlier releases recorded it
            case TaskParked(cause="file"):
                return True
        return False

    def _is_out_of_time(self, data: Any) -> bool:
        """Return whether the work may have been cut off here, by a limit of time: that may happen anywhere."""
        match data:
            case TaskEnded(error_kind="TaskTimedOut") | ElementEnded(error_kind="TaskTimedOut"):
                return True
            case BudgetReached(kind="max_time"):
                return True
            case TaskRetried():
                return "timeout" in self._task.retry.on
        return False

    def _next_said(self) -> Any:
        """Return what was said next outside of any step, None where nothing is left."""
        return next((self._place(i).event.data for i in self.left if self._place(i).step is None), None)

    def _place(self, i: int) -> PlacedEvent:
        return self.shared.part.places[i]

    def _come_to(self, met: list[int]) -> None:
        self.latest = max(self.latest, *met)
        end = bisect_right(self.left, met[-1])
        self.left[:end] = [i for i in self.left[:end] if i not in met]

    def _differing(self, i: int | None, recorded: Event | None, replayed: Event | None, **asked: Any) -> NotRecorded:
        """Note the difference, and return the error that leaves the code there."""
        at = self.latest + 1 if i is None else i
        number = len(self.shared.part.before) + at
        self.difference = self.difference or Difference(number, recorded, replayed, **asked)
        return NotRecorded("it is another than the recorded one")

    # -- what the code asks for

    async def _do(self, key: StepKey, request_hash: bytes, work: Callable[[], Awaitable[Any]]) -> Any:
        """Answer a step from the record."""
        at = StepAt(self.unit, key)
        step = self.shared.answers.steps.get(at)
        is_changed = step is not None and step.request_hash != request_hash
        if is_changed:
            raise await self._asked_otherwise(at, work)
        if at == self.target:
            await self._capture(at, work)
        if self.target is not None and _path_begins(self.target.key.step, at.key):
            return await self._inside_of(at, work)
        has_events = self._begin(at)
        if step is not None and self._is_answered(at, step, has_events):
            return step.result
        if (spent := self._own_budget(key)) is not None:
            raise spent
        self._unanswered.append(_Unanswered(at, has_events or step is not None, work))
        raise self._stopped_at(_step_path(key), f"{at.path} has no result")

    async def _inside_of(self, at: StepAt, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do a step's work, in which the target lies: an agent works there for another one."""
        if own := self._inside.pop(at, []):
            self._come_to(own)
        self._is_capturing, before = True, self._is_capturing
        try:
            return await work()
        finally:
            self._is_capturing = before

    def _begin(self, at: StepAt) -> bool:
        """Come to all that happened inside the step, which is the record's, and return whether anything did.

        Steps below it are the record's, too: those of an agent that works there for another one.
        """
        below = [one for one in self._inside if _path_begins(one.key.step, at.key)] if at.key.call != "model" else []
        inside = sorted(i for one in (at, *below) for i in self._inside.pop(one, []))
        if not inside:
            return False
        for i in self.left[: bisect_right(self.left, inside[-1])]:
            if i not in inside and _depend(_path(self._place(i)), _step_path(at.key)):
                raise self._differing(i, self._place(i).event, None)
        self._come_to(inside)
        return True

    def _is_answered(self, at: StepAt, step: StepRecord, has_events: bool) -> bool:
        """Return whether the step ended in this part, or before."""
        ended_in = self.shared.answers.ended_in.get(at)
        if ended_in is None and at.key.call == SAID:
            # Earlier releases did not record when a person spoke; a unit that was suspended for it says so.
            return step.done and not isinstance(self._next_said(), TaskParked)
        if ended_in is None:
            return step.done and not has_events  # it was taken over, from before the first part
        return step.done and ended_in <= self.shared.number

    def _own_budget(self, key: StepKey) -> BudgetSpent | None:
        """Return the error of a step that a conversation's own budget left no room for: that ended the conversation."""
        said = [self._place(i).event for i in self.left if self._place(i).step is None]
        event = next((event for event in said if not isinstance(event.data, MessageSpoken | ControlUnread)), None)
        ends = [*self._ended_before(key)]
        if (
            event is not None
            and isinstance(event.data, ConversationEnded)
            and event.step == key.step[: len(event.step)]
        ):
            ends.append(event.data)
        for ended in ends:
            # Records of edition 1 say it in words alone.
            kinds = [kind for kind in BUDGET_KINDS if ended.budget == kind or ended.reason == budget_reason(kind)]
            if kinds:
                return BudgetSpent(BudgetRef("conversation", ended.conversation), kinds[0], 0, 0, 0)
        return None

    def _ended_before(self, key: StepKey) -> Iterator[ConversationEnded]:
        """Yield how the conversations around a step ended in an earlier part, the innermost first."""
        told = [said for said, left in self.shared.told.items() if left and isinstance(said, tuple)]
        around = [
            (len(step), data)
            for unit, step, data, *_ in told
            if unit == self.unit and isinstance(data, ConversationEnded) and step == key.step[: len(step)]
        ]
        yield from (data for _, data in sorted(around, key=lambda one: -one[0]))

    async def _asked_otherwise(self, at: StepAt, work: Callable[[], Awaitable[Any]]) -> NotRecorded:
        """Note that a step asks for something else than was recorded, and for what."""
        inside = self._inside.get(at)
        if at.key.call == "model" and at != self.target:
            with suppress(NotRecorded):
                await self._capture(at, work)
        return self._differing(next(iter(inside or self.left), None), None, None, step=at, request=self.request)

    async def _capture(self, at: StepAt, work: Callable[[], Awaitable[Any]]) -> NoReturn:
        """Let a model's step make its request, which goes no further than `complete`."""
        self._is_capturing = True
        await work()
        raise AssertionError(f"{at.path} made no request")

    # -- how a try ends that the code does not end

    async def _is_tried_again(self, tried: int) -> bool:
        """Return whether the record has the task tried again now. Else the work ended as the record alone knows."""
        with suppress(NotRecorded):
            if self.difference is None and (i := self._outcome()) is not None:
                event = self._place(i).event
                explained = self._is_out_of_time(event.data) or any(one.is_begun for one in self._unanswered)
                if self._unanswered and not explained:  # the record goes on without the step that is asked for
                    await self._asked_otherwise(self._unanswered[0].at, self._unanswered[0].work)
                    return False
                match event.data, self._task.retry:
                    case TaskRetried(error=why), retry if retry.on and tried + 1 < retry.max_attempts:
                        self._say((), TaskRetried(self.unit.task, tried + 1, why))
                        return True
                    case ((TaskEnded(status="failed") | ElementEnded(status="failed")), _):
                        return False
                raise self._differing(i, event, None)
        return False

    def _outcome(self) -> int | None:
        """Return the place of what followed where the code cannot go on; None: it was cut off there, or waits.

        What happened beside it went on in the record until it was cut off, too.
        """
        for i in self.left:
            place = self._place(i)
            match place.event.data:
                case TaskParked():
                    return None
                case BudgetReached() if place.step is None:
                    continue
            if not all(_depend(_path(place), path) for path in self._stuck):
                continue
            if place.step is None:
                return i
            raise self._differing(i, place.event, None)
        return None


def _as_told_then(recorded: Any, made: Event) -> Event:
    """Return the event as the record can hold it: earlier releases did not say which texts are cut off."""
    match recorded, made.data:
        case (TaskEnded(truncated=()), TaskEnded()) | (ElementEnded(truncated=()), ElementEnded()):
            return made._replace(data=replace(made.data, truncated=()))
    return made


def _path(place: PlacedEvent) -> StepPath:
    return place.event.step if place.step is None else _step_path(place.step)


def _path_begins(step: StepPath, key: StepKey) -> bool:
    """Return whether a place lies inside a step."""
    path = _step_path(key)
    return step[: len(path)] == path


def _step_path(key: StepKey) -> StepPath:
    turn = (f"turn-{key.turn}",) if key.turn else ()
    return (*key.step, *turn, key.call)


def _depend(one: StepPath, other: StepPath) -> bool:
    """Return whether one place lies in the other: then what happened there has an order."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


async def _at_once(seconds: float) -> None:  # time is the record's
    """Wait for nothing between two tries."""


def _without_timeouts(task: TaskPlan) -> TaskPlan:
    """Return the task without limits of time: whether one was reached is recorded."""
    work = task.work
    if isinstance(work, Steps):
        work = _untimed(work)
    elif isinstance(work, Switch):
        cases = {name: _untimed(case) if isinstance(case, Steps) else case for name, case in work.cases.items()}
        work = replace(work, cases=cases)
    return replace(task, work=work, timeout=None)


def _untimed(work: Steps) -> Steps:
    return replace(work, steps=tuple(replace(step, timeout=None) for step in work.steps))
