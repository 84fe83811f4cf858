"""Strict YAML 1.2, read into a tree that knows where each key and value stands.

The event stream is read, never composed: caps hold while events arrive, so neither an alias bomb nor a hundred thousand
open brackets costs more than a moment. Accepted is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import yaml

from providers.documents.depth import TOO_DEEP_HINT, too_deep
from providers.documents.nodes import Mark, Node, Scalar, Source, source_of, span
from providers.documents.problems import WITHHELD, Path, Problem, SpecError, in_order

__all__ = [
    "Node",
    "decode",
    "load_file",
    "mapping_in",
    "problems_at",
    "read_mapping",
    "read_text",
    "read_tree",
    "write_tree",
]

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 20_000
"""Values of the file, those that aliases repeat counted again."""

# YAML 1.2 core schema, but a number with a leading zero is text: half of the world reads 0123 as octal.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    word: value
    for value, words in {True: "true True TRUE", False: "false False FALSE"}.items()
    for word in words.split()
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,299})")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,64}|0o[0-7]{1,64}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})

# What YAML forbids, and three that libyaml takes for line ends (as YAML 1.1 did) while editors do not.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def problems_at(root: Node, pairs: Iterable[tuple[Path, str]], code: str) -> list[Problem]:
    """Return (path, message) pairs, as `CatalogError` and `PersonaError` hold them, as problems with their places.

    Where a message quotes the last key of its path, that key is what is wrong. A line that may hold a key to a provider
    by mistake is not shown.
    """
    found = [root.problem(p, code, text, key=bool(p) and repr(p[-1]) in text) for p, text in pairs]
    return in_order(replace(p, source="") if p.path and str(p.path[-1]).lower() in WITHHELD else p for p in found)


def load_file(path: str | FilePath) -> tuple[str, Node]:
    """Return a file's text and tree. Raise `SpecError` where it cannot be read, or is no strict YAML."""
    text = read_text(path)
    return text, read_tree(text, str(path))


def read_mapping(path: str | FilePath) -> Node:
    """Return the tree of a file that holds a mapping. Raise `SpecError` where it is anything else."""
    return mapping_in(read_text(path), str(path))


def mapping_in(text: str, path: str) -> Node:
    """Return the tree of a text that holds a mapping; `path` stands for it in messages. Raise `SpecError`."""
    root = read_tree(text, path)
    if not isinstance(root.value, Mapping):
        raise SpecError([root.problem((), "wrong-type", "the file must be a mapping: `key: value` lines")])
    return root


def read_text(path: str | FilePath) -> str:
    """Return the text of a UTF-8 file. Raise `SpecError`."""
    try:
        with FilePath(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Problem(str(path), 1, 1, 0, "unreadable-file", f"cannot read the file: {reason}")]) from None
    return decode(data, str(path))


