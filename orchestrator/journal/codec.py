"""Recorded values as JSON and back, without loss: events, responses, tool results and what is in them. Pure.

A value of one of our classes is `{"$": class, field: value, ...}`, fields that hold their default left out, so a field
that a later version adds is read from older records. Texts and bytes above `LARGE` are not in the JSON: they stand in
`Packed.bodies` under their SHA-256, so a text that several events repeat is stored once. JSON above `LARGE_RECORD`
goes there too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from functools import lru_cache
from inspect import isclass
from operator import attrgetter
from typing import Any, NamedTuple

from agents import events as agent_events
from orchestrator import events as run_events
from orchestrator.journal import protocols as journal
from orchestrator.squad import given_values
from providers import events as provider_events
from providers import messages

RECORDED_AS = {"RunManifest": "About", "Capability": "Ability"}
"""Class -> the name under which it is recorded: records outlive names, so a class that is renamed keeps its own there,
and an earlier release can read what this one writes."""
FIELDS_RECORDED_AS = {"dependency_digests": "lineages"}
"""The same for fields, of every class."""
LARGE = 200
"""Bytes of a text that still stand in the JSON itself."""
LARGE_RECORD = 700
"""Bytes of JSON that still stand in their own row: from about 1,000 on SQLite would give each row a page of its own."""

Bodies = dict[bytes, bytes]
_REFERENCE = re.compile(rb'"\$([sbj])":"([0-9a-f]{64})"')
"""Nothing that was recorded can look like it: a quote in a text is escaped, and a key with `$` is written in a list."""
PLAIN = frozenset({int, float, bool, type(None)})
_NESTED = frozenset({dict, list})
_FROM_JSON = json.JSONDecoder()
_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


class Packed(NamedTuple):
    """`data` is UTF-8 JSON; `bodies` what it refers to: SHA-256 -> bytes."""

    data: bytes
    bodies: Bodies


class Unreadable(ValueError):
    """The bytes are no record that this version knows."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one class is written: its name there, and its fields that the constructor takes, each with its default."""

    cls: type
    name: str
    names: tuple[str, ...]
    """Of the fields, as they are recorded."""
    defaults: tuple[Any, ...]
    held: Callable[[Any], tuple[Any, ...]]
    """Returns the fields of an object, in the order of `names`."""
    arguments: Mapping[str, str]
    """Name in a record -> the constructor's argument."""


@lru_cache(maxsize=1)
def _shapes() -> Mapping[type, _Shape]:
    """Return how each class that may be recorded is written."""
    modules = (messages, provider_events, agent_events, run_events, journal, given_values)
    held = ((module.__name__, cls) for module in modules for cls in vars(module).values() if isclass(cls))
    found = [cls for name, cls in held if f"{cls.__module__}.".startswith(f"{name}.")]
    return {cls: _shape(cls) for cls in found if hasattr(cls, "__dataclass_fields__") or issubclass(cls, Enum)}


@lru_cache(maxsize=1)
def _shapes_by_name() -> Mapping[str, _Shape]:
    return {name: shape for cls, shape in _shapes().items() for name in (cls.__name__, shape.name)}


def recorded_name(cls: type) -> str:
    """Return the name under which objects of a class are recorded."""
    return RECORDED_AS.get(cls.__name__, cls.__name__)


def _shape(cls: Any) -> _Shape:
    name = recorded_name(cls)
    if issubclass(cls, Enum):  # reading `value` itself would cost ten times as much
        return _Shape(cls, name, ("value",), (MISSING,), lambda member: (member._value_,), {"value": "value"})
    made_of = [f for f in fields(cls) if f.init]
    own = tuple(f.name for f in made_of)
    names = tuple(FIELDS_RECORDED_AS.get(name, name) for name in own)
    defaults = (f.default_factory() if f.default_factory is not MISSING else f.default for f in made_of)
    return _Shape(cls, name, names, tuple(defaults), _all_of(own), dict(zip(names, own, strict=True)))


