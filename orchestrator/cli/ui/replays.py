"""How a replay ended, as text and as a document. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.cli.ui.console import count
from orchestrator.events import Event, to_json
from orchestrator.rerun.replay import Replay


def replay_lines(ended: Replay) -> list[str]:
    """Return the lines that say how a replay ended."""
    figures = f"{count(ended.events, 'event')}, {count(len(ended.artifacts), 'artifact')}"
    difference = ended.difference
    if difference is None:
        return [f"{ended.run}: equal: {figures}{'' if ended.has_end else '; the record ends before the run did'}"]
    lines = [f"{ended.run}: differs after {count(difference.number, 'event')}"]
    if difference.step is not None:
        agent = "" if difference.request is None else f" (agent {difference.request.needs.agent})"
        lines.append(f"another request: {difference.step.path}{agent}")
        lines += [line for change in ended.changes for line in change.lines()]
        if not ended.changes:
            lines.append("its fields cannot be compared: this release makes another request, or the record is damaged")
        return lines
    return [*lines, *(f"  {line}" for line in _event_lines(difference.recorded, difference.replayed))]


def _event_lines(recorded: Event | None, replayed: Event | None) -> Iterator[str]:
    old, new = ({} if event is None else to_json(event) for event in (recorded, replayed))
    if not old or not new:
        yield f"recorded: {_short(old)}"
        yield f"replayed: {_short(new)}"
        return
    yield f"recorded {old['type']} {old['id']}, replayed {new['type']} {new['id']}"
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name)!r} -> {new.get(name)!r}"


def _short(event: Mapping[str, Any]) -> str:
    return f"{event['type']} {event['id']}" if event else "nothing more"


def replay_document(ended: Replay) -> dict[str, Any]:
    """Return the document of `runs replay --json`."""
    document: dict[str, Any] = {
        "run": ended.run,
        "equal": ended.is_equal,
        "events": ended.events,
        "finished": ended.has_end,
        "artifacts": dict(ended.artifacts),
        "difference": None,
    }
    if (difference := ended.difference) is not None:
        events = (difference.recorded, difference.replayed)
        recorded, replayed = (None if event is None else to_json(event) for event in events)
        document["difference"] = {
            "after": difference.number,
            "recorded": recorded,
            "replayed": replayed,
            "step": None if difference.step is None else difference.step.path,
            "agent": None if difference.request is None else difference.request.needs.agent,
            "changes": [change._asdict() for change in ended.changes],
        }
    return document
