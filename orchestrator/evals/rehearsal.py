"""A run that is answered from a recording: the squad as it is now, asking what it asks now.

Each model call, tool call and word of a person is answered by the recorded step of the same place, if it asks for the
same. One that asks for something else makes the recording stale, which ends the run: an old answer to a new question
would pass for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agents.turn import StepKey
from orchestrator.evals.recording import Recording
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.journal.protocols import JournalError
from orchestrator.rerun.diff import Change, changes_between
from orchestrator.rerun.record import PlacedEvent, StepAt
from orchestrator.rerun.replay import NotReplayable, Record, read_record, request_of
from orchestrator.run.recorder import Recorder
from orchestrator.units import Unit
from providers.messages import Request, Response


class StaleRecording(JournalError):
    """The recording does not answer what the squad asks now. `changes` say how the request differs."""

    hint = "look at the change, then record the case again: orchestrator test FILE --record --case NAME"

    def __init__(self, step: StepAt, why: str, changes: tuple[Change, ...] = ()) -> None:
        super().__init__(f"{step.path}: {why}")
        self.step = step
        self.changes = changes


class Rehearsal:
    """Answers the steps of one run from a recording. It is the run's manager as well: nobody else may be asked."""

    def __init__(self, recording: Recording, record: Record) -> None:
        self.recording, self._record = recording, record
        self._inside: defaultdict[StepAt, list[PlacedEvent]] = defaultdict(list)
        self._gates: dict[tuple[str, int], GateAnswered] = {}
        self._request: Request | None = None
        opened: dict[str, int] = {}
        for place in (place for part in record.parts for place in part.places):
            if place.at is not None:
                self._inside[place.at].append(place)
            match place.event.data:
                case GateOpened() as gate:
                    opened[gate.task] = gate.attempt
                case GateAnswered() as answer:
                    self._gates[answer.task, opened.get(answer.task, 1)] = answer

    @classmethod
    async def of(cls, recording: Recording) -> Rehearsal:
        """Return a rehearsal of what a recording holds."""
        return cls(recording, await read_record(recording.journal, recording.run))

    async def step(
        self,
        unit: Unit,
        key: StepKey,
        request_hash: bytes,
        work: Callable[[], Awaitable[Any]],
        recorder: Recorder,
    ) -> Any:
        """Return the recorded result of a step, having recorded what happened in it. Raise `StaleRecording`."""
        at = StepAt(unit, key)
        step = self._record.answers.steps.get(at)
        if step is None:
            raise StaleRecording(at, "the recording has no such call")
        if step.request_hash != request_hash:
            raise await self._changed(at, work)
        for place in self._inside[at]:
            recorder.record(place.event.data, unit, place.event.step)
        return step.result

    async def _changed(self, at: StepAt, work: Callable[[], Awaitable[Any]]) -> StaleRecording:
        if at.key.call != "model":
            return StaleRecording(at, "this call has other arguments than the recorded one")
        try:
            await work()
        except _RequestMade as asked:
            now = asked.request
        part = self._record.answers.ended_in.get(at, 0)
        try:
            changes = tuple(changes_between(await request_of(self._record, part, at), now))
        except NotReplayable:
            changes = ()
        return StaleRecording(at, "it asks for something else than was recorded", changes)

    async def complete(self, request: Request, **_: Any) -> Response:
        """Take the request of a step that the recording does not answer."""
        raise _RequestMade(request)

    def answers(self, given: Mapping[str, str]) -> Callable[[GateOpened], Awaitable[GateAnswered | None]]:
        """Return what answers a run's approvals: the case's own answers, else the recorded ones."""

        async def ask(gate: GateOpened) -> GateAnswered | None:
            if gate.task in given:
                return answer_by_case(gate, given)
            return self._gates.get((gate.task, gate.attempt))

        return ask


def answer_by_case(gate: GateOpened, given: Mapping[str, str]) -> GateAnswered | None:
    """Return the answer that a case gives to a question; None: it gives none."""
    if gate.task not in given:
        return None
    return GateAnswered(gate.task, given[gate.task], "", "api")


class _RequestMade(Exception):
    """What a step asks for."""

    def __init__(self, request: Request) -> None:
        super().__init__("a rehearsal asks nobody")
        self.request = request
