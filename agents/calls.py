"""The tool calls of one turn: which are made, with whose leave, how many at once, and what is recorded of each."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import anyio
import anyio.from_thread
import anyio.lowlevel

from agents.events import RepeatStopped, RiskyCallHeld, ToolEnded, ToolProgress, ToolStarted
from agents.hooks import Deny, after_tool, before_tool
from agents.repeats import CallKey, Repeats, key_of
from agents.results import failed, shown
from agents.run_context import CallToApprove, RunContext, StepKey, Suspended, all_of
from agents.tool_context import CallPlace, ToolContext
from agents.tool_names import meant
from agents.tools import Tool
from agents.untrusted import refusal
from providers.documents.unicode import cut
from providers.messages import ModelCalls, ToolCall, ToolResult

MOST_TOLD = 300
"""Characters (graphemes) of a call's arguments, and of its result, in the events of a tool."""
MOST_AT_ONCE = 16
"""Calls of one turn that are at work at once; the others wait."""
MOST_CALLS = 128
"""Calls of one turn that are made; the model is told of the others."""
MOST_NOTED = 2000
"""Characters of changed arguments that the model is told."""
CHANGED = "A person changed the arguments of this call before it was made, to: {arguments}"
MOST_PROGRESS = 100
"""Words of progress that one call is listened to for."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the calls of one turn share."""

    tools: Mapping[str, Tool]
    ctx: RunContext
    at: CallPlace
    repeats: Repeats
    slots: AbstractAsyncContextManager[object]
    """Lets so many calls be at work at once."""


async def call_all(
    calls: Sequence[ToolCall],
    tools: Sequence[Tool],
    ctx: RunContext,
    turn: int,
    *,
    agent: str = "",
    repeats: Repeats | None = None,
) -> tuple[ToolResult, ...]:
    """Return the results of one turn's calls in their order; the calls run at the same time, so many at once.

    Each is the durable call `tool-I` of the turn. Raises what the first failing step raised, once all have stopped.
    One that is suspended stops no other: they end, and are recorded, before `Suspended` is raised. `repeats` knows the
    calls of earlier turns, and learns of these.
    """
    made = calls if ctx.edition < 3 else calls[:MOST_CALLS]
    at = CallPlace(agent, turn, ctx.run, ctx.unit, ctx.step)
    slots = anyio.CapacityLimiter(MOST_AT_ONCE) if len(calls) > MOST_AT_ONCE else nullcontext()
    here = Turn({one.name: one for one in tools}, ctx, at, repeats or Repeats(), slots)
    results = await _made(made, here)
    too_many = f"it was not made: {MOST_CALLS} calls can be made in one turn, and there were {len(calls)}"
    return (*results, *(failed(call, too_many) for call in calls[len(made) :]))


async def _made(calls: Sequence[ToolCall], here: Turn) -> Sequence[ToolResult]:
    stops = [_times(call, here) for call in calls]
    one = len(calls) == 1
    results = [await _step(calls[0], 1, here, stops[0])] if one else await _at_once(calls, here, stops)
    if here.ctx.edition > 2:
        for call, result, times in zip(calls, results, stops, strict=True):
            if not times:
                key, tool = _key(call, here)
                changes = tool is not None and tool.risk != "read_only" and not result.is_error
                here.repeats.heard(key, result, changes=changes)
    return results


async def _at_once(calls: Sequence[ToolCall], here: Turn, stops: Sequence[int]) -> list[ToolResult]:
    results: list[ToolResult | None] = [None] * len(calls)
    waiting: list[Suspended] = []

    async def put(i: int, call: ToolCall) -> None:
        try:
            results[i] = await _step(call, i + 1, here, stops[i])
        except Suspended as error:
            waiting.append(error)

    try:
        async with anyio.create_task_group() as group:
            for i, call in enumerate(calls):
                group.start_soon(put, i, call)
    except BaseExceptionGroup as group:
        failing, cancelled = group.split(Exception)
        if failing is None or cancelled is not None:  # who leaves the run is not told which call failed meanwhile
            raise cancelled or group from None
        raise failing.exceptions[0] from group
    if waiting:
        raise all_of(waiting)
    return [result for result in results if result is not None]


