"""The pages of recorded runs: the list, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.errors import RunNotFound
from orchestrator.run.standing import state_in
from orchestrator.server.pages.now import row_of
from orchestrator.server.pages.page import PageMissing, PageRequest
from orchestrator.server.run_view import view_of

MOST_RUNS = 100


async def runs_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the latest runs."""
    lines = await asked.state.journal.runs(MOST_RUNS)
    return {"runs": [await row_of(asked.state, line) for line in lines]}


async def run_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return a run with its tasks."""
    run, journal = asked.path["run"], asked.state.journal
    try:
        manifest = await journal.manifest(run)
    except RunNotFound as error:
        raise PageMissing(f"There is no run {run}.") from error
    view = view_of(run, await journal.events(run))
    standing = await state_in(journal, run, view.status)
    return {"run": view, "squad": manifest.squad, "standing": standing, "created": manifest.created_at}
