"""The page of all recorded runs: filtered, sorted and paged as its address says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import urlencode

from orchestrator.journal.protocols import RunLine
from orchestrator.run.standing import OVER, RECORDED_AS, STATES, Standing, state_in
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
    sort = query.get("sort", "began")
    sort = sort if sort in KEYS else "began"
    down = query.get("desc", "1" if sort in ("began", "cost") else "0") == "1"
    shown = await _listed(journal, query, sort, down=down)

    def to(**changes: str | None) -> str:
        wanted: dict[str, str | None] = {n: query[n] for n in ("squad", "state", "q", "sort", "desc") if n in query}
        wanted = {name: value for name, value in (wanted | changes).items() if value is not None}
        return f"/runs?{urlencode(wanted)}" if wanted else "/runs"

    squads = {*asked.state.squads, *(line.squad for line in await journal.runs(1000))}
    return {
        "runs": [await row_of(asked.state, line) for line in shown.lines],
        "count": shown.total,
        "page_number": shown.page,
        "pages": shown.pages,
        "previous": to(page=str(shown.page - 1)) if shown.page > 1 else "",
        "next": to(page=str(shown.page + 1)) if shown.page < shown.pages else "",
        "heads": [_head(key, title, kind, sort, to, down=down) for key, title, kind in HEADS],
        "query": {name: query.get(name, "") for name in ("squad", "state", "q", "sort", "desc")},
        "is_filtered": any(query.get(name) for name in ("squad", "state", "q")),
        "squads": sorted({*squads, *filter(None, [query.get("squad")])}),
        "all_states": STATES,
        "can_begin": asked.may_change and bool(asked.state.squads),
    }


class Listed(NamedTuple):
    """One page of runs, of so many pages and runs."""

    lines: Sequence[RunLine]
    page: int
    pages: int
    total: int


async def _listed(journal: Standing, query: Mapping[str, str], sort: str, *, down: bool) -> Listed:
    """Return the page of runs that an address asks for. Of runs as the record has them no other page is read."""
    state, squad, text = query.get("state", ""), query.get("squad"), query.get("q", "").casefold()
    statuses = RECORDED_AS.get(state, (state,)) if state in STATES else ()
    is_exact = {*statuses} <= {*OVER}
    if sort == "began" and is_exact and not text:
        count = await journal.run_count(statuses=statuses, squad=squad)
        page, pages = _page_of(query, count)
        first, last = (page - 1) * PAGE, min(page * PAGE, count)
        if down:
            return Listed(await journal.runs(PAGE, statuses=statuses, squad=squad, skip=first), page, pages, count)
        lines = await journal.runs(last - first, statuses=statuses, squad=squad, skip=count - last)
        return Listed(lines[::-1], page, pages, count)
    lines = await journal.runs(None, statuses=statuses, squad=squad)
    if text:
        lines = [line for line in lines if text in line.run.casefold()]
    if not is_exact:
        lines = [line for line in lines if await state_in(journal, line.run, line.status) == state]
    page, pages = _page_of(query, len(lines))
    return Listed(_sorted(lines, sort, down=down)[(page - 1) * PAGE :][:PAGE], page, pages, len(lines))


def _page_of(query: Mapping[str, str], count: int) -> tuple[int, int]:
    """Return which page is asked for, and how many there are."""
    pages, given = max(ceil(count / PAGE), 1), query.get("page", "1")
    return min(max(int(given), 1), pages) if given.isdecimal() and len(given) < 9 else 1, pages


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
