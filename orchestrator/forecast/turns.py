"""The turns that one run of a plan is expected to take: pure, and only as good as what it assumes, which it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapreplace
from math import prod
from typing import TYPE_CHECKING, Any

from agents.summaries import OF_CONTEXT
from orchestrator.errors import NotAChoice
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.expected_talk import ExpectedTalk
from orchestrator.run import prompts
from orchestrator.squad.choosing import case_of, with_agent, with_case
from orchestrator.squad.conditions import NoCondition, holds
from orchestrator.squad.elements import squads_around, template_for, whole
from orchestrator.squad.images import images_of
from orchestrator.squad.parts import who_concludes
from orchestrator.squad.plan import (
    HUMAN,
    AgentPlan,
    AgentWork,
    Approval,
    CaseSquad,
    ConversationPlan,
    ConversationWork,
    ForEach,
    Plan,
    SingleWork,
    SquadEntry,
    SquadFanOut,
    SquadGather,
    SquadResult,
    Steps,
    Switch,
    TaskBody,
    TaskPlan,
    scoped,
)
from personas.errors import TemplateError
from providers.messages import Request, estimate_tokens, with_images

if TYPE_CHECKING:
    from agents.tools import Tool
    from personas.sandbox import ExpressionText

ANSWER_OF_A_GATE = 20
"""Tokens."""


@dataclass(frozen=True, slots=True)
class ExpectedTurn:
    """One expected model call. `begins` is in seconds from the run's start."""

    task: str
    agent: str
    begins: float
    input_tokens: int
    output_tokens: int
    with_tools: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """The turns of a run in the order of the plan, how long it takes, and in words what was assumed of it."""

    turns: tuple[ExpectedTurn, ...]
    seconds: float
    notes: tuple[str, ...]


def expect(plan: Plan, assumed: Assumptions, seconds_for: Callable[[int], float]) -> Outlook:
    """Return the turns of one run of `plan`. `seconds_for` says how long an answer of so many tokens takes."""
    walk = _Walk(whole(plan), assumed, seconds_for)
    for task in walk.plan.tasks.values():
        walk.task(task)
    return Outlook(tuple(walk.turns), max(walk.ends.values(), default=0.0), tuple(walk.notes))


