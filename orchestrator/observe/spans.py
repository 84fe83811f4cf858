"""The spans of a run, or of a request, out of its events, as OpenTelemetry's GenAI conventions have them. Pure.

    invoke_workflow sprint
      task build                       one of our own: what the parts of a task have in common
        task build[S-1]
          invoke_agent amelia
            chat gpt-6                 a turn, with all that it took
              attempt groq/gpt-oss     each try at a provider
              attempt openai/gpt-6
            execute_tool write_file

A span is handed out once, when it has ended, and knows its parent by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from agents.events import (
    GuardrailChecked,
    HistorySummarised,
    TextsEmbedded,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from agents.run_context import StepKey
from orchestrator.events import (
    BudgetReached,
    ElementEnded,
    ElementStarted,
    Event,
    GateAnswered,
    GateOpened,
    RunFinished,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskParked,
    TaskResumed,
    TaskRetried,
    TaskStarted,
)
from orchestrator.observe.content import input_messages, output_messages, system_instructions
from orchestrator.observe.open_spans import Attributes, OpenSpans, OtelKind, SpanKey, SpanRecord, Value
from orchestrator.subscribers import CallContent, Subject, SubjectEnded
from orchestrator.units import StepPath, Unit, outer_call
from providers.events import AttemptEnded, AttemptStarted, BudgetAlert, WaitingForBudget, WaitingForProvider
from providers.messages import Request, Response, Usage

PROVIDER_NAMES = {"gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai", "moonshot": "moonshot_ai"}
"""Our providers that the conventions call otherwise."""
EMBEDDINGS = "embeddings"
WENT_WELL = frozenset({"ok", "done", "skipped", "waiting", "paused"})
RUN = SpanKey("run")
FIRST_TOKEN = "gen_ai.response.time_to_first_chunk"  # noqa: S105  # tokens of text


class SpanTree:
    """Makes spans of the events of one subject. `new_id` returns an id of 16 hex digits.

    `content`: what is asked and answered is told too, without what `mask` takes out.
    """

    def __init__(
        self, subject: Subject, new_id: Callable[[], str], mask: Callable[[str], str], *, content: bool = False
    ) -> None:
        self._subject, self._new_id, self._mask, self._content = subject, new_id, mask, content
        self._spans = OpenSpans()
        self._attempts: dict[str, int] = {}
        """By task: which of its attempts is at work."""
        self._agents: dict[tuple[Unit | None, StepPath], SpanKey] = {}
        """By place: the agent that worked there last."""
        self._asked_by = "" if subject.parent is None else subject.parent.span_id

    def hear(self, event: Event) -> Iterator[SpanRecord]:
        """Take an event; yield the spans that end with it, the innermost first."""
        match event.data:
            case RunStarted() | RunResumed() | TaskStarted() | TaskResumed() | ElementStarted() | GateOpened():
                yield from self._begun(event)
            case RunFinished() | TaskEnded() | ElementEnded() | TaskParked() | GateAnswered():
                yield from self._ended(event)
            case TurnStarted(agent, turn):
                yield from self._begin_turn(event, agent, turn)
            case TurnEnded():
                yield from self._end_turn(event, event.data)
            case CallContent(request, response):
                yield from self._take_content(event, request, response)
            case AttemptStarted():
                yield from self._begin_attempt(event, event.data)
            case AttemptEnded():
                yield from self._end_attempt(event, event.data)
            case ToolStarted():
                self._begin_tool(event, event.data)
            case ToolEnded():
                yield from self._end_tool(event, event.data)
            case TextsEmbedded():
                yield from self._end_embedding(event, event.data)
            case SubjectEnded():
                yield from self._spans.end_all(event.at)
            case _:
                self._note(event)

    # -- a run, its tasks, and the people that it asks

    def _begun(self, event: Event) -> Iterator[SpanRecord]:
        match event.data:
            case TaskStarted(task, attempt, who):
                self._attempts[task] = attempt
                yield from self._begin_task(Unit(task, None, attempt), event.at, who)
            case ElementStarted(task, key):
                yield from self._begin_task(self._unit(task, key), event.at)
            case TaskResumed(task, key):
                yield from self._begin_task(self._unit(task, key), event.at)
            case GateOpened(task, attempt=attempt):
                parent = self._root() if event.unit is None else self._task_of(event.unit, event.at)
                name = self._mask(event.data.name)
                about: Attributes = {"orchestrator.approval": name, "orchestrator.approval.attempt": attempt}
                self._begin(SpanKey("approval", which=task), f"await_approval {name}", parent, event.at, about)
            case begun:
                self._begin_run(event.at, is_resumed=isinstance(begun, RunResumed))

    def _begin_run(self, at: float, *, is_resumed: bool) -> None:
        if (run := self._spans.get(RUN)) is not None:  # an answer came before its end was recorded: it goes on
            run.note("run.resumed", at, {})
            return
        name = self._subject.name
        about: Attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.agent.name": name,
            "gen_ai.workflow.name": name,
            "orchestrator.run.resumed": is_resumed,
        }
        self._begin(RUN, f"invoke_workflow {name}", self._asked_by, at, about)

    def _begin_task(self, unit: Unit, at: float, who: str = "") -> Iterator[SpanRecord]:
        key = SpanKey("task", unit)
        yield from self._spans.end(key, at, error="cancelled")
        parent = self._root() if unit.key is None else self._task_of(Unit(unit.task, None, unit.attempt), at)
        about: dict[str, Value] = {"orchestrator.task": unit.task, "orchestrator.task.attempt": unit.attempt}
        about |= {} if unit.key is None else {"orchestrator.task.element": self._mask(unit.key)}
        about |= {"orchestrator.task.who": who} if who else {}
        self._begin(key, self._mask(f"task {unit.path}"), parent, at, about)  # inputs make the keys of elements

    def _ended(self, event: Event) -> Iterator[SpanRecord]:
        match event.data:
            case RunFinished(status=status, cost=cost):
                about: Attributes = {"orchestrator.run.status": status, **_cost(cost)}
                yield from self._spans.end(RUN, event.at, about, "" if status in WENT_WELL else status)
            case GateAnswered(task, choice, by=by):
                answer: Attributes = {"orchestrator.approval.choice": choice, "orchestrator.approval.by": by}
                yield from self._spans.end(SpanKey("approval", which=task), event.at, answer)
            case TaskParked(task, key):
                yield from self._end_task(self._unit(task, key), event.at, "waiting")
            case TaskEnded(task, status, error=error, error_kind=kind):
                yield from self._end_task(self._unit(task), event.at, status, kind, error)
            case ElementEnded(task, key, status, error=error, error_kind=kind):
                yield from self._end_task(self._unit(task, key), event.at, status, kind, error)

    def _end_task(
        self, unit: Unit, at: float, status: str, kind: str | None = None, error: str | None = None
    ) -> Iterator[SpanRecord]:
        failed = "" if status in WENT_WELL else kind or status
        told = self._mask(error or "") if failed else ""
        yield from self._spans.end(SpanKey("task", unit), at, {"orchestrator.task.status": status}, failed, told)
        gone = [place for place in self._agents if place[0] == unit]
        for place in gone:
            del self._agents[place]

    def _unit(self, task: str, key: str | None = None) -> Unit:
        return Unit(task, key, self._attempts.get(task, 1))

    # -- an agent, its turns, their attempts, its tools

    def _agent(self, event: Event, agent: str) -> str:
        """Return the id of the span of an agent's work at a place."""
        unit, step = event.unit, event.step
        key = self._agents[unit, step] = SpanKey("agent", unit, step, agent)
        if (span := self._spans.get(key)) is None:
            outer = outer_call(StepKey(step, 0, ""))
            called = None if outer is None else self._spans.get(_tool(unit, outer.step, outer.turn, outer.call))
            parent = self._task_of(unit, event.at) if called is None else called.id
            about: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
            about |= {"orchestrator.place": self._mask(event.path)} if event.path else {}
            span = self._begin(key, f"invoke_agent {agent}", parent, event.at, about)
        return span.id

    def _begin_turn(self, event: Event, agent: str, turn: int) -> Iterator[SpanRecord]:
        key = SpanKey("turn", event.unit, event.step)
        if self._spans.get(key) is not None:  # its call raised, and it is tried again
            yield from self._spans.end_turn(key)
        parent = self._agent(event, agent) if self._subject.is_run else self._asked_by
        about: dict[str, Value] = {"gen_ai.operation.name": "chat", "orchestrator.turn": turn}
        about |= {"gen_ai.agent.name": agent} if agent else {}
        self._begin(key, "chat", parent, event.at, about, "client")

    def _end_turn(self, event: Event, data: TurnEnded) -> Iterator[SpanRecord]:
        key = SpanKey("turn", event.unit, event.step)
        if (span := self._spans.get(key)) is None:
            return
        span.name, span.end, span.error = f"chat {data.model}", event.at, ""
        span.attributes |= {**_who(data.provider, data.model), **_usage(data.usage), **_cost(data.cost)}
        span.attributes["gen_ai.response.model"] = data.model
        span.attributes["gen_ai.response.finish_reasons"] = [data.finish.value]
        if not self._content or not self._subject.is_run:
            yield from self._spans.end_turn(key)

    def _take_content(self, event: Event, request: Request, response: Response) -> Iterator[SpanRecord]:
        key = SpanKey("turn", event.unit, event.step)
        if (span := self._spans.get(key)) is not None:
            span.attributes["gen_ai.system_instructions"] = system_instructions(request, self._mask)
            span.attributes["gen_ai.input.messages"] = input_messages(request, self._mask)
            span.attributes["gen_ai.output.messages"] = output_messages(response, self._mask)
            yield from self._spans.end(key, span.end or event.at)

    def _begin_attempt(self, event: Event, data: AttemptStarted) -> Iterator[SpanRecord]:
        key = SpanKey("attempt", event.unit, event.step, str(data.number))
        yield from self._spans.end(key, event.at, error="cancelled")
        call = SpanKey("turn", event.unit, event.step)
        made = self._spans.get(call)
        if made is not None and data.number == 1 and made.attributes["gen_ai.operation.name"] == EMBEDDINGS:
            yield from self._spans.end_turn(call)  # no vectors came of it, and these are others
            made = None
        if made is None:  # no turn began here, so vectors are asked for
            parent = self._nearest(event)
            made = self._begin(call, EMBEDDINGS, parent, event.at, {"gen_ai.operation.name": EMBEDDINGS}, "client")
        who = _who(data.provider, data.model)
        made.name = f"{made.attributes['gen_ai.operation.name']} {data.model}"
        made.attributes |= who  # where no answer comes, its latest attempt says who was asked
        made.error = "cancelled"  # until that one has ended
        about: dict[str, Value] = {**who, "orchestrator.attempt": data.number}
        about |= {"orchestrator.account": data.account, "http.request.resend_count": data.number - 1}
        self._begin(key, f"attempt {data.provider}/{data.model}", made.id, event.at, about, "client", data.span)

    def _end_attempt(self, event: Event, data: AttemptEnded) -> Iterator[SpanRecord]:
        failed = "" if data.outcome == "ok" else data.error or data.outcome
        first = {} if data.first_token_ms is None else {FIRST_TOKEN: data.first_token_ms / 1000}
        if (turn := self._spans.get(SpanKey("turn", event.unit, event.step))) is not None:
            turn.error = failed  # of the turn, too, where nothing comes after it
            turn.attributes |= first if not failed else {}
        about: Attributes = {"orchestrator.attempt.outcome": data.outcome, **_cost(data.cost), **first}
        key = SpanKey("attempt", event.unit, event.step, str(data.number))
        yield from self._spans.end(key, event.at, about, failed, self._mask(data.detail or "") if failed else "")

    def _begin_tool(self, event: Event, data: ToolStarted) -> None:
        about: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": data.name}
        about["gen_ai.tool.type"] = "function"
        if self._content and data.arguments:
            about["gen_ai.tool.call.arguments"] = self._mask(data.arguments)
        key = _tool(event.unit, event.step, data.turn, f"tool-{data.call}")
        self._begin(key, f"execute_tool {data.name}", self._nearest(event), event.at, about)

    def _end_tool(self, event: Event, data: ToolEnded) -> Iterator[SpanRecord]:
        told = {"gen_ai.tool.call.result": self._mask(data.result)} if self._content and data.result else {}
        key = _tool(event.unit, event.step, data.turn, f"tool-{data.call}")
        yield from self._spans.end(key, event.at, told, "" if data.ok else "tool_error")

    def _end_embedding(self, event: Event, data: TextsEmbedded) -> Iterator[SpanRecord]:
        about = {**_who(data.provider, data.model), **_cost(data.cost)}
        about["gen_ai.usage.input_tokens"] = input_tokens(data.usage)
        key = SpanKey("turn", event.unit, event.step)
        if (span := self._spans.get(key)) is not None:
            span.name = f"{EMBEDDINGS} {data.model}"
            yield from self._spans.end(key, event.at, about)

    def _note(self, event: Event) -> None:
        """Note what happened in the span in which it did."""
        told: dict[str, Any] = {}
        match event.data:
            case WaitingForProvider(reason=reason):
                told = {"reason": self._mask(reason)}
            case WaitingForBudget():
                pass
            case BudgetAlert(which, share):
                told = {"budget": which, "share": share}
            case BudgetReached(which, kind, action):
                told = {"budget": which, "kind": kind, "action": action}
            case GuardrailChecked(side=side, check=check, passed=passed):
                told = {"side": side, "check": check, "passed": passed}
            case TaskRetried(attempt=attempt):
                told = {"attempt": attempt}
            case HistorySummarised(messages=messages):
                told = {"messages": messages}
            case _:
                return
        turn = self._spans.get(SpanKey("turn", event.unit, event.step))
        if (here := turn or self._spans.with_id(self._nearest(event))) is not None:
            here.note(event.type, event.at, told)

    # -- where a span stands

    @property
    def _conversation(self) -> Attributes:
        return {"gen_ai.conversation.id": self._subject.id} if self._subject.is_run else {}

    def _root(self) -> str:
        run = self._spans.get(RUN)
        return self._asked_by if run is None else run.id

    def _task_of(self, unit: Unit | None, at: float) -> str:
        """Return the id of a task's span; of one that was at work before this process took it up, it begins here."""
        if unit is None:
            return self._root()
        key = SpanKey("task", unit)
        if (span := self._spans.get(key)) is None:
            self._attempts.setdefault(unit.task, unit.attempt)
            for _ in self._begin_task(unit, at):
                pass  # nothing ends: it was not open
            span = self._spans.get(key)
        assert span is not None, "it was begun"
        return span.id

    def _nearest(self, event: Event) -> str:
        """Return the id of the innermost span that is open where something happened."""
        steps = (event.step[:depth] for depth in range(len(event.step), -1, -1))
        agents = (self._agents.get((event.unit, step)) for step in steps)
        open_ones = (self._spans.get(agent) for agent in agents if agent is not None)
        span = next((span for span in open_ones if span is not None), None)
        return self._task_of(event.unit, event.at) if span is None else span.id

    def _begin(
        self,
        key: SpanKey,
        name: str,
        parent: str,
        at: float,
        about: Attributes,
        kind: OtelKind = "internal",
        ident: str = "",
    ) -> SpanRecord:
        span = SpanRecord(name, ident or self._new_id(), parent, at, kind, {**about, **self._conversation})
        self._spans.begin(key, span)
        return span


def _tool(unit: Unit | None, step: StepPath, turn: int, call: str) -> SpanKey:
    return SpanKey("tool", unit, step, f"turn-{turn}/{call}")


def provider_name(provider: str) -> str:
    """Return what the conventions call a provider."""
    return PROVIDER_NAMES.get(provider, provider)


def _who(provider: str, model: str) -> Attributes:
    return {"gen_ai.provider.name": provider_name(provider), "gen_ai.request.model": model}


def input_tokens(usage: Usage) -> int:
    """Return all tokens that were read, from a cache or not."""
    return usage.input + usage.cache_read + usage.cache_write


def _usage(usage: Usage) -> Attributes:
    if not usage.total:
        return {}
    more = {
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }
    output = usage.output + usage.reasoning
    told = {"gen_ai.usage.input_tokens": input_tokens(usage), "gen_ai.usage.output_tokens": output}
    return {**told, **{name: tokens for name, tokens in more.items() if tokens}}


def _cost(cost: int | None) -> Attributes:
    return {} if cost is None else {"orchestrator.cost_usd": cost / 1e6}
