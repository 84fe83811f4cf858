"""Whole replies of the gateway, as JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from orchestrator.server.json_text import as_json


class ToldJson(JSONResponse):
    """JSON of what models say, which may hold half of a character: it is told as `?`, as in streams."""

    def render(self, content: Any) -> bytes:
        return as_json(content)
