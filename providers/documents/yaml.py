"""Strict YAML 1.2, read into a tree that knows where each key and value stands.

The event stream is read, never composed: caps hold while events arrive, so neither an alias bomb nor a hundred thousand
open brackets costs more than a moment. Accepted is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path as FilePath
from typing import Any

import yaml

from providers.documents.nodes import MAX_DEPTH, DocumentText, Mark, Node, source_of, span
from providers.documents.problems import Problem, SpecError, in_order
from providers.documents.scalars import scalar
from providers.documents.syntax import syntax_problem

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
"""Values of the file, those that aliases repeat counted again."""
_TOO_DEEP_HINT = "put fewer lists and mappings inside each other"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is built in, is ten times as fast

# What YAML forbids, and three that libyaml takes for line ends (as YAML 1.1 did) while editors do not.
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def read_packaged(file: Traversable) -> Any:
    """Return what a file of this package holds, as dicts, lists and scalars.

    The one way around the strict reader: these files are read at each start, libyaml alone composes them three times
    as fast, and the tests hold them to what the strict reader says of them. Merge keys (`<<`) may stand in them.
    """
    return yaml.load(file.read_text("utf-8"), _LOADER)  # noqa: S506  # both loaders are safe ones


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file, read and parsed once: for readers that first look at what it is."""

    file: str
    text: str
    root: Node
    found: tuple[Problem, ...] = ()
    """Mistakes that leave the rest readable: a key twice, a tag."""

    @property
    def keys(self) -> Collection[str]:
        """The top-level keys; none where the file is not a mapping."""
        return self.root.value.keys() if isinstance(self.root.value, Mapping) else ()

    def mapping(self) -> Node:
        """Return the tree of a file that holds a mapping. Raise `SpecError` where it is anything else."""
        return _a_mapping(self.root)


def parse_file(path: str | FilePath) -> ParsedFile:
    """Return a file's text and tree. Raise `SpecError` where it cannot be read as YAML at all."""
    return parse_text(read_text(path), str(path))


def parse_text(text: str, file: str) -> ParsedFile:
    """Return what `parse_file` returns, of a text; `file` stands for it in messages."""
    found: list[Problem] = []
    root = read_tree(text, file, found)
    return ParsedFile(file, text, root, tuple(found))


def read_mapping(path: str | FilePath, found: list[Problem] | None = None) -> Node:
    """Return the tree of a file that holds a mapping. Raise `SpecError` where it is anything else."""
    return mapping_in(read_text(path), str(path), found)


def mapping_in(text: str, path: str, found: list[Problem] | None = None) -> Node:
    """Return the tree of a text that holds a mapping; `path` stands for it in messages. Raise `SpecError`.

    `found` is that of `read_tree`.
    """
    return _a_mapping(read_tree(text, path, found))


def _a_mapping(root: Node) -> Node:
    if not isinstance(root.value, Mapping):
        raise SpecError([root.problem((), "wrong-type", "the file must be a mapping: `key: value` lines")])
    return root


def read_text(path: str | FilePath) -> str:
    """Return the text of a UTF-8 file. Raise `SpecError`."""
    try:
        if FilePath(path).is_fifo() and not FilePath(path).is_symlink():  # /dev/fd/63, as a shell gives it, is a link
            raise ValueError("it is a pipe, which would be waited for")
        with FilePath(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Problem(str(path), 1, 1, 0, "unreadable-file", f"cannot read the file: {reason}")]) from None
    return decode(data, str(path))


def read_once(path: FilePath, texts: dict[str, str]) -> str:
    """Return the text of a file, out of `texts` where it was read before. Raise `SpecError`.

    What is recorded of a squad is so what it was made of, whatever happened to its files since.
    """
    if (text := texts.get(str(path))) is None:
        text = texts[str(path)] = read_text(path)
    return text


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


def _too_large(source: DocumentText, mark: Mark, cap: str) -> Problem:
    return source.problem(mark, "too-large", f"the file has more than {cap}")


def _first_too_deep(text: str, levels: int, error: yaml.MarkedYAMLError) -> yaml.CollectionStartEvent | None:
    """Return the first list or mapping inside `levels` others that stands before the place of a parser's `error`.

    To tell a key from a value, the scanner reads up to 1,024 characters ahead of the events. So a parser that refuses
    to nest deeper (PyYAML 6.0.4 at 1,000 brackets, earlier ones at 10,000 or not at all) may raise before the events
    have come that pass our own cap. None: the text nests no deeper, so the parser's error is what there is to tell.
    """
    mark = error.problem_mark or error.context_mark
    depth = 0
    with suppress(yaml.YAMLError):  # the text ends in the middle
        for event in yaml.parse(text[: mark.index] if mark else text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > levels and isinstance(event, yaml.CollectionStartEvent):
                return event
    return None


def _too_deep(source: DocumentText, mark: Mark) -> Problem:
    return source.problem(mark, "too-large", f"the file has more than {MAX_DEPTH} levels", _TOO_DEEP_HINT)


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
    source: DocumentText
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
        try:
            for event in yaml.parse(self.source.text, Loader=_LOADER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            if deep := _first_too_deep(self.source.text, MAX_DEPTH, error):
                self._stop(_too_deep(self.source, self._mark_of(deep)))
            self._stop(syntax_problem(self.source, error))
        if self.root is None or (self.root.value is None and not self.source.text[slice(*self.root.mark[3:])].strip()):
            self._stop(self.source.problem(Mark(1, 1, 0, 0, 0), "empty-file", "the file is empty"))
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
            message = f"the character U+{ord(bad[0]):04X} is not allowed in a file"
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
            self._refuse_key(node.mark, "merge-key", "the merge key << is not part of YAML 1.2", hint)
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
                f"*{name} is inside its own value"
                if name in self.anchors
                else f"there is no anchor &{name} before *{name}"
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
            self._refuse_key(node.mark, "duplicate-key", f"'{text}' appears again; it is already on line {line}")
        else:
            parent.key, parent.expects_key = text, False
            parent.keys[text] = node.mark

    def _refuse_key(self, mark: Mark, code: str, message: str, hint: str = "") -> None:
        """Report a key; its value will be read and dropped."""
        self.found.append(self.source.problem(mark, code, message, hint))
        self.stack[-1].key, self.stack[-1].expects_key = None, False
