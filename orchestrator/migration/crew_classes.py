"""Classes of pydantic, as the outputs of tasks name them, as JSON Schemas. Read as a syntax tree, never run. Pure."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.migration.crew_python import value_of

Classes = Mapping[str, ast.ClassDef]
JsonSchema = dict[str, Any]
_PLAIN: Mapping[str, JsonSchema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
    "list": {"type": "array"},
    "List": {"type": "array"},
    "Any": {},
    "None": {"type": "null"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    **{name: {"type": "string"} for name in ("EmailStr", "HttpUrl", "AnyUrl", "UUID", "Decimal")},
}
_LISTS = frozenset({"list", "List", "Sequence", "set", "Set"})
_BOUNDS: Mapping[str, str] = {
    "description": "description",
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "pattern": "pattern",
}
_LENGTHS: Mapping[str, tuple[str, str]] = {
    "min_length": ("minLength", "minItems"),
    "max_length": ("maxLength", "maxItems"),
}


class _Unknown(ValueError):
    """A type of which it is not known what it is in JSON."""


def classes_in(trees: Iterable[ast.Module]) -> dict[str, ast.ClassDef]:
    """Return the classes of a project by name."""
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def schema_of(name: str, classes: Classes) -> JsonSchema | None:
    """Return what a class is as a JSON Schema; None where it is not there, or something of it is not known."""
    try:
        return _class(name, classes, ())
    except (_Unknown, RecursionError):
        return None


def _class(name: str, classes: Classes, outer: tuple[str, ...]) -> JsonSchema:
    if name not in classes or name in outer:  # one inside itself would need references
        raise _Unknown(name)
    node, inside = classes[name], (*outer, name)
    bases = [_name(base) for base in node.bases]
    if any(base.endswith("Enum") for base in bases):
        values = [value_of(one.value) for one in node.body if isinstance(one, ast.Assign)]
        if not values or not all(isinstance(value, str | int | float) for value in values):
            raise _Unknown(name)
        return {"enum": values}
    made: JsonSchema = {"type": "object", "properties": {}, "required": []}
    for base in bases:
        if base not in ("BaseModel", "TypedDict"):
            inherited = _class(base, classes, inside)
            made["properties"] |= inherited.get("properties", {})
            made["required"] += inherited.get("required", [])
    for one in node.body:
        match one:
            case ast.AnnAssign(target=ast.Name(id=key), annotation=annotation, value=value):
                if not key.startswith("_") and key != "model_config" and "ClassVar" not in ast.unparse(annotation):
                    _field(made, key, annotation, value, lambda of: _type(of, classes, inside))
    if (words := ast.get_docstring(node)) is not None:
        made = {"description": words, **made}
    return {key: value for key, value in made.items() if value != []}


def _field(
    made: JsonSchema, key: str, annotation: ast.expr, value: ast.expr | None, type_of: Callable[[ast.expr], JsonSchema]
) -> None:
    """Add a field to the schema of its class."""
    schema, is_needed = dict(type_of(annotation)), value is None
    said = [value] if value is not None else []
    match annotation:
        case ast.Subscript(slice=ast.Tuple(elts=[_, *more])) if _name(annotation.value) == "Annotated":
            said += more
    for call in said:
        if not isinstance(call, ast.Call) or _name(call.func) != "Field":
            continue
        options = {one.arg: value_of(one.value) for one in call.keywords if one.arg}
        if call is value:
            first = call.args[0] if call.args else ast.Constant(...)
            is_unset = isinstance(first, ast.Constant) and first.value is ...
            is_needed = is_unset and not options.keys() & {"default", "default_factory"}
        key = next((options[name] for name in ("alias",) if isinstance(options.get(name), str)), key)
        schema |= {
            ours: options[theirs]
            for theirs, ours in _BOUNDS.items()
            if isinstance(options.get(theirs), str | int | float)
        }
        for theirs, (of_texts, of_lists) in _LENGTHS.items():
            if isinstance(options.get(theirs), int):
                schema[of_lists if schema.get("type") == "array" else of_texts] = options[theirs]
    made["properties"][key] = schema
    made["required"] += [key] if is_needed else []


def _type(node: ast.expr, classes: Classes, outer: tuple[str, ...]) -> JsonSchema:
    match node:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Constant(value=str(text)):
            try:
                return _type(ast.parse(text, mode="eval").body, classes, outer)
            except SyntaxError:
                raise _Unknown(text) from None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _either([_type(left, classes, outer), _type(right, classes, outer)])
        case ast.Name() | ast.Attribute():
            name = _name(node)
            return _PLAIN[name] if name in _PLAIN and name not in classes else _class(name, classes, outer)
        case ast.Subscript(value=value, slice=of):
            return _generic(_name(value), of.elts if isinstance(of, ast.Tuple) else [of], classes, outer)
    raise _Unknown(ast.unparse(node))


def _generic(name: str, of: list[ast.expr], classes: Classes, outer: tuple[str, ...]) -> JsonSchema:
    if name == "Literal":
        values = [value_of(one) for one in of]
        if all(isinstance(value, str | int | float) for value in values):
            return {"enum": values}
    elif name in _LISTS and len(of) == 1:
        return {"type": "array", "items": _type(of[0], classes, outer)}
    elif name in ("dict", "Dict", "Mapping") and len(of) == 2:  # keys and values
        return {"type": "object", "additionalProperties": _type(of[1], classes, outer)}
    elif name == "Optional":
        return _either([_type(of[0], classes, outer), {"type": "null"}])
    elif name == "Union":
        return _either([_type(one, classes, outer) for one in of])
    elif name == "Annotated":
        return _type(of[0], classes, outer)
    raise _Unknown(name)


def _either(cases: list[JsonSchema]) -> JsonSchema:
    return {"anyOf": [inner for one in cases for inner in (one["anyOf"] if one.keys() == {"anyOf"} else [one])]}


def _name(node: ast.expr) -> str:
    """Return the last part of a dotted name; of anything else, its code."""
    return ast.unparse(node).rpartition(".")[2]
