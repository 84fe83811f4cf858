"""Who speaks: a persona as it is written, as it is merged from its ancestors, and as the text that a model reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from personas.sources import Source, listed

if TYPE_CHECKING:
    from personas.sandbox import Template

Path = tuple[str | int, ...]
Problem = tuple[Path, str]

MAX_ANCESTORS = 16

# C0 without tab and line ends, DEL, C1, and surrogates, which no UTF-8 can carry to a model. Format characters such as
# ZWJ and the bidirectional marks stay: emoji and right-to-left scripts are made of them.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class PersonaError(ValueError):
    """A persona that cannot be made. `problems` holds them all: each a path into the mapping, and a sentence."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(": ".join((*_spelled(path), message)) for path, message in self.problems))


def _spelled(path: Path) -> tuple[str, ...]:
    return (".".join(map(str, path)),) if path else ()


def _readable(text: str) -> str:
    if bad := _UNREADABLE.search(text):
        raise ValueError(f"holds the unreadable character U+{ord(bad.group()):04X} at position {bad.start()}")
    return text


def _named(tool: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(tool, dict) and not isinstance(tool.get("name"), str):
        raise ValueError("a tool given as a mapping needs a 'name'")
    return tool


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable)]
Prose = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_readable)]
Tool = Annotated[Line | dict[str, Any], AfterValidator(_named)]


class PersonaSpec(BaseModel):
    """What may be written of a persona. A field left out comes from the persona that it extends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extends: Line | None = Field(None, description="The persona to build on: scalars replace, lists append, maps merge")
    name: Line | None = Field(None, description="What it is called: Amelia")
    title: Line | None = Field(None, description="What it is: Developer")
    role: Prose | None = Field(None, description="What it is responsible for, in a sentence")
    identity: Prose | None = Field(None, description="Who it is and how it thinks")
    style: Prose | None = Field(None, description="How it speaks")
    principles: list[Prose] = Field([], max_length=100, description="What it holds to, one sentence each")
    tier: Line | None = Field(None, description="The class of models that it needs")
    tools: list[Tool] = Field([], max_length=100, description="Tools by name, or mappings with a name")
    template: Prose | None = Field(None, description="A packaged template's name, or a template's own text")
    produces: list[Line] = Field([], max_length=100, description="The artifacts that it makes")


@dataclass(frozen=True, slots=True)
class Persona:
    """Who speaks, resolved. `name` is its id ("dev"), `display_name` what it is called ("Amelia")."""

    name: str
    display_name: str
    role: str
    title: str = ""
    identity: str = ""
    style: str = ""
    principles: tuple[str, ...] = ()
    tier: str = "worker"
    tools: tuple[str | Mapping[str, Any], ...] = ()
    template: str = "persona"
    produces: tuple[str, ...] = ()

    def instructions(self, values: Mapping[str, Any] | None = None) -> str:
        """Return the system prompt: the same text for the same persona and values.

        A template sees the persona's fields as `persona` and the `values` by their names. The packaged one uses
        `squad` (text) and `colleagues` (mappings with `name` and `title`) where given. Raise `TemplateError` where
        the template is wrong or asks for a value that is not given.
        """
        fields = {slot: getattr(self, slot) for slot in self.__slots__}
        return _template(self.template).render({**(values or {}), "persona": fields})


@lru_cache(maxsize=128)  # a template is a pure function of its text, and parsing costs a hundred renderings
def _template(named: str) -> Template:
    from personas.sandbox import Sandbox, TemplateError

    if "{{" in named or "{%" in named:
        return Sandbox().template(named)
    known = {file.name.removesuffix(".md.j2"): file for file in (files("personas") / "templates").iterdir()}
    if named not in known:
        raise TemplateError(f"{named!r} is not a template{_nearest(named, known)}; a template's text holds '{{{{'")
    return Sandbox().template(known[named].read_text("utf-8"))


class Personas:
    """Personas by name, from one source, each made once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._made: dict[str, Persona] = {}

    def names(self) -> tuple[str, ...]:
        """Return the sorted names that the source can list."""
        return listed(self._source)

    def get(self, name: str) -> Persona:
        """Return the persona written under `name`. Raise `PersonaError` where there is none or it is wrong."""
        if name not in self._made:
            self._made[name] = self.build({"extends": name})
        return self._made[name]

    def build(self, mapping: Mapping[str, Any], name: str | None = None) -> Persona:
        """Return the persona that `mapping` describes, merged over what it extends.

        Its id is `name`, else that of the nearest ancestor, else its own name in lower case. Raise `PersonaError`
        with every problem at once; their paths lead into `mapping`.
        """
        layers, problems = self._layers(mapping)
        if problems:
            raise PersonaError(problems)
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            merged = merge(merged, layer)
        ancestor = layers[0].get("extends")
        merged.pop("extends", None)
        return _persona(merged, name or ancestor or _slug(merged))

    def _layers(self, mapping: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Problem]]:
        """Return `mapping` and its ancestors, nearest first, and what is wrong with them."""
        problems = _problems(mapping)
        if any(not path for path, _ in problems):  # not even a mapping
            return [], problems
        layers = [mapping]
        lineage: list[str] = []
        while isinstance(parent := layers[-1].get("extends"), str):
            if parent in lineage:
                cycle = " -> ".join([*lineage[lineage.index(parent) :], parent])
                return layers, [*problems, (("extends",), f"personas extend each other: {cycle}")]
            if len(lineage) == MAX_ANCESTORS:
                return layers, [*problems, (("extends",), f"more than {MAX_ANCESTORS} personas extend each other")]
            lineage.append(parent)
            found = self._source(parent)
            if found is None:
                message = f"{parent!r} is not a persona{_nearest(parent, self.names())}"
                return layers, [*problems, (("extends",), message + _via(lineage[:-1]))]
            if wrong := _problems(found):
                via = [(("extends",), ": ".join((*_spelled(path), text)) + _via(lineage)) for path, text in wrong]
                return layers, [*problems, *via]
            layers.append(found)
        return layers, problems


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on it: scalars replace, lists append, maps merge. Neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        match merged.get(key), value:
            case list() | tuple() as old, list() | tuple():
                merged[key] = [*old, *value]
            case Mapping() as old, Mapping():
                merged[key] = merge(old, value)
            case _:
                merged[key] = value
    return merged


