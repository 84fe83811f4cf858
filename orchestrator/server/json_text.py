"""JSON as the server writes it: in one line, as UTF-8. No web framework is needed: `spending` loads it, too."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import to_json


def as_json(data: Any) -> bytes:
    """Return a value as JSON. What is no Unicode (half of a pair, which models and clients do send) comes as `?`."""
    try:
        return to_json(data)  # some eight times as fast as the standard library
    except ValueError:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
