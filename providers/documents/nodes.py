"""A file as a tree of nodes: every value, and every key, knows where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from providers.documents.problems import Path, Problem, Severity, SpecError
from providers.documents.scalars import Scalar

_LINE_END = re.compile(r"\r\n|\r|\n")


class Mark(NamedTuple):
    """Where something stands: `line` and `column` from 1, `length` on that line; `start` and `end` in the text."""

    line: int
    column: int
    length: int
    start: int
    end: int


NOWHERE = Mark(0, 0, 0, 0, 0)
"""The place of data that came from no file."""
MAX_DEPTH = 50
"""Lists and mappings inside each other."""


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A file's name and text."""

    file: str
    text: str = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)

    def problem(
        self, mark: Mark, code: str, message: str, hint: str = "", *, path: Path = (), severity: Severity = "error"
    ) -> Problem:
        line = self.lines[mark.line - 1] if 0 < mark.line <= len(self.lines) else ""
        return Problem(self.file, mark.line, mark.column, mark.length, code, message, severity, hint, path, line)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value and its place. `value` is a scalar, a tuple of nodes or a mapping of nodes; `keys` places the keys."""

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    mark: Mark
    source: DocumentText = field(repr=False)
    keys: Mapping[str, Mark] = field(default_factory=dict)
    is_block: bool = False
    is_verbatim: bool = False
    """Whether a text stands in the file as it is: no mark around it belongs to YAML."""

    def plain(self) -> Any:
        """Return the value as dicts, lists and scalars, fresh each time."""
        if isinstance(self.value, Mapping):
            return {key: child.plain() for key, child in self.value.items()}
        return [child.plain() for child in self.value] if isinstance(self.value, tuple) else self.value

    def child(self, key: str | int) -> Node | None:
        if isinstance(self.value, Mapping):
            return self.value.get(key) if isinstance(key, str) else None
        if isinstance(self.value, tuple) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return None

    def at(self, path: Sequence[str | int]) -> Node | None:
        """Return what stands at the path of keys and indices, None where nothing does."""
        here: Node | None = self
        for key in path:
            here = None if here is None else here.child(key)
        return here

    def mark_of(self, path: Sequence[str | int], *, key: bool = False) -> Mark:
        """Return the best place to show for `path`: its value; its key where asked, or where the value is a block or
        nothing; its nearest ancestor's place where there is no such path.
        """
        found, here = self.mark, self
        for part in path:
            child = here.child(part)
            if child is None:
                break
            own_key = here.keys.get(part) if isinstance(part, str) else None
            by_value = child.mark.length > 0 and not child.is_block
            found = own_key if own_key is not None and not (by_value and not key) else child.mark
            here = child
        return found

    def problem(self, path: Sequence[str | int], code: str, message: str, hint: str = "", **more: Any) -> Problem:
        """Return a problem with what stands at `path`."""
        mark = self.mark_of(path, key=more.pop("key", False))
        here = self
        for part in path:  # a tree may be put together of parts of several files
            here = here.child(part) or here
        return here.source.problem(mark, code, message, hint, path=tuple(path), **more)

    def place(self, offset: int, length: int) -> Mark:
        """Return where character `offset` of this text value stands in the file, whatever its quotes and folds."""
        assert isinstance(self.value, str), "only a text has characters"
        wanted = sum(not c.isspace() for c in self.value[:offset])
        for start, character in _written(self.source.text, self.mark, is_verbatim=self.is_verbatim):
            if character.isspace():
                continue
            if wanted == 0:
                return span(self.source, start, start + length)
            wanted -= 1
        return self.mark


def tree_of(data: Any, file: str = "") -> Node:
    """Return the tree of Python objects, as a program has them that reads no file; its problems have paths, no lines.

    Keys become text, dates become what YAML 1.2 would have read. Raise `SpecError` where it nests too deep.
    """
    return _node_of(data, DocumentText(file, "", ()), ())


def _node_of(data: Any, source: DocumentText, path: Path) -> Node:
    if len(path) > MAX_DEPTH:
        raise SpecError([source.problem(NOWHERE, "too-large", f"the data has more than {MAX_DEPTH} levels", path=path)])
    value: Any = data.isoformat() if isinstance(data, date) else data
    if isinstance(data, Node):
        return data
    if isinstance(data, Mapping):
        value = {str(key): _node_of(inner, source, (*path, str(key))) for key, inner in data.items()}
    elif isinstance(data, list | tuple):
        value = tuple(_node_of(inner, source, (*path, at)) for at, inner in enumerate(data))
    return Node(value, NOWHERE, source)


def source_of(text: str, file: str) -> DocumentText:
    """Return a file's text without its byte order mark, which no editor counts."""
    text = text.removeprefix("\ufeff")
    return DocumentText(file, text, tuple(_LINE_END.split(text)))


def span(source: DocumentText, start: int, end: int) -> Mark:
    """Return the mark of a span of the text, cut to its first line."""
    before = _LINE_END.split(source.text[:start])
    length = min(end - start, len(source.lines[len(before) - 1]) - len(before[-1]))
    return Mark(len(before), len(before[-1]) + 1, max(length, 0), start, end)


_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r\n|.)", re.DOTALL)
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_SPACE_ESCAPES = frozenset(" tnrvfN_LP\t\n\r")


def _written(text: str, mark: Mark, *, is_verbatim: bool) -> Iterator[tuple[int, str]]:
    """Yield (place, character) for what a scalar's text says, as it is written between its marks."""
    position, end = mark.start, mark.end
    if is_verbatim:
        yield from enumerate(text[position:end], position)
        return
    position += len(_PROPERTIES.match(text, position)[0])  # type: ignore[index]  # it matches nothing, too
    quote = text[position : position + 1]
    if quote in ("|", ">"):
        header = _LINE_END.search(text, position)
        position, quote = (header.end() if header else end), ""
    elif quote in ("'", '"'):
        position, end = position + 1, end - 1
    while position < end:
        step, character = 1, text[position]
        if quote == "'" and character == "'":
            step = 2
        elif quote == '"' and (escape := _ESCAPE.match(text, position)):
            step = len(escape[0])
            character = _unescaped(escape[0])
        yield position, character
        position += step


def _unescaped(escape: str) -> str:
    if escape[1] in "xuU":
        return chr(min(int("0x" + escape[2:], 16), 0x10FFFF))
    return " " if escape[1] in _SPACE_ESCAPES else escape[1]
