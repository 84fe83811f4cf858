"""What is known of a callable that is to be a tool: its name, the hints of its parameters, what it returns."""

from __future__ import annotations

import builtins
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, get_type_hints

_WORD = re.compile(r"[^\W\d]\w*")
NO_NAMES: Mapping[str, Any] = {}


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is called: the function in a `staticmethod` or `classmethod`, whose object takes no call itself."""
    return function.__func__ if isinstance(function, staticmethod | classmethod) else function


def takes_object(function: Callable[..., Any]) -> bool:
    """Return whether it is a method as its class holds it, which takes the object, or the class, first."""
    inner = inspect.unwrap(function) if inspect.isfunction(function) else None
    code = getattr(inner, "__code__", None)
    return code is not None and code.co_argcount > 0 and code.co_varnames[0] in ("self", "cls")


def hinted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function whose annotations and docstring hold: of a partial, of an object's `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a callable; that of its class, where it is an object with `__call__`.

    Raise `TypeError` for a lambda, which has none.
    """
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__name__", None) or type(function).__name__
    if name == "<lambda>":
        raise TypeError("a lambda has no name that a model could call it by: give one, tool(name=...)(function)")
    return name


def docs_of(function: Callable[..., Any]) -> str:
    """Return its docstring, empty where it has none."""
    if isinstance(function, functools.partial):
        return docs_of(function.func)
    own = inspect.getdoc(function) if inspect.isroutine(function) or inspect.isclass(function) else None
    return own or inspect.getdoc(hinted(function)) or ""


def local_names(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the names in its annotations that are defined in the functions around it, which are at work now.

    Annotations are texts (`from __future__ import annotations`), and a type that only they name is in no closure.
    """
    inner = inspect.unwrap(hinted(function))
    parts = getattr(inner, "__qualname__", "").split(".<locals>.")[:-1]
    annotations = getattr(inner, "__annotations__", {})
    wanted = {word for text in annotations.values() if isinstance(text, str) for word in _WORD.findall(text)}
    wanted -= vars(builtins).keys()
    module = getattr(inner, "__globals__", None)
    around = {part.rpartition(".")[2] for part in parts}
    found: dict[str, Any] = {}
    frame: FrameType | None = sys._getframe(1) if parts and wanted else None  # Python has no other way
    while frame is not None and not wanted <= found.keys():
        if frame.f_globals is module and frame.f_code.co_name in around:
            around_it = frame.f_locals
            found = {**{name: around_it[name] for name in wanted if name in around_it}, **found}
        frame = frame.f_back
    return found


def hints_of(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the types of its parameters and of what it returns. Raise `NameError` for one that cannot be found."""
    inner = hinted(function)
    closed = inspect.getclosurevars(inspect.unwrap(inner)).nonlocals if inspect.isfunction(inner) else NO_NAMES
    of = inner.__init__ if inspect.isclass(inner) else inner  # its signature is that of the class
    return get_type_hints(of, localns={**closed, **names} or None, include_extras=True)
