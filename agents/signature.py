"""What a tool takes: a JSON Schema to show, and a reader of what the model wrote. The one user of pydantic here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict  # on Python 3.11 pydantic takes no other

from agents.errors import ToolFault
from providers.documents.arguments import read_object

DATA_KEYS = frozenset({"default", "const", "enum", "examples"})


class Signature:
    """The arguments that a function's signature names, by their type hints."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        """Raise `ToolFault` where a parameter can't be given by keyword, or its type has no JSON Schema."""
        try:
            self._adapter = TypeAdapter(_arguments(name, function))
            self.schema = _described(self._adapter.json_schema(), function)
        except (NameError, TypeError, PydanticUserError) as error:
            raise ToolFault(name, f"its parameters cannot be described: {error}") from error

    def read(self, arguments: str) -> dict[str, Any]:
        """Return keywords for the function. Raise `ValueError` saying what is wrong, one line a mistake."""
        text = _object_text(arguments)
        try:
            return dict(self._adapter.validate_json(text))
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()]
            raise ValueError("; ".join(lines)) from None


class Declared:
    """The arguments that a given JSON Schema describes, as tools from elsewhere bring it."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
        from referencing import Registry

        self.schema = dict(schema)
        dialect = validator_for(self.schema, default=Draft202012Validator)
        self._validator = dialect(self.schema, registry=Registry())

    def read(self, arguments: str) -> dict[str, Any]:
        """Return keywords for the function. Raise `ValueError` saying what is wrong."""
        from jsonschema.exceptions import best_match

        value: dict[str, Any] = json.loads(_object_text(arguments))
        broken = best_match(self._validator.iter_errors(value))
        if broken is not None:
            raise ValueError(f"{broken.json_path}: {broken.message[:300]}")
        return value


def _object_text(arguments: str) -> str:
    try:
        return read_object(arguments)[1]
    except ValueError as error:
        raise ValueError(f"arguments: Invalid JSON object: {error}") from None


def _arguments(name: str, function: Callable[..., Any]) -> Any:
    """Return a TypedDict of the parameters: unlike a model's fields, its keys may have any name."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{parameter} cannot be given by keyword")
        hint = hints.get(parameter.name, Any)
        fields[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    made = TypedDict(name, fields)  # type: ignore[misc]  # the checker wants literals; these are known at run time
    return with_config(ConfigDict(extra="forbid"))(made)


def _described(schema: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Return the schema with the signature's defaults, without the titles, which cost tokens and say nothing."""
    plain: dict[str, Any] = _untitled(schema)
    plain.setdefault("properties", {})
    for parameter in inspect.signature(function).parameters.values():
        if isinstance(parameter.default, str | int | float | bool):
            plain["properties"][parameter.name]["default"] = parameter.default
    return plain


def _untitled(value: Any) -> Any:
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    return {key: item if key in DATA_KEYS else _untitled(item) for key, item in kept.items()}
