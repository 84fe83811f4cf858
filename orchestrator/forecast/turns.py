"""The turns that one run of a plan is expected to take: pure, and only as good as what it assumes, which it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapreplace
from typing import TYPE_CHECKING, Any

from orchestrator.run import prompts
from orchestrator.squad.plan import (
    HUMAN,
    AgentWork,
    Approval,
    Budget,
    ConversationPlan,
    ConversationWork,
    Plan,
    Steps,
    TaskPlan,
    Termination,
)
from personas.errors import TemplateError
from providers.messages import Request, estimate_tokens

if TYPE_CHECKING:
    from agents.tools import Tool
    from personas.sandbox import ExpressionText

MOST_UTTERANCES = 1000
"""Of one conversation; one that may go on for longer is cut there, and said to be."""
ANSWER_OF_A_GATE = 20
"""Tokens."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What no squad file says. Tokens are those of one turn's output, unless they are said to be something else."""

    answer_tokens: int = 800
    """The answer to a piece of work."""
    structured_tokens: int = 400
    """Such an answer where it has an `output_schema`."""
    utterance_tokens: int = 300
    """What one participant of a conversation says at a time."""
    tool_turns: int = 3
    """Turns in which an agent with tools calls some, before its answer."""
    tool_call_tokens: int = 100
    tool_result_tokens: int = 600
    """Tokens that the results of one such turn add to the next one's input."""
    elements: int = 5
    """Elements of a `for_each` whose list is made while the run goes."""
    repeats: int = 2
    """Attempts of a `repeat`, where it allows as many."""
    utterances: int = 12
    """Utterances of a conversation without `max_turns`."""


@dataclass(frozen=True, slots=True)
class Turn:
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

    turns: tuple[Turn, ...]
    seconds: float
    notes: tuple[str, ...]


def expect(plan: Plan, assumed: Assumptions, seconds_for: Callable[[int], float]) -> Outlook:
    """Return the turns of one run of `plan`. `seconds_for` says how long an answer of so many tokens takes."""
    walk = _Walk(plan, assumed, seconds_for)
    for task in plan.tasks.values():
        walk.task(task)
    return Outlook(tuple(walk.turns), max(walk.ends.values(), default=0.0), tuple(walk.notes))


