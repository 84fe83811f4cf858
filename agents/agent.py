"""A persona bound to its tools and to who answers it. Immutable: run state never lives on an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, overload

from agents.context import History
from agents.guardrails import Guardrails
from agents.hooks import Hooks
from agents.run_context import Complete, RunContext, relayed
from agents.tools import Tool, as_tools
from agents.untrusted import RiskyTools
from providers.messages import Message, Needs, OutputSchema, Request, Response, system

if TYPE_CHECKING:
    from agents.loop import Made, Wanted, WorkResult
    from agents.stream import WorkStream
    from personas.persona import Persona  # loads the template sandbox

NOWHERE = RunContext()
ALL = History()
NO_VALUES: Mapping[str, Any] = {}
NO_RAILS = Guardrails()


class _Nobody:
    """Stands where no manager was given, which an agent refuses."""

    async def complete(self, request: Request, **_: Any) -> Response:
        raise NotImplementedError


NOBODY = _Nobody()


@dataclass(frozen=True, slots=True, eq=False)
class Agent:
    """A persona bound to tools and to who answers. Immutable, so one agent may do any number of works at once.

    `instructions` are a prompt of its own: after what is told of the persona, or all there is without one.
    `max_turns` bounds the model calls of one piece of work; `window` (tokens) and `history` bound what is sent;
    `values` fill the persona's instructions, which are rendered once.
    """

    name: str
    """What it is called in events and messages."""
    persona: Persona | None = None
    """Who it is; None: `instructions` alone say so."""
    manager: Complete = NOBODY
    """Who answers its turns; it must be given."""
    tools: Sequence[Any] = ()
    """Tools, and plain functions, of which tools are made."""
    max_turns: int = 16
    """The model calls of one piece of work, at most."""
    tier: str | None = None
    """Goes before the persona's tier."""
    model: str | None = None
    """One model, `provider/model`, instead of a tier."""
    chain: Sequence[str] = ()
    """Candidates (`provider/model`, `provider/*`) that are asked in this order, then the policy's last resort."""
    window: int | None = None
    """Tokens that a request may have; None: what the model takes."""
    history: History = ALL
    """How much of a long transcript is sent."""
    max_output_tokens: int | None = None
    """Tokens of one answer, at most; None: as the model has it."""
    temperature: float | None = None
    """Given to the model; None: the vendor's default."""
    effort: Literal["low", "medium", "high"] | None = None
    """How long a reasoning model may think; None: the vendor's default."""
    instructions: str | None = None
    """A prompt of its own, after what is told of the persona, or all there is without one."""
    values: Mapping[str, Any] = field(default_factory=lambda: NO_VALUES)
    """What the persona's instructions are filled with, once."""
    run: str | None = None
    """Whose turns its turns are: where providers' limits make them wait, runs are served side by side."""
    deps: Any = None
    """What its tools find in their `ToolContext`; None: what the run was given."""
    hooks: Sequence[Hooks] = ()
    """What stands around its calls, inside of what the run has."""
    risky_tools: RiskyTools = "ask"
    """What becomes of its risky tools once it has read what others wrote: a person is asked, or all are refused."""
    guardrails: Guardrails = NO_RAILS
    """What is checked of what it is told, and of what it answers."""
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.manager is NOBODY:
            raise TypeError(f"the agent '{self.name}' needs a manager, who answers it: Agent(..., manager=manager)")
        if self.persona is None and not self.instructions:
            raise TypeError(f"the agent '{self.name}' needs instructions, or a persona")
        if wrong := self._misfit():
            raise TypeError(f"the agent '{self.name}': {wrong}")
        # A plain function is taken for the tool that it makes: each is described now, so that what cannot be is told
        # before anything is paid for. Tools that are tools already are described when they are first needed.
        if type(self.tools) is not tuple or not all(isinstance(one, Tool) for one in self.tools):
            object.__setattr__(self, "tools", as_tools(self.tools))

    def _misfit(self) -> str:
        """Return what of it is of another kind than it must be, and what it takes; empty where all fits."""
        persona: object = self.persona
        if isinstance(persona, str):
            return "a persona is a Persona, Personas(packaged()).get(name); words of its own are instructions='...'"
        if not hasattr(self.manager, "complete"):
            return "manager= is what open_manager() opens"
        for name, given in (("tools", self.tools), ("hooks", self.hooks), ("chain", self.chain)):
            if type(given) is not tuple and (isinstance(given, str) or not isinstance(given, Iterable)):
                return f"{name} is a list, {name}=[...]; not {given!r:.80}"
        return "" if self.max_turns > 0 else "max_turns is 1 at least"

    @overload
    async def work(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_type: type[Made],
        history: tuple[Message, ...] = (),
    ) -> WorkResult[Made]: ...
    @overload
    async def work(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        output_type: Any = None,
        history: tuple[Message, ...] = (),
    ) -> WorkResult: ...
    async def work(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        output_type: Any = None,
        history: tuple[Message, ...] = (),
    ) -> WorkResult[Any]:
        """Return what the agent made of `brief`.

        Each model call and each tool call is a durable call below `ctx.step`. An answer that is empty or is not what
        `output_schema` or `output_type` asks for is sent back; that turn may have as many attempts as any.

        - `brief`: what to do, as a text or a message with images.
        - `ctx`: the work's place in a run, its budgets and who hears its events; needed only in a run.
        - `output_schema`: a JSON Schema that the answer must fit.
        - `output_type`: a pydantic model, a dataclass or `list[...]` of them: the result's `output` is of that type.
        - `history`: messages that were said before `brief`.

        Raises `TurnLimit`, `OutputInvalid`, what a tool raises as `ToolFault`, what hooks raise or deny (`HookFailed`,
        `CallDenied`), `ContextTooLong`, and what the manager raises.
        """
        from agents.loop import pursue  # on use: all that drives an agent

        answer = self.manager.complete if ctx.listen is None else partial(relayed, self.manager)
        return await pursue(self, answer, brief, self._in(ctx), _wanted(output_schema, output_type), history)

    @overload
    def stream(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_type: type[Made],
        history: tuple[Message, ...] = (),
    ) -> WorkStream[Made]: ...
    @overload
    def stream(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        output_type: Any = None,
        history: tuple[Message, ...] = (),
    ) -> WorkStream: ...
    def stream(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        output_type: Any = None,
        history: tuple[Message, ...] = (),
    ) -> WorkStream[Any]:
        """Return the same work as it is done: `async with agent.stream(...) as s: async for delta in s`.

        `s.result` is the `WorkResult` once the deltas are over. What `work` raises comes out of the loop, or of
        `s.result`. The manager must have `stream`.
        """
        from agents.stream import WorkStream  # on use, as above

        wanted = _wanted(output_schema, output_type)
        return WorkStream(self, self.manager, brief, self._in(ctx), wanted, history)

    def as_tool(self, name: str | None = None, description: str | None = None) -> Tool:
        """Return a tool by which another agent gives this one a task; the answer is its result.

        It is named like the agent, and described by what its persona is and does. The work below is as durable as the
        caller's, within the caller's budgets, and with its hooks; `deps` are the caller's, where this agent has none.
        """
        from agents.agent_tool import bound_to, described_as, tool_of  # on use: few agents are tools

        told = description or described_as(self.name, self.persona)
        return bound_to(tool_of(self.name, told, self.tools, name), self)

    def _in(self, ctx: RunContext) -> RunContext:
        """Return the context of its work, with what the program gave this agent."""
        if self.deps is None and not self.hooks:
            return ctx
        deps = ctx.deps if self.deps is None else self.deps
        return ctx.at(deps=deps, hooks=(*ctx.hooks, *self.hooks))

    @property
    def opening(self) -> Message:
        """The system message. Agents of one persona and one `values` share it, and so its encoded bytes."""
        found: Message | None = self._memo.get("opening")
        if found is None:
            found = self._memo["opening"] = _opening(_Same(self.persona), _Same(self.values), self.instructions or "")
        return found

    @property
    def asking(self) -> Request:
        """Its requests without what is said in them."""
        specs, most = tuple([one.spec for one in self.tools]), self.max_output_tokens
        return Request((self.opening,), specs, max_output_tokens=most, needs=self.needs)

    @property
    def needs(self) -> Needs:
        """What every request of this agent requires of who answers it."""
        found: Needs | None = self._memo.get("needs")
        if found is None:
            persona, tier = (None, self.tier) if self.persona is None else _names(self.persona, self.tier)
            found = self._memo["needs"] = Needs(
                agent=self.name, persona=persona, tier=tier, model=self.model, run=self.run, chain=tuple(self.chain)
            )
        return found


def _wanted(output_schema: OutputSchema | Mapping[str, Any] | None, output_type: Any) -> Wanted | None:
    if output_type is None:
        return output_schema
    if output_schema is not None:
        raise TypeError("give output_type or output_schema, not both")
    from agents.typed_output import typed_shape  # loads pydantic

    return typed_shape(output_type)


class _Same:
    """Equal to what wraps the same object: a key for values that cannot be hashed, or only slowly."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


def _names(persona: Persona, tier: str | None) -> tuple[str, str | None]:
    return persona.name, tier or persona.tier


@lru_cache(maxsize=1024)
def _opening(persona: _Same, values: _Same, instructions: str) -> Message:
    if persona.it is None:
        return system(instructions)
    own = (instructions,) if instructions else ()
    return system(persona.it.instructions(values.it, *own))
