"""One task owns a server: it starts it, asks it, notices its death and starts it again.

A server over HTTP that dies cancels the task in which its client was entered. So no caller is that task: calls go to
the owner, and each gets an answer or one `McpFault`, whatever becomes of the server.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from agents.mcp.connection import Connection, McpToolFailed, connected, fault_of, why_ended
from agents.mcp.definitions import Definition
from agents.mcp.errors import McpFault
from agents.mcp.servers import McpServer
from agents.mcp.stdio import Link


@dataclass(slots=True, eq=False)
class _Asked:
    """One call on its way. `scope` is its work, once it has begun."""

    tool: str
    arguments: dict[str, Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    text: str = ""
    error: McpFault | McpToolFailed | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    is_again: bool = False
    """The server had forgotten us when it was asked first."""

    def answer(self, text: str) -> None:
        self.text = text
        self.done.set()

    def fail(self, error: McpFault | McpToolFailed) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


@dataclass(slots=True, eq=False)
class Owner:
    """A server that is running, or will be when the next call comes. `definitions` are those of its first listing."""

    server: McpServer
    definitions: tuple[Definition, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    starts: int = 0
    """How often it was started."""
    _accepted: Mapping[str, str] = field(default_factory=dict)
    """Tool -> the digest of the definition that may be called."""
    _now: Mapping[str, str] = field(default_factory=dict)
    """The same, as the server has it now."""
    _deaths: int = 0
    """In a row, without a call answered in between."""
    _pending: set[_Asked] = field(default_factory=set)
    _unmade: list[_Asked] = field(default_factory=list)
    """Calls that a server did not make, as it had forgotten us: they are sent once more."""
    _requests: MemoryObjectSendStream[_Asked] | None = None
    _link: Link = field(default_factory=Link)
    _failed: McpFault | None = None
    """Why it was of no use the last time; None: it is running, or was closed."""

    @property
    def is_stale(self) -> bool:
        """Whether the server said that its tools changed: they are listed again before the next call."""
        return self._link.stale

    def accept(self, definitions: Iterable[Definition]) -> None:
        """Let only tools with these definitions be called from now on."""
        self._accepted = {one.name: one.digest for one in definitions}

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return what the tool answered, as text. Raise `McpFault`, or `McpToolFailed` with the server's own words.

        One that is cancelled is cancelled on the server, too.
        """
        if self._requests is None:
            raise McpFault(self.server.name, "died", "it was closed with the run")
        asked = _Asked(tool, dict(arguments))
        try:
            await self._requests.send(asked)
            await asked.done.wait()
        finally:
            asked.scope.cancel()
        if asked.error is not None:
            raise asked.error
        return asked.text

    async def run(self, requests: MemoryObjectReceiveStream[_Asked], is_listed: anyio.Event) -> None:
        """Serve until the other end of `requests` is closed. `is_listed` is set once the first start is over."""
        async with requests:
            first: _Asked | None = None
            while True:
                self._failed = await self._serve(requests, first, is_listed)
                is_listed.set()
                if self._failed is None:
                    return
                self._deaths += 1
                first = await self._next(requests)
                if first is None:
                    return
                if self._deaths > self.server.limits.restarts:
                    await self._refuse(first, requests)
                    return

    async def _next(self, requests: MemoryObjectReceiveStream[_Asked]) -> _Asked | None:
        """Return the call for which the server is started again, after its pause; None: there will be none."""
        if self._unmade:
            return self._unmade.pop()
        async for asked in requests:
            if self._deaths <= self.server.limits.restarts:
                await anyio.sleep(self._pause_s())
            if not asked.scope.cancel_called:
                return asked
        return None

    def _pause_s(self) -> float:
        """Return how long to wait before the next start: not at all before the first one after a death."""
        return 0.0 if self._deaths == 1 else self.server.limits.backoff_s * 2.0 ** (self._deaths - 2)

    async def _refuse(self, first: _Asked, requests: MemoryObjectReceiveStream[_Asked]) -> None:
        """Answer all further calls with why it is not started any more."""
        assert self._failed is not None
        message = (
            f"it failed {self._deaths} times in a row, and is not started again in this run: {self._failed.message}"
        )
        fault = McpFault(self.server.name, "given_up", message, self._failed.hint)
        first.fail(fault)
        async for asked in requests:
            asked.fail(fault)

    async def _serve(
        self, requests: MemoryObjectReceiveStream[_Asked], first: _Asked | None, is_listed: anyio.Event
    ) -> McpFault | None:
        """Serve over one connection. Return why it ended, None where nothing more will be asked."""
        fault: McpFault | None = None
        link = Link()
        limit = self.server.limits.connect_s
        waiting = [*([] if first is None else [first]), *self._unmade]
        self._pending.update(waiting)
        self._unmade.clear()
        self.starts += 1
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + limit) as scope:
                async with connected(self.server) as connection, anyio.create_task_group() as tasks:
                    scope.deadline = math.inf
                    self._link = link = connection.link
                    self._listed(connection)
                    is_listed.set()
                    for asked in waiting:
                        tasks.start_soon(self._one, connection, asked)
                    tasks.start_soon(self._end_with, link)
                    await self._take(requests, connection, tasks)
                    return None
            if scope.cancelled_caught:
                fault = McpFault(self.server.name, "timeout", f"it did not list its tools within {limit:g} s")
        except Exception as error:  # noqa: BLE001  # the boundary: whatever the package makes of a server
            fault = fault_of(error, self.server, link)
        finally:
            ended = fault or why_ended(self.server, link)
            for asked in self._pending:
                asked.fail(ended)
            self._pending.clear()
        return ended

    async def _take(
        self, requests: MemoryObjectReceiveStream[_Asked], connection: Connection, tasks: TaskGroup
    ) -> None:
        async for asked in requests:
            self._pending.add(asked)
            tasks.start_soon(self._one, connection, asked)
        tasks.cancel_scope.cancel()

    async def _end_with(self, link: Link) -> None:
        await link.closed.wait()
        raise why_ended(self.server, link)

    async def _one(self, connection: Connection, asked: _Asked) -> None:
        try:
            with asked.scope:
                await connection.refresh()
                self._now = {one.name: one.digest for one in connection.definitions}
                self._check(asked.tool)
                asked.answer(await connection.call(asked.tool, asked.arguments))
                self._deaths = 0
        except McpToolFailed as error:
            self._deaths = 0
            asked.fail(error)
        except Exception as error:  # noqa: BLE001  # as above
            fault = fault_of(error, self.server, connection.link)
            if fault.kind == "forgotten" and not (asked.is_again or asked.scope.cancel_called):
                asked.is_again, asked.scope = True, anyio.CancelScope()
                self._unmade.append(asked)
                self._pending.discard(asked)
            else:
                asked.fail(fault)
            if fault.kind in ("died", "forgotten"):
                connection.link.end(fault)
        finally:
            if asked.done.is_set() or asked.scope.cancel_called:  # else the connection ended: `_serve` tells why
                self._pending.discard(asked)

    def _listed(self, connection: Connection) -> None:
        self._now = {one.name: one.digest for one in connection.definitions}
        if self.starts == 1 or not self.definitions:
            self.definitions, self.unusable = connection.definitions, connection.unusable
            self.accept(connection.definitions)

    def _check(self, tool: str) -> None:
        if self._now.get(tool) == self._accepted.get(tool):
            return
        what = "does not offer it any more" if tool not in self._now else "changed its definition meanwhile"
        raise McpFault(self.server.name, "changed", f"it {what}: {tool}", "it is not called until that is accepted")


@asynccontextmanager
async def opened(servers: Iterable[McpServer]) -> AsyncIterator[dict[str, Owner]]:
    """Start the servers at the same time, yield their owners by name, and end them all with the block.

    Raise the first `McpFault` where one does not start.
    """
    try:
        async with _opened([Owner(server) for server in servers]) as owners:
            yield owners
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


@asynccontextmanager
async def _opened(owners: list[Owner]) -> AsyncIterator[dict[str, Owner]]:
    async with anyio.create_task_group() as tasks:
        sends = []
        for owner in owners:
            send, receive = anyio.create_memory_object_stream[_Asked](0)
            owner._requests = send
            is_listed = anyio.Event()
            tasks.start_soon(owner.run, receive, is_listed)
            sends.append((owner, send, is_listed))
        try:
            for owner, _, is_listed in sends:
                await is_listed.wait()
                if owner._failed is not None:
                    raise owner._failed
            yield {owner.server.name: owner for owner in owners}
        finally:
            for owner, send, _ in sends:
                owner._requests = None
                send.close()
