"""One piece of work as turns, from the brief to a final answer, bounded. Its state lives here, never on the agent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, Protocol

from typing_extensions import TypeVar

from agents.calls import call_all
from agents.compaction import Compaction
from agents.context import History, count_tokens, fit
from agents.errors import AnswerCut, TurnLimit, cut_off
from agents.exits import ExitTool, exits_in, is_exit
from agents.guarding import Settled, passed
from agents.guardrails import MOST_RETRIES, Guardrails
from agents.output import Invalid, Shape, WrongShape, answer_tokens, is_cut, shape_of, whole_calls
from agents.repeats import Repeats
from agents.run_context import Answer, Complete, RunContext
from agents.summaries import HistoryMemo
from agents.summariser import Summariser
from agents.tools import Tool, check_deps
from agents.turn import AskAgain, CallTools, Final, decide, take_turn
from agents.untrusted import RiskyTools, fenced, joined, read_in
from providers.errors import AllAttemptsFailed
from providers.messages import (
    FinishReason,
    Message,
    ModelCalls,
    Needs,
    Origin,
    OutputSchema,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    user,
)
from providers.messages import tool as tool_message

Made = TypeVar("Made", default=Any)
Wanted = OutputSchema | Mapping[str, Any] | Shape
"""What an answer must be: a schema, or one made ready."""
NOTHING_SPENT = ModelCalls()
ANSWER_TOKENS = 4096
"""Room kept in the window for the answer where `max_output_tokens` doesn't say."""


ANSWER_NOW = "This is your last turn, and you can call no more tools. Write your final answer now, with what you have."
ANSWER_NOW_IN_JSON = f"{ANSWER_NOW} It is the JSON that was asked for and nothing else."


class Worker(Protocol):
    """What the loop asks of an agent: see `Agent` for what each means."""

    @property
    def name(self) -> str: ...
    @property
    def opening(self) -> Message: ...
    @property
    def manager(self) -> Complete: ...
    @property
    def needs(self) -> Needs: ...
    @property
    def tools(self) -> Sequence[Tool]: ...
    @property
    def max_turns(self) -> int: ...
    @property
    def window(self) -> int | None: ...
    @property
    def history(self) -> History: ...
    @property
    def max_output_tokens(self) -> int | None: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def effort(self) -> Literal["low", "medium", "high"] | None: ...
    @property
    def risky_tools(self) -> RiskyTools: ...
    @property
    def guardrails(self) -> Guardrails: ...


@dataclass(frozen=True, slots=True)
class WorkResult(Generic[Made]):
    """What a piece of work came to. `output` is the value of the type, or the JSON value of the schema, that was asked
    for, else the text.

    `transcript` holds the new messages, the brief first; `cost` is micro-USD, None where any turn's was unknown;
    `provider` and `model` gave the last answer; `truncated`: the text was cut off at a limit or by a filter. `counted`
    are its tokens as caps count them: with estimates where a provider did not tell its usage.
    """

    text: str
    """The answer as text."""
    output: Made
    """The value of `output_type`, or the JSON value of `output_schema`, else the text."""
    transcript: tuple[Message, ...]
    """The new messages, the brief first."""
    usage: Usage
    """Tokens of all turns."""
    cost: int | None
    """Micro-USD; None where any turn's was unknown."""
    turns: int
    """How many model calls it took."""
    provider: str
    """Who gave the last answer."""
    model: str
    """Which of its models."""
    truncated: bool = False
    """The text was cut off at a limit or by a filter."""
    counted: int = 0
    """Tokens as caps count them: with estimates where a provider did not tell its usage."""
    finish: FinishReason = FinishReason.STOP
    """How the last answer ended: where it is `truncated`, by a limit of its length or by a filter."""
    answer_tokens: int = 0
    """Tokens of the last answer, those that it thought with included; 0 where the provider did not tell."""
    untrusted: tuple[str, ...] = ()
    """The sources of what the agent read in it that others wrote; what it made may be theirs."""
    exits: tuple[str, ...] = ()
    """The tools by whose calls the agent left its work (`ExitTool`), in their order."""
    delegated: ModelCalls = NOTHING_SPENT
    """What agents spent that it called as tools, and those that they called: not in its own `usage` and `cost`."""


