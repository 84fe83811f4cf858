"""What the source says of the public names: their fields, parameters and methods, each with its type and meaning.

All of it is as it is written there. `api_groups.py` says which name stands on which page.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from docs.reference.api_groups import GROUPS, HIDDEN, PACKAGES, SAME_PARAMETERS
from orchestrator.events.listing import FIELDS as OF_EVENTS

OURS = ("orchestrator", "agents", "personas", "providers")
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Entry(NamedTuple):
    """A public name: what it is, and the page that it stands on."""

    package: str
    name: str
    value: Any
    page: str


class Field(NamedTuple):
    """A field as the source has it. `default` is empty where there is none."""

    name: str
    type: str
    default: str
    text: str


@cache
def entries() -> Mapping[str, Entry]:
    """Return all public names. A name that two packages have is one thing, and stands with the first."""
    placed = {name: group.page for group in GROUPS for name in group.names}
    found: dict[str, Entry] = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            found.setdefault(name, Entry(package, name, getattr(module, name), placed[name]))
    return found


def docs_of(value: Any) -> str:
    """Return a docstring; of a class its own, not that of a base."""
    said = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    return inspect.cleandoc(said or "")


@cache
def source_of(value: Any) -> Definition:
    """Return the syntax tree of a class or function."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def fields_of(value: type) -> Sequence[Field]:
    """Return the public fields: those of a data class with its bases', the values of an enumeration, and what an
    error's `__init__` sets. A text below a field in the source says what it is; some mean the same in each event."""
    found: dict[str, Field] = {}
    owners = [one for one in value.__mro__ if one.__module__.split(".")[0] in OURS]
    if issubclass(value, BaseException):  # what its bases have stands there
        owners = [one for one in owners if one is value or one.__name__ not in entries()]
    for owner in reversed(owners):
        node = source_of(owner)
        assert isinstance(node, ast.ClassDef)
        for field in _written_fields(node, owner):
            found[field.name] = field
    of_an_event = re.search(r"\.events\b", value.__module__) is not None
    return [
        one._replace(text=OF_EVENTS.get(one.name, "")) if of_an_event and not one.text else one
        for one in found.values()
    ]


def _written_fields(node: ast.ClassDef, owner: type) -> Iterator[Field]:
    is_enum = any(ast.unparse(base).endswith("Enum") for base in node.bases)
    for line, after in zip(node.body, [*node.body[1:], None], strict=True):
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                if "ClassVar" not in ast.unparse(line.annotation) and "init=False" not in text_of(line.value):
                    text = string_of(after) or _description(line.value)
                    yield Field(name, text_of(line.annotation), _default(line.value), text)
            case ast.Assign(targets=[ast.Name(id=name)]) if is_enum:
                yield Field(name, "", text_of(line.value), string_of(after))
    start = start_of(node)
    if start is not None and issubclass(owner, BaseException):
        yield from _set_fields(start)


def _set_fields(start: ast.FunctionDef) -> Iterator[Field]:
    """Yield what `__init__` sets of an error, where its type is known."""
    types = {one.arg: text_of(one.annotation) for one in [*start.args.args, *start.args.kwonlyargs]}
    for line, after in zip(start.body, [*start.body[1:], None], strict=True):
        match line:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=said):
                type_ = types.get(said.id, "") if isinstance(said, ast.Name) else ""
                if isinstance(said, ast.JoinedStr):
                    type_ = "str"
                elif isinstance(said, ast.Constant):
                    type_ = type(said.value).__name__
                elif isinstance(said, ast.Call) and ast.unparse(said.func) in ("tuple", "dict"):
                    type_ = _taken(said, types)
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                type_ = text_of(line.annotation)
            case _:
                continue
        if not name.startswith("_") and name != "args":
            yield Field(name, type_, "", string_of(after))


