"""Whole replies of the gateway, as JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class ToldJson(JSONResponse):
    """JSON of what models say, which may hold half of a character: it is told as `?`, as in streams."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
