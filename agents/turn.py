"""One turn: what an agent needs around it, one model call, and what follows from the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from agents.events import TurnEnded, TurnStarted
from agents.output import Invalid, Shape
from providers.budgets import BudgetScope
from providers.events import Emit, ignore
from providers.messages import Accept, FinishReason, Request, Response, ToolCall

T = TypeVar("T")


class Complete(Protocol):
    """Who answers a request: a `ProviderManager`, a cache around one, or a test's function."""

    async def complete(
        self, request: Request, *, emit: Emit = ignore, budgets: Any = None, accept: Accept | None = None
    ) -> Response: ...


Do = Callable[[str, bytes, Callable[[], Awaitable[T]]], Awaitable[T]]
"""`do(name, request_hash, work)`: a durable step. What is recorded under `name` is handed back; else `work` runs."""

Approve = Callable[[str, str, str], Awaitable[bool]]
"""`approve(tool, arguments, step)`: whether a person lets this step run the tool with these arguments (JSON text)."""


async def _do_now(name: str, request_hash: bytes, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG001
    return await work()


@dataclass(frozen=True, slots=True)
class RunContext:
    """Where in a run the work stands and what surrounds it. Immutable: a child position is a copy."""

    emit: Emit = ignore
    do: Do[Any] = _do_now
    budgets: BudgetScope | None = None
    path: str = ""
    """The position by meaning, `build[S-1]/attempt-2/code`, never a count of calls. Steps are keyed below it."""
    approve: Approve | None = None
    """Asked before a tool whose `approval` is "ask" runs; None: nobody can be asked, so such a tool is refused."""

    cut_short: frozenset[str] = frozenset()
    """Steps that were in flight when an earlier process of the run ended: nobody knows whether they took effect."""

    def at(self, **changes: Any) -> RunContext:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Final:
    """The work is done. `output` is the text, or the value that the schema asked for."""

    text: str
    output: Any
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class CallTools:
    """The model waits for these calls' results."""

    calls: Sequence[ToolCall]


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The answer does not do; `correction` tells the model why. `invalid` is set where it broke its schema."""

    correction: str
    invalid: Invalid | None = None


Next = Final | CallTools | AskAgain

EMPTY = "Your answer was empty. Write the answer now, as text."


def decide(response: Response, shape: Shape | None) -> Next:
    """Return what follows from an answer. Pure; how often it may ask again is the caller's to bound."""
    if calls := response.tool_calls:
        return CallTools(calls)
    if shape is not None:
        read = shape.read(response)
        return AskAgain(_mend(read), read) if isinstance(read, Invalid) else Final(response.text, read)
    text = response.text
    if not text.strip():
        return AskAgain(EMPTY)
    return Final(text, text, response.finish in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER))


def _mend(invalid: Invalid) -> str:
    return (
        f"Your answer does not match the required JSON Schema. At {invalid.path}: {invalid.message}\n"
        "Answer again with the whole corrected JSON and nothing else."
    )


Answer = Callable[..., Awaitable[Response]]
"""`Complete.complete`, or what stands in for it while deltas are passed on."""


async def take_turn(
    number: int,
    request: Request,
    request_hash: bytes,
    ctx: RunContext,
    answer: Answer,
    accept: Accept | None = None,
) -> Response:
    """Return the model's answer, paid once: it is the durable step `PATH/turn-NUMBER/model`.

    What the turn emits belongs to the step: a recorded one emits nothing again.
    """
    agent = request.needs.agent or ""

    async def work() -> Response:
        ctx.emit(TurnStarted(agent, number))
        made = await answer(request, emit=ctx.emit, budgets=ctx.budgets, accept=accept)
        ctx.emit(TurnEnded(agent, number, made.provider, made.model, made.usage, made.cost, made.finish))
        return made

    response: Response = await ctx.do(f"{ctx.path}/turn-{number}/model", request_hash, work)
    return response
