"""What is wrong with the fields of a document, in words: pydantic's errors as problems with their places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from providers.documents.likeness import closest
from providers.documents.nodes import Node
from providers.documents.problems import SECRETS, Path, Problem, nearest
from providers.documents.scalars import scalar

ModelClass = type[Any]
"""A `StrictModel`, whose `noun` is what messages call it: `a task`."""
_KEY = "[key]"
"""The last step of pydantic's way to a key that is wrong."""


class Complaint(NamedTuple):
    """One of pydantic's errors: its `kind`, the `path` in the document, `value` is what stands there."""

    path: Path
    kind: str
    value: Any
    message: str
    expected: str
    """The literals that are allowed."""
    on_key: bool


def complaints_of(data: Any, error: ValidationError) -> list[Complaint]:
    """Return what is wrong with `data`, which `error` was raised for."""
    return [
        Complaint(
            _path_of(data, detail["loc"], detail["type"] == "missing"),
            detail["type"],
            detail["input"],
            str(detail.get("ctx", {}).get("error", detail["msg"])),
            str(detail.get("ctx", {}).get("expected", "")),
            detail["loc"][-1:] == (_KEY,),
        )
        for detail in error.errors(include_url=False)
    ]


def _path_of(data: Any, loc: tuple[str | int, ...], is_missing: bool) -> Path:
    """Return a place in `data` without the tags of unions, which pydantic's have and the file has not."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        is_lacking = is_missing and index == len(loc) - 1
        is_key = isinstance(data, dict) and (part in data or is_lacking)
        is_item = isinstance(data, list) and isinstance(part, int)
        if is_key or is_item:
            path.append(part)
            data = child(data, part)
    return tuple(path)


def child(parent: Any, part: str | int) -> Any:
    """Return what stands under a key or an index, None where nothing does."""
    try:
        return parent[part]
    except (KeyError, IndexError, TypeError):
        return None


def in_words(root: Node, model: ModelClass, complaints: Sequence[Complaint], at: Path = ()) -> list[Problem]:
    """Return what is wrong with the part of `root` at the path `at`, which should fit `model`, as problems of `root`.

    That a field is missing is left out where it stands there under a misspelt name.
    """
    found = [_problem(root, model, at, complaint) for complaint in _merged(complaints)]
    meant = {(p.path[:-1], f"{p.hint.partition('?')[0]}?") for p in found if p.code == "unknown-field"}
    return [
        p for p in found if p.code != "missing-field" or (p.path[:-1], f"did you mean '{p.path[-1]}'?") not in meant
    ]


def _merged(complaints: Sequence[Complaint]) -> Iterator[Complaint]:
    """Yield one complaint for each place: a value that fits no member of a union fails once for each of them.

    Where one of them was right about the value and wrong about what it holds, that is what there is to tell.
    """
    kinds: dict[Path, list[str]] = {}
    for each in complaints:
        if each.kind in _MEANT:
            kinds.setdefault(each.path, []).append(each.kind)
    above = {each.path[:end] for each in complaints for end in range(len(each.path))}
    seen: set[tuple[Path, str]] = set()
    for each in complaints:
        joined = "/".join(dict.fromkeys(kinds[each.path])) if each.kind in _MEANT else each.kind
        if (each.kind in _MEANT and each.path in above) or (each.path, joined) in seen:
            continue
        seen.add((each.path, joined))
        yield each._replace(kind=joined)


_BELOW_IT = "its fields stand below it, indented further"
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


def _problem(root: Node, model: ModelClass, at: Path, wrong: Complaint) -> Problem:
    path, kind = (*at, *wrong.path), wrong.kind
    if kind == "extra_forbidden":
        return _unknown(root, path, _model_at(model, wrong.path[:-1]))
    if kind == "missing":
        here = _model_at(model, wrong.path[:-1])
        example = here.examples.get(str(path[-1]))
        hint = f"write {path[-1]}: {example}" if example else ""
        message = f"{here.noun} needs '{path[-1]}'"
        return replace(root.problem(path[:-1], "missing-field", message, hint, key=True), path=path)
    if kind.split("/")[0] in _MEANT:
        message, hint = _wrong_type(path, kind.split("/"), wrong.value)
        if inside := _indented_too_little(model, wrong):
            hint = f"indent it further: '{path[-1]}' is a field of {inside}"
        elif shown := _meant_by(model, wrong) or _in_place_of(hint, wrong.value, _example_of(model, wrong.path)):
            hint = f"write {path[-1]}: {shown}"
        return root.problem(path, "wrong-type", message, hint, key=wrong.on_key)
    if kind == "literal_error":
        message, hint = _wrong_choice(path, wrong)
        hint = hint or _value_advice(model, wrong)
        if not hint and isinstance(wrong.value, bool) and (example := _example_of(model, wrong.path)):
            hint = f"write {path[-1]}: {example}"
        return root.problem(path, "invalid-value", message, hint, key=wrong.on_key)
    if kind == "value_error":
        return root.problem(path, "invalid-value", f"'{_named(path)}' {wrong.message}", key=wrong.on_key)
    if "-" in kind:  # our own
        return root.problem(path, kind, wrong.message, key=wrong.on_key)
    is_blank = isinstance(wrong.value, str) and not wrong.value.strip()
    is_empty = kind in ("too_short", "string_too_short", "string_pattern_mismatch") and (not wrong.value or is_blank)
    limit = "is empty" if is_empty else _limit(wrong.message)
    subject = f"a key of '{_named(path[:-1])}'" if wrong.on_key else f"'{_named(path)}'"
    return root.problem(path, "out-of-range", f"{subject} {limit}", key=wrong.on_key)


def _unknown(root: Node, path: Path, here: ModelClass) -> Problem:
    last, fields = str(path[-1]), _fields(here)
    if last.lower() in SECRETS:
        hint = "api_key_env names its variable" if "api_key_env" in fields else "set its variable"
        if f"{last}s" in fields:
            hint = f"did you mean '{last}s'? For a key: {hint}"
        message = "a key belongs in the environment or in .env, never in a file"
        return replace(root.problem(path, "secret-in-file", message, hint, key=True), source="")
    parent = root.at(path[:-1])
    given = parent.value.keys() if parent is not None and isinstance(parent.value, Mapping) else ()
    if (hint := here.advice.get(last)) is None:
        meant = here.other_names.get(last) or closest(last, fields)
        if meant is None:
            hint = nearest(last, [name for name in fields if name not in given])
        elif meant in given:
            hint = f"did you mean '{meant}'? That one is here already: remove '{last}'"
        else:
            hint = f"did you mean '{meant}'?{_example(here, meant, root.at(path))}"
    return root.problem(path, "unknown-field", f"'{last}' is not a field of {here.noun}", hint, key=True)


def _example(here: ModelClass, field: str, node: Node | None) -> str:
    """Return how the field is written, where it would not take the value that stands under its other name."""
    example = here.examples.get(field)
    annotation = next((info for name, info in here.model_fields.items() if field == (info.alias or name)), None)
    if example is None or node is None or annotation is None:
        return ""
    try:
        TypeAdapter(annotation.annotation).validate_python(node.plain(), strict=True)
    except ValidationError:
        return f" Write {field}: {example}"
    return ""


def _wrong_type(path: Path, kinds: Sequence[str], value: Any) -> tuple[str, str]:
    """Return the message and the hint for a value of a wrong type; `kinds` are the errors of each type it may have."""
    meant = " or ".join(dict.fromkeys(_MEANT[kind][0] for kind in kinds))
    hint = _MEANT[kinds[0]][1] if len(kinds) == 1 else ""
    if isinstance(value, str) and kinds[0] not in ("dict_type", "model_type", "bool_type"):
        if kinds[0] == "list_type":
            hint = f"write [{value}]"
        elif _is_number(value):
            hint = f"write {value}, without quotes"
    elif kinds[0] == "string_type" and isinstance(value, dict | list | None):
        hint = ""
    elif kinds == ["dict_type"] and isinstance(value, list) and any(isinstance(one, dict) for one in value):
        hint = "write name: {field: value} for each, without '-'"
    elif value is None and kinds[0] in ("model_type", "model_attributes_type"):
        hint = _BELOW_IT
    elif isinstance(value, float) and value.is_integer() and kinds[0] == "int_type":
        hint = f"write {int(value)}"
    elif kinds == ["list_type"] and isinstance(value, dict):
        hint = "begin each of its entries with '- '"
    return f"'{_named(path)}' takes {meant}, not {_shown(value)}", hint


def _example_of(model: ModelClass, path: Path) -> str | None:
    """Return how the field at a place is written; None for an item of a list, and where that is not said."""
    if not path:
        return None
    kinds = _models_at(model, path[:-1])
    return next((part.examples[str(path[-1])] for part in kinds if path[-1] in part.examples), None)


def _indented_too_little(model: ModelClass, wrong: Complaint) -> str:
    """Return the kind of mapping whose field stands where such a mapping should; empty where it is another mistake."""
    if not wrong.kind.startswith("model_") or len(wrong.path) < 2 or isinstance(wrong.value, dict):
        return ""
    return next((kind.noun for kind in _models_at(model, wrong.path) if wrong.path[-1] in _fields(kind)), "")


def _meant_by(model: ModelClass, wrong: Complaint) -> str:
    """Return the mapping that a plain value in its place means; empty where that is not said."""
    if not isinstance(wrong.value, str | int | float | list) or not wrong.kind.startswith("model_"):
        return ""
    shown = json.dumps(wrong.value, ensure_ascii=False, default=str)
    kinds = _models_at(model, wrong.path)
    return next((f"{{{kind.meant}: {shown}}}" for kind in kinds if kind.meant and len(shown) <= 60), "")


def _in_place_of(hint: str, value: Any, example: str | None) -> str:
    """Return the field's own example where the hint says nothing of it: none, any mapping, words in one item."""
    says_little = hint in ("", _MEANT["dict_type"][1], _BELOW_IT) or (
        hint == f"write [{value}]" and " " in value and "," not in value
    )
    return example or "" if says_little else ""


