"""Changing how load is spread while it runs: asked, checked, shown beforehand, recorded, taken up, undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.outlook import HOURS, OutlookShown
from orchestrator.server.provider_view import ControlShown, control_shown
from orchestrator.server.state import ServerState
from providers.client.control_log import ControlDamaged, ControlEntry, ControlLog, StaleVersion
from providers.documents.unicode import clean
from providers.policy.factors import Strategy
from providers.routing.control import ControlChange, RoutingControl, mistakes
from providers.routing.control_effects import differences, left_alone, notices

MOST_NAMES = 500


class RebalanceAsked(BaseModel):
    """A change of how load is spread. `expected_version` is that of the control as it was read: another one refuses.

    `weights` by provider, null: the policy's own again; they decide under the strategy `weighted`. `drain` and `pause`
    name providers or `provider/model`: both are asked nothing new, what is in flight ends. Turns that have nobody else
    are refused where one is drained, and wait where it is paused. `resume` lets them be asked again. `undo` goes back
    to what was set before that version, and stands alone. `preview` changes nothing, and simulates the turns on record
    of the last `traffic_hours` (0: it does not). `force`: also where a tier or an agent would have no provider to ask.
    """

    model_config = ConfigDict(extra="forbid")
    expected_version: int | None = Field(default=None, ge=0, le=2**53)
    weights: dict[str, FiniteFloat | None] = Field(default_factory=dict, max_length=MOST_NAMES)
    strategy: Strategy | Literal["policy"] | None = None
    drain: list[str] = Field(default_factory=list, max_length=MOST_NAMES)
    pause: list[str] = Field(default_factory=list, max_length=MOST_NAMES)
    pause_for_s: float | None = Field(default=None, gt=0, le=30 * 86400)
    resume: list[str] = Field(default_factory=list, max_length=MOST_NAMES)
    undo: int | None = Field(default=None, ge=1, le=2**53)
    reason: str = Field(default="", max_length=500)
    by: str = Field(default="", max_length=100)
    preview: bool = False
    traffic_hours: float = Field(default=HOURS, ge=0, le=168)
    force: bool = False

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.preview and self.expected_version is None:
            raise ValueError("give expected_version, as GET /api/providers/status has it, or preview: true")
        if not self.preview and not self.reason.strip():
            raise ValueError("give a reason: those who see the change later read it")
        if self.undo is not None and not self.change.is_empty:
            raise ValueError("undo cannot be combined: it restores what was set before that version")
        return self

    @property
    def change(self) -> ControlChange:
        """What it asks for, but for `undo`."""
        return ControlChange(
            {clean(name): weight for name, weight in self.weights.items()},
            self.strategy,
            tuple(map(clean, self.drain)),
            tuple(map(clean, self.pause)),
            self.pause_for_s,
            tuple(map(clean, self.resume)),
        )


class RebalanceShown(BaseModel):
    """What a change comes to. `leaves_alone`: who would have no provider to ask, which only `force` does.

    `outlook`, of a preview: what the recorded traffic would have come to; null: there is none on record.

    `version` is the one that is set now; where it was `applied`, undo it by that number.
    """

    applied: bool
    version: int
    changes: list[str]
    notices: list[str]
    leaves_alone: list[str]
    before: ControlShown
    after: ControlShown
    outlook: OutlookShown | None = None


class ChangeShown(BaseModel):
    """A change on record: who made it, when (epoch seconds), why, and what it came to.

    `restores`: the version that it went back to, of an undo.
    """

    version: int
    at: float
    by: str
    reason: str
    restores: int | None
    changes: list[str]
    before: ControlShown
    after: ControlShown


async def rebalance(state: ServerState, asked: RebalanceAsked, *, channel: str) -> RebalanceShown:
    """Do what is asked, or show what it would come to. Raise `RequestRefused`, and `StaleVersion`.

    `channel`: by which way an operator asks; it is recorded with the name that was given.
    """
    log, fleet = ControlLog(state.folder), state.manager.fleet
    state.manager.look()
    try:
        before = await anyio.to_thread.run_sync(log.present)
        after = await _made(state, log, asked, before, channel)
        alone = left_alone(fleet, after)
        if not asked.preview:
            if alone and not asked.force:
                hint = "send force: true if that is meant"
                raise RequestRefused(409, "; ".join(alone), hint, "no_provider_left")
            entry = await anyio.to_thread.run_sync(_record, state, log, asked, channel)
            before, after = entry.before, entry.after
            state.manager.look()
    except ControlDamaged as error:
        raise RequestRefused(500, str(error), "move that file away to start again", "control_damaged") from error
    outlook = None
    if asked.preview and differences(before, after, {}):
        outlook = await state.outlooks.outlook(
            state.journal, state.store, state.manager, after, state.clock(), asked.traffic_hours
        )
    return RebalanceShown(
        applied=not asked.preview,
        version=before.version if asked.preview else after.version,
        changes=differences(before, after, fleet.written.weights),
        notices=notices(fleet, after),
        leaves_alone=alone,
        before=control_shown(state, before),
        after=control_shown(state, after),
        outlook=outlook,
    )


async def _made(
    state: ServerState, log: ControlLog, asked: RebalanceAsked, before: RoutingControl, channel: str
) -> RoutingControl:
    """Return what would be set. Raise as `rebalance` does."""
    if asked.expected_version not in (None, before.version):
        raise StaleVersion(asked.expected_version or 0, before)
    if asked.undo is not None:
        try:
            return await anyio.to_thread.run_sync(log.at, asked.undo - 1)
        except LookupError:
            words = f"there is no change {asked.undo} to undo: the last one is {before.version}"
            raise RequestRefused(404, words, code="no_change") from None
    if wrong := mistakes(asked.change, before, known_names(state)):
        raise RequestRefused(422, "; ".join(wrong), code="bad_change")
    return asked.change.over(before, asked.reason, _who(asked, channel), state.clock())


def _record(state: ServerState, log: ControlLog, asked: RebalanceAsked, channel: str) -> ControlEntry:
    expected, by, now = asked.expected_version or 0, _who(asked, channel), state.clock()
    reason = clean(asked.reason).strip()
    if asked.undo is not None:
        return log.restore(expected, asked.undo - 1, by=by, reason=reason, now=now)
    return log.change(
        expected, lambda before: asked.change.over(before, reason, by, now), by=by, reason=reason, now=now
    )


def _who(asked: RebalanceAsked, channel: str) -> str:
    name = clean(asked.by).strip()
    return f"{name} ({channel})" if name else channel


def known_names(state: ServerState) -> Mapping[str, None]:
    """Return the providers and models that may be named: those that are set up here, or that a squad here knows."""
    names = dict.fromkeys(state.manager.fleet.states)
    names |= dict.fromkeys(name for squad in state.squads.values() for name in squad.catalog.names())
    return names | dict.fromkeys(name.partition("/")[0] for name in names)


async def changes_shown(state: ServerState, most: int) -> list[ChangeShown]:
    """Return the changes on record, the latest first. Raise `RequestRefused`."""
    try:
        entries = await anyio.to_thread.run_sync(ControlLog(state.folder).entries, most)
    except ControlDamaged as error:
        raise RequestRefused(500, str(error), "move that file away to start again", "control_damaged") from error
    return [
        ChangeShown(
            version=entry.after.version,
            at=entry.at,
            by=state.mask(entry.by),
            reason=state.mask(entry.reason),
            restores=entry.restores,
            changes=differences(entry.before, entry.after, state.manager.fleet.written.weights),
            before=control_shown(state, entry.before),
            after=control_shown(state, entry.after),
        )
        for entry in entries
    ]
