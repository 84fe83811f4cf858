"""What a tool takes: a JSON Schema to show, and a reader of what the model wrote. The one user of pydantic here."""

from __future__ import annotations

import inspect
import json
from collections import abc
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Never, NoReturn, NotRequired, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict  # on Python 3.11 pydantic takes no other

from agents.errors import ToolFault
from agents.functions import NO_NAMES, hints_of
from providers.documents.arguments import read_object
from providers.documents.json_schema import validator_of

_LAZY = (
    *(abc.Iterator, abc.Iterable, abc.Generator, abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator),
    *(abc.Awaitable, abc.Coroutine),
)
"""What a call returns that is waited for, or gone through, before the model is told of it."""
DATA_KEYS = frozenset({"default", "const", "enum", "examples"})


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter: what validates it, and how what stands for it where the model gives nothing is made."""

    name: str
    kind: Any
    hint: Any
    default: Callable[[], Any] | None = None
    """Makes what a `Field` says; None: the function has a default of its own, or the model must give a value."""
    is_required: bool = True


class Signature:
    """The arguments that a function's signature names, by their type hints."""

    def __init__(self, name: str, function: Callable[..., Any], names: Mapping[str, Any] = NO_NAMES) -> None:
        """Raise `ToolFault` where a parameter or what it returns has no JSON Schema. `names`: see `local_names`."""
        try:
            hints = hints_of(function, names)
            signature = inspect.signature(function)
            self._parameters = [_parameter(one, hints.get(one.name, Any)) for one in signature.parameters.values()]
            self._adapter = TypeAdapter(_arguments(name, self._parameters))
            self.schema = _described(self._adapter.json_schema(), signature.parameters.values(), self._parameters)
        except (NameError, TypeError, PydanticUserError) as error:
            raise ToolFault(name, f"its parameters cannot be described: {_in_words(error)}") from error
        _check_returned(name, hints.get("return", Any))

    def read(self, arguments: str) -> dict[str, Any]:
        """Return the arguments by name. Raise `ValueError` saying what is wrong, one line a mistake."""
        text = _object_text(arguments)
        try:
            return dict(self._adapter.validate_json(text))
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()]
            raise ValueError("; ".join(lines)) from None

    def placed(self, read: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return what `read` returned as a call takes it: what has no name there, and what has one."""
        given, args, kwargs = dict(read), list[Any](), dict[str, Any]()
        for one in self._parameters:
            is_given, value = one.name in given, given.pop(one.name, None)
            if not is_given and one.default is not None:
                is_given, value = True, one.default()
            if not is_given:
                continue
            if one.kind is inspect.Parameter.POSITIONAL_ONLY:
                args.append(value)
            elif one.kind is inspect.Parameter.VAR_POSITIONAL:
                args += value
            else:
                kwargs[one.name] = value
        if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in self._parameters):
            args, kwargs = self._in_their_places(args, kwargs)
        return args, {**kwargs, **given}

    def _in_their_places(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with those before `*args` given by their place, as there is something behind them."""
        ahead: list[Any] = []
        for one in self._parameters if args else ():
            if one.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
                continue
            if one.name not in kwargs:
                raise ValueError(f"{one.name}: give it too, as it stands before the others")
            ahead.append(kwargs.pop(one.name))
        return [*ahead, *args], kwargs


class Declared:
    """The arguments that a given JSON Schema describes, as tools from elsewhere bring it."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)
        self._validator = validator_of(self.schema, check=False)

    def read(self, arguments: str) -> dict[str, Any]:
        """Return keywords for the function. Raise `ValueError` saying what is wrong, in bounded time."""
        value: dict[str, Any] = json.loads(_object_text(arguments))
        broken = self._validator.first_error(value)
        if broken is not None:
            raise ValueError(f"{broken.json_path}: {broken.message[:300]}")
        return value

    def placed(self, read: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return what `read` returned as a call takes it."""
        return [], dict(read)


def _object_text(arguments: str) -> str:
    try:
        return read_object(arguments)[1]
    except ValueError as error:
        raise ValueError(f"arguments: Invalid JSON object: {error}") from None


def _parameter(parameter: inspect.Parameter, hint: Any) -> _Parameter:
    name, kind, given = parameter.name, parameter.kind, parameter.default
    if name == "self" and hint is Any:
        raise TypeError("it is a method without its object: give the object's own, `thing.method`")
    if kind is parameter.VAR_POSITIONAL:
        return _Parameter(name, kind, list[hint], is_required=False)
    if kind is parameter.VAR_KEYWORD:
        return _Parameter(name, kind, hint, is_required=False)
    bare, told = _split(hint)
    said = [given, *told] if isinstance(given, FieldInfo) else told
    default = next((one for one in said if not one.is_required()), None)
    hint = Annotated[bare, *(it for one in said for it in _without_default(one))] if said else hint
    if default is not None and (given is parameter.empty or isinstance(given, FieldInfo)):
        make = partial(default.get_default, call_default_factory=True, validated_data={})
        return _Parameter(name, kind, hint, make, is_required=False)
    return _Parameter(name, kind, hint, is_required=given is parameter.empty or isinstance(given, FieldInfo))


def _split(hint: Any) -> tuple[Any, list[FieldInfo]]:
    """Return a hint without the `Field`s in it, and these."""
    if get_origin(hint) is not Annotated:
        return hint, []
    bare, *extras = get_args(hint)
    fields = [one for one in extras if isinstance(one, FieldInfo)]
    others = [one for one in extras if not isinstance(one, FieldInfo)]
    return Annotated[bare, *others] if others else bare, fields


def _without_default(field: FieldInfo) -> list[Any]:
    """Return what a field says but for its default, which a TypedDict cannot have: bounds, and what it is for."""
    if field.is_required():
        return [field]
    return [*field.metadata, Field(description=field.description, examples=field.examples, alias=field.alias)]


def _arguments(name: str, parameters: Sequence[_Parameter]) -> Any:
    """Return a TypedDict of the parameters: unlike a model's fields, its keys may have any name."""
    named = [one for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
    fields = {one.name: one.hint if one.is_required else NotRequired[one.hint] for one in named}
    made = TypedDict(name, fields)  # type: ignore[misc]  # the checker wants literals; these are known at run time
    takes_more = len(named) < len(parameters)
    return with_config(ConfigDict(extra="allow" if takes_more else "forbid"))(made)


def _described(
    schema: dict[str, Any], signature: Iterable[inspect.Parameter], parameters: Sequence[_Parameter]
) -> dict[str, Any]:
    """Return the schema with the signature's defaults, without the titles, which cost tokens and say nothing."""
    plain: dict[str, Any] = _untitled(schema)
    properties = plain.setdefault("properties", {})
    for parameter, made in zip(signature, parameters, strict=True):
        default = parameter.default if made.default is None else made.default()
        if isinstance(default, str | int | float | bool) and parameter.name in properties:
            properties[parameter.name]["default"] = default
    return plain


def _check_returned(name: str, hint: Any) -> None:
    """Raise `ToolFault` where what the function says it returns can never be told to a model."""
    while get_origin(hint) in _LAZY:
        arguments = get_args(hint)
        hint = arguments[2] if get_origin(hint) is Coroutine and len(arguments) == 3 else (arguments or (Any,))[0]
    if hint is None or hint in (NoReturn, Never) or hint in _LAZY:
        return
    try:
        TypeAdapter(hint)
    except (NameError, TypeError, PydanticUserError) as error:
        what = "return text, numbers, lists, mappings, dataclasses or pydantic models"
        raise ToolFault(name, f"what it returns cannot be told to a model: {_in_words(error)}; {what}") from error


def _in_words(error: Exception) -> str:
    """Return the first line of an error: pydantic adds advice about its own settings, and a link."""
    return str(error).strip().partition("\n")[0]


def _untitled(value: Any) -> Any:
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    return {key: item if key in DATA_KEYS else _untitled(item) for key, item in kept.items()}