@dataclass(slots=True)
class _Walk:
    """Walks through the tasks in their order. Of each it keeps when it ends and how many tokens its output has."""

    plan: Plan
    assumed: Assumptions
    seconds_for: Callable[[int], float]
    turns: list[Turn] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    _fixed: dict[str, int] = field(default_factory=dict)

    def task(self, task: TaskPlan) -> None:
        begins = max((self.ends[need] for need in task.needs), default=0.0)
        self.ends[task.id], self.sizes[task.id] = begins, 0
        if not self._happens(task.condition, f"task {task.id}"):
            return
        if isinstance(task.work, Approval):
            self._note(f"{task.id}: a person approves at once")
            self.sizes[task.id] = ANSWER_OF_A_GATE
        elif task.for_each is None:
            self.ends[task.id], self.sizes[task.id] = self._unit(task, begins)
        else:
            count = self._elements(task)
            lanes = [begins] * max(1, min(count, task.for_each.max_parallel or self.plan.max_parallel))
            for _ in range(count):
                end, size = self._unit(task, lanes[0])
                heapreplace(lanes, end)
                self.sizes[task.id] += size
            self.ends[task.id] = max(lanes)

    def _happens(self, condition: ExpressionText | None, what: str) -> bool:
        if condition is None:
            return True
        holds = self._known(condition)
        if holds is None:
            self._note(f"{what}: its `if` holds")
        elif not holds:
            self._note(f"{what}: skipped, for its `if` does not hold with these inputs")
        return holds is None or bool(holds)

    def _elements(self, task: TaskPlan) -> int:
        each = task.for_each
        assert each is not None, "only a fan-out has elements"
        items = self._known(each.items)
        if isinstance(items, list | tuple):
            return len(items)
        count = min(self.assumed.elements, each.max_items)
        self._note(f"{task.id}: {count} elements of its for_each (elements), at most {each.max_items}")
        return count

    def _known(self, text: ExpressionText) -> Any:
        """Return what the text comes to by the inputs alone, None where it reads anything else."""
        try:
            return text.render({"inputs": self.plan.inputs})
        except TemplateError:
            return None

    def _unit(self, task: TaskPlan, begins: float) -> tuple[float, int]:
        """Return when the task's work ends, or that of one element, and the tokens of its output."""
        context = sum(self.sizes[name] for name in task.context)
        attempts = 1
        if task.repeat is not None:
            attempts = min(self.assumed.repeats, task.repeat.max_attempts)
            self._note(f"{task.id}: {attempts} of at most {task.repeat.max_attempts} attempts of its repeat (repeats)")
        now, size = begins, 0
        for _ in range(attempts):
            now, size = self._once(task, now, context)
            context += size  # the next attempt reads what this one made
        return now, size

    def _once(self, task: TaskPlan, now: float, context: int) -> tuple[float, int]:
        assert not isinstance(task.work, Approval), "a gate is no work for a unit"
        if not isinstance(task.work, Steps):
            return self._one(task.id, task.work, now, context)
        made = 0
        for step in task.work.steps:
            if self._happens(step.condition, f"step {step.id} of {task.id}"):
                now, size = self._one(task.id, step.work, now, context + made)
                made += size
        return now, made

    def _one(self, task: str, work: AgentWork | ConversationWork, now: float, context: int) -> tuple[float, int]:
        expected = None if work.expected_output is None else self._text(work.expected_output)
        words = context + estimate_tokens(prompts.compose(self._text(work.description), expected))
        if isinstance(work, ConversationWork):
            return self._talk(task, work, now, words)
        return self._agent_works(task, work, now, words)

    def _text(self, text: ExpressionText) -> str:
        known = self._known(text)
        return text.source if known is None else str(known)

    def _agent_works(self, task: str, work: AgentWork, now: float, words: int) -> tuple[float, int]:
        agent = self.plan.agents[work.agent]
        tools = agent.tools if work.tools is None else work.tools
        fixed = self._instructions(work.agent) + _tool_tokens(tools) + _shape_tokens(work.output_schema)
        for _ in range(min(self.assumed.tool_turns, agent.max_turns - 1) if tools else 0):
            now = self._turn(task, work.agent, now, fixed + words, self.assumed.tool_call_tokens, with_tools=True)
            words += self.assumed.tool_call_tokens + self.assumed.tool_result_tokens
        size = self.assumed.answer_tokens if work.output_schema is None else self.assumed.structured_tokens
        return self._turn(task, work.agent, now, fixed + words, size, with_tools=bool(tools)), size

    def _instructions(self, agent: str) -> int:
        if agent not in self._fixed:
            self._fixed[agent] = estimate_tokens(self.plan.agents[agent].persona.instructions())
        return self._fixed[agent]

    def _turn(self, task: str, agent: str, now: float, read: int, written: int, *, with_tools: bool = False) -> float:
        """Note a turn and return when it ends."""
        self.turns.append(Turn(task, agent, now, read, written, with_tools))
        return now + self.seconds_for(written)

    def _talk(self, task: str, work: ConversationWork, now: float, words: int) -> tuple[float, int]:
        plan = self.plan.conversations[work.conversation]
        talk = _Talk(
            plan, self.assumed, words + estimate_tokens(prompts.house_rules(plan)), self.plan.history.keep_last
        )
        for speaker, read, others_wait in talk.utterances():
            if speaker != HUMAN:
                self._says(task, speaker, now, read, self.assumed.utterance_tokens)
            now += self.seconds_for(self.assumed.utterance_tokens) if others_wait else 0.0
        self._note(f"{plan.id}: {len(talk.spoken)} utterances, {talk.why}")
        size = self.assumed.utterance_tokens
        if work.output_schema is None:
            return now, size
        speaker = plan.moderator or next(name for name in plan.participants if name != HUMAN)
        read = words + len(talk.spoken) * size + _shape_tokens(work.output_schema)
        return self._says(task, speaker, now, read, self.assumed.structured_tokens), self.assumed.structured_tokens

    def _says(self, task: str, speaker: str, now: float, read: int, written: int) -> float:
        """Note a turn in a conversation: its tools go along, and are not called. Return when it ends."""
        tools = self.plan.agents[speaker].tools
        read += self._instructions(speaker) + _tool_tokens(tools)
        return self._turn(task, speaker, now, read, written, with_tools=bool(tools))

    def _note(self, text: str) -> None:
        self.notes[text] = None


