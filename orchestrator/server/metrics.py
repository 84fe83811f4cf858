"""`/metrics`: what happened, as it was counted, and what stands now, for Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from orchestrator.errors import RunNotFound
from orchestrator.run.standing import STATES, state_in
from orchestrator.server.cluster_view import cluster_status
from orchestrator.server.state import ServerState
from providers.limits.rules import caps_of

if TYPE_CHECKING:
    from orchestrator.observe.metrics import Metrics

MOST_RUNS = 200
"""Runs that are not over, of which the latest are looked at."""
KEPT_S = 10.0
"""How long what was read of the record counts as now: a record of many runs is not read for each look."""
HEARD_S = 1.0
UNDECIDED = ("running", "waiting", "paused", "cancelled")
BREAKERS = ("closed", "half-open", "open")


def metric_routes(state: ServerState, viewer: Any) -> APIRouter:
    """Return the route of `/metrics`; `viewer` lets a request through, or refuses it."""
    router, watch = APIRouter(include_in_schema=False), state.watch
    if watch.metrics is None:
        return router
    look = _Look(state, watch.metrics)

    @router.get("/metrics", dependencies=[Depends(viewer)])
    async def show_metrics(http: HttpRequest) -> Response:
        for feed in watch.feeds:
            await feed.heard_all(HEARD_S)
        await look.take()
        body, media_type = look.metrics.text(http.headers.get("accept", ""))
        return Response(body, media_type=media_type)

    return router


class _Look:
    """Reads what stands now into the gauges."""

    def __init__(self, state: ServerState, metrics: Metrics) -> None:
        self._state, self.metrics, self._read_at = state, metrics, float("-inf")
        self._cluster = None if state.cluster is None else metrics.with_cluster()

    async def take(self) -> None:
        now = self._state.clock()
        if now - self._read_at >= KEPT_S:
            self._read_at = now
            await self._runs()
        if self._cluster is not None:
            self._cluster.take(await cluster_status(self._state))
        self._breakers()
        await self._budgets()
        self.metrics.now.requests.set(self._state.watch.requests.in_flight)

    async def _runs(self) -> None:
        journal, gauges = self._state.journal, self.metrics.now
        states, open_questions = Counter[str](), 0
        for line in await journal.runs(MOST_RUNS, statuses=UNDECIDED):
            states[await state_in(journal, line.run, line.status)] += 1
        for line in await journal.runs(MOST_RUNS, statuses=UNDECIDED, asking=True):
            try:
                asked = await (await self._state.views.of(journal, line.run)).questions(journal)
            except RunNotFound:  # it was removed meanwhile
                continue
            open_questions += 0 if asked is None else len(asked.open)
        gauges.set_all(gauges.runs, {(name,): states[name] for name in STATES if name in states or name in UNDECIDED})
        gauges.approvals.set(open_questions)

    def _breakers(self) -> None:
        fleet, gauges = self._state.manager.fleet, self.metrics.now
        now, is_in, shut = self._state.manager.clock(), dict[tuple[str, ...], float](), dict[tuple[str, ...], float]()
        for name, one in fleet.states.items():
            provider, _, model = name.partition("/")
            where = one.breaker.state(now)
            is_in |= {(provider, model, state): float(state == where) for state in BREAKERS}
            shut[provider, model] = float(fleet.why_shut(one) is not None)
        gauges.set_all(gauges.breakers, is_in)
        gauges.set_all(gauges.shut, shut)

    async def _budgets(self) -> None:
        manager, gauges = self._state.manager, self.metrics.now
        caps = list(caps_of(manager.policy.budget))
        if not caps:
            return
        used = await manager.reservations.ledger.usage([cap.meter for cap in caps], manager.reservations.wall())
        names: list[tuple[str, ...]] = [(str(cap.budget),) for cap in caps]
        gauges.set_all(gauges.cap, {name: cap.meter.amount / 1e6 for name, cap in zip(names, caps, strict=True)})
        spent = {name: (one.used - one.held) / 1e6 for name, one in zip(names, used, strict=True)}
        gauges.set_all(gauges.spent, spent)
        gauges.set_all(gauges.held, {name: one.held / 1e6 for name, one in zip(names, used, strict=True)})