def decode(data: bytes, file: str) -> str:
    """Return the text of UTF-8 bytes. Raise `SpecError` with the place of the first byte that is not."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SpecError([Problem(file, 1, 1, 0, "not-utf8", "the file is UTF-16 or UTF-32", hint="save it as UTF-8")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        source = source_of(before, file)
        mark = span(source, len(source.text), len(source.text))
        if len(data) > MAX_BYTES:  # the cut may have gone through a character
            raise SpecError([_too_large(source, mark, f"{MAX_BYTES} bytes")]) from None
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise SpecError([source.problem(mark, "not-utf8", message, "save the file as UTF-8")]) from None


def read_tree(text: str, path: str, found: list[Problem] | None = None) -> Node:
    """Return the tree of a YAML text. Raise `SpecError` with all mistakes.

    With `found`, mistakes that leave the rest readable (a key twice, a tag) are appended to it instead.
    """
    source = source_of(text, path)
    builder = _Builder(source, [] if found is None else found)
    root = builder.read()
    if found is None and builder.found:
        raise SpecError(in_order(builder.found))
    return root


def _too_large(source: Source, mark: Mark, cap: str) -> Problem:
    return source.problem(mark, "too-large", f"the file has more than {cap}")


def _too_deep(source: Source, mark: Mark) -> Problem:
    return source.problem(mark, "too-large", f"the file has more than {MAX_DEPTH} levels", TOO_DEEP_HINT)


def write_tree(value: Any) -> str:
    """Return a YAML text that `read_tree` reads back as `value`: mappings, lists and scalars of Python.

    PyYAML alone would leave out the quotes of `1e3` and `0o17`, which are text to YAML 1.1.
    """

    class Quoting(yaml.SafeDumper):
        pass

    Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    return yaml.dump(value, Dumper=Quoting, allow_unicode=True, sort_keys=False)


def scalar(text: str) -> Scalar:
    """Return what a plain scalar means in YAML 1.2: `no`, `on`, `12:30`, `0123` and dates are text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return -math.inf if infinite[1] == "-" else math.inf
    return math.nan if text in _NAN else text


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    start: yaml.Event
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    fields: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    key: str | None = None
    expects_key: bool = True
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class _Builder:
    source: Source
    found: list[Problem]
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Node, int, int] | None] = field(default_factory=dict)
    """Anchor -> node, size, height; None while its end has not come."""
    nodes: int = 0
    documents: int = 0
    root: Node | None = None

    def read(self) -> Node:
        """Return the root. Raises `SpecError` at what makes the rest unreadable."""
        self._scan()
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for event in yaml.parse(self.source.text, Loader=loader):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            if deep := too_deep(self.source.text, MAX_DEPTH, error):
                self._stop(_too_deep(self.source, self._mark_of(deep)))
            self._stop(_syntax(self.source, error))
        if self.root is None or (self.root.value is None and not self.source.text[slice(*self.root.mark[3:])].strip()):
            self._stop(self.source.problem(Mark(1, 1, 0, 0, 0), "empty-file", "the file says nothing"))
        assert self.root is not None
        return self.root

    def _stop(self, problem: Problem) -> None:
        raise SpecError(in_order([*self.found, problem]))

    def _scan(self) -> None:
        """Stop at what the parser must not see."""
        text = self.source.text
        if bad := _FORBIDDEN.search(text):
            mark = span(self.source, bad.start(), bad.end())
            hint = f'write it as an escape in double quotes: "\\u{ord(bad[0]):04x}"' if bad[0] > "\x7f" else ""
            message = f"the character U+{ord(bad[0]):04X} may not stand in a file"
            self._stop(self.source.problem(mark, "control-character", message, hint))
        if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
            self._stop(_too_large(self.source, Mark(1, 1, 0, 0, 0), f"{MAX_BYTES} bytes"))

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    mark = self._mark_of(event)
                    self._stop(self.source.problem(mark, "several-documents", "a second YAML document starts here"))
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._open(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close(event)

    def _mark_of(self, event: yaml.Event, end: yaml.Event | None = None) -> Mark:
        start: Any = event.start_mark
        stop: Any = (end or event).end_mark
        line = self.source.lines[start.line] if start.line < len(self.source.lines) else ""
        last = stop.column if stop.line == start.line else len(line.rstrip())
        return Mark(start.line + 1, start.column + 1, max(0, last - start.column), start.index, stop.index)

    def _count(self, event: yaml.Event, size: int, height: int) -> None:
        self.nodes += size
        if self.nodes > MAX_NODES:
            self._stop(_too_large(self.source, self._mark_of(event), f"{MAX_NODES} values"))
        if len(self.stack) + height > MAX_DEPTH:
            self._stop(_too_deep(self.source, self._mark_of(event)))

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            hint = "leave it out; quotes make a text of anything"
            self.found.append(self.source.problem(self._mark_of(event), "tag", f"the tag {event.tag} is refused", hint))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_tag(event)
        self._count(event, 0 if self._wants_key() else 1, 0)
        is_plain = event.style in (None, "")
        node = Node(scalar(event.value) if is_plain else event.value, self._mark_of(event), self.source)
        if is_plain and event.value == "<<" and self._wants_key():
            hint = "write the fields out; a persona can be built on another by `extends`"
            self._refuse_key(node.mark, "merge-key", "the merge key << is no part of YAML 1.2", hint)
            return
        self._add(node, 1, 0, event.anchor, event.value)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._refuse_tag(event)
        self._count(event, 1, 1)
        if event.anchor:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(event, isinstance(event, yaml.MappingStartEvent)))

    def _close(self, event: yaml.Event) -> None:
        done = self.stack.pop()
        start = done.start
        assert isinstance(start, yaml.CollectionStartEvent)
        is_block = not start.flow_style
        mark = self._mark_of(start, event)
        if is_block:
            first = next(iter(done.keys.values()), None) or (done.items[0].mark if done.items else mark)
            mark = mark._replace(length=first.length if first.line == mark.line else 1)
        value: Any = done.fields if done.is_mapping else tuple(done.items)
        self._add(Node(value, mark, self.source, done.keys, is_block), done.size, done.height, start.anchor, None)

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor
        known = self.anchors.get(name or "")
        if known is None:
            code = "recursive-alias" if name in self.anchors else "unknown-alias"
            message = (
                f"*{name} stands inside its own value" if name in self.anchors else f"no &{name} stands before *{name}"
            )
            self.found.append(self.source.problem(self._mark_of(event), code, message))
            self._drop()
            return
        node, size, height = known
        self._count(event, size, height)
        self._add(node, size, height, None, node.value if isinstance(node.value, str) else None)

    def _drop(self) -> None:
        """Go on without a value, or without a key and its value."""
        if not self.stack:
            self._stop(self.found.pop())
        parent = self.stack[-1]
        if parent.is_mapping:
            parent.key, parent.expects_key = None, not parent.expects_key

    def _wants_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].is_mapping and self.stack[-1].expects_key

    def _add(self, node: Node, size: int, height: int, anchor: str | None, text: str | None) -> None:
        """Put a finished node where it belongs. `text` is what a scalar says, for keys."""
        if anchor:
            self.anchors[anchor] = node, size, height
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.expects_key:
            self._key(parent, node, text)
        else:
            if parent.key is not None:
                parent.fields[parent.key] = node
            parent.expects_key = True

    def _key(self, parent: _Open, node: Node, text: str | None) -> None:
        if not isinstance(node.value, str):
            shown = "a collection" if text is None else text or "nothing"
            self.found.append(
                self.source.problem(
                    node.mark, "bad-key", f"a key must be text, not {shown}", "put it in quotes" if text else ""
                )
            )
        if text is None:
            parent.key, parent.expects_key = None, False
        elif text in parent.keys:
            line = parent.keys[text].line
            self._refuse_key(
                node.mark, "duplicate-key", f"'{text}' stands here again; it stands on line {line} already"
            )
        else:
            parent.key, parent.expects_key = text, False
            parent.keys[text] = node.mark

    def _refuse_key(self, mark: Mark, code: str, message: str, hint: str = "") -> None:
        """Report a key; its value will be read and dropped."""
        self.found.append(self.source.problem(mark, code, message, hint))
        self.stack[-1].key, self.stack[-1].expects_key = None, False


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> Problem:
    """Return the parser's complaint in our words where we have better ones, at the place that helps most."""
    text, what = source.text, str(error.problem or "no YAML")
    at = error.problem_mark or error.context_mark
    assert at is not None, "libyaml marks every syntax error"
    context = error.context_mark
    character = text[at.index : at.index + 1]
    message, hint = what, ""
    if "cannot start any token" in what:
        message = "a tab may not indent" if character == "\t" else f"a value may not start with {character}"
        hint = "use spaces" if character == "\t" else "put the value in quotes"
    elif "mapping values are not allowed" in what:
        message, hint = "a second ': ' on the line", "put a value that holds ': ' in quotes"
    elif "escape" in what or "hexdecimal" in what:  # libyaml's spelling
        message, hint = "a backslash sequence that YAML does not know", "put the value in single quotes"
        if "Unicode" in what:
            message, hint = "this stands for no character", "write the character itself"
    elif context is not None and "quoted scalar" in str(error.context):
        at, message = context, "the quote that opens here is never closed"
    elif context is not None and "flow" in str(error.context):
        message = (
            f"expected ',' or the end of the '{text[context.index : context.index + 1]}' of line {context.line + 1}"
        )
    elif context is not None and "block" in str(error.context):
        message, hint = "this does not belong to the block above", "check the indentation"
    mark = span(source, min(at.index, len(text)), min(at.index + 1, len(text)))
    return source.problem(mark, "bad-yaml", message, hint)
