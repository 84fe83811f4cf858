"""The page Settings: what the server goes by, without any secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from anyio import to_thread

from orchestrator.server.api.tools import ToolShown, tools_shown
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.settings_view import SettingsShown, settings_shown
from orchestrator.server.state import ServerState


async def settings_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows; the tools are those of the squad in its address."""
    shown, tools = await to_thread.run_sync(_look, asked.state, asked.query.get("squad", ""))
    return {
        "shown": shown,
        "policy": yaml.safe_dump(shown.policy, sort_keys=False, allow_unicode=True, width=100),
        "tools": tools,
        "squad": asked.query.get("squad", ""),
    }


def _look(state: ServerState, squad: str) -> tuple[SettingsShown, list[ToolShown]]:
    return settings_shown(state), tools_shown(state, state.squads.get(squad))
