"""Whom a manager asks for what, as models write it: `DELEGATE ann: the task` in any dress, or JSON. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.run.conversations.control import SHOWN, Control, MisreadKind, Unread
from orchestrator.run.conversations.json_in_text import json_values
from orchestrator.run.conversations.names import Named, mentioned_in
from orchestrator.squad.plan import ConversationPlan

_LINE = re.compile(r"(?:delegate[sd]?|delegation|assign)(?![^\W_])(.*)", re.IGNORECASE | re.DOTALL)
_HEAD = re.compile(r"(.*?)(?:[:=]|\s[-–—]+\s|[-=]>|→|\)|$)(.*)", re.DOTALL)
_BULLET = re.compile(r"\s*(?:\d{1,3}[.)]\s*)?")
_FENCE = re.compile(r"\s*(?:```|~~~)\w*\s*$")
_AROUND = " \t*_`:=([<>—–-|#\"'"
GROUPS = frozenset({"delegate", "delegates", "delegation", "delegations", "tasks", "assignments"})
WHO = frozenset({"to", "agent", "name", "worker", "assignee", "coworker", "who", "delegate", "delegate_to"})
WHAT = frozenset({"task", "description", "work", "instructions", "what", "message", "prompt", "request"})
TASK_CHARS = 100_000
"""Of all that one is asked for at a time; what is beyond is cut off."""


@dataclass(slots=True)
class _Piece:
    """A piece of work as it is written: the words that name who does it, and its text."""

    line: str
    head: str
    text: list[str] = field(default_factory=list)


def delegations_of(control: Control, plan: ConversationPlan, workers: Sequence[str]) -> Control:
    """Return what a manager's words delegate to which of `workers`; of one who is asked twice, both together.

    What names nobody who works is delegated to nobody, and told.
    """
    tasks: dict[str, list[str]] = {}
    unread: Unread | None = None
    for piece in _pieces(control.text):
        named, task = mentioned_in(piece.head, plan), "\n".join(piece.text).strip()
        does = [name for name in named.agents if name in workers]
        fault = _fault(named, does, task)
        if fault is not None:
            unread = unread or Unread(" ".join(piece.line.split())[:SHOWN], *fault)
            continue
        for name in does:
            tasks.setdefault(name, []).append(task)
    asked = tuple((name, "\n\n".join(parts)[:TASK_CHARS]) for name, parts in tasks.items())
    return Control(control.text, (), control.closing, unread, asked)


def _fault(named: Named, does: Sequence[str], task: str) -> tuple[MisreadKind, str] | None:
    if named.unsure and not does:
        word, meant = named.unsure[0]
        return "ambiguous", f"'{word}' may mean {' or '.join(meant)}"
    if not does:
        who = next(iter((*named.agents, *named.others)), "")
        return "nobody", f"'{who}' is nobody to delegate to" if who else "it names nobody"
    return None if task else ("nobody", f"it asks {does[0]} for nothing")


def _pieces(text: str) -> list[_Piece]:
    pieces = list(_written_lines(text))
    if pieces:
        return pieces
    return [piece for value in json_values(text) for piece in _in_json(value)]


def _written_lines(text: str) -> Iterator[_Piece]:
    """Yield a piece for each line that delegates, with all lines up to the next one."""
    piece: _Piece | None = None
    for line in text.splitlines():
        begun = _begun(line)
        if begun is not None:
            if piece is not None:
                yield piece
            piece = begun
        elif piece is not None and not _FENCE.match(line):
            piece.text.append(line)
    if piece is not None:
        yield piece


def _begun(line: str) -> _Piece | None:
    """Return the piece of work that a line begins."""
    plain = unicodedata.normalize("NFKC", line)
    if "deleg" not in plain.casefold() and "assign" not in plain.casefold():
        return None
    plain = plain.lstrip(_AROUND)
    plain = plain[_BULLET.match(plain).end() :].lstrip(_AROUND)  # type: ignore[union-attr]  # it matches nothing, too
    found = _LINE.match(plain)
    if found is None:
        return None
    is_upper = plain[:6].isupper()
    rest = found[1].lstrip(_AROUND)
    rest = rest[3:] if rest[:3].casefold() == "to " else rest
    parts = _HEAD.match(rest)
    assert parts is not None, "it matches anything"
    head, task = parts[1], parts[2].strip(" \t*_`:")
    if not is_upper and (not task or len(head.split()) > 3):
        return None  # a sentence that begins with the word
    return _Piece(line, head, [task])


def _in_json(value: Any, depth: int = 0) -> Iterator[_Piece]:
    """Yield the pieces in a JSON value: objects that say who and what, or names as keys of the texts."""
    if depth > 4:
        return
    if isinstance(value, list):
        for inner in value:
            yield from _in_json(inner, depth + 1)
    elif isinstance(value, dict):
        folded = {str(key).casefold(): inner for key, inner in value.items()}
        who = next((v for k, v in folded.items() if k in WHO and isinstance(v, str)), None)
        what = next((v for k, v in folded.items() if k in WHAT and isinstance(v, str)), None)
        if who is not None and what is not None:
            yield _Piece(f"{who}: {what}", who, [what])
            return
        for key, inner in folded.items():
            if key in GROUPS and isinstance(inner, dict):
                yield from (_Piece(f"{k}: {v}", str(k), [v]) for k, v in inner.items() if isinstance(v, str))
            if key in GROUPS:
                yield from _in_json(inner, depth + 1)
