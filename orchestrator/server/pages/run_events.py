"""The page of a run's events: each as it was recorded, a hundred at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestrator.errors import RunNotFound
from orchestrator.events import to_json
from orchestrator.server.pages.page import PageMissing, PageRequest
from orchestrator.server.pages.run_page import RunLinks
from providers.documents.unicode import cut, printable

PAGE = 100
MOST_TEXT = 4000
HEAD = frozenset({"type", "id", "run_id", "at", "unit", "place"})


class EventShown(NamedTuple):
    """One event: its number in the record, and the rest of its document as JSON."""

    number: int
    at: float
    place: str
    type: str
    text: str


async def run_events_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the events of a run after the number `after`."""
    journal, run, given = asked.state.journal, asked.path["run"], asked.query.get("after", "")
    try:
        await journal.manifest(run)
    except RunNotFound as error:
        raise PageMissing(f"There is no run {run}.") from error
    last = await journal.last_seq(run)
    after = min(int(given), last) if given.isdecimal() and len(given) < 10 else 0
    shown = []
    for number, event in enumerate(await journal.events(run, after, PAGE), after + 1):
        document = {name: value for name, value in to_json(event).items() if name not in HEAD}
        text = json.dumps(document, ensure_ascii=False)
        text = printable(text if len(text) <= MOST_TEXT else f"{cut(text, MOST_TEXT)} …")
        shown.append(EventShown(number, event.at, printable(event.path), event.type, asked.state.mask(text)))
    return {
        "run": run,
        "path": RunLinks(run, {}).path,
        "events": shown,
        "last": last,
        "earlier": max(after - PAGE, 0) if after else None,
        "later": after + PAGE if after + PAGE < last else None,
    }
