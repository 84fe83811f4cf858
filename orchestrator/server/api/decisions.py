"""Decisions: who was asked for each turn of a run, in which order, and why."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from orchestrator.server.decision_view import DecisionsShown, turns_of
from orchestrator.server.state import ServerState
from providers.documents.unicode import clean

MOST_TURNS = 200


async def decisions_shown(
    state: ServerState, run: str, part: str = "", turn: int | None = None, offset: int = 0, limit: int | None = None
) -> DecisionsShown:
    """Return decisions of a run, of a part of it, of one turn of each part. Raise `RunNotFound`."""
    manifest, events = await state.journal.manifest(run), await state.journal.events(run)
    found = [one for one in turns_of(events, state.mask, part) if turn in (None, one.turn)]
    tasks = dict.fromkeys(event.unit.task for event in events if event.unit is not None and event.turn)
    return DecisionsShown(
        run_id=run,
        squad=clean(manifest.squad),
        tasks=[*map(clean, tasks)],
        count=len(found),
        decisions=found[offset:][:limit],
    )


def decision_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # nothing is changed
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/decisions", tags=["decisions"])

    @router.get("/{run}", dependencies=[Depends(viewer)])
    async def show_decisions(
        run: str,
        part: Annotated[str, Query(max_length=1000)] = "",
        turn: Annotated[int | None, Query(ge=1)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_TURNS)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> DecisionsShown:
        """Show which models the turns of a run were sent to: candidates, factors, refusals, attempts.

        `part` is a task, an element of it (`build[S-1]`) or a place in it, as events and pages have it.
        """
        return await decisions_shown(state, run, part, turn, offset, limit)

    return router
