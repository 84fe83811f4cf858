"""Memory: what agents remember over runs, listed and searched as they search it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from orchestrator.server.memory_view import MOST_SHOWN, MemoryShown, memory_shown
from orchestrator.server.state import ServerState


def memory_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # nothing is changed
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/memory", tags=["memory"])

    @router.get("", dependencies=[Depends(viewer)])
    async def search_memory(
        search: Annotated[str, Query(max_length=2000)] = "",
        scope: Annotated[str, Query(max_length=300)] = "",
        limit: Annotated[int, Query(ge=1, le=MOST_SHOWN)] = 50,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> MemoryShown:
        """List what is remembered, the newest first; with `search`, what has its words, the best first.

        `scope` is a squad, whose agents are meant as well, or `squad/agent`.
        """
        return await memory_shown(state, search, scope, limit=limit, offset=offset)

    return router
