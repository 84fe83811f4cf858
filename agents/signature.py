"""What a tool takes: a JSON Schema to show, and a reader of what the model wrote. The one user of pydantic here."""

from __future__ import annotations

import inspect
import json
from collections import abc
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Annotated, Any, Never, NoReturn, NotRequired, Union, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict  # on Python 3.11 pydantic takes no other

from agents.argument_faults import in_words, of_schema
from agents.docstrings import described
from agents.errors import ToolFault
from agents.functions import NO_NAMES, docs_of, hints_of
from agents.tool_context import ToolContext
from providers.documents.arguments import Place, as_meant, read_object
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
    told: str = ""
    """What it is for, where a text in its `Annotated` says that."""


class Signature:
    """The arguments that a function's signature names, by their type hints.

    `schema` is what a model is shown, `description` what it is told of the function; `bare` is the schema without what
    the docstring says of parameters. `injected` are the parameters that take a `ToolContext`, with the type that the
    dependencies must have.
    """

    def __init__(self, name: str, function: Callable[..., Any], names: Mapping[str, Any] = NO_NAMES) -> None:
        """Raise `ToolFault` where a parameter or what it returns has no JSON Schema. `names`: see `local_names`."""
        try:
            hints = hints_of(function, names)
            every = inspect.signature(function).parameters.values()
            self.injected = injected_of(hints)
            shown = [one for one in every if one.name not in self.injected]
            self._parameters = [_parameter(one, hints.get(one.name, Any)) for one in shown]
            self._adapter = TypeAdapter(_arguments(name, self._parameters))
            self.bare = _described(self._adapter.json_schema(), shown, self._parameters)
        except (NameError, TypeError, PydanticUserError) as error:
            raise ToolFault(name, f"its parameters cannot be described: {_in_words(error)}") from error
        said = described(docs_of(function), [one.name for one in self._parameters])
        self.description = said.text
        self.schema = _told_of(self.bare, {**{one.name: one.told for one in self._parameters}, **said.parameters})
        contexts = [one for one in every if one.name in self.injected]
        if any(one.kind is not one.KEYWORD_ONLY for one in contexts) and _takes_unnamed(every):
            raise ToolFault(name, "its ToolContext can only be given by name: put it behind the * and the /")
        _check_returned(name, hints.get("return", Any))

    def read(self, arguments: str) -> dict[str, Any]:
        """Return the arguments by name. Raise `ValueError` saying what is wrong, one line a mistake."""
        text = _object_text(arguments)
        try:
            return dict(self._adapter.validate_json(text))
        except ValidationError as error:
            broken = error.errors(include_url=False)
        meant = as_meant(json.loads(text), self._mistakes)
        if meant is not None:
            return dict(self._adapter.validate_json(json.dumps(meant)))
        raise ValueError(in_words(broken, [one.name for one in self._parameters]))

    def _mistakes(self, value: dict[str, Any]) -> list[Place]:
        try:
            self._adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            return [one["loc"] for one in error.errors()]
        return []

    def placed(self, read: Mapping[str, Any], context: Any = None) -> tuple[list[Any], dict[str, Any]]:
        """Return what `read` returned as a call takes it: what has no name there, and what has one, the context too."""
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
        return args, {**kwargs, **given, **dict.fromkeys(self.injected, context)}

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

    description: str | None = None
    """What is told of the function is the tool's own word."""

    def __init__(self, schema: Mapping[str, Any], function: Callable[..., Any] | None = None) -> None:
        self.schema = self.bare = dict(schema)
        self.injected = {} if function is None else _injected(function)
        self._validator = validator_of(self.schema, check=False)

    def read(self, arguments: str) -> dict[str, Any]:
        """Return keywords for the function. Raise `ValueError` saying what is wrong, in bounded time."""
        value: dict[str, Any] = json.loads(_object_text(arguments))
        broken = self._validator.first_error(value)
        if broken is None:
            return value
        meant = as_meant(value, self._mistakes)
        if meant is None:
            raise ValueError(of_schema(broken))
        return meant

    def _mistakes(self, value: dict[str, Any]) -> list[Place]:
        broken = self._validator.first_error(value)
        return [] if broken is None else [list(broken.absolute_path)]

    def placed(self, read: Mapping[str, Any], context: Any = None) -> tuple[list[Any], dict[str, Any]]:
        """Return what `read` returned as a call takes it, and the context."""
        return [], {**read, **dict.fromkeys(self.injected, context)}


def injected_of(hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that take a `ToolContext`, each with the type of its dependencies; `Any`: it says none."""
    found: dict[str, Any] = {}
    for name, hint in hints.items():
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        for one in get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,):
            if name != "return" and (get_origin(one) or one) is ToolContext:
                found[name] = next(iter(get_args(one)), Any)
    return found


def _injected(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return injected_of(hints_of(function, NO_NAMES))
    except (NameError, TypeError):  # its parameters are described elsewhere: nobody asks for their types
        return {}


def _takes_unnamed(parameters: Iterable[inspect.Parameter]) -> bool:
    return any(one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL) for one in parameters)


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
    bare, told, words = _split(hint)
    said = [given, *told] if isinstance(given, FieldInfo) else told
    default = next((one for one in said if not one.is_required()), None)
    hint = Annotated[bare, *(it for one in said for it in _without_default(one))] if said else hint
    if default is not None and (given is parameter.empty or isinstance(given, FieldInfo)):
        make = partial(default.get_default, call_default_factory=True, validated_data={})
        return _Parameter(name, kind, hint, make, is_required=False, told=words)
    is_required = given is parameter.empty or isinstance(given, FieldInfo)
    return _Parameter(name, kind, hint, is_required=is_required, told=words)


def _split(hint: Any) -> tuple[Any, list[FieldInfo], str]:
    """Return a hint without the `Field`s in it, these, and the text beside the type that says what it is for."""
    if get_origin(hint) is not Annotated:
        return hint, [], ""
    bare, *extras = get_args(hint)
    fields = [one for one in extras if isinstance(one, FieldInfo)]
    others = [one for one in extras if not isinstance(one, FieldInfo)]
    words = next((one for one in extras if isinstance(one, str)), "")
    return Annotated[bare, *others] if others else bare, fields, words


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
    plain: dict[str, Any] = untitled(schema)
    properties = plain.setdefault("properties", {})
    for parameter, made in zip(signature, parameters, strict=True):
        default = parameter.default if made.default is None else made.default()
        if isinstance(default, str | int | float | bool) and parameter.name in properties:
            properties[parameter.name]["default"] = default
    return plain


def _told_of(schema: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema with what is said of each parameter, but where the schema says it already."""
    told = {
        name: {**one, "description": said[name]} if said.get(name) and "description" not in one else one
        for name, one in schema["properties"].items()
    }
    return {**schema, "properties": told}


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


def untitled(value: Any) -> Any:
    """Return a schema without the titles, which pydantic makes of names."""
    if isinstance(value, list):
        return [untitled(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    return {key: item if key in DATA_KEYS else untitled(item) for key, item in kept.items()}
