"""What the traffic on record would have come to under what an operator is about to set, from the simulator."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import anyio.to_thread
from pydantic import BaseModel

from orchestrator.forecast.figures import Figures
from orchestrator.forecast.preview import Preview, RoutingInForce, preview
from orchestrator.forecast.traffic import RecordedTraffic
from orchestrator.journal.protocols import Journal
from orchestrator.recorded_traffic import recorded_traffic
from orchestrator.server.gateway.store import GatewayStore
from providers.catalog.model import Catalog
from providers.client.manager import ProviderManager
from providers.routing.control import RoutingControl

HOURS = 24.0
MOST_TURNS = 3000
"""The latest turns on record that are simulated: twice over, they take a second or two."""
MOST_KEPT = 8
"""Outlooks that are kept at hand: the same preview is looked at again and again."""


class FiguresShown(BaseModel):
    """What traffic comes to. Seconds are from a turn's beginning to its answer; `waited` turns were held back.

    `shares` of the answers are by provider, `tiers` the same of each tier's turns.
    """

    turns: int
    failed: int
    cost_usd: float
    unpriced: int
    p50_s: float
    p95_s: float
    waited: int
    shares: dict[str, float]
    tiers: dict[str, dict[str, float]]


class ModelErrorShown(BaseModel):
    """How far the simulation is from what really happened, under what was set then: 0.03 is 3 % too much.

    `failed` and `moved` are shares of all turns: so many more fail, so many are answered by another provider.
    """

    cost: float | None
    p50: float | None
    p95: float | None
    failed: float
    moved: float


class OutlookShown(BaseModel):
    """The recorded turns of the last `hours`: as they were, simulated under what is set now, and under the change.

    What differs between `before` and `after` is to be trusted no further than `model_error`.
    """

    hours: float
    recorded: FiguresShown
    before: FiguresShown
    after: FiguresShown
    model_error: ModelErrorShown
    assumptions: list[str]


class Outlooks:
    """Makes outlooks, one at a time: each is all computing. The latest few are kept."""

    def __init__(self) -> None:
        self._room = anyio.CapacityLimiter(1)
        self._kept: dict[object, OutlookShown] = {}

    async def outlook(
        self,
        journal: Journal,
        store: GatewayStore,
        manager: ProviderManager,
        after: RoutingControl,
        now: float,
        hours: float = HOURS,
    ) -> OutlookShown | None:
        """Return what the turns of the last `hours`, of runs and of the gateway's clients, would have come to; None:
        there are none."""
        if hours <= 0:
            return None
        before = manager.fleet.control
        key = (int(now // 60), hours, before.version, _told(after))
        async with self._room:
            if (known := self._kept.get(key)) is not None:
                return known
            began = now - hours * 3600
            clients = await store.turns(began, now, MOST_TURNS)
            traffic = await recorded_traffic(journal, began, most=MOST_TURNS, clients=clients)
            made = await _outlook(traffic, manager, before, after, hours)
            if made is not None:
                while len(self._kept) >= MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = made
            return made


def _told(control: RoutingControl) -> object:
    """Return what of a control makes a difference to turns."""
    holds = sorted((name, hold.kind, hold.until is None) for name, hold in control.holds.items())
    return control.strategy, tuple(sorted(control.weights.items())), tuple(holds)


async def _outlook(
    traffic: RecordedTraffic, manager: ProviderManager, before: RoutingControl, after: RoutingControl, hours: float
) -> OutlookShown | None:
    if not traffic.turns:
        return None
    written = manager.fleet.written
    catalog = Catalog({one.provider.name: one.provider for one in reversed(manager.candidates)})
    # What is set until an instant is over in the past that is simulated: it counts as set for good.
    now_set, then_set = (RoutingInForce(written, catalog, each.lasting()) for each in (before, after))

    def compute() -> Preview:
        return preview(traffic, now_set, then_set, tuple(catalog.providers))

    return _shown(await anyio.to_thread.run_sync(compute), hours)


def _shown(made: Preview, hours: float) -> OutlookShown:
    return OutlookShown(
        hours=hours,
        recorded=_figures(made.recorded),
        before=_figures(made.before),
        after=_figures(made.after),
        model_error=ModelErrorShown(**made.error.to_json()),
        assumptions=list(made.assumptions),
    )


def _figures(made: Figures) -> FiguresShown:
    return FiguresShown(
        turns=made.turns,
        failed=made.failed,
        cost_usd=made.cost / 1e6,
        unpriced=made.unpriced,
        p50_s=made.p50,
        p95_s=made.p95,
        waited=made.waited,
        shares=_shares(made.providers),
        tiers={tier: _shares(counts) for tier, counts in made.tiers.items()},
    )


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}
