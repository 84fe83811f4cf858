"""Views of runs that are kept: of a run that is watched only the new events are read, however long it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from orchestrator.errors import OrchestratorError
from orchestrator.journal.protocols import Journal, RunManifest
from orchestrator.options import capped
from orchestrator.run.approvals import Questions, questions_of
from orchestrator.run.standing import OVER
from orchestrator.server.run_view import RunView
from orchestrator.server.views.graph import reduced
from orchestrator.squad.drawn import DrawnTask, nodes_of
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan
from providers.documents.problems import ProblemsFound

MOST_KEPT = 64


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run's squad says of it: its tasks in layers, and its caps. Nothing, where the squad cannot be read."""

    tasks: Sequence[DrawnTask] = ()
    max_cost: int | None = None
    """Micro-USD."""
    max_tokens: int | None = None


@dataclass(slots=True)
class WatchedRun:
    """A run as far as its record goes now."""

    manifest: RunManifest
    view: RunView
    _planned: Planned | None = None
    _asked: tuple[tuple[int, int], Questions] | None = None
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def read(self, journal: Journal) -> None:
        """Take the events that were recorded since."""
        async with self._lock:
            for event in await journal.events(self.view.id, self.view.last):
                self.view.apply(event)

    async def questions(self, journal: Journal) -> Questions | None:
        """Return the questions of the run; None: none is open, and that is all that is known."""
        if not self.view.asked or self.view.status in OVER:
            return None
        stands = self.view.last, len(await journal.signals(self.view.id))
        if self._asked is None or self._asked[0] != stands:
            self._asked = stands, await questions_of(journal, self.view.id)
        cancelled = await journal.cancel_requested(self.view.id)
        return self._asked[1]._replace(open=[]) if cancelled else self._asked[1]

    async def planned(self, squads: Mapping[str, Squad]) -> Planned:
        """Return what the squad says of the run: one of `squads`, where it is that, else as it was recorded."""
        if self._planned is None:
            self._planned = await anyio.to_thread.run_sync(_planned, self.manifest, squads)
        return self._planned


class RunViews:
    """The runs that were looked at last."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[str, WatchedRun] = OrderedDict()

    async def of(self, journal: Journal, run: str) -> WatchedRun:
        """Return a run as it is now. Raise `RunNotFound`."""
        manifest = await journal.manifest(run)
        watched = self._kept.get(run)
        if watched is None or watched.manifest.created_at != manifest.created_at:
            watched = self._kept[run] = WatchedRun(manifest, RunView(run))
        elif watched.manifest != manifest:  # it was edited
            watched.manifest, watched._planned = manifest, None
        self._kept.move_to_end(run)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        await watched.read(journal)
        return watched


def _planned(manifest: RunManifest, squads: Mapping[str, Squad]) -> Planned:
    try:
        plan = _plan_of(manifest, squads)
        return Planned(reduced(nodes_of(plan)), *_caps(capped(plan, manifest.options)))
    except (OrchestratorError, ProblemsFound):  # of an earlier release, or its program had what it needs
        return Planned()


def _plan_of(manifest: RunManifest, squads: Mapping[str, Squad]) -> Plan:
    offered = squads.get(manifest.squad)
    if offered is not None and manifest.text == offered.text:
        return offered.outline()
    return Squad.from_text(manifest.text, manifest.file, sources=manifest.sources).outline()


def _caps(plan: Plan) -> tuple[int | None, int | None]:
    return (None, None) if plan.budget is None else (plan.budget.max_cost, plan.budget.max_tokens)
