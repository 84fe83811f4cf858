"""One call of a tool: its function at work, in a thread or awaited, for so long, and what came of it as text."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from typing import Any, NamedTuple, Protocol

import anyio

from agents.errors import AgentError, HookFailed, ToolFault
from agents.results import MAX_ITEMS, failed, told
from agents.threads import MOST_LEFT, GivenUp, ThreadEnded, in_thread, is_own_cancellation, still_left
from agents.untrusted import Untrusted
from providers.messages import ToolCall, ToolResult


class Called(Protocol):
    """What a call goes by of its tool: see `Tool` for what each means."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def blocking(self) -> bool: ...
    @property
    def timeout_s(self) -> float | None: ...
    @property
    def max_chars(self) -> int: ...
    @property
    def agent(self) -> str | None: ...


class _Told(NamedTuple):
    """A result that is text already."""

    text: str


async def result_of(
    tool: Called, call: ToolCall, args: Sequence[Any], kwargs: Mapping[str, Any], left: list[Any]
) -> ToolResult:
    """Return the answer of a tool. What goes wrong is told to the model, except a `ToolFault`, which is raised.

    `left` are the threads of earlier calls that were given up: one that still works is in it.
    """
    try:
        return ToolResult(call.id, call.name, await _run(tool, partial(tool.function, *args, **kwargs), left))
    except (ToolFault, HookFailed) as error:
        if tool.agent is None or isinstance(error, HookFailed):
            raise
        return failed(call, str(error))
    except AgentError as error:
        return failed(call, str(error))
    except GivenUp:
        return failed(call, f"no answer within {tool.timeout_s:g} s")
    except ThreadEnded as error:
        return failed(call, _in_words(error.error))
    except (Exception, SystemExit) as error:  # the tool boundary: whatever a tool raises, the model may fix
        if tool.agent is not None:
            raise
        return failed(call, _in_words(error))
    except anyio.get_cancelled_exc_class() as error:
        if not is_own_cancellation():
            raise
        return failed(call, _in_words(error))


async def _run(tool: Called, call: Callable[[], Any], left: list[Any]) -> str:
    is_async = inspect.iscoroutinefunction(tool.function) or inspect.isasyncgenfunction(tool.function)
    if not tool.blocking or is_async:
        return await _waited_for(tool, call())
    if still_left(left) >= MOST_LEFT:
        raise AgentError(f"{MOST_LEFT} earlier calls of it are still at work; call it again later")
    made = await in_thread(partial(_in_thread, tool.max_chars, call), tool.timeout_s, left)
    return made.text if isinstance(made, _Told) else await _waited_for(tool, made)


def _in_thread(max_chars: int, call: Callable[[], Any]) -> Any:
    """Return what is told of the result, unless it must be awaited. What it yields is made in the thread, too."""
    try:
        made = call()
        if inspect.isawaitable(made) or isinstance(made, AsyncIterator):
            return made
        return _Told(_text_of(made, max_chars))
    except StopIteration as error:  # no coroutine can raise it
        raise ThreadEnded(error) from None
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001  # it ends this thread; the program is not the tool's to end
        raise ThreadEnded(error) from None


async def _waited_for(tool: Called, made: Any) -> str:
    with anyio.move_on_after(tool.timeout_s):
        value = await made if inspect.isawaitable(made) else made
        if isinstance(value, AsyncIterator):
            value = await _gone_through(value, tool.max_chars)
        return _text_of(value, tool.max_chars)
    raise GivenUp


def _text_of(value: Any, max_chars: int) -> str:
    text = told(value, max_chars)
    return Untrusted(text) if isinstance(value, Untrusted) else text


async def _gone_through(value: AsyncIterator[Any], max_chars: int) -> list[Any]:
    """Return what it yields, as far as that can be told."""
    found: list[Any] = []
    room = max_chars
    closing: AbstractAsyncContextManager[Any] = aclosing(value) if isinstance(value, AsyncGenerator) else nullcontext()
    async with closing:
        async for item in value:
            found.append(item)
            room -= len(item) if isinstance(item, (str, bytes)) else 1
            if len(found) == MAX_ITEMS or room < 0:
                break
    return found


def _in_words(error: BaseException) -> str:
    """Return an error's class and message, whatever its own code makes of being asked; of a group, its first's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # the tool boundary, too: the message is the tool's own code
        message = "it has no message that can be read"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