def _key(call: ToolCall, here: Turn) -> tuple[CallKey, Tool | None]:
    name = meant(call.name, here.tools)
    return key_of(call, name or call.name), None if name is None else here.tools[name]


def _times(call: ToolCall, here: Turn) -> int:
    """Return how often a call was made that is not made again, 0 where it is."""
    if here.ctx.edition < 3:
        return 0
    key, tool = _key(call, here)
    if tool is not None and tool.repeatable:
        return 0
    return here.repeats.times(key, harmless=tool is None or tool.idempotent or tool.risk == "read_only")


async def _step(call: ToolCall, i: int, here: Turn, times: int) -> ToolResult:
    ctx, turn = here.ctx, here.at.turn
    key = StepKey(ctx.step, turn, f"tool-{i}")
    request_hash = hashlib.sha256(f"{call.name}\0{call.arguments}".encode("utf-8", "surrogatepass")).digest()
    name = meant(call.name, here.tools)
    told = call.name if name is None else name
    is_last = bool(times) and here.repeats.stopped(turn)

    tool = None if name is None else here.tools[name]

    async def work() -> ToolResult:
        asked = cut(call.arguments, MOST_TOLD)
        ctx.emit(ToolStarted(turn, i, told, asked))
        began = anyio.current_time()
        if times:
            ctx.emit(RepeatStopped(turn, i, told, times, is_last))
            made = _not_again(call, times)
        else:
            made = await _summed(call, tool, key, here, i)
        if made.fence and ctx.edition < 3:
            made = replace(made, fence="")
        ms, result = (anyio.current_time() - began) * 1000, cut(made.content, MOST_TOLD)
        ctx.emit(ToolEnded(turn, i, told, not made.is_error, ms, asked, result, bool(made.fence)))
        return made

    result: ToolResult = await ctx.do(key, request_hash, work)
    # A replayed result answers this turn's call, whatever id its own turn had.
    return result if result.call_id == call.id else replace(result, call_id=call.id, name=call.name)


def _not_again(call: ToolCall, times: int) -> ToolResult:
    why = (
        f"it was not made: you have called it {times} times with these arguments, and it gave the same result each "
        "time. Use that result, call it with other arguments, or write your answer."
    )
    return failed(call, why)


async def _summed(call: ToolCall, chosen: Tool | None, key: StepKey, here: Turn, i: int) -> ToolResult:
    """Return the result of a call, with what an agent spent on it that is the tool: also where it failed."""
    if chosen is None or chosen.agent is None:
        return await _checked(call, chosen, key, here, i)
    answers: list[ModelCalls] = []
    result = await _checked(call, chosen, key, replace(here, ctx=here.ctx.at(tally=answers.append)), i)
    return replace(result, spent=sum(answers, ModelCalls())) if answers else result


async def _checked(call: ToolCall, chosen: Tool | None, key: StepKey, here: Turn, i: int) -> ToolResult:
    """Return the result of a call that may be made. One that was cut short may have taken effect."""
    if chosen is None:
        return failed(call, f"there is no tool of this name; there are: {', '.join(here.tools) or 'none'}")
    hooks = here.ctx.hooks
    if hooks:
        match await before_tool(hooks, call, chosen, here.at):
            case Deny(reason):
                return failed(call, f"it was not allowed: {reason}")
            case ToolResult() as instead:
                return _clean(instead, call, chosen)
            case ToolCall() as changed:
                call = changed
    result = await _allowed(call, chosen, key, here, i)
    if not hooks:
        return result
    match await after_tool(hooks, call, result, here.at):
        case Deny(reason):
            return failed(call, f"its result was withheld: {reason}")
        case ToolResult() as told:
            return result if told is result else replace(_clean(told, call, chosen, result.fence), note=result.note)


def _clean(result: ToolResult, call: ToolCall, chosen: Tool, fence: str = "") -> ToolResult:
    """Return what a hook said as the result of this very call, within what the tool may tell. What it makes of a text
    that others wrote stays theirs."""
    text = shown(result.content, chosen.max_chars)
    return ToolResult(call.id, call.name, text, result.is_error, fence or result.fence)


