"""Decisions: who was asked for each turn of a run, in which order, and why."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from orchestrator.server.decision_view import DecisionsShown, decision_of, turns_in
from orchestrator.server.state import ServerState
from providers.documents.unicode import clean

MOST_TURNS = 200


async def decisions_shown(
    state: ServerState, run: str, part: str = "", turn: int | None = None, offset: int = 0, limit: int | None = None
) -> DecisionsShown:
    """Return decisions of a run, of a part of it, of one turn of each part. Raise `RunNotFound`."""
    watched = await state.views.of(state.journal, run)
    turns = watched.view.turns.all.values()
    found = turns_in(turns, part, turn)
    return DecisionsShown(
        run_id=run,
        squad=clean(watched.manifest.squad),
        tasks=[*map(clean, dict.fromkeys(one.unit.task for one in turns if one.unit is not None))],
        count=len(found),
        decisions=[decision_of(one, state.mask) for one in found[offset:][:limit]],
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