def _wrong_choice(path: Path, wrong: Complaint) -> tuple[str, str]:
    choices = [text or number for text, number in re.findall(r"'([^']*)'|(\d+)", wrong.expected)]
    hint = nearest(str(wrong.value), choices) if isinstance(wrong.value, str) else ""
    if str(wrong.value) in choices:  # it is right but for its type
        hint = f"write {wrong.value}, without quotes"
    subject = _named(path[:-1] if wrong.on_key else path)
    message = f"'{subject}' is one of {', '.join(choices)}; not {_shown(wrong.value)}"
    if wrong.on_key:
        message = f"a key of {message}"
    return message, "" if hint.startswith("known") else hint


def _value_advice(model: ModelClass, wrong: Complaint) -> str:
    """Return what the part of the format says of this value; empty where it says nothing, and for items of lists."""
    return next((part.value_advice.get(str(wrong.value), "") for part in _models_at(model, wrong.path[:-1])), "")


def _is_number(text: str) -> bool:
    return isinstance(scalar(text), int | float) if text else False


def _named(path: Path) -> str:
    """Return a field's name; an item of a list goes by its list."""
    return str(next((part for part in reversed(path) if isinstance(part, str)), "the file"))


def _shown(value: Any) -> str:
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
        case int() | float():
            return f"the number {str(value)[:40]}"
    name = type(value).__name__  # a Python object: no file holds one
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def _limit(message: str) -> str:
    """Return pydantic's words for a broken limit, without its subject."""
    text = re.sub(r"^(Input|String|List|Value|Dictionary) should ", "should ", message)
    text = text.replace(" after validation", "")
    return text[:1].lower() + text[1:]


def _fields(model: ModelClass) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: ModelClass, path: Path) -> ModelClass:
    """Return which part of the format stands at a place of the tree."""
    return next(_models_at(model, path))


def _models_at(model: ModelClass, path: Path) -> Iterator[ModelClass]:
    here: Any = model
    for part in path:
        here = _below(here, part)
    return _models(here)


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


def _models(annotation: Any) -> Iterator[ModelClass]:
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
