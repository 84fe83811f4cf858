"""The page Memory: what agents remember, and a search as they search it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.memory_view import MemoryShown, memory_shown
from orchestrator.server.pages.page import PageRequest

RECORDS = 25
TRUST = {"user": "a person said it", "agent": "an agent wrote it", "untrusted": "may be what others wrote"}


async def memory_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows; the search stands in its address."""
    search, scope = asked.query.get("search", "")[:2000], asked.query.get("scope", "")[:300]
    word = asked.query.get("page", "")
    number = max(int(word), 1) if word.isdecimal() and len(word) < 6 else 1
    wrong, shown = "", MemoryShown(scopes=[], count=0, records=[])
    try:
        shown = await memory_shown(asked.state, search, scope, limit=RECORDS, offset=(number - 1) * RECORDS)
    except RequestRefused as error:
        wrong = str(error)

    def at(page: int) -> str:
        given = {"search": search, "scope": scope, "page": page if page > 1 else ""}
        return f"/memory?{urlencode({key: one for key, one in given.items() if one}, errors='replace')}"

    return {
        "shown": shown,
        "wrong": wrong,
        "search": search,
        "scope": scope,
        "before": at(number - 1) if number > 1 else "",
        "after": at(number + 1) if number * RECORDS < shown.count else "",
        "trust": TRUST,
    }
