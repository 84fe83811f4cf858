"""Asks the provider manager for what a client of the gateway asks, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

import anyio
from starlette.requests import Request as HttpRequest

from orchestrator.server.event_stream import until_gone
from orchestrator.server.gateway.failures import GatewayFailure
from providers.messages import Delta, Response, Restarted, Resumed

T = TypeVar("T")


class Deltas(Protocol):
    """An answer as it comes: `ResponseStream`."""

    response: Response | None

    def __aiter__(self) -> AsyncIterator[Delta]: ...


async def unless_gone(http: HttpRequest, work: Callable[[], Awaitable[T]]) -> T:
    """Return what the work returns; cancel it, and raise `GatewayFailure`, where the client leaves before it ends."""
    done: list[T] = []

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_gone, http.receive, tasks.cancel_scope.cancel)
            done.append(await work())
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    if not done:
        raise GatewayFailure(499, "ours", "the client closed the connection")
    return done[0]


async def heard(deltas: Deltas) -> AsyncIterator[Delta]:
    """Yield the pieces of an answer. Raise `GatewayFailure` where it breaks after something was told: a client of these
    dialects cannot be told that it is void."""
    told = False
    async for delta in deltas:
        if isinstance(delta, Restarted) and told:
            raise GatewayFailure(
                502, "upstream", f"the answer broke off: {delta.reason}", "stream_broken", may_retry=True
            )
        if isinstance(delta, Restarted | Resumed):
            continue
        told = True
        yield delta
