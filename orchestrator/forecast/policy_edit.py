"""Changes in the text of a YAML file that leave the rest as it is: comments, quotes, order, empty lines. Pure.

A value is written over the one that stands there, by its place in the text; the items of a list change places, each
line with the comment behind it; a key that is new gets a line of its own. What results is read again: a file that says
anything but what was meant is not returned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from providers.documents.nodes import Node
from providers.documents.problems import Path, SpecError
from providers.documents.scalars import scalar
from providers.documents.yaml import mapping_in

Changes = Mapping[Path, Any]
"""By path: the value that is to stand there. A mapping is laid over one that stands there: its other keys stay."""
BEFORE_KEYS = ("tiers", "agents", "providers")
"""A new key of a block stands before the first of these, else before the first key."""
_PLAIN = re.compile(r"[A-Za-z@][A-Za-z0-9@_./*#+-]*(?::[A-Za-z0-9_.-]+)*")


class CannotEdit(ValueError):
    """The text cannot be changed by place: what stands there is made elsewhere, by an anchor for one."""


def edited(text: str, changes: Changes) -> str:
    """Return the YAML text with the changes. Raise `CannotEdit`, and `SpecError` for a text that cannot be read."""
    mark = text[: text.startswith("\ufeff")]  # places in a text are counted without it
    made = text[len(mark) :]
    wanted = _read(made).plain() if made.strip() else {}
    for path, value in changes.items():
        wanted = _put(wanted, path, value)
        made = _with(made, path, value)
    try:
        says = _read(made).plain() if made.strip() else {}
    except SpecError as error:
        raise CannotEdit(str(error)) from error
    if says != wanted:
        raise CannotEdit("what stands there is written in another place of the file")
    return mark + made


def _read(text: str) -> Node:
    return mapping_in(text, "<edited>")


def _put(tree: Any, path: Path, value: Any) -> Any:
    """Return the plain tree with a value at a path."""
    if not path and isinstance(tree, Mapping) and isinstance(value, Mapping):
        return {**tree, **{key: _put(tree.get(key), (), inner) for key, inner in value.items()}}
    if not path:
        return deepcopy(value)
    key, made = path[0], deepcopy(tree)
    if isinstance(key, int):
        made[key] = _put(made[key], path[1:], value)
    else:
        made = made or {}
        made[key] = _put(made.get(key), path[1:], value)
    return made


def _with(text: str, path: Path, value: Any) -> str:
    if not text.strip():
        return f"{text}{_block(_nested(path, value), '')}"
    root = _read(text)
    for depth, key in enumerate(path):
        here = root.at(path[:depth])
        assert here is not None, "the parents were found before"
        if here.child(key) is None:
            return _insert(text, here, str(key), _nested(path[depth + 1 :], value))
    node = root.at(path)
    assert node is not None, "it was found"
    return _over(text, node, path, value)


def _nested(path: Path, value: Any) -> Any:
    for key in reversed(path):
        value = {str(key): value}
    return value


def _over(text: str, node: Node, path: Path, value: Any) -> str:
    """Return the text with a value over the one that stands there."""
    if isinstance(node.value, tuple) and isinstance(value, Sequence) and not isinstance(value, str):
        return _reordered(text, node, value)
    if isinstance(node.value, Mapping) and isinstance(value, Mapping):
        for key, inner in value.items():
            text = _with(text, (*path, key), inner)
        return text
    if isinstance(node.value, tuple | Mapping) or isinstance(value, list | Mapping):
        raise CannotEdit(f"at {'.'.join(map(str, path))} stands something of another kind")
    if node.mark.end <= node.mark.start:
        raise CannotEdit(f"at {'.'.join(map(str, path))} stands nothing")
    return text[: node.mark.start] + _flow(value) + text[node.mark.end :]


def _reordered(text: str, node: Node, wanted: Sequence[Any]) -> str:
    """Return the text with the items of a list in another order."""
    items = [each.plain() for each in node.value] if isinstance(node.value, tuple) else []
    if sorted(map(repr, items)) != sorted(map(repr, wanted)):
        raise CannotEdit("items of a list change places here, and none is added")
    places, left = [], list(enumerate(items))
    for value in wanted:
        at = next(place for place in left if place[1] == value)
        left.remove(at)
        places.append(at[0])
    assert isinstance(node.value, tuple), "it has items"
    spans = [(each.mark.start, each.mark.end) for each in node.value]
    if node.is_block and len({text.count("\n", 0, start) for start, _ in spans}) == len(spans):
        spans = [_line_of(text, start, end) for start, end in spans]
    said = [text[start:end] for start, end in spans]
    parts, done = [], 0
    for (start, end), place in zip(spans, places, strict=True):
        parts += [text[done:start], said[place]]
        done = end
    return "".join(parts) + text[done:]


def _line_of(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span of an item of a block with the comment behind it, without the line's end."""
    after = text.find("\n", end)
    last = len(text) if after < 0 else after
    return start, last - 1 if text[last - 1 : last] == "\r" else last


def _insert(text: str, parent: Node, key: str, value: Any) -> str:
    """Return the text with a new key in a mapping."""
    if not isinstance(parent.value, Mapping):
        raise CannotEdit(f"there is no mapping for {key}")
    if not parent.keys:
        raise CannotEdit(f"nothing stands beside {key}")
    if not parent.is_block:
        close = parent.mark.end - 1
        if text[close : close + 1] != "}":
            raise CannotEdit(f"there is no place for {key}")
        return f"{text[:close].rstrip()}, {_flow(key)}: {_flow(value)}{text[close:]}"
    before = next((parent.keys[name] for name in BEFORE_KEYS if name in parent.keys), None)
    place = before or min(parent.keys.values(), key=lambda mark: mark.start)
    begins = text.rfind("\n", 0, place.start) + 1
    indent = text[begins : place.start]
    if indent.strip():
        raise CannotEdit(f"there is no line for {key}")
    return f"{text[:begins]}{_block({key: value}, indent)}{text[begins:]}"


def _block(mapping: Mapping[str, Any], indent: str) -> str:
    """Return a mapping as lines; one that holds lists has a line for each of them."""
    lines = []
    for key, value in mapping.items():
        if isinstance(value, Mapping) and any(isinstance(each, list | tuple | Mapping) for each in value.values()):
            lines += [f"{indent}{_flow(key)}:\n", _block(value, f"{indent}  ")]
        else:
            lines.append(f"{indent}{_flow(key)}: {_flow(value)}\n")
    return "".join(lines)


def _flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and scalar(value) == value else json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)
