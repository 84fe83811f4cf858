"""Where the mistakes of one document are gathered, so that all of them are shown at once and each of them only once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem, Severity, nearest

Thing = Literal[
    "agent",
    "approval",
    "capability",
    "conversation",
    "fault",
    "function",
    "input",
    "model",
    "output",
    "persona",
    "provider",
    "region",
    "server",
    "step",
    "task",
    "tier",
    "tool",
]
"""What a name may be of: `unknown-` before it is a code."""


@dataclass(slots=True)
class Findings:
    """Problems with what `node` holds. What only follows from a mistake reported earlier is left out.

    Paths begin at the root of `node`.
    """

    node: Node
    found: list[Problem] = field(default_factory=list)
    broken: frozenset[Path] = frozenset()
    """Places that are wrong, as far as the fields alone tell: what stands there now is a placeholder."""
    gaps: frozenset[Path] = frozenset()
    """Mappings in which some field is wrong: what they lack may be what was meant."""
    is_readable: bool = True
    """Whether no key of the file was dropped."""

    @classmethod
    def after(cls, node: Node, found: Iterable[Problem]) -> Findings:
        """Return a collector that holds what the reader and the validation of fields have `found`."""
        found = list(found)
        broken = frozenset(problem.path for problem in found if problem.path)
        gaps = frozenset(path[:-1] for path in broken)
        return cls(node, found, broken, gaps, all(problem.path for problem in found))

    def add(self, problems: Iterable[Problem]) -> None:
        """Take problems that were made elsewhere, with paths that begin at this root."""
        self.found += [problem for problem in problems if not self.is_broken(problem.path)]

    def error(self, path: Path, code: str, message: str, hint: str = "", *, key: bool = False) -> None:
        """Report a mistake in what stands at `path`; `key`: in the key that it stands under."""
        if self.is_said(path):
            self.found.append(self.node.problem(path, code, message, hint, key=key))

    def warn(self, path: Path, code: str, message: str, hint: str = "") -> None:
        """Report what may be meant as it stands."""
        if self.is_said(path):
            self.found.append(self.node.problem(path, code, message, hint, key=True, severity="warning"))

    def lacks(self, path: Path, code: str, message: str, hint: str = "") -> None:
        """Report that the mapping at `path` says too little."""
        if path not in self.gaps and self.is_readable:
            self.error(path, code, message, hint, key=True)

    def unknown(self, path: Path, what: Thing, name: str, known: Iterable[str], *, key: bool = False) -> None:
        """Report that `name` is none of the `known` names of a kind of thing."""
        self.error(path, f"unknown-{what}", f"no {what} is called '{name}'", nearest(name, known), key=key)

    def within(
        self,
        path: Path,
        offset: int,
        length: int,
        code: str,
        message: str,
        hint: str = "",
        severity: Severity = "error",
    ) -> None:
        """Report characters `offset` to `offset + length` of the text at `path`."""
        if not self.is_said(path):
            return
        target = self.node.at(path)
        if target is None or not isinstance(target.value, str):
            self.found.append(self.node.problem(path, code, message, hint, severity=severity))
            return
        mark = target.place(offset, length)
        self.found.append(target.source.problem(mark, code, message, hint, path=path, severity=severity))

    def is_broken(self, path: Path) -> bool:
        """Whether what stands at `path`, or around it, is known to be wrong."""
        return bool(self.broken) and any(path[:end] in self.broken for end in range(1, len(path) + 1))

    def is_said(self, path: Path) -> bool:
        """Whether the file says what stands at `path`, or is sure to say nothing: no harmless value stands for it."""
        there = next((end for end in range(1, len(path) + 1) if self.node.at(path[:end]) is None), None)
        return not self.is_broken(path) and (there is None or path[: there - 1] not in self.gaps)

    def is_unsure(self, path: Path, field: str) -> bool:
        """Whether `field` of the mapping at `path` is wrong, or may be what a field of another name was meant to be."""
        mapping = self.node.at(path)
        absent = mapping is None or mapping.child(field) is None
        return self.is_broken((*path, field)) or (absent and path in self.gaps)

    @property
    def errors(self) -> list[Problem]:
        """The problems that are more than warnings."""
        return [problem for problem in self.found if problem.severity == "error"]
