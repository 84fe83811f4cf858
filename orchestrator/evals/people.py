"""What people say in a case: answers to approvals, tools and guardrails, and words in conversations. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from agents.guarding import agent_asked_about
from orchestrator.evals.spec import With
from orchestrator.evals.spec_names import called_as
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.run.questions import Ask, tool_asked_for
from orchestrator.squad.elements import has_task, task_of, template_of
from orchestrator.squad.parts import nested_in, works_of
from orchestrator.squad.plan import ConversationPlan, ConversationWork, Plan, Steps, TaskBody
from orchestrator.units import StepPath, Unit, place_of

T = TypeVar("T")


class PeoplesAnswers:
    """The answers that a case gives. A list of them is given in order, anew in each unit of work, then no more.

    The same question gets the same answer, however often it is asked.
    """

    def __init__(self, given: With | None, plan: Plan) -> None:
        self._approvals = {} if given is None else given.approvals or {}
        self._words = {} if given is None else given.people or {}
        self._plan = plan
        self._asked: Counter[tuple[Unit | None, str]] = Counter()
        self._known: dict[tuple[str, int], GateAnswered | None] = {}

    def to(self, gate: GateOpened) -> GateAnswered | None:
        """Return the answer to a question; None: the case gives none."""
        place = (gate.name, gate.attempt)
        if place not in self._known:
            self._known[place] = self._said(gate) if gate.choices == ("say",) else self._decided(gate)
        return self._known[place]

    def ask(self) -> Ask:
        """Return what answers the questions of a run so, and leaves the others open."""

        async def ask(gate: GateOpened) -> GateAnswered | None:
            return self.to(gate)

        return ask

    def _said(self, gate: GateOpened) -> GateAnswered | None:
        unit, step = place_of(gate.name)
        name = "" if unit is None else conversation_at(self._plan, unit, step)
        words = self._next(unit, name, self._words.get(name, ()))
        return None if words is None else GateAnswered(gate.name, "say", words, "api")

    def _decided(self, gate: GateOpened) -> GateAnswered | None:
        tool, unit = tool_asked_for(gate), place_of(gate.name)[0]
        if tool is not None:
            name = next((one for one in self._approvals if fnmatchcase(tool, called_as(one))), "")
        else:
            name = agent_asked_about(gate.prompt) or gate.name
        given = self._approvals.get(name) or self._approvals.get(template_of(name))
        one = self._next(unit, name, given) if isinstance(given, list) else given
        if one is None:
            return None
        choice, comment = (one, "") if isinstance(one, str) else (one.choice, one.comment)
        return GateAnswered(gate.name, choice, comment, "api") if choice in gate.choices else None

    def _next(self, unit: Unit | None, name: str, given: Sequence[T]) -> T | None:
        asked = self._asked[(unit, name)]
        self._asked[(unit, name)] += 1
        return given[asked] if asked < len(given) else None


def conversation_at(plan: Plan, unit: Unit, step: StepPath) -> str:
    """Return the conversation that is held at a place: the innermost one of those in one another."""
    task = task_of(plan, unit.task) if has_task(plan, unit.task) else None
    name = "" if task is None else _held(task.work, step)
    talk: ConversationPlan | None = plan.conversations.get(name)
    for part in step:
        inner = {} if talk is None else {one.rpartition(".")[2]: one for one in nested_in(talk)}
        if part in inner:
            name = inner[part]
            talk = plan.conversations.get(name)
    return name


def _held(work: TaskBody, step: StepPath) -> str:
    """Return the conversation of a task, or of that one of its steps which a place lies in."""
    held = [one.conversation for one in works_of(work) if isinstance(one, ConversationWork)]
    steps = work.steps if isinstance(work, Steps) else ()
    at = [one.work.conversation for one in steps if one.id in step and isinstance(one.work, ConversationWork)]
    return next(iter([*at, *held]), "")


def shown(answer: GateAnswered) -> str:
    """Return an answer in the words of a message."""
    return repr(answer.comment) if answer.choice == "say" else repr(answer.choice)
