"""The pages of recorded runs: the list, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.server.pages.now import row_of
from orchestrator.server.pages.page import PageRequest

MOST_RUNS = 100


async def runs_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the latest runs."""
    lines = await asked.state.journal.runs(MOST_RUNS)
    return {"runs": [await row_of(asked.state, line) for line in lines]}
