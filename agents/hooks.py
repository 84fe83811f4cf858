"""What an embedding program puts around each model call and each tool call: to watch, to change, or to refuse.

    class Audit(Hooks):
        async def before_tool(self, call, tool, at):
            if tool.risk == "risky" and at.agent != "operator":
                return Deny("only the operator may do that")

Hooks run inside the durable step of their call: what they make of it is recorded, and a run that is resumed or replayed
is handed that, whether it has hooks or not.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from agents.errors import CallDenied, HookFailed
from agents.tool_context import CallPlace
from providers.messages import Request, Response, ToolCall, ToolResult

if TYPE_CHECKING:
    from agents.tools import Tool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not be made. A model is told `reason` of a tool's; a model call that is denied ends the work."""

    reason: str
    """A model is told it of a tool's call; of a model's call it is the error's message."""


class Hooks:
    """What to do around calls; override what you need, as plain or async methods. None: it stays as it is.

    Several are asked in their order before a call, and in the opposite order after it. They run on the event loop: one
    that blocks holds everything. What a hook raises ends the agent's work with `HookFailed`.
    """

    def before_model(self, request: Request, at: CallPlace) -> Any:  # noqa: ARG002
        """Return another `Request`, a `Response` that answers in the model's place, a `Deny`, or None."""
        return None

    def after_model(self, request: Request, response: Response, at: CallPlace) -> Any:  # noqa: ARG002
        """Return another `Response`, a `Deny`, or None. What the call took and cost stays as it was."""
        return None

    def before_tool(self, call: ToolCall, tool: Tool, at: CallPlace) -> Any:  # noqa: ARG002
        """Return another `ToolCall` of the same tool, a `ToolResult` or text in its place, a `Deny`, or None.

        A person who must approve the call is shown what the hooks made of it.
        """
        return None

    def after_tool(self, call: ToolCall, result: ToolResult, at: CallPlace) -> Any:  # noqa: ARG002
        """Return another `ToolResult`, a text for its content, a `Deny`, or None."""
        return None


async def _said(one: Hooks, name: str, args: Sequence[Any]) -> Any:
    method: Callable[..., Any] = getattr(one, name)
    if getattr(type(one), name, None) is getattr(Hooks, name):
        return None
    try:
        said = method(*args)
        return await said if inspect.isawaitable(said) else said
    except Exception as error:
        raise HookFailed(f"{type(one).__name__}.{name}", f"{type(error).__name__}: {error}") from error


def _wrong(one: Hooks, name: str, said: object, kinds: str) -> HookFailed:
    return HookFailed(f"{type(one).__name__}.{name}", f"it returned {type(said).__name__}, not {kinds} or None")


async def answered(
    hooks: Sequence[Hooks], request: Request, at: CallPlace, answer: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Return the answer to what the hooks make of a request, as they change it. Raise `CallDenied`, `HookFailed`."""
    made: Response | None = None
    for one in hooks:
        match said := await _said(one, "before_model", (request, at)):
            case None:
                continue
            case Request():
                request = replace(said, needs=request.needs)
            case Response():
                made = said
                break
            case Deny(reason):
                raise CallDenied(f"{type(one).__name__} denied a model call: {reason}")
            case _:
                raise _wrong(one, "before_model", said, "a Request, a Response, a Deny")
    response = await answer(request) if made is None else made
    for one in reversed(hooks):
        match said := await _said(one, "after_model", (request, response, at)):
            case None:
                continue
            case Response():
                response = _billed_as(said, response)
            case Deny(reason):
                raise CallDenied(f"{type(one).__name__} denied a model's answer: {reason}")
            case _:
                raise _wrong(one, "after_model", said, "a Response, a Deny")
    return response


def _billed_as(said: Response, billed: Response) -> Response:
    """Return what a hook said, with what the call took: that was paid for, whatever is made of the answer."""
    return replace(
        said,
        usage=billed.usage,
        cost=billed.cost,
        estimate=billed.estimate,
        provider=billed.provider,
        model=billed.model,
        attempts=billed.attempts,
    )


async def before_tool(
    hooks: Sequence[Hooks], call: ToolCall, tool: Tool, at: CallPlace
) -> ToolCall | ToolResult | Deny:
    """Return the call as the hooks make it, or what stands in its place. Raise `HookFailed`."""
    for one in hooks:
        match said := await _said(one, "before_tool", (call, tool, at)):
            case None:
                continue
            case ToolCall():
                if said.name != call.name:
                    raise HookFailed(f"{type(one).__name__}.before_tool", "it made a call of another tool of it")
                call = replace(said, id=call.id)
            case ToolResult() | Deny():
                return said
            case str():
                return ToolResult(call.id, call.name, said)
            case _:
                raise _wrong(one, "before_tool", said, "a ToolCall, a ToolResult, text, a Deny")
    return call


async def after_tool(hooks: Sequence[Hooks], call: ToolCall, result: ToolResult, at: CallPlace) -> ToolResult | Deny:
    """Return the result as the hooks make it. Raise `HookFailed`."""
    for one in reversed(hooks):
        match said := await _said(one, "after_tool", (call, result, at)):
            case None:
                continue
            case ToolResult():
                result = said
            case str():
                result = replace(result, content=said)
            case Deny():
                return said
            case _:
                raise _wrong(one, "after_tool", said, "a ToolResult, text, a Deny")
    return result
