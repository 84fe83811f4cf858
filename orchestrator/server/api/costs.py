"""Costs: what was spent, by day and by what one asks, beside its budgets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.cost_view import USUAL_DAYS, CostBy, CostsShown, costs_shown
from orchestrator.server.state import ServerState

MOST_ROWS = 1000


def cost_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # nothing is changed
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/costs", tags=["costs"])

    @router.get("", dependencies=[Depends(viewer)])
    async def show_costs(
        since: Annotated[str, Query(max_length=40)] = f"{USUAL_DAYS}d",
        by: CostBy = "provider",
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> CostsShown:
        """Show what was spent since so many days (`7d`) or from a day on, and what the budgets of now have left."""
        try:
            return await costs_shown(state, since, by, offset, limit)
        except ValueError as error:
            raise RequestRefused(422, str(error), code="invalid_request") from None

    return router
