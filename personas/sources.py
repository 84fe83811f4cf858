"""Where personas come from. A source maps a name to what was written under it, and sources compose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from personas.errors import PersonaAmbiguous
from personas.markdown import MARKDOWN, YAML, is_markdown, persona_in
from providers.documents.nodes import Node
from providers.documents.yaml import read_packaged

PersonaSource = Callable[[str], Mapping[str, Any] | Node | None]
"""Returns the persona written under a name, None where there is none. It may have `names()` to list what it holds.

It may raise `PersonaAmbiguous`, and `SpecError` where a file cannot be read.
"""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def listed(source: PersonaSource) -> tuple[str, ...]:
    """Return the sorted names that `source` can list: none where it is a plain function."""
    names: Callable[[], Iterable[str]] | None = getattr(source, "names", None)
    return tuple(sorted(set(names()))) if names else ()


@dataclass(frozen=True, slots=True)
class _InMemory:
    mapping: Mapping[str, Mapping[str, Any]]

    def __call__(self, name: str) -> Mapping[str, Any] | None:
        return self.mapping.get(name)

    def names(self) -> Iterable[str]:
        return self.mapping


@dataclass(frozen=True, slots=True)
class _FirstOf:
    sources: tuple[PersonaSource, ...]

    def __call__(self, name: str) -> Mapping[str, Any] | Node | None:
        return next((found for source in self.sources if (found := source(name)) is not None), None)

    def names(self) -> Iterable[str]:
        return (name for source in self.sources for name in listed(source))


class _Packaged:
    """Reads a file when its persona is asked for, never before."""

    def __call__(self, name: str) -> Mapping[str, Any] | None:
        if not _NAME.fullmatch(name):  # it becomes part of a path
            return None
        file = _library() / f"{name}.yaml"
        if not file.is_file():
            return None
        written: Mapping[str, Any] = read_packaged(file)
        return written

    def names(self) -> Iterable[str]:
        return (file.name.removesuffix(".yaml") for file in _library().iterdir() if file.name.endswith(".yaml"))


@dataclass(frozen=True, slots=True)
class PersonaFolder:
    """The personas of a folder, by the names of their files: NAME.yaml, NAME.yml, NAME.md or NAME.markdown.

    `files` lists the names of its files, `read` returns the text of one, `shown` its path as messages have it. A file
    is read when its persona is asked for. A README is no persona.
    """

    files: Callable[[], Iterable[str]]
    read: Callable[[str], str]
    shown: Callable[[str], str]
    _listed: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def __call__(self, name: str) -> Node | None:
        found = self.files_of(name)
        if len(found) > 1:
            both = " and ".join(self.shown(file) for file in found)
            raise PersonaAmbiguous(f"{name!r} is {both}: keep one of them")
        return persona_in(self.read(found[0]), self.shown(found[0])) if found else None

    def names(self) -> Iterable[str]:
        return self._by_name()

    def files_of(self, name: str) -> Sequence[str]:
        """Return the names of the files that may hold a persona: one, unless two share its name."""
        return self._by_name().get(name, [])

    def _by_name(self) -> Mapping[str, list[str]]:
        if not self._listed:
            for file in sorted(self.files()):
                if is_persona(file):
                    self._listed.setdefault(persona_name(file), []).append(file)
        return self._listed


def persona_name(file: str) -> str:
    """Return the name of the persona in a file of this name; empty where it is none."""
    name = file.replace("\\", "/").rpartition("/")[2]
    ending = next((one for one in (*YAML, *MARKDOWN) if name.lower().endswith(one)), "")
    return name[: -len(ending)] if ending and not name.startswith(".") else ""


def is_persona(file: str) -> bool:
    """Whether a file of this name, in a folder of personas, is one."""
    name = persona_name(file)
    return bool(name) and not (is_markdown(file) and name.casefold() == "readme")


def in_memory(mapping: Mapping[str, Mapping[str, Any]]) -> PersonaSource:
    """Return a source of what `mapping` holds by name."""
    return _InMemory(mapping)


def first_of(*sources: PersonaSource) -> PersonaSource:
    """Return a source that asks `sources` in order and takes the first answer."""
    return _FirstOf(sources)


def packaged() -> PersonaSource:
    """Return the source of the personas that come with this package."""
    return _Packaged()


def _library() -> Traversable:
    return files("personas") / "library"
