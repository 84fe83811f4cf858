"""What surrounds an agent's work: who answers it, its place in a run, what is durable there, and whom it may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from providers.emit import Emit, ignore
from providers.messages import Accept, Delta, Hear, ModelCalls, Request, Response

if TYPE_CHECKING:
    from agents.hooks import Hooks
    from agents.summaries import HistoryMemo
    from agents.untrusted import RiskyTools
    from providers.budgets import BudgetScope

T = TypeVar("T")


class Complete(Protocol):
    """Who answers a request: a `ProviderManager`, a cache around one, or a test's function."""

    async def complete(
        self, request: Request, *, emit: Emit = ignore, budgets: Any = None, accept: Accept | None = None
    ) -> Response:
        """Return the answer to one request. Raise `ProviderError` or `RoutingError` where there is none."""
        ...


class StepKey(NamedTuple):
    """Names one durable call by what it is for, never by a count of calls, so that code that runs again finds it.

    `step` is its place in the unit's work, the outermost part first: `("try-1", "repeat-2", "code")`. `turn`
    counts the model calls of one piece of work from 1; 0: it belongs to none. `call` is `model`, `tool-2` or `said`.
    """

    step: tuple[str, ...]
    turn: int
    call: str


@runtime_checkable
class Relays(Protocol):
    """A `Complete` that can also tell of an answer while it comes, and else answers as `complete` does."""

    async def relay(
        self,
        request: Request,
        hear: Hear,
        *,
        emit: Emit = ignore,
        budgets: Any = None,
        accept: Accept | None = None,
    ) -> Response: ...


class TurnListener(Protocol):
    """Hears one turn as it comes. Both return at once."""

    def take(self, delta: Delta) -> None:
        """Take the next piece of the answer."""

    def end(self, response: Response | None) -> None:
        """Take note of the end. What was told since the last `Restarted` may not be all of the answer: where who
        answers cannot stream, nothing was. None: there is no answer."""


ListenTo = Callable[[tuple[str, ...], int, str], TurnListener]
"""`listen(step, turn, agent)` returns what hears a turn that is about to be taken."""


Do = Callable[[StepKey, bytes, Callable[[], Awaitable[T]]], Awaitable[T]]
"""`do(key, request_hash, work)`: a durable call. What is recorded under `key` is handed back; else `work` runs."""


class CallToApprove(NamedTuple):
    """A tool's call that a person must allow, with its arguments (JSON text).

    `is_asked`: its tool asks before each call. `is_unknown`: it was cut short, and may have taken effect already.
    `after` are the untrusted sources that its agent has read, where that is why it asks. `definition` is the digest of
    the tool as a model sees it, `parameters` the JSON Schema of its arguments.
    """

    tool: str
    arguments: str
    key: StepKey
    is_asked: bool
    is_unknown: bool
    after: tuple[str, ...] = ()
    agent: str = ""
    definition: str = ""
    parameters: Mapping[str, Any] | None = None


class Leave(NamedTuple):
    """A person's answer to one call, or to one text. `comment` is for the model. `edited` replaces the call's arguments
    (JSON text), or the text; None: they stay as they are."""

    is_given: bool
    comment: str = ""
    edited: str | None = None


Approve = Callable[[CallToApprove], Awaitable[Leave]]
"""Asks a person whether this one call may be made. Raises `Suspended` where no answer can be had now."""


Escalate = Callable[[tuple[str, ...], str, str, Mapping[str, Any] | None], Awaitable[Leave]]
"""`escalate(place, question, text, schema)` asks a person. `schema`: of what replaces the text, where it must be JSON.
Raises `Suspended` where no answer can be had now."""


class Suspended(Exception):
    """The work cannot go on now, and has not failed: `reason` says what it waits for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def all_of(waiting: Sequence[Suspended]) -> Suspended:
    """Return what work waits for of which several parts were suspended."""
    return Suspended("; ".join(dict.fromkeys(one.reason for one in waiting)))


async def _do_now(key: StepKey, request_hash: bytes, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG001
    return await work()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a program puts around the calls of a run: `deps` for its tools, and hooks, the outermost first."""

    deps: Any = None
    hooks: tuple[Hooks, ...] = ()


