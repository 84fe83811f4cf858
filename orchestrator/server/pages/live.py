"""Keeps pages up to date: each is made once a second at most for all who look at it, who are sent what changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from orchestrator.server.event_stream import event

EVERY_S = 1.0
SHARE, SELDOM_S = 0.05, 5.0
"""A page that takes long to make is made less often: this share of the time goes into it, down to once in so long."""
BEHIND = 16
"""Changes that wait for a client that reads slowly; one that is further behind is told to come again."""
Render = Callable[[], Awaitable[Mapping[str, str]]]
"""Makes the parts of a page, by the ids of their elements."""


@dataclass(slots=True)
class _Watched:
    """A page that somebody looks at: its parts as they were sent last."""

    parts: dict[str, str] = field(default_factory=dict)
    made: anyio.Event = field(default_factory=anyio.Event)
    """Set once it was made, or could not be: who comes meanwhile waits, and makes it no second time."""
    clients: set[MemoryObjectSendStream[bytes]] = field(default_factory=set)


class LivePages:
    """Pages by name. Nothing is made of a page that nobody looks at."""

    def __init__(self, tasks: TaskGroup, every_s: float = EVERY_S) -> None:
        self._tasks, self._every_s = tasks, every_s
        self._watched: dict[str, _Watched] = {}

    async def changes(self, name: str, render: Render) -> AsyncGenerator[bytes]:
        """Yield all parts of a page, then each part that changed."""
        page = await self._made(name, render)
        send, receive = anyio.create_memory_object_stream[bytes](BEHIND)
        page.clients.add(send)
        try:
            yield _told(page.parts)
            async for piece in receive:
                yield piece
        finally:
            page.clients.discard(send)
            send.close()
            receive.close()

    async def _made(self, name: str, render: Render) -> _Watched:
        """Return a page that is kept up to date. Of all who come for it at once one makes it."""
        while (page := self._watched.get(name)) is not None:
            if page.made.is_set():
                return page
            await page.made.wait()
        page = self._watched[name] = _Watched()
        try:
            page.parts.update(await render())
        except BaseException:
            del self._watched[name]
            raise
        finally:
            page.made.set()
        self._tasks.start_soon(self._keep, name, page, render)
        return page

    async def _keep(self, name: str, page: _Watched, render: Render) -> None:
        pause = self._every_s
        try:
            while True:
                await anyio.sleep(pause)
                if not page.clients:
                    return
                began = anyio.current_time()
                made = await render()
                if changed := {ident: html for ident, html in made.items() if page.parts.get(ident) != html}:
                    page.parts.update(changed)
                    self._tell(page, _told(changed))
                took = anyio.current_time() - began
                pause = max(self._every_s, min(took / SHARE, SELDOM_S))
        except Exception:  # noqa: BLE001, S110  # a page that cannot be made ends neither the server nor other pages
            pass  # their scripts ask again: that request makes it anew, and tells why it cannot be made
        finally:
            del self._watched[name]
            for client in page.clients:
                client.close()

    def _tell(self, page: _Watched, piece: bytes) -> None:
        for client in list(page.clients):
            try:
                client.send_nowait(piece)
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                page.clients.discard(client)
                client.close()  # its stream ends, and its script asks for a new one


def _told(parts: Mapping[str, str]) -> bytes:
    """Return the events that tell of these parts: each piece costs a write for each who looks."""
    return b"".join(event({"id": ident, "html": html}, "part") for ident, html in parts.items())


async def while_allowed(changes: AsyncGenerator[bytes], is_allowed: Callable[[], bool]) -> AsyncGenerator[bytes]:
    """Yield what changes until who asked for it may see it no more: whose session ended, for one."""
    async with aclosing(changes):
        async for piece in changes:
            if not is_allowed():
                return
            yield piece


@asynccontextmanager
async def live_pages(every_s: float = EVERY_S) -> AsyncIterator[LivePages]:
    """Yield the pages that are kept up to date while the block lasts."""
    async with anyio.create_task_group() as tasks:
        yield LivePages(tasks, every_s)
        tasks.cancel_scope.cancel()
