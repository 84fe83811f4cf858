"""Settings: what the server goes by, without any secret."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Depends

from orchestrator.server.settings_view import SettingsShown, settings_shown
from orchestrator.server.state import ServerState


def settings_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # nothing is changed
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/settings", tags=["settings"])

    @router.get("", dependencies=[Depends(viewer)])
    async def show_settings() -> SettingsShown:
        """Show the policy with every default, the providers and models that may be asked, squads, keys and versions."""
        return await to_thread.run_sync(settings_shown, state)

    return router