NOTHING_AROUND = Surroundings()


@dataclass(frozen=True, slots=True)
class RunContext:
    """The work's place in a run and what surrounds it. Immutable: a child position is a copy."""

    emit: Emit = ignore
    """Is called with each event of the work."""
    do: Do[Any] = _do_now
    """Makes a durable call: what is recorded is handed back, else the work is done."""
    budgets: BudgetScope | None = None
    """The caps that its calls count in; None: no caps."""
    step: tuple[str, ...] = ()
    """The work's place in its unit, by meaning: `("try-1", "code")`. Durable calls are keyed below it."""
    approve: Approve | None = None
    """Asked before a tool whose `approval` is "ask" runs; None: no person can be asked, so such a tool is refused."""

    listen: ListenTo | None = None
    """Hears each turn as it comes. Observation only: what is recorded and paid is the same without."""

    cut_short: frozenset[StepKey] = frozenset()
    """Steps that were in flight when an earlier process of the run ended: it is unknown whether they took effect."""
    edition: int = 3
    """Of the rules by which the run goes; one that was begun by an earlier release keeps its own, so that what it asked
    and read is asked and read the same way again. 2: the last turn offers no tools and asks for the answer; JSON is
    read from the text around it, and what is cut off is told as that. 3: what a docstring says of a parameter is in the
    schema of its tool; a call that is only repeated is not made, and so many calls in one turn are; a request that
    no provider takes whole goes without its older middle; what others wrote is read inside a fence, and who has read it
    needs a person's approval for risky tools."""
    run: str | None = None
    """The run's id, by which runs are served side by side where limits make them wait."""
    unit: str = ""
    """The unit of the run that is at work, as people know it: `build[S-1]`."""
    deps: Any = None
    """What the program gave the run or the agent for its tools: see `ToolContext`."""
    hooks: tuple[Hooks, ...] = ()
    """What stands around each model and tool call, the outermost first."""
    depth: int = 0
    """Agents that called this one as a tool, over each other."""
    untrusted: tuple[str, ...] = ()
    """What was read in this work that others wrote, by its sources."""
    risky_tools: RiskyTools = "ask"
    """What becomes of risky tools once the agent has read what others wrote: `ask`, `deny` or `allow`."""
    escalate: Escalate | None = None
    """Asks a person whether a text may pass a guardrail; None: no person can be asked."""
    memo: HistoryMemo | None = None
    """The summary of the history that this work shares with earlier and later ones; None: it has none in common."""
    emit_at: Callable[[tuple[str, ...]], Emit] | None = None
    """Returns what emits at a place in the unit's work; None: `emit` does, wherever it happens."""
    tally: Callable[[ModelCalls], None] | None = None
    """Told of each answer what it took, where an agent works as a tool: its caller sums that up."""

    def at(self, **changes: Any) -> RunContext:
        """Return the context with these fields changed."""
        return replace(self, **changes)

    def below(self, *parts: str) -> RunContext:
        """Return the context of work that an agent does below a place in this one's, for this one."""
        step = self.step + parts
        emit = self.emit if self.emit_at is None else self.emit_at(step)
        return replace(self, step=step, emit=emit, depth=self.depth + 1, memo=None)


Answer = Callable[..., Awaitable[Response]]
"""`Complete.complete`, or its replacement while deltas are passed on. Where the context listens, it is given `hear`."""


async def relayed(
    manager: Complete,
    request: Request,
    *,
    hear: Hear,
    emit: Emit = ignore,
    budgets: Any = None,
    accept: Accept | None = None,
) -> Response:
    """Return the manager's answer; `hear` is told of it as it comes where the manager can do that, and else not."""
    if isinstance(manager, Relays):
        return await manager.relay(request, hear, emit=emit, budgets=budgets, accept=accept)
    return await manager.complete(request, emit=emit, budgets=budgets, accept=accept)
