"""Personas as commands read them: of the library, of a folder, of one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from orchestrator.cli.exits import Unusable
from orchestrator.cli.loading import interrupts_held
from orchestrator.squad.beside import files_in
from orchestrator.squad.who import FOLDER, is_file
from personas import Persona, Personas, packaged
from personas.markdown import persona_in
from personas.sources import PersonaFolder, PersonaSource, first_of, persona_name
from providers.documents.likeness import closest
from providers.documents.problems import Problem, SpecError
from providers.documents.yaml import ParsedFile, read_text


class PersonaFound(NamedTuple):
    """A persona and the file that it is read from; None: it comes with the package."""

    persona: Persona
    file: Path | None


def folder_of(home: Path) -> PersonaFolder:
    """Return the personas of a folder."""
    return PersonaFolder(lambda: files_in(home), lambda file: read_text(home / file), lambda file: str(home / file))


def own_folder(beside: Path = Path()) -> Path:
    """Return the folder of personas in this one."""
    return beside / FOLDER


def beside_file(file: str) -> PersonaSource:
    """Return what a persona's file may extend: its neighbours in a folder `personas`, those in the folder `personas`
    beside it, and the library."""
    home = Path(file).parent
    neighbours = home if home.resolve().name == FOLDER else own_folder(home)
    return first_of(folder_of(neighbours), packaged())


def parse_persona(file: str) -> ParsedFile:
    """Return a persona's file, YAML or Markdown. Raise `SpecError` where it cannot be read."""
    found: list[Problem] = []
    text = read_text(file)
    root = persona_in(text, file, found)
    return ParsedFile(file, text, root, tuple(found))


def persona_names() -> tuple[str, ...]:
    """Return the names of the personas in the working folder's `personas`, and of those of the library."""
    return Personas(first_of(folder_of(own_folder()), packaged())).names()


@interrupts_held()
def load_persona(name: str, folder: Path | None = None) -> Persona:
    """Return a persona by name or file. Raise `Unusable` where there is none, `SpecError` with its mistakes.

    One of `folder` (default: `personas` in the working folder) comes before one of the library.
    """
    return find_persona(name, folder).persona


def find_persona(name: str, folder: Path | None = None) -> PersonaFound:
    """Return what `load_persona` returns, with the file that it stands in."""
    if is_file(name):
        if not Path(name).is_file():
            raise Unusable(f"there is no persona file {name}", "`orchestrator personas new NAME` writes one")
        parsed = parse_persona(name)
        made = Personas(beside_file(name)).build(parsed.mapping(), persona_name(name) or None, read=parsed.found)
        return PersonaFound(made, Path(name))
    home = own_folder() if folder is None else folder
    own = folder_of(home)
    library = Personas(first_of(own, packaged()))
    if name not in library.names():
        close = closest(name, library.names())
        like = f"did you mean {close!r}? " if close else ""
        raise Unusable(f"there is no persona {name!r}", f"{like}the personas are: {', '.join(library.names())}")
    files = own.files_of(name)
    file = home / files[0] if files else None
    try:
        return PersonaFound(library.get(name), file)
    except SpecError as error:
        raise SpecError([replace(one, file=one.file or str(file or "")) for one in error.problems]) from None