async def _allowed(call: ToolCall, chosen: Tool, key: StepKey, here: Turn, i: int) -> ToolResult:
    """Call the tool, with a person's leave where it takes one. The leave is for these very arguments."""
    ctx = here.ctx
    if chosen.approval == "deny":
        return failed(call, "it was not made: calls of this kind are not allowed here. Go on without it")
    unknown = key in ctx.cut_short and not chosen.idempotent
    held = is_held(chosen, ctx)
    if held and ctx.risky_tools == "deny":
        ctx.emit(RiskyCallHeld(here.at.turn, i, chosen.name, ctx.untrusted, "deny"))
        return failed(call, refusal(ctx.untrusted, is_denied=True))
    if held or unknown or chosen.approval != "never":
        if ctx.approve is None and held:
            ctx.emit(RiskyCallHeld(here.at.turn, i, chosen.name, ctx.untrusted, "deny"))
            return failed(call, refusal(ctx.untrusted, is_denied=False))
        if ctx.approve is None:
            return failed(call, "it needs a person's approval, and no person can be asked now; go on without it")
        if (wrong := chosen.refused(call)) is not None:  # nobody is asked for what cannot be called
            return wrong
        if held:
            ctx.emit(RiskyCallHeld(here.at.turn, i, chosen.name, ctx.untrusted, "ask"))
        after = ctx.untrusted if held else ()
        definition, parameters = chosen.digest_in(ctx.edition).hex(), chosen.spec.parameters
        about = (here.at.agent, definition, parameters)
        asked = CallToApprove(chosen.name, call.arguments, key, chosen.approval != "never", unknown, after, *about)
        leave = await ctx.approve(asked)
        if not leave.is_given:
            why = f": {leave.comment}" if leave.comment else ""
            return failed(call, f"a person refused this call{why}")
        if leave.edited is not None and leave.edited != call.arguments:
            call = replace(call, arguments=leave.edited)
            made = chosen.refused(call) or await _called(call, chosen, here, i)
            return replace(made, note=CHANGED.format(arguments=cut(leave.edited, MOST_NOTED)))
    return await _called(call, chosen, here, i)


async def _called(call: ToolCall, chosen: Tool, here: Turn, i: int) -> ToolResult:
    async with here.slots:
        if not chosen.wants:
            return await chosen.call(call)
        with _Listening(here.ctx, partial(ToolProgress, here.at.turn, i, chosen.name)) as tell:
            return await chosen.call(call, _context(call, chosen, here, i, tell))


def is_held(tool: Tool, ctx: RunContext) -> bool:
    """Return whether a tool is not simply called, as its agent has read what others wrote."""
    return ctx.edition > 2 and bool(ctx.untrusted) and tool.risk == "risky" and ctx.risky_tools != "allow"


def _context(call: ToolCall, chosen: Tool, here: Turn, i: int, tell: Any) -> ToolContext[Any]:
    ctx, at = here.ctx, here.at
    return ToolContext(
        at.agent, at.turn, at.run, at.unit, at.step, chosen.name, i, call.id, ctx.deps, around=ctx, tell=tell
    )


class _Listening:
    """Passes on what a call tells of its progress while it is at work, from whichever thread."""

    __slots__ = ("_ctx", "_left", "_made", "_thread", "_token")

    def __init__(self, ctx: RunContext, made: Callable[[str, float | None, float | None], ToolProgress]) -> None:
        self._ctx = ctx
        self._made = made
        self._left = MOST_PROGRESS
        self._thread = threading.get_ident()
        self._token = anyio.lowlevel.current_token()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = 0

    def __call__(self, text: str, done: float | None, total: float | None) -> None:
        if threading.get_ident() == self._thread:
            self._pass_on(text, done, total)
        elif self._left > 0:
            with suppress(RuntimeError):  # the event loop is closed: nobody listens
                anyio.from_thread.run_sync(self._pass_on, text, done, total, token=self._token)

    def _pass_on(self, text: str, done: float | None, total: float | None) -> None:
        if self._left > 0:
            self._left -= 1
            self._ctx.emit(self._made(cut(text, MOST_TOLD), done, total))
