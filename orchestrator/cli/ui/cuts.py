"""What people read of texts that their models did not finish: pure, over the documents of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agents.errors import REMEDY, cut_off

MOST_NAMED = 5
"""Places that a line names: more are counted."""
CUT_FINISHES = frozenset({"length", "content_filter"})


def cut_words(cuts: Sequence[Mapping[str, Any]]) -> str:
    """Return that, where and why texts of a task are cut off; empty where none is."""
    if not cuts:
        return ""
    first, count = cuts[0], len(cuts)
    if count == 1:
        return f"truncated: {cut_off(_named(first['place']), first['cause'], first['tokens'])}"
    places = ", ".join(cut["place"] for cut in cuts[:MOST_NAMED] if cut["place"])
    more = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
    return f"truncated: {count} texts were cut off: {places}{more}"


def _named(place: str) -> str:
    return f"the text of {place}" if place else "its text"


def cut_lines(by_task: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> Iterator[str]:
    """Yield a line for each task with texts that are cut off, and what helps."""
    for task, cuts in by_task:
        if cuts:
            yield f"{task}: {cut_words(cuts)}: {REMEDY[cuts[0]['cause']]}"


def finish_words(finish: str, output_tokens: int) -> str:
    """Return that an answer which ended so is not whole; empty where it is."""
    return cut_off("the text", finish, output_tokens) if finish in CUT_FINISHES else ""
