"""Views of runs that are kept: of a run that is watched only the new events are read, however long it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from agents.errors import AgentError
from orchestrator.errors import OrchestratorError, RunNotFound
from orchestrator.events import RunEdited, RunResumed
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

MOST_KEPT = 128
EACH, LARGE = 8, 50_000
"""What a run is made of is read at each look, and so is whether it is there still; where that has so many characters,
which takes far longer than to read its new events, at each eighth look, and where it was resumed or edited."""


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

    @property
    def is_large(self) -> bool:
        """Whether it takes long to read what the run is made of."""
        return len(self.manifest.text) + sum(map(len, self.manifest.sources.values())) > LARGE

    async def read(self, journal: Journal) -> None:
        """Take the events that were recorded since, and what the run is made of where they say that it changed."""
        async with self._lock:
            events = await journal.events(self.view.id, self.view.last)
            for event in events:
                self.view.apply(event)
            if any(isinstance(event.data, RunEdited | RunResumed) for event in events):
                self.made_of(await journal.manifest(self.view.id))

    def made_of(self, manifest: RunManifest) -> None:
        """Take what the run is made of now."""
        if manifest != self.manifest:
            self.manifest, self._planned = manifest, None

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
        self._most, self._looks = most, 0
        self._kept: OrderedDict[str, WatchedRun] = OrderedDict()

    async def of(self, journal: Journal, run: str) -> WatchedRun:
        """Return a run as it is now. Raise `RunNotFound`."""
        watched = self._kept.get(run)
        self._looks += 1
        if watched is None or not watched.is_large or self._looks % EACH == 0:
            manifest = await self._manifest(journal, run)
            if watched is None or watched.manifest.created_at != manifest.created_at:
                watched = self._kept[run] = WatchedRun(manifest, RunView(run))
            watched.made_of(manifest)
        self._kept.move_to_end(run)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        await watched.read(journal)
        return watched

    async def _manifest(self, journal: Journal, run: str) -> RunManifest:
        try:
            return await journal.manifest(run)
        except RunNotFound:
            self._kept.pop(run, None)
            raise


def _planned(manifest: RunManifest, squads: Mapping[str, Squad]) -> Planned:
    try:
        plan = _plan_of(manifest, squads)
        return Planned(reduced(nodes_of(plan)), *_caps(capped(plan, manifest.options)))
    except (OrchestratorError, AgentError, ProblemsFound):  # of an earlier release, or its program had what it needs
        return Planned()


def _plan_of(manifest: RunManifest, squads: Mapping[str, Squad]) -> Plan:
    offered = squads.get(manifest.squad)
    if offered is not None and manifest.text == offered.text:
        return offered.outline()
    return Squad.from_text(manifest.text, manifest.file, sources=manifest.sources).outline()


def _caps(plan: Plan) -> tuple[int | None, int | None]:
    return (None, None) if plan.budget is None else (plan.budget.max_cost, plan.budget.max_tokens)