@dataclass(slots=True)
class Work:
    """The state of one piece of work: what was said, its running sums, and the digest of it all."""

    agent: Worker
    shape: Shape | None
    messages: list[Message]
    specs: tuple[ToolSpec, ...]
    exits: tuple[ToolSpec, ...]
    """Those that end the work, which may be called in the last turn, too."""
    seal: Any
    tokens: int
    fixed: int
    """Tokens of each request that are not its messages': tools, schema, room for the answer."""
    usage: Usage | None = None
    cost: int | None = 0
    counted: int = 0
    delegated: ModelCalls = NOTHING_SPENT
    untrusted: tuple[str, ...] = ()
    compaction: Compaction | None = None
    """Where older messages are summarised."""
    needs_tools: bool = True
    """Whether a model must be able to call tools: one that can only leave by them may say so in words."""

    def say(self, message: Message) -> None:
        self.messages.append(message)
        self.seal.update(message.digest)
        self.tokens += message.tokens

    async def compact(self, number: int, ctx: RunContext) -> None:
        """Have older messages summarised before a turn, where they are too many."""
        if self.compaction is not None and self.compaction.may_be_due(self.tokens):
            await self.compaction.before(number, self.messages, self.asking(()), ctx)

    def request(self, *, with_tools: bool = True) -> Request:
        """Return the next request: the transcript as far as it fits."""
        agent, total, keep_last = self.agent, self.tokens, self.agent.history.keep_last
        messages = tuple(self.messages)
        if self.compaction is not None and self.compaction.is_of_use:
            messages, keep_last = self.compaction.sent(messages), None
            total = count_tokens(messages)
        if agent.window is not None or keep_last is not None:
            messages = fit(messages, agent.window, self.fixed, keep_last=keep_last, total=total)
        return self.asking(messages, with_tools=with_tools)

    def asking(self, messages: tuple[Message, ...], *, with_tools: bool = True) -> Request:
        agent = self.agent
        return Request(
            messages=messages,
            tools=self.specs if with_tools else self.exits,
            tool_choice="auto" if with_tools or self.exits else "none",
            tools_needed=with_tools and self.needs_tools,
            output_schema=None if self.shape is None else self.shape.schema,
            max_output_tokens=agent.max_output_tokens,
            temperature=agent.temperature,
            effort=agent.effort,
            needs=agent.needs,
        )

    def heard(self, response: Response, ctx: RunContext) -> None:
        """Count what an answer took. An empty one is not repeated to the model: dialects refuse empty messages."""
        if (message := _as_the_model_s(response.message)).parts:
            self.say(replace(message, origin=Origin(self.agent.name, self.untrusted)))
        self.usage = response.usage if self.usage is None else self.usage + response.usage
        self.cost = None if self.cost is None or response.cost is None else self.cost + response.cost
        self.counted += response.counted.total
        if ctx.tally is not None:
            ctx.tally(ModelCalls(response.usage, response.cost, response.counted.total, 1))

    def having_read(self, sources: Sequence[str], ctx: RunContext) -> RunContext:
        """Return the context of work that goes on after the agent has read what others wrote."""
        if not sources:
            return ctx
        self.untrusted = joined(ctx.untrusted, sources)
        return ctx.at(untrusted=self.untrusted)

    def sent_back(self, settled: Settled, ctx: RunContext) -> RunContext:
        """Tell the model what is wrong with its answer. Return the context of what follows."""
        self.say(user(settled.wrong))
        return self.having_read(settled.sources, ctx)

    def called(self, results: Sequence[ToolResult], ctx: RunContext) -> None:
        """Count what agents spent that were called as tools."""
        for spent in [result.spent for result in results if result.spent is not None]:
            self.delegated += spent
            if ctx.tally is not None:
                ctx.tally(spent)

    def result(self, final: Final, response: Response, turns: int, since: int) -> WorkResult:
        return WorkResult(
            text=final.text,
            output=final.output,
            transcript=tuple(self.messages[since:]),
            usage=self.usage or Usage(),
            cost=self.cost,
            turns=turns,
            provider=response.provider,
            model=response.model,
            truncated=final.truncated,
            counted=self.counted,
            finish=response.finish,
            answer_tokens=answer_tokens(response),
            untrusted=self.untrusted,
            delegated=self.delegated,
        )


def _as_the_model_s(message: Message) -> Message:
    """Return an answer as a model may give one: in nobody else's role or name, and without results of tools."""
    own = tuple([part for part in message.parts if not isinstance(part, ToolResult)])
    is_own = message.role == "assistant" and message.name is None and len(own) == len(message.parts)
    return message if is_own else Message("assistant", own)