def _taken(said: ast.Call, types: Mapping[str, str]) -> str:
    """Return the type of `tuple(x)` or `dict(x)`, from that of the parameter `x`."""
    what = ast.unparse(said.func)
    inner = types.get(ast.unparse(said.args[0]), "").partition("[")[2].removesuffix("]") if said.args else ""
    return f"{what}[{inner}{', ...' if what == 'tuple' else ''}]" if inner else what


def start_of(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)


def _description(said: ast.expr | None) -> str:
    """Return what `Field(description=...)` of a model says."""
    if isinstance(said, ast.Call) and ast.unparse(said.func) == "Field":
        for word in said.keywords:
            if word.arg == "description" and isinstance(word.value, ast.Constant):
                return str(word.value.value)
    return ""


def _default(said: ast.expr | None) -> str:
    """Return a default as a reader calls it: `{}` for one that `field` makes."""
    if isinstance(said, ast.Call) and ast.unparse(said.func) in ("field", "Field"):
        given = {word.arg: word.value for word in said.keywords}
        if said.args or "default" in given:
            return text_of(said.args[0] if said.args else given["default"])
        made = text_of(given.get("default_factory"))
        return {"dict": "{}", "list": "[]"}.get(
            made, made.removeprefix("lambda: ") if "lambda" in made else made and f"{made}()"
        )
    return text_of(said)


def string_of(node: ast.AST | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
    return ""


def text_of(node: ast.AST | None) -> str:
    return "" if node is None else ast.unparse(node).replace("'", '"')


def members(name: str, value: type) -> Iterator[tuple[str, type, Any]]:
    """Yield the public methods and properties, with those of bases that have no place of their own."""
    told: set[str] = set()
    for owner in value.__mro__:
        is_other = owner is not value and owner.__name__ in entries() and entries()[owner.__name__].value is owner
        if owner.__module__.split(".")[0] not in OURS or is_other:
            continue
        for key, member in vars(owner).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            is_said = inspect.isfunction(function) and not key.startswith("_") and key not in told
            if is_said and f"{name}.{key}" not in HIDDEN and inspect.getdoc(function):
                told.add(key)
                yield f"{name}.{key}", owner, member


def parameters_of(title: str) -> Sequence[Field]:
    """Return the parameters of a function, a method or a class, each with its meaning where it is told: here, or where
    `SAME_PARAMETERS` leads. None where no meaning is told."""
    value = _called(title)
    node = source_of(value)
    start = start_of(node) if isinstance(node, ast.ClassDef) else node
    assert start is not None
    told = parameters_said(title)
    at = title
    while at := SAME_PARAMETERS.get(at, ""):
        told = {**parameters_said(at), **told}
    return [Field(*one, told.get(one[0], "")) for one in _named(start.args)] if told else ()


_ITEM = re.compile(r"^- `(\w+)`: (.*(?:\n  .*)*)\n?", re.MULTILINE)


def parted(docs: str) -> tuple[Mapping[str, str], str]:
    """Return what a docstring says of each parameter, as a list of these, and all else that it says."""
    told = {name: " ".join((text[0].upper() + text[1:]).split()) for name, text in _ITEM.findall(docs)}
    return told, re.sub(r"\n{3,}", "\n\n", _ITEM.sub("", docs)).strip()


def parameters_said(title: str) -> Mapping[str, str]:
    """Return what the docstring of a function, a method or a class's `__init__` says of each parameter."""
    value = _called(title)
    return parted(inspect.getdoc(value.__init__ if inspect.isclass(value) else value) or "")[0]


def _called(title: str) -> Any:
    name, _, key = title.partition(".")
    value = entries()[name].value
    return getattr(value, key) if key else value


def _named(given: ast.arguments) -> Iterator[tuple[str, str, str]]:
    """Yield each parameter with its type and its default."""
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    for one, default in zip([*positional, *given.kwonlyargs], defaults, strict=True):
        if one.arg not in ("self", "cls"):
            yield one.arg, text_of(one.annotation), text_of(default)
    if given.kwarg is not None:
        yield given.kwarg.arg, text_of(given.kwarg.annotation), ""
