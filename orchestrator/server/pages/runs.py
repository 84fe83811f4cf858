"""The page of all recorded runs: filtered, sorted and paged as its address says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any
from urllib.parse import urlencode

from orchestrator.journal.protocols import RunLine
from orchestrator.run.standing import OVER, RECORDED_AS, STATES, state_in
from orchestrator.server.pages.now import row_of
from orchestrator.server.pages.page import PageRequest

PAGE = 50
KEYS: Mapping[str, Callable[[RunLine], Any]] = {
    "run": lambda line: line.run,
    "squad": lambda line: (line.squad, line.run),
    "cost": lambda line: -1 if line.cost is None else line.cost,
    "began": lambda line: line.created_at,
}
"""By what runs can be sorted. `began` is how the record has them."""
HEADS = (
    ("run", "Run", ""),
    ("squad", "Squad", ""),
    ("", "State", ""),
    ("cost", "Cost", "figure"),
    ("began", "Began", ""),
)


async def runs_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the runs that an address asks for: `squad`, `state`, `q` (in the id), `sort`, `desc`, `page`."""
    journal, query = asked.state.journal, {name: value[:200] for name, value in asked.query.items() if value}
    state, sort = query.get("state", ""), query.get("sort", "began")
    sort = sort if sort in KEYS else "began"
    down = query.get("desc", "1" if sort in ("began", "cost") else "0") == "1"
    statuses = RECORDED_AS.get(state, (state,)) if state in STATES else ()
    lines = await journal.runs(None, statuses=statuses, squad=query.get("squad"))
    if text := query.get("q", "").casefold():
        lines = [line for line in lines if text in line.run.casefold()]
    if state in STATES and not {*statuses} <= {*OVER}:
        lines = [line for line in lines if await state_in(journal, line.run, line.status) == state]
    lines = _sorted(lines, sort, down=down)
    pages = max(ceil(len(lines) / PAGE), 1)
    given = query.get("page", "1")
    page = min(max(int(given), 1), pages) if given.isdecimal() and len(given) < 9 else 1

    def to(**changes: str | None) -> str:
        wanted: dict[str, str | None] = {n: query[n] for n in ("squad", "state", "q", "sort", "desc") if n in query}
        wanted = {name: value for name, value in (wanted | changes).items() if value is not None}
        return f"/runs?{urlencode(wanted)}" if wanted else "/runs"

    squads = {*asked.state.squads, *(line.squad for line in await journal.runs(1000))}
    return {
        "runs": [await row_of(asked.state, line) for line in lines[(page - 1) * PAGE : page * PAGE]],
        "count": len(lines),
        "page_number": page,
        "pages": pages,
        "previous": to(page=str(page - 1)) if page > 1 else "",
        "next": to(page=str(page + 1)) if page < pages else "",
        "heads": [_head(key, title, kind, sort, to, down=down) for key, title, kind in HEADS],
        "query": {name: query.get(name, "") for name in ("squad", "state", "q", "sort", "desc")},
        "is_filtered": any(query.get(name) for name in ("squad", "state", "q")),
        "squads": sorted({*squads, *filter(None, [query.get("squad")])}),
        "all_states": STATES,
        "can_begin": asked.may_change and bool(asked.state.squads),
    }


def _sorted(lines: Sequence[RunLine], sort: str, *, down: bool) -> Sequence[RunLine]:
    if sort == "began":  # newest first, as the record has them
        return lines if down else lines[::-1]
    return sorted(lines, key=KEYS[sort], reverse=down)


def _head(
    key: str, title: str, kind: str, sort: str, to: Callable[..., str], *, down: bool
) -> tuple[str, str, str, str]:
    """Return the head of a column: what it is called, its class, where it leads, and how it is sorted now."""
    if not key:
        return title, kind, "", ""
    is_sorted = key == sort
    first = "1" if key in ("began", "cost") else "0"
    wanted = ("0" if down else "1") if is_sorted else first
    return title, kind, to(sort=key, desc=wanted), ("descending" if down else "ascending") if is_sorted else ""
