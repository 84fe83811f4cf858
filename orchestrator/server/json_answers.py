"""Answers of the server in JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from orchestrator.server.json_text import as_json


class ToldJson(JSONResponse):
    """JSON of what others say, which may hold half of a character."""

    def render(self, content: Any) -> bytes:
        return as_json(content)
