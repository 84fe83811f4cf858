"""One persona at work: turns until there is a final answer, bounded. Run state never lives on the agent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from agents.context import History, count_tokens, fit
from agents.errors import TurnLimit
from agents.output import Shape, WrongShape, shape_of
from agents.turn import Answer, AskAgain, CallTools, Complete, Final, RunContext, decide, take_turn
from providers.errors import AllAttemptsFailed
from providers.messages import (
    Message,
    Needs,
    OutputSchema,
    Request,
    Response,
    ToolSpec,
    Usage,
    system,
    user,
)
from providers.messages import tool as tool_message

if TYPE_CHECKING:
    from agents.stream import WorkStream
    from agents.tools import Tool
    from personas.persona import Persona

NOWHERE = RunContext()
ALL = History()
NO_VALUES: Mapping[str, Any] = {}
ANSWER_TOKENS = 4096
"""Room kept in the window for the answer where `max_output_tokens` doesn't say."""


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What a piece of work came to. `output` is the JSON value where a schema was given, else the text.

    `transcript` holds the new messages, the brief first; `cost` is micro-USD, None where any turn's was unknown;
    `provider` and `model` gave the last answer; `truncated`: the text was cut off at a limit or by a filter.
    """

    text: str
    output: Any
    transcript: tuple[Message, ...]
    usage: Usage
    cost: int | None
    turns: int
    provider: str
    model: str
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Agent:
    """A persona bound to tools and to who answers. Immutable, so one agent may do any number of works at once.

    `max_turns` bounds the model calls of one piece of work; `window` (tokens) and `history` bound what is sent;
    `values` fill the persona's instructions, which are rendered once.
    """

    name: str
    persona: Persona
    manager: Complete
    tools: tuple[Tool, ...] = ()
    max_turns: int = 16
    tier: str | None = None
    model: str | None = None
    window: int | None = None
    history: History = ALL
    max_output_tokens: int | None = None
    temperature: float | None = None
    effort: Literal["low", "medium", "high"] | None = None
    values: Mapping[str, Any] = field(default_factory=lambda: NO_VALUES)
    run: str | None = None
    """Whose turns its turns are: where providers' limits make them wait, runs are served side by side."""
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    async def work(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        history: tuple[Message, ...] = (),
    ) -> WorkResult:
        """Return what the agent made of `brief`, said after `history`.

        Each model call and each tool call is a durable call below `ctx.step`. An answer that is empty or breaks
        `output_schema` is sent back once. Raises `TurnLimit`, `OutputInvalid`, what a tool raises as `ToolFault`,
        `ContextTooLong`, and what the manager raises.
        """
        return await pursue(self, self.manager.complete, brief, ctx, output_schema, history)

    def stream(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        history: tuple[Message, ...] = (),
    ) -> WorkStream:
        """Return the same work as it is done: `async with agent.stream(...) as s: async for delta in s`.

        `s.result` is the `WorkResult` once the deltas are over. The manager must have `stream`.
        """
        from agents.stream import WorkStream  # loads anyio's streams

        return WorkStream(self, brief, ctx, output_schema, history)

    @property
    def opening(self) -> Message:
        """The system message. Agents of one persona and one `values` share it, and so its encoded bytes."""
        found: Message | None = self._memo.get("opening")
        if found is None:
            found = self._memo["opening"] = _opening(_Same(self.persona), _Same(self.values))
        return found

    @property
    def needs(self) -> Needs:
        """What every request of this agent requires of who answers it."""
        found: Needs | None = self._memo.get("needs")
        if found is None:
            persona, tier = self.persona.name, self.tier or self.persona.tier
            found = self._memo["needs"] = Needs(
                agent=self.name, persona=persona, tier=tier, model=self.model, run=self.run
            )
        return found


