"""The cluster of a server: its workers, its queues, and what keeps work from being done."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.cluster_view import ClusterShown, cluster_shown
from orchestrator.server.state import ServerState


def cluster_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # nothing is changed
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/cluster", tags=["cluster"])

    @router.get("", dependencies=[Depends(viewer)])
    async def show_cluster() -> ClusterShown:
        """Show how the cluster stands; 404 where the server does its runs itself."""
        if state.cluster is None:
            hint = "start it with --db postgresql://USER@HOST/DATABASE"
            raise RequestRefused(404, "this server has no cluster: it does its runs itself", hint, "no_cluster")
        return await cluster_shown(state)

    return router
