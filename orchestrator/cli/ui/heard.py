"""Who heard what in the conversations of a task, from its events: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from providers.documents.unicode import cut

MOST_SHOWN = 60
"""Characters of an utterance that a line shows."""


def heard_lines(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield for each conversation of these events its utterances in their order, each with those who were shown it."""
    talks: dict[str, list[str]] = {}
    for event in events:
        if event["type"] == "message.spoken":
            talks.setdefault(event["unit"], [_title(event)]).append(_line(event))
        elif event["type"] == "conversation.ended" and event["unit"] in talks:
            talks[event["unit"]].append(f"  ended after {event['turns']} utterances: {event['reason']}")
    for lines in talks.values():
        yield from lines


def _title(event: Mapping[str, Any]) -> str:
    of = f" in {event['conversation']}" if event["conversation"] else ""
    return f"{event['unit']}: who heard what{of}"


def _line(event: Mapping[str, Any]) -> str:
    words = " ".join(event["text"].split())
    shown = cut(words, MOST_SHOWN)
    said = f'"{shown}{"..." if len(shown) < len(words) else ""}"' if words else "nothing that others hear"
    return f"  round {event['round']}: {event['speaker']}: {said}{_by(event)}"


def _by(event: Mapping[str, Any]) -> str:
    if event["heard"] is None:
        return ""
    asked = f"; asks {', '.join(event['asked'])} alone" if event["asked"] else ""
    return f", heard by {', '.join(event['heard']) or 'no one else'}{asked}"
