"""The page of all questions that await a person, each answered in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from orchestrator.errors import RunNotFound
from orchestrator.server.pages.page import PageMissing, PageRequest
from orchestrator.server.pages.questions import QuestionShown, answered, questions_shown
from orchestrator.server.state import ServerState

UNDECIDED = ("waiting", "running", "paused", "cancelled")
"""Recorded statuses of runs whose questions can be answered: they may go on."""
MOST_RUNS = 200


async def all_questions(state: ServerState, most: int = MOST_RUNS) -> list[QuestionShown]:
    """Return the questions of the latest runs that await a person."""
    found: list[QuestionShown] = []
    for line in await state.journal.runs(most, statuses=UNDECIDED, asking=True):
        try:
            found += await questions_shown(state, await state.views.of(state.journal, line.run))
        except RunNotFound:  # it was removed meanwhile
            continue
    return found


async def approvals_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows."""
    found = await all_questions(asked.state)
    runs = dict.fromkeys(one.run for one in found)
    return {
        "by_run": [(run, [one for one in found if one.run == run]) for run in runs],
        "count": len(found),
        "told": "",
        "draft": {},
    }


async def approvals_act(asked: PageRequest) -> str | Mapping[str, Any]:
    """Answer a question."""
    run = asked.form.get("run", "")
    try:
        told = await answered(asked, run)
    except RunNotFound as error:
        raise PageMissing(f"There is no run {run}.") from error
    if told:
        return {"told": told, "draft": dict(asked.form)}
    return f"/approvals#run-{quote(run, safe='')}"
