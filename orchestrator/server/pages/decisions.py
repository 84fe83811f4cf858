"""The page Decisions: of a run's turns, who could be asked, what ordered them, how each attempt ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from orchestrator.errors import RunNotFound
from orchestrator.server.api.decisions import decisions_shown
from orchestrator.server.pages.costs import money, page_number
from orchestrator.server.pages.now import row_of
from orchestrator.server.pages.page import PageMissing, PageRequest

LATEST, TURNS = 30, 20


async def decision_runs_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the latest runs, of which one is to be chosen."""
    lines = await asked.state.journal.runs(LATEST)
    return {"runs": [await row_of(asked.state, line) for line in lines]}


async def decisions_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the decisions of a run; the part and the turn stand in the address."""
    run, part, word = asked.path["run"], asked.query.get("part", "")[:1000], asked.query.get("turn", "")
    turn = int(word) if word.isdecimal() and len(word) < 7 else None
    number = page_number(asked.query.get("page", ""))
    try:
        shown = await decisions_shown(asked.state, run, part, turn, (number - 1) * TURNS, TURNS)
        last = max(1, -(-shown.count // TURNS))
        if number > last:
            number = last
            shown = await decisions_shown(asked.state, run, part, turn, (number - 1) * TURNS, TURNS)
    except RunNotFound as error:
        raise PageMissing(f"There is no run {run}.") from error

    def at(page: int) -> str:
        given = {"part": part, "turn": word, "page": page if page > 1 else ""}
        return f"/decisions/{quote(run, safe='')}?{urlencode({key: one for key, one in given.items() if one})}"

    return {
        "shown": shown,
        "decisions": shown.decisions,
        "part": part,
        "turn": "" if turn is None else turn,
        "before": at(number - 1) if number > 1 else "",
        "after": at(number + 1) if number * TURNS < shown.count else "",
        "money": money,
    }
