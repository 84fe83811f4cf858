"""Links that log a browser in, once, for whoever may do everything to hand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from orchestrator.server.access import LINK_S, Access, AccessRole


class LinkAsked(BaseModel):
    """Who a link is for: a `viewer` looks and changes nothing."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "viewer"}]})
    role: AccessRole = "operator"


class LinkMade(BaseModel):
    """`path` comes behind the server's address. It logs in once, until `expires_at` (epoch seconds)."""

    path: str
    role: AccessRole
    expires_at: float


def login_link_routes(access: Access, clock: Callable[[], float], operator: Any) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/api/login-links", tags=["access"])

    @router.post("", status_code=201, dependencies=[Depends(operator)])
    async def make_login_link(asked: LinkAsked) -> LinkMade:
        """Make a link that logs a browser in, once."""
        path = f"/login?token={access.link(asked.role)}"
        return LinkMade(path=path, role=asked.role, expires_at=clock() + LINK_S)

    return router
