"""What became of each part of a project that was read: told on the screen, and in the squad. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Fate = Literal["carried", "changed", "missing"]
TITLES: dict[Fate, str] = {
    "carried": "Carried over",
    "changed": "Changed",
    "missing": "Without a counterpart",
}


class Note(NamedTuple):
    """`place` is where it stood (`agents.researcher.max_rpm`), `todo` what is left to do; empty: nothing."""

    fate: Fate
    place: str
    text: str
    todo: str = ""


@dataclass(slots=True)
class MigrationNotes:
    """The notes of one import, in order, each once."""

    found: list[Note] = field(default_factory=list)

    def add(self, fate: Fate, place: str, text: str, todo: str = "") -> None:
        note = Note(fate, place, text, todo)
        if note not in self.found:
            self.found.append(note)

    def lines(self) -> Iterator[str]:
        """Yield the report: a title for each fate that occurs, and a line for each note."""
        for fate, title in TITLES.items():
            notes = [note for note in self.found if note.fate == fate]
            if notes:
                yield f"{title}:"
                yield from (f"  {line}" for line in _told(notes))


def _told(notes: Iterable[Note]) -> Iterator[str]:
    for note in notes:
        yield f"{note.place}: {note.text}" + (f" -> {note.todo}" if note.todo else "")