def _begin(agent: Worker, shape: Shape | None, history: tuple[Message, ...], edition: int) -> Work:
    opening = agent.opening
    # Who answers is not in the digest: a recorded answer stays good when a tier or a model is changed.
    seal = hashlib.sha256(
        f"{agent.max_output_tokens} {agent.temperature} {agent.effort} {agent.window} {agent.history.digested}".encode()
    )
    for one in agent.tools:
        seal.update(one.digest_in(edition))
    seal.update(b"" if shape is None else shape.digest)
    messages = [opening, *history]
    seal.update(b"".join([message.digest for message in messages]))
    specs = tuple([one.spec_in(edition) for one in agent.tools])
    exits = tuple([one.spec_in(edition) for one in agent.tools if isinstance(one, ExitTool)])
    fixed = 0
    if agent.window is not None:
        bare = Request((), specs, output_schema=None if shape is None else shape.schema)
        fixed = bare.input_tokens + (agent.max_output_tokens or ANSWER_TOKENS)
    work = Work(agent, shape, messages, specs, exits, seal, count_tokens(messages), fixed)
    work.needs_tools = len(exits) < len(specs)
    return work


async def pursue(
    agent: Worker,
    answer: Answer,
    brief: str | Message,
    ctx: RunContext,
    wanted: Wanted | None,
    history: tuple[Message, ...],
) -> WorkResult:
    """Return the result of the work; `answer` makes each model call."""
    shape = wanted if wanted is None or isinstance(wanted, Shape) else shape_of(wanted)
    if ctx.run is None:  # a run checks all of its agents before it begins, and its replay has none
        check_deps(agent.tools, ctx.deps)
    if agent.risky_tools != ctx.risky_tools:
        ctx = ctx.at(risky_tools=agent.risky_tools)
    if history and ctx.edition > 2 and (read := read_in(history)):
        ctx = ctx.at(untrusted=joined(ctx.untrusted, read))
    work = _begin(agent, shape, history, ctx.edition)
    work.untrusted = ctx.untrusted
    since = len(work.messages)
    told = user(brief) if isinstance(brief, str) else brief
    if not isinstance(told, Message):
        raise TypeError(f"a brief is a text or a Message; not {told!r:.80}")
    if agent.guardrails.input:
        told = await _let_in(agent, told, ctx)
    work.say(told if told.origin is not None else replace(told, origin=Origin("brief", ctx.untrusted)))
    sent_back = 0
    if (agent.history.tokens is not None or agent.history.share is not None) and ctx.edition > 2:
        memo = HistoryMemo() if ctx.memo is None else replace(ctx.memo)
        summariser = Summariser(agent.name, agent.needs, agent.manager)
        work.compaction = Compaction(summariser, agent.history, since, memo, ctx.memo)
        if agent.window is not None:
            work.compaction.take_room(agent.window - (agent.max_output_tokens or ANSWER_TOKENS), work.asking(()))
    corrected, cut_calls, must_answer, repeats = False, 0, False, Repeats()
    for number in range(1, agent.max_turns + 1):
        last = number == agent.max_turns
        if (last or repeats.is_over) and not must_answer and len(work.exits) < len(work.specs) and ctx.edition > 1:
            must_answer = True
            work.say(user(ANSWER_NOW if shape is None else ANSWER_NOW_IN_JSON))
        await work.compact(number, ctx)
        request = work.request(with_tools=not must_answer)
        response = await _turn(number, request, work, ctx, answer, shape if corrected else None)
        work.heard(response, ctx)
        match decide(response, shape, ctx.edition):
            case Final() as final:
                if agent.guardrails.output:
                    may_retry = not last and sent_back < MOST_RETRIES
                    settled = await _let_out(agent, final.text, shape, number, ctx, may_retry=may_retry)
                    if settled.wrong:
                        ctx = work.sent_back(settled, ctx)
                        sent_back += 1
                        continue
                    if settled.text != final.text:
                        response = _instead(response, settled.text)
                        final = _final(response, shape, ctx.edition)
                        work.messages[-1] = response.message
                return work.result(final, response, number, since)
            case AskAgain(invalid=invalid) if corrected or last:
                if invalid is not None:
                    raise invalid.error()
                return work.result(Final("", "", is_cut(response)), response, number, since)
            case AskAgain(correction):
                work.say(user(correction))
                corrected = True
            case CallTools(calls) if (last or must_answer) and not all(is_exit(call, agent.tools) for call in calls):
                raise TurnLimit(agent.name, number)
            case CallTools(calls):
                whole = calls if ctx.edition == 1 else whole_calls(response)
                cut_calls = cut_calls + 1 if len(whole) < len(calls) else 0
                if cut_calls > 1:
                    raise AnswerCut("a tool call", response.finish.value, answer_tokens(response))
                results = await call_all(whole, agent.tools, ctx, number, agent=agent.name, repeats=repeats)
                work.called(results, ctx)
                cut = (_cut_call(call, response) for call in calls[len(whole) :])
                work.say(tool_message(*map(_as_read, results), *cut))
                ctx = work.having_read([result.name for result in results if result.fence], ctx)
                work.needs_tools = True
                if left := exits_in(whole, results, agent.tools) if len(whole) == len(calls) else []:
                    said = "\n\n".join(filter(None, (response.text.strip(), left[0][1].content.strip())))
                    may_retry = not last and sent_back < MOST_RETRIES
                    settled = await _let_out(agent, said, shape, number, ctx, may_retry=may_retry)
                    if not settled.wrong:
                        ended = work.result(Final(settled.text, settled.text), response, number, since)
                        return replace(ended, exits=tuple(name for name, _ in left))
                    ctx = work.sent_back(settled, ctx)
                    sent_back += 1
                elif last:
                    raise TurnLimit(agent.name, number)
    raise AssertionError("the last turn always ends the work")


