"""Tools: what the agents of a squad may call."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from orchestrator.known_tools import known_tools, tool_document
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad
from providers.documents.problems import nearest


class ToolShown(BaseModel):
    """A tool. `approval` is when a person is asked before a call; `origin` is where it is from."""

    name: str
    origin: str = Field(alias="from")
    risk: str
    approval: str
    idempotent: bool
    untrusted: bool
    timeout_s: float | None
    description: str


class ToolsListed(BaseModel):
    tools: list[ToolShown]


def tools_shown(state: ServerState, squad: Squad | None) -> list[ToolShown]:
    """Return the tools of a squad; without one, those that are built in. None of their code runs."""
    known = known_tools(squad, () if squad is None else squad.declared)
    return [
        ToolShown.model_validate({**row, "description": state.mask(row["description"])})
        for row in (tool_document(*one) for one in known)
    ]


def tool_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # nothing is changed
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/tools", tags=["tools"])

    @router.get("", dependencies=[Depends(viewer)])
    async def list_tools(squad: Annotated[str | None, Query(max_length=300)] = None) -> ToolsListed:
        """List the tools that are built in, and those of a squad that this server offers. Runs none of their code."""
        if squad is not None and squad not in state.squads:
            hint = nearest(squad, state.squads) or "give its file to `orchestrator serve`"
            raise RequestRefused(404, f"this server offers no squad '{squad[:80]}'", hint, "no_squad")
        return ToolsListed(tools=tools_shown(state, None if squad is None else state.squads[squad]))

    return router