def _all_of(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def pack(value: Any) -> Packed:
    """Return `value` as JSON and the large texts and bytes in it. Raise `TypeError` for what cannot be recorded."""
    bodies: Bodies = {}
    data = _encoded(_JSON.encode(_tree(value, bodies)))
    if len(data) > LARGE_RECORD:
        data = _encoded(_JSON.encode({"$j": _put(data, bodies)}))
    return Packed(data, bodies)


def _encoded(text: str) -> bytes:
    # Lone surrogates are text to Python: a provider's answer that holds one comes back as it was.
    return text.encode("utf-8", "surrogatepass")


def _is_small(text: str) -> bool:
    return len(text) <= LARGE and (text.isascii() or len(_encoded(text)) <= LARGE)


def _tree(value: Any, bodies: Bodies) -> Any:
    kind = type(value)
    if kind is str:
        return value if _is_small(value) else {"$s": _put(_encoded(value), bodies)}
    if kind in PLAIN:
        return value
    if (shape := _shapes().get(kind)) is not None:
        return _object(value, shape, bodies)
    if kind is list:
        return [_tree(item, bodies) for item in value]
    if kind is tuple:
        return {"$t": [_tree(item, bodies) for item in value]}
    if kind is bytes:
        return {"$b": _put(value, bodies)} if len(value) > LARGE else {"$6": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return _mapping(value, bodies)
    plains: tuple[Any, ...] = (str, int, float, list, tuple)
    for plain in plains:
        if isinstance(value, plain):
            return _tree(plain(value), bodies)  # of a subclass its value is kept, not its class
    raise TypeError(f"a {kind.__name__} cannot be recorded")


def _object(value: Any, shape: _Shape, bodies: Bodies) -> dict[str, Any]:
    made: dict[str, Any] = {"$": shape.name}
    for name, default, held in zip(shape.names, shape.defaults, shape.held(value), strict=True):
        kind = type(held)
        if default is MISSING or kind is not type(default) or held != default:
            is_plain = kind in PLAIN or (kind is str and _is_small(held))
            made[name] = held if is_plain else _tree(held, bodies)
    return made


def _mapping(value: Mapping[Any, Any], bodies: Bodies) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _tree(item, bodies) for key, item in value.items()}
    return {"$m": [[_tree(key, bodies), _tree(item, bodies)] for key, item in value.items()]}


def _put(body: bytes, bodies: Bodies) -> str:
    digest = hashlib.sha256(body).digest()
    bodies[digest] = body
    return digest.hex()


def references(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the SHA-256 of each text that a record refers to, and whether that text is a record itself."""
    return ((bytes.fromhex(found[2].decode()), found[1] == b"j") for found in _REFERENCE.finditer(data))


def unpack(data: bytes, body_of: Callable[[bytes], bytes]) -> Any:
    """Return the value of a record; `body_of` returns the bytes of a SHA-256. Raise `Unreadable`.

    Mappings come back as dicts.
    """
    try:
        tree = _read(data)
        if type(tree) is dict and tree.keys() == {"$j"}:  # nowhere else: records in records could grow without end
            tree = _read(body_of(bytes.fromhex(tree["$j"])))
        return _value(tree, body_of)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable(f"a record cannot be read: {error}") from error


def _read(data: bytes) -> Any:
    text = data.decode("utf-8", "surrogatepass")
    tree, end = _FROM_JSON.raw_decode(text)  # `json.loads` takes twice as long, and all of it stands before the value
    if end != len(text):
        raise ValueError(f"more than a value: {text[end : end + 20]!r}")
    return tree


def _value(tree: Any, body_of: Callable[[bytes], bytes]) -> Any:
    if type(tree) is list:
        return [_value(item, body_of) if type(item) in _NESTED else item for item in tree]
    if type(tree) is not dict:
        return tree
    name: str | None = tree.get("$")
    if name is not None:
        shape = _shapes_by_name()[name]
        arguments = shape.arguments
        return shape.cls(
            **{
                arguments[key]: _value(item, body_of) if type(item) in _NESTED else item
                for key, item in tree.items()
                if key in arguments
            }
        )
    if len(tree) == 1:
        ((key, item),) = tree.items()
        if key.startswith("$"):
            return _special(key, item, body_of)
    return {key: _value(item, body_of) for key, item in tree.items()}


def _special(key: str, item: Any, body_of: Callable[[bytes], bytes]) -> Any:
    match key:
        case "$t":
            return tuple(_value(one, body_of) for one in item)
        case "$s":
            return body_of(bytes.fromhex(item)).decode("utf-8", "surrogatepass")
        case "$b":
            return body_of(bytes.fromhex(item))
        case "$6":
            return base64.b64decode(item, validate=True)
        case "$m":
            return {_value(k, body_of): _value(v, body_of) for k, v in item}
    raise Unreadable(f"{key} is of a later version")
