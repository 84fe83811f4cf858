"""Whom a selector picks, as models write it: a control line, JSON, a name alone, or a name in a sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

from orchestrator.run.conversations.control import SHOWN, Control, MisreadKind, Unread, control_of
from orchestrator.run.conversations.json_in_text import json_values
from orchestrator.run.conversations.names import Named, mentioned_in
from orchestrator.squad.plan import ConversationPlan

_PICKED = frozenset(
    {"next", "next_speaker", "nextspeaker", "speaker", "name", "agent", "pick", "picked", "choice", "selected", "who"}
)
_ITEM = re.compile(r"\s*(?:[-*•+]|\d{1,3}[.)])\s")
EDGE = 2000
"""Characters at each end of an answer in which a pick is looked for."""
DEPTH = 4


def pick_of(text: str, among: Sequence[str], plan: ConversationPlan) -> Control:
    """Return whom of `among` an answer picks, and why it picks nobody where it does not.

    A `NEXT:` line counts before JSON, that before a line that is a name alone, and that before names in sentences.
    Whoever may not speak is passed over where exactly one is named beside them who may.
    """
    shown = text if len(text) <= 2 * EDGE else f"{text[:EDGE]}\n{text[-EDGE:]}"
    others: dict[str, None] = {}
    for named in _readings(shown, plan):
        may = [name for name in dict.fromkeys(named.agents) if name in among]
        if len(may) == 1:
            return Control("", (may[0],))
        if len(may) > 1:
            return _unread(text, "several", f"it names {len(may)} who may speak, and one speaks")
        others |= dict.fromkeys(named.agents)
        if named.unsure:
            word, meant = named.unsure[0]
            return _unread(text, "ambiguous", f"'{word}' may mean {' or '.join(meant)}")
    if others:
        return _unread(text, "ineligible", f"{next(iter(others))} may not speak now")
    return _unread(text, "nobody", "it names nobody who takes part" if text.strip() else "it says nothing")


def _unread(text: str, fault: MisreadKind, why: str) -> Control:
    return Control("", unread=Unread(" ".join(text[:EDGE].split())[:SHOWN], fault, why))


def _readings(text: str, plan: ConversationPlan) -> Iterator[Named]:
    """Yield whom the answer names, by each way to read it."""
    yield Named(control_of(text, "", plan, len(plan.participants)).next)
    for value in json_values(text):
        yield _named_by(_chosen(value), plan)
        yield _named_by(_strings(value), plan)
    yield _alone(text, plan)
    yield mentioned_in(text, plan)


def _named_by(texts: Iterable[str], plan: ConversationPlan) -> Named:
    return reduce(Named.and_, (mentioned_in(text, plan) for text in texts), Named())


def _alone(text: str, plan: ConversationPlan) -> Named:
    """Return whom the last line means that is a name alone; of a list, all whom its items mean."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = Named()
    for line in reversed(lines):
        named = mentioned_in(line, plan)
        is_name = bool(named.agents or named.unsure) and not named.others
        if is_name and (found == Named() or _ITEM.match(line)):
            found = named.and_(found)
        elif found != Named():
            break
        if is_name and not _ITEM.match(line):
            break
    return found


def _chosen(value: Any) -> Iterator[str]:
    """Yield what stands under a key that says who is picked."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if str(key).casefold() in _PICKED:
            yield from _strings(inner)


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict() if depth < DEPTH:
            for inner in value.values():
                yield from _strings(inner, depth + 1)
        case list() if depth < DEPTH:
            for inner in value:
                yield from _strings(inner, depth + 1)
