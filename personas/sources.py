"""Where personas come from. A source maps a name to what was written under it, and sources compose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from providers.documents.yaml import read_packaged

PersonaSource = Callable[[str], Mapping[str, Any] | None]
"""Returns the persona written under a name, None where there is none. It may have `names()` to list what it holds."""

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

    def __call__(self, name: str) -> Mapping[str, Any] | None:
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
