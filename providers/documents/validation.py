"""What is wrong with the fields of a file, in words; and harmless values in the place of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from providers.documents.problems import Path, Problem, nearest
from providers.documents.yaml import Node, scalar

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


Model = type[Any]
"""A class of pydantic's whose `noun` is what messages call it: `a task`."""


def problems(root: Node, model: Model, wrong: Sequence[tuple[Path, ErrorDetails]]) -> list[Problem]:
    """Return validation errors of `model`, each with its path, as problems of the file that `root` is the tree of.

    That a field is missing is left out where it stands there under a misspelt name.
    """
    found = [_problem(root, model, path, detail) for path, detail in wrong]
    meant = {(problem.path[:-1], problem.hint) for problem in found if problem.code == "unknown-field"}
    return [
        p for p in found if p.code != "missing-field" or (p.path[:-1], f"did you mean '{p.path[-1]}'?") not in meant
    ]


def path_of(data: Any, loc: tuple[str | int, ...]) -> Path:
    """Return a place in `data` without the tags of unions, which stand in pydantic's but are no keys of the file."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        below = child(data, part)
        is_last = index == len(loc) - 1
        if below is not None or (isinstance(data, dict) and (part in data or is_last)):
            path.append(part)
            data = below
    return tuple(path)


_HARMLESS: Mapping[str, Any] = {
    "string_type": "?",
    "string_too_short": "?",
    "list_type": [],
    "dict_type": {},
    "model_type": {},
    "model_attributes_type": {},
}
"""By pydantic's error: what a wrong value is replaced with. Others are left out."""
_REQUIRED: Mapping[str, Any] = {
    "name": "?",
    "persona": "?",
    "id": "?",
    "prompt": "?",
    "until": "?",
    "participants": ["?"],
    "rerun": ["?"],
    "terminate": {"max_turns": 1},
    "max_attempts": 1,
    "tasks": {},
}
"""What a field that must be there holds where it is missing."""


def mend(data: Any, path: Path, kind: str) -> None:
    """Change what stands at `path`, where it still stands, so that the rest can be validated."""
    parent: Any = None
    here: Any = data
    for part in path:
        parent, here = here, child(here, part)
    if parent is None:
        return
    last = path[-1]
    if kind == "missing":
        parent[last] = _REQUIRED[str(last)]
    elif kind in _HARMLESS and here != _HARMLESS[kind]:
        parent[last] = type(_HARMLESS[kind])(_HARMLESS[kind])
    elif isinstance(parent, list):
        mend(data, path[:-1], "")
    else:
        parent.pop(last, None)


def child(parent: Any, part: str | int) -> Any:
    try:
        return parent[part]
    except (KeyError, IndexError, TypeError):
        return None


_MEANT: Mapping[str, tuple[str, str]] = {
    "string_type": ("text", "put it in quotes"),
    "int_type": ("a whole number", "write 3, without quotes"),
    "int_from_float": ("a whole number", "write 3, without a fraction"),
    "float_type": ("a number", "write 2.5, without quotes"),
    "bool_type": ("true or false", "YAML 1.2 knows true and false only"),
    "list_type": ("a list", "write [first, second]"),
    "dict_type": ("a mapping", "write {field: value}"),
    "model_type": ("a mapping", "write {field: value}"),
    "model_attributes_type": ("a mapping", "write {field: value}"),
}


def _problem(root: Node, model: Model, path: Path, detail: ErrorDetails) -> Problem:
    kind, value = detail["type"], detail["input"]
    last = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        here = _model_at(model, path[:-1])
        hint = nearest(last, _fields(here))
        return root.problem(path, "unknown-field", f"'{last}' is not a field of {here.noun}", hint, key=True)
    if kind == "missing":
        message = f"{_model_at(model, path[:-1]).noun} needs '{last}'"
        return replace(root.problem(path[:-1], "missing-field", message, key=True), path=path)
    if kind in _MEANT:
        meant, hint = _MEANT[kind]
        if isinstance(value, str) and kind not in ("dict_type", "model_type", "bool_type"):
            hint = (
                f"write [{value}]"
                if kind == "list_type"
                else f"write {value}, without quotes"
                if _is_number(value)
                else hint
            )
        return root.problem(path, "wrong-type", f"'{_named(path)}' takes {meant}, not {_found(value)}", hint)
    if kind == "literal_error":
        choices = _quoted(detail.get("ctx", {}).get("expected", ""))
        hint = nearest(str(value), choices) if isinstance(value, str) else ""
        message = f"'{_named(path)}' is one of {', '.join(choices)}; not {_found(value)}"
        return root.problem(path, "invalid-value", message, "" if hint.startswith("known") else hint)
    if "-" in kind:  # our own
        return root.problem(path, kind, detail["msg"])
    return root.problem(path, "out-of-range", f"'{_named(path)}' {_limit(detail['msg'])}")


def _is_number(text: str) -> bool:
    return isinstance(scalar(text), int | float) if text else False


def _named(path: Path) -> str:
    """Return a field's name; an item of a list goes by its list."""
    return str(next((part for part in reversed(path) if isinstance(part, str)), "the file"))


def _found(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return f"the text '{value if len(value) <= 40 else value[:40] + '…'}'"
    return f"the number {str(value)[:40]}"


def _limit(message: str) -> str:
    """Return pydantic's words for a broken limit, without its subject."""
    text = re.sub(r"^(Input|String|List|Value) should ", "should ", message)
    return text[:1].lower() + text[1:]


def _quoted(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def _fields(model: Model) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: Model, path: Path) -> Model:
    """Return which part of the format stands at a place of the tree."""
    here: Any = model
    for part in path:
        here = _below(here, part)
    return next(_models(here))


def _below(annotation: Any, part: str | int) -> Any:
    for model in _models(annotation):
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                return field.annotation
    for kind in _flat(annotation):
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is dict and isinstance(part, str):
            return arguments[1]
        if origin is list and isinstance(part, int):
            return arguments[0]
    return Any


def _models(annotation: Any) -> Iterator[Model]:
    return (kind for kind in _flat(annotation) if hasattr(kind, "model_fields"))


def _flat(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _flat(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _flat(inner)
    else:
        yield annotation
