"""Health: whether the server is there, and whether it can ask a model. Nothing is asked for it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from orchestrator.server.state import ServerState


class HealthShown(BaseModel):
    """`status` is "ok", or why the server is not ready."""

    status: str


def health_routes(state: ServerState) -> APIRouter:
    """Return the routes, which need no login."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    async def is_live() -> HealthShown:
        """Tell that the server answers."""
        return HealthShown(status="ok")

    @router.get("/ready", responses={503: {"model": HealthShown, "description": "No provider is configured."}})
    async def is_ready(answer: Response) -> HealthShown:
        """Tell whether a model can be asked."""
        if state.manager.configured:
            return HealthShown(status="ok")
        answer.status_code = 503
        return HealthShown(status="no provider is configured")

    for path, shown in (("/live", is_live), ("/ready", is_ready)):  # monitors ask so
        router.add_api_route(path, shown, methods=["HEAD"], include_in_schema=False)
    return router
