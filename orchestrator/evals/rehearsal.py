"""A run that is answered from a recording: the squad as it is now, asking what it asks now.

Each model call, tool call and word of a person is answered by the recorded step of the same place, if it asks for the
same. One that asks for something else makes the recording stale, which ends the run: an old answer to a new question
would pass for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from agents.events import TurnStarted
from agents.run_context import StepKey, Suspended
from orchestrator.evals.people import PeoplesAnswers, shown
from orchestrator.evals.recording import Recording
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.journal.protocols import JournalError
from orchestrator.rerun.diff import Change, changes_between
from orchestrator.rerun.record import PlacedEvent, StepAt
from orchestrator.rerun.replay import NotReplayable, Record, read_record, request_of
from orchestrator.run.recorder import Recorder
from orchestrator.squad.plan import Plan
from orchestrator.units import Unit
from providers.documents.problems import ProblemsFound
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

    def __init__(self, recording: Recording, record: Record, people: PeoplesAnswers) -> None:
        self.recording, self._record, self._people = recording, record, people
        self._inside: defaultdict[StepAt, list[PlacedEvent]] = defaultdict(list)
        self._gates: dict[tuple[str, int], GateAnswered] = {}
        self._questions: dict[str, GateOpened] = {}
        self._spoke: set[str] = set()
        self._asked: set[StepAt] = set()
        opened: dict[str, int] = {}
        for place in (place for part in record.parts for place in part.places):
            if place.at is not None:
                self._inside[place.at].append(place)
            match place.event.data:
                case GateOpened() as gate:
                    opened[gate.task] = gate.attempt
                    self._questions[gate.task] = gate
                case TurnStarted(agent=agent):
                    self._spoke.add(agent)
                case GateAnswered() as answer:
                    self._gates[answer.task, opened.get(answer.task, 1)] = answer

    @classmethod
    async def of(cls, recording: Recording, people: PeoplesAnswers) -> Rehearsal:
        """Return a rehearsal of what a recording holds. `people` gives the answers of the case."""
        return cls(recording, await read_record(recording.journal, recording.run), people)

    def other_models(self, plan: Plan) -> str:
        """Return which agents are to be answered by others than the recorded run's; empty: none is.

        Who is asked is no part of a request, but what another model said is no answer of this one.
        """
        try:
            before = self._record.squad(0).outline().agents
        except (NotReplayable, ProblemsFound):
            return ""
        changed = list[str]()
        for name in sorted(self._spoke & plan.agents.keys() & before.keys()):
            was, now = before[name].needs(), plan.agents[name].needs()
            for field in ("model", "chain", "tier"):
                one, other = getattr(was, field), getattr(now, field)
                if one != other:
                    changed.append(f"{name} has another {field}: {_named(one)} -> {_named(other)}")
        return "; ".join(changed)

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
        self._asked.add(at)
        step = self._record.answers.steps.get(at)
        asked = next((gate for name, gate in self._questions.items() if f"{at.path}/".startswith(f"{name}/")), None)
        if asked is not None:
            self._answered_alike(at, asked)
        if step is None and asked is not None and self._answer_to(asked) is None:
            recorder.record(asked, unit, key.step)
            raise Suspended("a person's word, as in the recorded run")
        if step is None:
            raise StaleRecording(at, "the recording has no such call")
        if step.request_hash != request_hash:
            raise await self._changed(at, work)
        for place in self._inside[at]:
            recorder.record(place.event.data, unit, place.event.step)
        return step.result

    def unasked(self) -> list[str]:
        """Return the recorded turns that were not asked for: the squad does less than it did."""
        return [at.path for at in self._record.answers.steps if at.key.call == "model" and at not in self._asked]

    def _answer_to(self, asked: GateOpened) -> GateAnswered | None:
        return self._gates.get((asked.task, asked.attempt))

    def _answered_alike(self, at: StepAt, asked: GateOpened) -> None:
        """Raise `StaleRecording` where the case answers a question within a unit otherwise than the recorded run."""
        answer, now = self._answer_to(asked), self._people.to(asked)
        if now is not None and (answer is None or (answer.choice, answer.comment) != (now.choice, now.comment)):
            was = "there was no answer" if answer is None else f"the answer was {shown(answer)}"
            raise StaleRecording(at, f"when it was recorded {was}, and now it is {shown(now)}")

    async def _changed(self, at: StepAt, work: Callable[[], Awaitable[Any]]) -> StaleRecording:
        if at.key.call != "model":
            is_tool = at.key.call.startswith("tool-")
            what = "this call has other arguments" if is_tool else "it is told something else"
            return StaleRecording(at, f"{what} than when it was recorded")
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

    def answers(self) -> Callable[[GateOpened], Awaitable[GateAnswered | None]]:
        """Return what answers a run's approvals: the case's own answers, else the recorded ones."""

        async def ask(gate: GateOpened) -> GateAnswered | None:
            return self._people.to(gate) or self._answer_to(gate)

        return ask


def _named(who: object) -> str:
    return " or ".join(who) if isinstance(who, tuple) and who else str(who or "(none)")


class _RequestMade(Exception):
    """What a step asks for."""

    def __init__(self, request: Request) -> None:
        super().__init__("a rehearsal asks nobody")
        self.request = request
