"""Providers: what state they are in, how load is spread over them, and changing that while it runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.responses import Response

from orchestrator.server.api.errors import ErrorBody, ErrorWords
from orchestrator.server.json_answers import ToldJson
from orchestrator.server.load_view import LoadShown, load_shown
from orchestrator.server.provider_view import HOUR, ControlShown, ProvidersStatus, control_shown, providers_status
from orchestrator.server.rebalance import ChangeShown, RebalanceAsked, RebalanceShown, changes_shown, rebalance
from orchestrator.server.state import ServerState
from providers.client.control_log import StaleVersion

MOST_CHANGES = 1000


class ChangesListed(BaseModel):
    changes: list[ChangeShown]


class RebalanceConflict(ErrorBody):
    """Somebody else has changed something since: `present` is what is set now."""

    present: ControlShown | None = None


def provider_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:
    """Return the routes; `viewer` and `operator` let a request through, or refuse it."""
    router = APIRouter(prefix="/api/providers", tags=["providers"])

    @router.get("/status", dependencies=[Depends(viewer)])
    async def show_providers() -> ProvidersStatus:
        """Show each provider: whether it may be asked now, and why not; breaker, quotas, speed, success, last error."""
        return await providers_status(state)

    @router.get("/load", dependencies=[Depends(viewer)])
    async def show_load(seconds: Annotated[float, Query(gt=0, le=HOUR)] = HOUR) -> LoadShown:
        """Show who answered the turns of the last `seconds`, by tier and by agent, and the failovers."""
        return load_shown(state, seconds)

    @router.get("/changes", dependencies=[Depends(viewer)])
    async def list_changes(limit: Annotated[int, Query(ge=1, le=MOST_CHANGES)] = 50) -> ChangesListed:
        """List what operators have changed, the latest first: who, when, why, before and after."""
        return ChangesListed(changes=await changes_shown(state, limit))

    conflict: dict[int | str, dict[str, Any]] = {
        409: {"model": RebalanceConflict, "description": "`stale_version`, or `no_provider_left`."}
    }

    @router.post("/rebalance", dependencies=[Depends(operator)], response_model=RebalanceShown, responses=conflict)
    async def rebalance_load(asked: RebalanceAsked) -> RebalanceShown | Response:
        """Set weights, drain, pause or resume while it runs, or undo that; with `preview`, tell what it would come to.

        Taken up by every process of the state folder with its next turn; recorded with its reason.
        """
        try:
            return await rebalance(state, asked, channel="api")
        except StaleVersion as stale:
            hint = "read it again, and repeat the change if you still want it"
            error = ErrorWords(code="stale_version", message=str(stale), hint=hint)
            body = RebalanceConflict(error=error, present=control_shown(state, stale.present))
            return ToldJson(body.model_dump(), 409)

    return router
