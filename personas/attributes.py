"""What a name, a dot and a bracket reach inside a template: data, never machinery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, UndefinedError
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import LoopContext
from jinja2.sandbox import is_internal_attribute
from jinja2.utils import missing

_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
_SCALARS = (str, bytes, int, float, list, tuple, set, frozenset, type(None))


class UnknownName(UndefinedError):
    """A name was used that nothing stands behind; the message is the name alone."""


class Unknown(StrictUndefined):
    """What a missing name evaluates to. Any use but `is defined` and `default` raises."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] | None = None,
    ) -> None:
        super().__init__(hint or str(name), obj, name, exc or (UndefinedError if hint else UnknownName))


def reach(value: Any, name: str) -> Any:
    """Return `value.name`: a mapping's key, a loop's counter, or a public attribute that is not a method.

    A text has no attributes but those that its class names in `template_fields`.
    """
    if isinstance(value, Mapping):
        return value[name] if name in value else Unknown(obj=value, name=name)
    if name.startswith("_") or is_internal_attribute(value, name):
        return Unknown(f"{name!r} is private", value, name, SecurityError)
    if isinstance(value, Unknown):
        str(value)
    if name in getattr(type(value), "template_fields", ()):
        return getattr(value, name)
    if isinstance(value, _SCALARS) or (isinstance(value, LoopContext) and name not in _LOOP):
        return Unknown(obj=value, name=name)
    found = getattr(value, name, missing)
    return Unknown(obj=value, name=name) if found is missing or callable(found) else found


def pick(value: Any, key: Any) -> Any:
    """Return `value[key]`; with a text as the key of what is not a mapping, the same as `value.key`."""
    if isinstance(value, Mapping | list | tuple | str) and not isinstance(key, Unknown):
        try:
            return value[key]
        except (LookupError, TypeError):
            pass  # unknown, or an attribute: told apart below
    return reach(value, key) if isinstance(key, str) else Unknown(obj=value, name=str(key))


def picker(path: str | int | None, default: Any = None) -> Callable[[Any], Any]:
    """Return a function that follows `path` ("a.b.0") into an item; None is the item itself."""
    steps: Iterable[Any] = [path] if isinstance(path, int) else path.split(".") if path else []
    steps = [int(step) if isinstance(step, str) and step.isdecimal() else step for step in steps]

    def follow(item: Any) -> Any:
        for step in steps:
            item = pick(item, step)
            if isinstance(item, Unknown) and default is not None:
                return default
        return item

    return follow