@dataclass(slots=True)
class _Walk:
    """Walks through the tasks in their order. Of each it keeps when it ends and how many tokens its output has."""

    plan: Plan
    assumed: Assumptions
    seconds_for: Callable[[int], float]
    turns: list[ExpectedTurn] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    _fixed: dict[str, int] = field(default_factory=dict)
    _values: Mapping[str, Any] = field(default_factory=dict)
    """What is known of what the expressions of the task see: what a sub-squad is given is known when it begins."""
    _counts: dict[str, int] = field(default_factory=dict)
    """Of sub-squads that are done for each element: how many of these there are."""
    _repeats: dict[str, int] = field(default_factory=dict)
    """Of sub-squads that are repeated: how often each is done."""
    _skipped: set[str | None] = field(default_factory=set)

    def task(self, task: TaskPlan) -> None:
        begins = max((self.ends[need] for need in task.needs), default=0.0)
        self.ends[task.id], self.sizes[task.id] = begins, 0
        self._values = {} if task.reads else {"inputs": self.plan.inputs}
        happens = self._is_chosen(task.work) and self._happens(task.condition, f"task {task.id}")
        if not happens or not self._skipped.isdisjoint(squads_around(task.squad)):
            self._skipped.add(task.squad if isinstance(task.work, SquadEntry | SquadFanOut) else task.id)
            return
        many = prod(self._counts.get(scope, 1) for scope in squads_around(task.squad))
        times = prod(self._repeats.get(scope, 1) for scope in squads_around(task.squad))
        if isinstance(task.work, Approval):
            self._note(f"{task.id}: a person approves at once")
            self.sizes[task.id] = ANSWER_OF_A_GATE
        elif isinstance(task.work, SquadEntry):
            self._repeats[task.squad or ""] = self._attempts(task)
            return
        elif isinstance(task.work, SquadFanOut):
            element = template_for(task.squad or "")
            self._counts[element] = self._elements(task.squad or "", task.work.each)
        elif isinstance(task.work, SquadGather):
            element = template_for(task.id)
            self.sizes[task.id] = self._counts.get(element, 0) * self.sizes[element]
        elif isinstance(task.work, SquadResult):
            read = {path[1] for text in task.work.outputs.values() for path in text.names if path[0] == "tasks"}
            self.sizes[task.id] = sum(self.sizes.get(scoped(task.id, name), 0) for name in read)
        elif task.for_each is None and many * times == 1:
            self.ends[task.id], self.sizes[task.id] = self._unit(task, begins)
        else:
            each = task.for_each
            count = many if each is None else many * self._elements(task.id, each)
            lanes = [begins] * max(1, min(count, (each and each.max_parallel) or self.plan.max_parallel))
            for _ in range(count * times):  # a sub-squad is repeated one time after the other
                end, size = self._unit(task, lanes[0])
                heapreplace(lanes, end)
                self.sizes[task.id] += size
            self.sizes[task.id] //= max(1, many * times)  # of each of the elements, and attempts, that it is in
            self.ends[task.id] = max(lanes)

    def _is_chosen(self, work: TaskBody) -> bool:
        """Return whether it may be the case that a switch does."""
        if not isinstance(work, SquadEntry) or work.case is None:
            return True
        on, cases, case = work.case
        known = self._known(on)
        return known is None or case_of(known, cases) == case

    def _happens(self, condition: ExpressionText | None, what: str) -> bool:
        if condition is None:
            return True
        known = self._known(condition)
        try:
            happens = None if known is None else holds(known, "if", self.plan.edition)
        except NoCondition:
            happens = False  # it fails there
        if happens is None:
            self._note(f"{what}: its `if` holds")
        elif not happens:
            self._note(f"{what}: skipped, for its `if` does not hold with these inputs")
        return happens is not False

    def _elements(self, task: str, each: ForEach) -> int:
        items = self._known(each.items)
        if isinstance(items, list | tuple):
            return len(items)
        count = min(self.assumed.elements, each.max_items)
        self._note(f"{task}: {count} elements of its for_each (elements), at most {each.max_items}")
        return count

    def _known(self, text: ExpressionText) -> Any:
        """Return what the text comes to by the inputs alone, None where it reads anything else."""
        try:
            return text.render(self._values)
        except TemplateError:
            return None

    def _unit(self, task: TaskPlan, begins: float) -> tuple[float, int]:
        """Return when the task's work ends, or that of one element, and the tokens of its output."""
        context = sum(self.sizes[name] for name in task.context)
        now, size = begins, 0
        for _ in range(self._attempts(task)):
            now, size = self._once(task, now, context)
            context += size  # the next attempt reads what this one made
        return now, size

    def _attempts(self, task: TaskPlan) -> int:
        if task.repeat is None:
            return 1
        attempts = min(self.assumed.repeats, task.repeat.max_attempts)
        name = task.squad if isinstance(task.work, SquadEntry) else task.id
        self._note(f"{name}: {attempts} of at most {task.repeat.max_attempts} attempts of its repeat (repeats)")
        return attempts

    def _once(self, task: TaskPlan, now: float, context: int) -> tuple[float, int]:
        body = task.work
        assert not isinstance(body, Approval | SquadEntry | SquadFanOut | SquadGather | SquadResult), (
            "they are no work for a unit"
        )
        if isinstance(body, Switch):
            return self._switched(task, body, now, context)
        return self._body(task, body, now, context)

    def _switched(self, task: TaskPlan, switch: Switch, now: float, context: int) -> tuple[float, int]:
        """Follow the case that inputs choose, else the one that takes most tokens."""
        try:
            case, body = with_case(switch, self._values, task.id)
        except (TemplateError, NotAChoice):
            case, body = max(switch.cases.items(), key=lambda one: self._weight(task, one[1], context))
            self._note(f"{task.id}: the case {case}, of {', '.join(switch.cases)}: the one with most tokens")
        return self._body(task, body, now, context)

    def _weight(self, task: TaskPlan, body: SingleWork | Steps | CaseSquad, context: int) -> int:
        """Return the tokens of a body's turns."""
        aside = replace(self, turns=[], notes={})
        aside._body(task, body, 0.0, context)
        return sum(turn.input_tokens + turn.output_tokens for turn in aside.turns)

    def _body(
        self, task: TaskPlan, body: SingleWork | Steps | CaseSquad, now: float, context: int
    ) -> tuple[float, int]:
        if isinstance(body, CaseSquad):  # its turns are those of its own tasks
            return now, self.sizes.get(body.task, 0)
        if not isinstance(body, Steps):
            return self._one(task.id, body, now, context)
        made, sizes = 0, dict[str, int]()
        for step in body.steps:
            if self._happens(step.condition, f"step {step.id} of {task.id}"):
                now, size = self._one(task.id, step.work, now, context + made)
                made += size
                sizes[step.id] = size
        return now, sizes.get(body.result or "", made)

    def _one(self, task: str, work: AgentWork | ConversationWork, now: float, context: int) -> tuple[float, int]:
        expected = None if work.expected_output is None else self._text(work.expected_output)
        now, context = self._shortened(task, work, now, context)
        words = context + estimate_tokens(prompts.compose(self._text(work.description), expected))
        if images := images_of(work, self._values.get("inputs", {})):
            words += with_images("", images).tokens
        if isinstance(work, ConversationWork):
            return self._talk(task, work, now, words)
        return self._agent_works(task, work, now, words)

    def _shortened(self, task: str, work: AgentWork | ConversationWork, now: float, context: int) -> tuple[float, int]:
        """Return when a context is within its task's budget, and the tokens that it has then."""
        most = self.plan.tasks[task].context_max_tokens
        if most is None or context <= most:
            return now, context
        talks = self.plan.conversations
        doer = work.possible[0] if isinstance(work, AgentWork) else who_concludes(talks[work.conversation], talks)
        self._note(f"{task}: its context of {context} tokens is shortened to {most}")
        return self._turn(task, doer, now, estimate_tokens(OF_CONTEXT) + context, most), most

    def _text(self, text: ExpressionText) -> str:
        known = self._known(text)
        return text.source if known is None else str(known)

    def _agent_works(self, task: str, work: AgentWork, now: float, words: int) -> tuple[float, int]:
        work = self._with_agent(task, work)
        agent = self.plan.agents[work.agent]
        tools = agent.tools if work.tools is None else work.tools
        fixed = self._instructions(work.agent) + _tool_tokens(tools) + _shape_tokens(work.output_schema)
        helpers = [one.agent for one in tools if one.agent is not None]
        for number in range(min(self.assumed.tool_turns, agent.max_turns - 1) if tools else 0):
            now = self._turn(task, work.agent, now, fixed + words, self.assumed.tool_call_tokens, with_tools=True)
            if helpers:  # an agent that is a tool works before its caller goes on: one in each turn
                helped = replace(
                    work, agent=helpers[number % len(helpers)], output_schema=None, tools=None, choice=None
                )
                now, _ = self._agent_works(task, helped, now, self.assumed.tool_call_tokens)
            words += self.assumed.tool_call_tokens + self.assumed.tool_result_tokens
        size = self.assumed.answer_tokens if work.output_schema is None else self.assumed.structured_tokens
        return self._turn(task, work.agent, now, fixed + words, size, with_tools=bool(tools)), size

    def _with_agent(self, task: str, work: AgentWork) -> AgentWork:
        """Return the work with its agent: the chosen one where inputs decide, else the one that reads most."""
        if work.choice is None:
            return work
        try:
            return with_agent(work, self._values, task)
        except (TemplateError, NotAChoice):
            most = max(work.possible, key=lambda name: (len(self.plan.agents[name].tools), self._instructions(name)))
        self._note(f"{task}: {most} is chosen, of {', '.join(work.possible)}: the one that reads most")
        return replace(work, agent=most, choice=None)

    def _instructions(self, agent: str) -> int:
        if agent not in self._fixed:
            self._fixed[agent] = estimate_tokens(_instructions(self.plan.agents[agent]))
        return self._fixed[agent]

    def _turn(self, task: str, agent: str, now: float, read: int, written: int, *, with_tools: bool = False) -> float:
        """Note a turn and return when it ends."""
        self.turns.append(ExpectedTurn(task, agent, now, read, written, with_tools))
        return now + self.seconds_for(written)

    def _talk(self, task: str, work: ConversationWork, now: float, words: int) -> tuple[float, int]:
        plan = self.plan.conversations[work.conversation]
        now, utterances = self._held(task, plan, now, words)
        size = self.assumed.utterance_tokens
        if work.output_schema is None:
            return now, size
        speaker = who_concludes(plan, self.plan.conversations)
        read = words + utterances * size + _shape_tokens(work.output_schema)
        written = self.assumed.structured_tokens
        return self._says(task, speaker, now, read, written), written

    def _held(self, task: str, plan: ConversationPlan, now: float, words: int) -> tuple[float, int]:
        """Return when a conversation ends, those inside it included, and how many utterances it has."""
        opening = words + estimate_tokens(prompts.house_rules(plan))
        history = self.plan.squads[plan.squad].history if plan.squad else self.plan.history
        talk = ExpectedTalk(plan, self.assumed, opening, history)
        for turns in talk.turns():
            now = max([now, *(self._turn(task, scoped(plan.squad, who), now, *size) for who, *size in talk.summaries)])
            talk.summaries.clear()
            over = now + self.seconds_for(self.assumed.utterance_tokens)
            for speaker, read in turns:
                if speaker in (plan.nested or ()):
                    inner = self.plan.conversations[scoped(plan.squad, speaker)]
                    over = max(over, self._held(task, inner, now, read)[0])
                elif speaker != HUMAN:
                    self._says(task, scoped(plan.squad, speaker), now, read, self.assumed.utterance_tokens)
            now = over
        self._note(f"{plan.id}: {len(talk.said)} utterances, {talk.why}")
        return now, len(talk.said)

    def _says(self, task: str, speaker: str, now: float, read: int, written: int) -> float:
        """Note a turn in a conversation: its tools go along, and are not called. Return when it ends."""
        tools = self.plan.agents[speaker].tools
        read += self._instructions(speaker) + _tool_tokens(tools)
        return self._turn(task, speaker, now, read, written, with_tools=bool(tools))

    def _note(self, text: str) -> None:
        self.notes[text] = None


def _instructions(agent: AgentPlan) -> str:
    try:
        return agent.told()
    except TemplateError:  # of a plan without inputs
        return f"{agent.persona.template}{agent.instructions or ''}"


def _tool_tokens(tools: Iterable[Tool]) -> int:
    return Request((), tuple(tool.spec for tool in tools)).input_tokens


def _shape_tokens(schema: Mapping[str, Any] | None) -> int:
    return 0 if schema is None else estimate_tokens(json.dumps(schema))
