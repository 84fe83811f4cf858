"""What came with a squad's text, and the files beside it that it names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agents.tools import Tool
from orchestrator.squad.given import InputType
from orchestrator.squad.given_files import read_default, unfit_below
from orchestrator.squad.given_values import RawInput, UnreadInput
from orchestrator.squad.include_files import IncludedFiles
from orchestrator.squad.sources import (
    PERSONA,
    SQUAD,
    files_gone,
    persona_in,
    personas_of_folder,
    prompt_in,
    routing_in,
    sources_of,
    squad_in,
)
from orchestrator.squad.who import FOLDER
from personas.markdown import persona_in as persona_in_text
from personas.sources import PersonaFolder, persona_name
from providers.catalog.file import load_catalog
from providers.catalog.model import Catalog
from providers.documents.nodes import Node
from providers.documents.problems import Problem
from providers.documents.yaml import ParsedFile, read_once
from providers.policy.model import Policy
from providers.policy.parse import default_policy, parse_policy


@dataclass(frozen=True, slots=True)
class Beside:
    """`sources`, where they are given, stand for all files: none is read."""

    personas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routing: Mapping[str, Any] | None = None
    sources: Mapping[str, str] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    """The files that were read beside the squad's own, by path."""
    tools: tuple[Tool, ...] = ()
    where_gone: Mapping[str, str] = field(default_factory=dict)
    above: tuple[str, ...] = ()
    """The files of the squads that this one is a sub-squad of, the outermost first."""
    included: dict[str, str] = field(default_factory=dict)
    """The texts of the files that the squad includes, by path."""
    told: dict[str, str] = field(default_factory=dict)
    """The texts of the personas' files that were read, by path."""

    def whole(self, parsed: ParsedFile) -> ParsedFile:
        """Return a squad's file with all that it includes."""
        return IncludedFiles(self.texts, self.sources, self.where_gone, self.included).whole(parsed)

    def inner(self, path: str, file: Path, above: tuple[str, ...]) -> tuple[str, Beside]:
        """Return the text of a sub-squad's file, and what comes with it: all but the routing."""
        sources, gone = self.sources, sources_of(self.where_gone, path)
        if sources is not None:
            text, sources = squad_in(sources, path), sources_of(sources, path)
        elif not file.exists() and SQUAD + path in self.where_gone:
            text = self.texts[str(file)] = squad_in(self.where_gone, path)
        else:
            text = read_once(file, self.texts)
        self.texts.update(files_gone(gone, file.parent))
        return text, Beside(self.personas, None, sources, self.texts, self.tools, gone, above)

    def default(self, folder: Path, path: str, kind: InputType) -> RawInput | UnreadInput:
        """Return the file that is the default of an input: it lies below the `folder` of the squad's file."""
        if self.sources is not None:
            return UnreadInput(f"the file '{path}' is not in the record", "give the input")
        return read_default(folder, path, kind)

    def prompt(self, folder: Path, path: str) -> str:
        """Return a file of instructions. It lies below the folder of the squad's; one that holds keys is not read."""
        if self.sources is not None:
            return prompt_in(self.sources, path.strip())
        if why := unfit_below(folder, path.strip()):
            raise PermissionError(1, why, path)
        return read_once(folder / path.strip(), self.texts)

    def persona(self, folder: Path, path: str, found: list[Problem]) -> Node:
        """Return what a persona's file says: it stands beside the squad's."""
        if self.sources is not None:
            return persona_in(self.sources, path, found)
        file = folder / path
        text = self.told[path] = read_once(file, self.texts)
        return persona_in_text(text, str(file), found)

    def persona_folder(self, folder: Path) -> PersonaFolder:
        """Return the personas of the folder `personas` in the `folder` of the squad's file."""

        def read(name: str) -> str:
            path = f"{FOLDER}/{name}"
            if self.sources is not None:
                return self.sources[PERSONA + path]
            text = self.told[path] = read_once(folder / path, self.texts)
            return text

        home = Path(FOLDER) if self.sources is not None else folder / FOLDER
        return PersonaFolder(partial(self._files_in, folder / FOLDER), read, lambda name: str(home / name))

    def _files_in(self, folder: Path) -> list[str]:
        """Return the names of the files of a folder; of those that are gone, the ones whose place no other took."""
        if self.sources is not None:
            return personas_of_folder(self.sources)
        found = files_in(folder)
        taken = set(map(persona_name, found))
        gone = (Path(file) for file in self.texts if Path(file).parent == folder and not Path(file).exists())
        return [*found, *(file.name for file in gone if persona_name(file.name) not in taken)]


def files_in(folder: Path) -> list[str]:
    """Return the names of the files of a folder; none where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file()]
    return []


def recorded_routing(sources: Mapping[str, str]) -> tuple[Policy, Catalog]:
    """Return the routing that a record holds."""
    catalog, root = load_catalog(), routing_in(sources)
    return (default_policy(catalog), catalog) if root is None else parse_policy(root, catalog)
