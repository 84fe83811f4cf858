"""A piece of work as it is done: the deltas of all its model calls, then its result."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, runtime_checkable

import anyio
from anyio.abc import TaskGroup

from agents.loop import Made, Wanted, Worker, WorkResult, pursue
from agents.run_context import Complete, RunContext, StepKey
from providers.emit import Emit, ignore
from providers.messages import Accept, Delta, Message, Request, Response, TextDelta

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

AHEAD = 64
"""Deltas that may wait for a slow reader before the model's stream is held back."""


@runtime_checkable
class Streams(Protocol):
    """A `Complete` that can also pass an answer on while it comes."""

    def stream(self, request: Request, *, emit: Emit = ignore, budgets: Any = None) -> AbstractAsyncContextManager[Any]:
        """Return a context of an async iterator of deltas whose `response` is the whole answer afterwards."""


class WorkStream(Generic[Made]):
    """The deltas of a piece of work, in order; `result` once they are over.

    The work runs while the `async with` is open; leaving early cancels it. Its error is raised, as itself, where the
    deltas are read: after the last of them, by `result`, or where a block ends that read neither.
    A turn that the journal hands back comes as one delta. The first reader reads all: it can be iterated once.
    """

    def __init__(
        self,
        agent: Worker,
        manager: Complete,
        brief: str | Message,
        ctx: RunContext,
        wanted: Wanted | None,
        history: tuple[Message, ...],
    ) -> None:
        if not isinstance(manager, Streams):
            raise TypeError(f"the manager of {agent.name} cannot stream")
        self._manager: Streams = manager
        self._args = (agent, brief, ctx, wanted, history)
        self._group: TaskGroup | None = None
        self._result: WorkResult[Made] | None = None
        self._streamed = False
        self._error: Exception | None = None
        self._is_told = False
        """Whether the reader has the work's error."""

    @property
    def result(self) -> WorkResult[Made]:
        """What the work came to. Raise the work's error where it failed, `RuntimeError` before the deltas are over."""
        self._raise_error()
        if self._result is None:
            raise RuntimeError("the work is not done: read all of its deltas first")
        return self._result

    async def __aenter__(self) -> Self:
        self._send, self._receive = anyio.create_memory_object_stream[Delta](AHEAD)
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        try:
            is_handled = await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None
        finally:
            self._send.close()
            self._receive.close()
            if self._error is not None and not self._is_told and error is not None:  # the reader's own error goes on
                error.add_note(f"the work had failed: {type(self._error).__name__}: {self._error}")
        if not self._is_told and error is None:
            self._raise_error()
        return is_handled

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        if self._group is None:
            raise RuntimeError("the work runs while a block is open: async with agent.stream(...) as deltas")
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            self._raise_error()
            raise StopAsyncIteration from None

    async def _run(self) -> None:
        agent, brief, ctx, wanted, history = self._args
        with self._send:
            watched = ctx.at(do=self._replaying(ctx), listen=None)
            try:
                self._result = await pursue(agent, self._answer, brief, watched, wanted, history)
            except Exception as error:  # noqa: BLE001  # raised where the deltas are read: a task group would wrap it
                self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            self._is_told = True
            raise self._error

    def _replaying(self, ctx: RunContext) -> Any:
        """Return the context's `do` that passes on, as one delta, an answer which was handed back from the journal."""

        async def do(key: StepKey, request_hash: bytes, work: Any) -> Any:
            self._streamed = False
            done = await ctx.do(key, request_hash, work)
            is_own = key.step == ctx.step  # an agent that this one calls as a tool speaks to this one alone
            if is_own and isinstance(done, Response) and not self._streamed and done.text:
                await self._send.send(TextDelta(done.text))
            return done

        return do

    async def _answer(
        self, request: Request, *, emit: Emit = ignore, budgets: Any = None, accept: Accept | None = None
    ) -> Response:
        self._streamed = True
        async with self._manager.stream(request, emit=emit, budgets=budgets) as deltas:
            async for delta in deltas:
                await self._send.send(delta)
            response: Response = deltas.response
        if accept is not None:
            accept(response)
        return response
