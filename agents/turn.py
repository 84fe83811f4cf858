"""One turn: one model call, and what follows from its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.events import TurnEnded, TurnStarted
from agents.fitting import answered_in_room
from agents.hooks import answered
from agents.output import Invalid, Shape, is_cut
from agents.run_context import Answer, RunContext, StepKey
from agents.tool_context import CallPlace
from providers.errors import ProviderError, RoutingError
from providers.messages import Accept, Request, Response, ToolCall


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

SHORTER = "Answer again with the whole JSON and nothing else, and more briefly, so that it comes to its end."
EMPTY = "Your answer was empty. Write the answer now, as text."


def decide(response: Response, shape: Shape | None, edition: int = 2) -> Next:
    """Return what follows from an answer. Pure; how often it may ask again is the caller's to bound.

    `edition`: see `RunContext`.
    """
    if calls := response.tool_calls:
        return CallTools(calls)
    if shape is not None:
        read = shape.read(response, edition)
        return AskAgain(_correction(read), read) if isinstance(read, Invalid) else Final(response.text, read)
    text = response.text
    if not text.strip():
        return AskAgain(EMPTY)
    return Final(text, text, is_cut(response))


def _correction(invalid: Invalid) -> str:
    if invalid.cut is not None:
        return f"{invalid.message.capitalize()}. {SHORTER}"
    return (
        f"Your answer does not match the required JSON Schema. At {invalid.path}: {invalid.message}\n"
        "Answer again with the whole corrected JSON and nothing else."
    )


async def take_turn(
    number: int,
    request: Request,
    request_hash: bytes,
    ctx: RunContext,
    answer: Answer,
    accept: Accept | None = None,
    *,
    instead: Callable[[Exception], Response | None] = lambda _: None,
) -> Response:
    """Return the model's answer, paid once: it is the durable call `model` of this turn.

    What the turn emits belongs to the step: a recorded one emits nothing again. `instead` returns what stands in for an
    answer that could not be had; None: the error is raised.
    """
    agent = request.needs.agent or ""

    async def work() -> Response:
        heard = None if ctx.listen is None else ctx.listen(ctx.step, number, agent)
        made: Response | None = None

        async def ask(request: Request) -> Response:
            told = {} if heard is None else {"hear": heard.take}
            within = partial(answer, emit=ctx.emit, budgets=ctx.budgets, accept=accept, **told)
            old = ctx.edition < 3
            made = await (within(request) if old else answered_in_room(request, within, number, ctx.emit))
            billed = (made.usage, made.cost, made.finish, made.estimate)
            ctx.emit(TurnEnded(agent, number, made.provider, made.model, *billed))
            return made

        ctx.emit(TurnStarted(agent, number))
        try:
            if not ctx.hooks:
                made = await ask(request)
            else:
                made = await answered(ctx.hooks, request, CallPlace(agent, number, ctx.run, ctx.unit, ctx.step), ask)
        except (RoutingError, ProviderError) as error:
            if (substitute := instead(error)) is None:
                raise
            return substitute
        finally:
            if heard is not None:
                heard.end(made)
        return made

    response: Response = await ctx.do(StepKey(ctx.step, number, "model"), request_hash, work)
    return response