def _tool_tokens(tools: Iterable[Tool]) -> int:
    return Request((), tuple(tool.spec for tool in tools)).input_tokens


def _shape_tokens(schema: Mapping[str, Any] | None) -> int:
    return 0 if schema is None else estimate_tokens(json.dumps(schema))


@dataclass(slots=True)
class _Talk:
    """Who speaks in a conversation that nobody ends before its bounds, and what each one reads."""

    plan: ConversationPlan
    assumed: Assumptions
    opening: int
    keep_last: int | None
    spoken: list[str] = field(default_factory=list)
    tokens: int = 0

    @property
    def why(self) -> str:
        if len(self.spoken) >= MOST_UTTERANCES:
            return "and it may go on"
        return "(utterances)" if self._bound(self.plan.terminate) is None else "up to its own bounds"

    def utterances(self) -> Iterator[tuple[str, int, bool]]:
        """Yield (speaker, tokens that it reads beside its instructions, whether the next one waits for it)."""
        everyone = self.plan.independent_first_round or self.plan.pattern == "round_robin"
        speakers = list(self.plan.participants if everyone else self.plan.participants[: self.plan.speakers_per_round])
        number = 1
        while True:
            alone = number == 1 and self.plan.independent_first_round
            for at, speaker in enumerate(speakers):
                if self._ended():
                    return
                read = self._read(speaker, 0 if alone else len(self.spoken))
                yield speaker, read, not alone or at + 1 == len(speakers)
                self.spoken.append(speaker)
            if self.plan.pattern == "party":
                if self.plan.moderator and not self._ended():
                    yield self.plan.moderator, self._read(self.plan.moderator, len(self.spoken)), True
                    self.spoken.append(self.plan.moderator)
                speakers = prompts.next_speakers("", self.plan, self.spoken)
            number += 1

    def _read(self, speaker: str, heard: int) -> int:
        kept = heard if self.keep_last is None else min(heard, self.keep_last)
        read = (
            self.opening + estimate_tokens(prompts.your_turn(speaker, self.plan)) + kept * self.assumed.utterance_tokens
        )
        self.tokens += 0 if speaker == HUMAN else read + self.assumed.utterance_tokens
        return read

    def _ended(self) -> bool:
        if self._spent(self.plan.budget) or len(self.spoken) >= MOST_UTTERANCES:
            return True
        holds = self._bound(self.plan.terminate)
        return len(self.spoken) >= self.assumed.utterances if holds is None else holds

    def _spent(self, caps: Budget | None) -> bool:
        return caps is not None and self._reached(caps.max_turns, caps.max_tokens)

    def _reached(self, turns: int | None, tokens: int | None) -> bool:
        return (turns is not None and len(self.spoken) >= turns) or (tokens is not None and self.tokens >= tokens)

    def _bound(self, end: Termination) -> bool | None:
        """Return whether a condition holds that can be counted; None where nothing in it can be."""
        if not (end.any or end.all):
            known = end.max_turns is not None or end.tokens is not None
            return self._reached(end.max_turns, end.tokens) if known else None
        inner = [holds for node in (*end.any, *end.all) if (holds := self._bound(node)) is not None]
        return (any(inner) if end.any else all(inner)) if inner else None
