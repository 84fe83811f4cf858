"""What the server tells other software: its subscribers, and `/metrics` for Prometheus."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.observe.calls import ObservedRequests
from orchestrator.observe.opening import metrics_where_installed
from orchestrator.subscribers import Feed, Subscriber
from providers.emit import Emit
from providers.trace_context import calls_of

if TYPE_CHECKING:
    from orchestrator.observe.metrics import Metrics


class Observation:
    """Who is told of all runs and requests. `metrics` None: the package for them is not installed, or nobody looks."""

    def __init__(
        self, feeds: Sequence[Feed] = (), metrics: Metrics | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.feeds, self.metrics = tuple(feeds), metrics
        self.requests = ObservedRequests(self.feeds, clock)


@asynccontextmanager
async def observation(
    subscribers: Sequence[Subscriber], notify: Emit, clock: Callable[[], float]
) -> AsyncIterator[Observation]:
    """Yield who is told while the block lasts: the subscribers, and what is counted for `/metrics`."""
    metrics = metrics_where_installed()
    told = (*subscribers, *(() if metrics is None else (metrics,)))
    feeds = [Feed(one, notify) for one in told]
    try:
        yield Observation(feeds, metrics, clock)
    finally:
        for feed in feeds:
            await feed.aclose()


class RequestScope:
    """Lets the calls that a request leads to belong to it: its id, and the span of its client."""

    def __init__(self, app: ASGIApp, requests: ObservedRequests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # of several of one name the first counts
        parent, state = (headers.get(name, b"").decode("latin-1") for name in (b"traceparent", b"tracestate"))
        with calls_of(self._requests.scope_of(scope["state"]["request_id"], parent, state)):
            await self._app(scope, receive, send)