class _Same:
    """Equal to what wraps the same object: a key for values that cannot be hashed, or only slowly."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


@lru_cache(maxsize=1024)
def _opening(persona: _Same, values: _Same) -> Message:
    return system(persona.it.instructions(values.it))


@dataclass(slots=True)
class Log:
    """The state of one piece of work: what was said, its running sums, and the digest of it all."""

    agent: Agent
    shape: Shape | None
    messages: list[Message]
    specs: tuple[ToolSpec, ...]
    seal: Any
    tokens: int
    fixed: int
    """Tokens of each request that are not its messages': tools, schema, room for the answer."""
    usage: Usage | None = None
    cost: int | None = 0

    def say(self, message: Message) -> None:
        self.messages.append(message)
        self.seal.update(message.digest)
        self.tokens += message.tokens

    def request(self) -> Request:
        """Return the next request: the transcript as far as it fits."""
        agent, messages = self.agent, tuple(self.messages)
        keep_last = agent.history.keep_last
        if agent.window is not None or keep_last is not None:
            messages = fit(messages, agent.window, self.fixed, keep_last=keep_last, total=self.tokens)
        return Request(
            messages=messages,
            tools=self.specs,
            output_schema=None if self.shape is None else self.shape.schema,
            max_output_tokens=agent.max_output_tokens,
            temperature=agent.temperature,
            effort=agent.effort,
            needs=agent.needs,
        )

    def heard(self, response: Response) -> None:
        """Count what an answer took. An empty one is not repeated to the model: dialects refuse empty messages."""
        if response.message.parts:
            self.say(response.message)
        self.usage = response.usage if self.usage is None else self.usage + response.usage
        self.cost = None if self.cost is None or response.cost is None else self.cost + response.cost

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
        )


def _begin(agent: Agent, shape: Shape | None, history: tuple[Message, ...]) -> Log:
    opening = agent.opening
    # Who answers is not in the digest: a recorded answer stays good when a tier or a model is changed.
    seal = hashlib.sha256(
        f"{agent.max_output_tokens} {agent.temperature} {agent.effort} {agent.window} {agent.history}".encode()
    )
    for one in agent.tools:
        seal.update(one.digest)
    seal.update(b"" if shape is None else shape.digest)
    messages = [opening, *history]
    seal.update(b"".join([message.digest for message in messages]))
    specs = tuple([one.spec for one in agent.tools])
    fixed = 0
    if agent.window is not None:
        bare = Request((), specs, output_schema=None if shape is None else shape.schema)
        fixed = bare.input_tokens + (agent.max_output_tokens or ANSWER_TOKENS)
    return Log(agent, shape, messages, specs, seal, count_tokens(messages), fixed)


async def pursue(
    agent: Agent,
    answer: Answer,
    brief: str | Message,
    ctx: RunContext,
    output_schema: OutputSchema | Mapping[str, Any] | None,
    history: tuple[Message, ...],
) -> WorkResult:
    """Return the result of the work; `answer` makes each model call."""
    shape = None if output_schema is None else shape_of(output_schema)
    log = _begin(agent, shape, history)
    since = len(log.messages)
    log.say(user(brief) if isinstance(brief, str) else brief)
    corrected = False
    for number in range(1, agent.max_turns + 1):
        response = await _turn(number, log, ctx, answer, shape if corrected else None)
        log.heard(response)
        last = number == agent.max_turns
        match decide(response, shape):
            case Final() as final:
                return log.result(final, response, number, since)
            case AskAgain(invalid=invalid) if corrected or last:
                if invalid is not None:
                    raise invalid.error()
                return log.result(Final("", ""), response, number, since)
            case AskAgain(correction):
                log.say(user(correction))
                corrected = True
            case CallTools(calls) if not last:
                from agents.tools import call_all  # an agent without tools never loads them

                log.say(tool_message(*await call_all(calls, agent.tools, ctx, number)))
    raise TurnLimit(agent.name, agent.max_turns)


async def _turn(number: int, log: Log, ctx: RunContext, answer: Answer, demanded: Shape | None) -> Response:
    """Take one turn. With `demanded`, answers of the wrong shape fail inside the attempt: others are asked then."""
    accept = None if demanded is None else demanded.accept
    try:
        return await take_turn(number, log.request(), log.seal.digest(), ctx, answer, accept)
    except WrongShape as wrong:
        raise wrong.invalid.error() from wrong
    except AllAttemptsFailed as failed:
        shapes = [error.invalid for error in failed.exceptions if isinstance(error, WrongShape)]
        if not shapes:
            raise
        raise shapes[-1].error() from failed
