"""Which files of a run hold what others wrote, or may: those that agents wrote who had read such texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.paths import Parts, parts_of
from agents.untrusted import joined

OF_RUN, OF_WORKSPACE, OF_SQUAD = "the run's folder", "the workspace", "the squad's folder"
"""Folders as people call them."""


@dataclass(frozen=True, slots=True)
class FileOrigins:
    """The sources of what others wrote, by the folder and the path of the file that may hold it."""

    known: dict[tuple[str, Parts], tuple[str, ...]] = field(default_factory=dict)

    def of(self, folder: str, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the sources of what stands in these files."""
        if not self.known:
            return ()
        return joined((), (source for path in paths for source in self.known.get((folder, parts_of(path)), ())))

    def note(self, folder: str, path: str, untrusted: tuple[str, ...]) -> bool:
        """Know what a file may hold that was written. Return whether that is news."""
        key = (folder, parts_of(path))
        if self.known.get(key, ()) == untrusted:
            return False
        self.known[key] = untrusted
        return True