async def _let_in(agent: Worker, brief: Message, ctx: RunContext) -> Message:
    """Return what an agent is told: a person may have changed it. Raise `GuardrailFailed` where it may not be told."""
    text = (await passed(agent.name, agent.guardrails.input, brief.text, "input", 0, ctx, may_retry=False)).text
    if text == brief.text:
        return brief
    return replace(brief, parts=(Text(text), *(part for part in brief.parts if not isinstance(part, Text))))


async def _let_out(
    agent: Worker, text: str, shape: Shape | None, turn: int, ctx: RunContext, *, may_retry: bool
) -> Settled:
    """Return what counts of an answer. Raise `GuardrailFailed`."""
    if not agent.guardrails.output:
        return Settled(text)
    schema = None if shape is None else shape.schema.schema
    rails = agent.guardrails.output
    return await passed(agent.name, rails, text, "output", turn, ctx, may_retry=may_retry, schema=schema)


def _instead(response: Response, text: str) -> Response:
    """Return an answer with a person's text in the place of the model's."""
    return replace(response, message=Message("assistant", (Text(text),)), finish=FinishReason.STOP)


def _final(response: Response, shape: Shape | None, edition: int) -> Final:
    """Return what a person's text comes to. Raise `OutputInvalid` where it is not of the shape that is wanted."""
    match decide(response, shape, edition):
        case Final() as final:
            return final
        case AskAgain(invalid=Invalid() as invalid):
            raise invalid.error()
    raise AssertionError("a person's text calls no tools, and is not empty")


def _as_read(result: ToolResult) -> ToolResult:
    """Return a result as a model reads it: what others wrote stands in a fence, and our note before it."""
    if result.fence:
        result = replace(result, content=fenced(result.content, result.fence, f"the tool {result.name}"))
    return replace(result, content=f"[{result.note}]\n{result.content}", note="") if result.note else result


def _cut_call(call: ToolCall, response: Response) -> ToolResult:
    """Return what the model is told of a call that it did not come to the end of."""
    why = cut_off("the call", response.finish.value, answer_tokens(response))
    return ToolResult(call.id, call.name, f"{why}, and was not made. Make it again, with less in it.", is_error=True)


async def _turn(
    number: int, request: Request, work: Work, ctx: RunContext, answer: Answer, demanded: Shape | None
) -> Response:
    """Take one turn. With `demanded`, answers of the wrong shape fail inside the attempt: others are asked then."""
    accept = None if demanded is None else partial(demanded.accept, edition=ctx.edition)
    try:
        return await take_turn(number, request, work.seal.digest(), ctx, answer, accept)
    except WrongShape as wrong:
        raise wrong.invalid.error() from wrong
    except AllAttemptsFailed as failed:
        shapes = [error.invalid for error in failed.exceptions if isinstance(error, WrongShape)]
        if not shapes:
            raise
        raise shapes[-1].error() from failed
