"""What a file of a CrewAI project says of its agents or tasks, whatever it is written in. Pure."""

from __future__ import annotations

import re
from typing import Any, Protocol

from providers.documents.nodes import Mark, source_of
from providers.documents.problems import SpecError


class CrewFile(Protocol):
    """Agents, or tasks, by name, and where a mistake about one of them is told."""

    @property
    def file(self) -> str: ...

    @property
    def values(self) -> dict[str, Any]: ...

    def error(self, path: tuple[str, ...], code: str, message: str, hint: str = "") -> SpecError:
        """Return what is wrong with what stands at a path: a name, and a field of it."""


class NamesInText:
    """Agents or tasks of a file that is no YAML: of Python, or of JSON. A name stands where its text first stands."""

    def __init__(self, file: str, text: str, values: dict[str, Any]) -> None:
        self.file, self.values = file, values
        self._source = source_of(text, file)

    def error(self, path: tuple[str, ...], code: str, message: str, hint: str = "") -> SpecError:
        text = self._source.text
        found = re.search(rf"(?<!\w){re.escape(path[0])}(?!\w)", text) if path else None
        start, end = (0, 0) if found is None else found.span()
        of_line = text.rfind("\n", 0, start) + 1
        mark = Mark(text.count("\n", 0, start) + 1, start - of_line + 1, end - start, start, end)
        return SpecError([self._source.problem(mark, code, message, hint, path=path)])