def _persona(merged: Mapping[str, Any], name: str) -> Persona:
    from personas.sandbox import TemplateError

    lists: dict[str, Any] = {key: tuple(merged.get(key, ())) for key in ("principles", "tools", "produces")}
    scalars = {
        key: merged[key] for key in ("title", "role", "identity", "style", "tier", "template") if merged.get(key)
    }
    if "role" not in scalars:
        raise PersonaError([(("role",), "a persona needs a role: what it is responsible for, in a sentence")])
    persona = Persona(name=name, display_name=merged.get("name") or merged.get("title") or name, **scalars, **lists)
    try:
        _template(persona.template)
    except TemplateError as error:
        raise PersonaError([(("template",), error.message)]) from None
    return persona


def _slug(merged: Mapping[str, Any]) -> str:
    words = re.findall(r"\w+", str(merged.get("name") or merged.get("title") or ""))
    return "-".join(words).lower() or "custom"


def _problems(mapping: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with one mapping by itself, in the order of its fields."""
    try:
        PersonaSpec.model_validate(mapping)
    except ValidationError as error:
        # A tool fails as a name and as a mapping; the first says it for both.
        told = [detail for detail in error.errors() if detail["type"] != "dict_type"]
        return [_problem(detail["loc"], detail["type"], detail["msg"]) for detail in told]
    return []


def _problem(location: Path, kind: str, message: str) -> Problem:
    if kind == "extra_forbidden":
        field = str(location[-1])
        return location, f"{field!r} is not a field of a persona{_nearest(field, PersonaSpec.model_fields)}"
    if kind == "model_type":
        return location, "a persona is a mapping of fields"
    if location[:1] == ("tools",) and kind == "string_type":
        return location[:2], "a tool is a name or a mapping"
    # The two forms of a tool are told apart by a third step, which leads nowhere in what was written.
    path = location[:2] if location[:1] == ("tools",) else location
    return path, message.removeprefix("Value error, ").removeprefix("Input ")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _via(lineage: list[str]) -> str:
    return f" (in persona {lineage[-1]!r})" if lineage else ""
