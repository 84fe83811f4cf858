"""The files of a CrewAI project: found and read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.migration.crew_classes import Classes, classes_in
from orchestrator.migration.crew_file import CrewFile, NamesInText
from orchestrator.migration.crew_json import json_crew, json_file
from orchestrator.migration.crew_python import CrewCode, crew_code, default_inputs, parsed
from orchestrator.migration.loose_yaml import LooseFile
from orchestrator.migration.notes import MigrationNotes
from providers.documents.problems import SpecError
from providers.documents.yaml import read_text

AGENTS, TASKS, CREW = "agents.yaml", "tasks.yaml", "crew.py"
_MOST_FILES = 200
_NOT_THEIRS = frozenset({"venv", "env", "node_modules", "site-packages", "tests"})


class NoCrew(ValueError):
    """A folder in which no project was found, or several. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CrewProject:
    """What a project's files say. `given` are the inputs that its main.py hands over, `classes` those of its Python."""

    name: str
    agents: CrewFile
    tasks: CrewFile
    code: CrewCode = field(default_factory=CrewCode)
    given: Mapping[str, Any] = field(default_factory=dict)
    classes: Classes = field(default_factory=dict)


class _CodeFile(NamedTuple):
    """A file of Python that has a crew."""

    file: Path
    text: str
    code: CrewCode


def read_project(folder: Path, notes: MigrationNotes) -> CrewProject:
    """Return the project in a folder. Raise `NoCrew` where there is none, `SpecError` where a file cannot be read."""
    if folder.is_file():
        raise NoCrew(f"{folder} is a file", f"name its folder: {folder.parent}")
    if not folder.is_dir():
        raise NoCrew(f"there is no folder {folder}", "name the folder of a CrewAI project")
    written = {name: _written(folder, name) for name in (AGENTS, TASKS)}
    homes = {file.parent for file in written.values() if file is not None}
    if not homes and (file := _json_crew(folder)) is not None:
        made = json_crew(file, read_text)
        return CrewProject(made.name, made.agents, made.tasks, made.code, made.given, _classes(file.parent))
    packages = [home.parent if home.name == "config" else home for home in sorted(homes)]
    coded = _code_of(packages or [folder, *sorted(folder.glob("src/*"))], notes)
    if coded is None:
        for name, found in written.items():
            if found is None:
                raise _nothing(folder, name, homes)
    else:
        notes.add("carried", coded.file.name, "was read, not run")
    agents, tasks = (_file(folder, name, file, coded, notes) for name, file in written.items())
    package = packages[0] if coded is None else coded.file.parent
    code = CrewCode() if coded is None else coded.code
    given = _given(package / "main.py", notes) or ({} if coded is None else default_inputs(coded.text))
    return CrewProject(folder.resolve().name, agents, tasks, code, given, _classes(package))


# -- YAML


def _written(folder: Path, name: str) -> Path | None:
    """Return the YAML file of this name. Raise `NoCrew` where there are several."""
    homes = (folder, folder / "config", *sorted(folder.glob("src/*/config")))
    stem = Path(name).stem
    found = [file for home in homes for ending in (".yaml", ".yml") if (file := home / f"{stem}{ending}").is_file()]
    if len({file.parent for file in found}) > 1:
        where = ", ".join(str(file.parent) for file in found)
        raise NoCrew(f"{folder} holds several crews: {where}", "name the folder of one of them")
    return found[0] if found else None


def _file(folder: Path, name: str, file: Path | None, coded: _CodeFile | None, notes: MigrationNotes) -> CrewFile:
    """Return what is written of the agents, or of the tasks: where the class says that it lies, else where it was
    found. A crew may have none, and say all of it in Python."""
    if coded is not None and (said := coded.code.files.get(f"{Path(name).stem}_config")) is not None:
        named = coded.file.parent / said
        if not named.resolve().is_relative_to(root := _root(folder)):
            hint = "name the folder that holds both, or put a pyproject.toml there"
            raise NoCrew(f"{coded.file} reads {said}, which lies outside of {root}", hint)
        if named.is_file():
            file = named
    if file is None:
        assert coded is not None, "a project has YAML, or code"
        return NamesInText(str(coded.file), coded.text, {})
    made = LooseFile(str(file), read_text(file))
    for twice in made.twice:
        notes.add("changed", f"{file.name}: {twice}", "is there twice; the last one counts, as it did there")
    return made


def _root(folder: Path) -> Path:
    """Return the top of the project: the nearest folder above that has a pyproject.toml, else the folder itself."""
    here = folder.resolve()
    return next((above for above in (here, *here.parents) if (above / "pyproject.toml").is_file()), here)


def _nothing(folder: Path, name: str, homes: set[Path]) -> NoCrew:
    if homes:
        return NoCrew(f"there is no {name} in {homes.pop()}", "a crew has agents.yaml and tasks.yaml, or a crew.py")
    deeper = {path.parent.parent for path in folder.glob(f"src/*/crews/*/config/{AGENTS}")}
    deeper |= {path.parent for path in folder.glob("src/*/crews/*/*.py") if path.name != "__init__.py"}
    named = ", ".join(map(str, sorted(deeper)))
    hint = (
        f"name one of its crews: {named}" if deeper else "name the folder that has agents.yaml, crew.py or crew.jsonc"
    )
    if not deeper and (made := [str(file) for file in _first_files(folder) if "Agent(" in _readable(file)]):
        where = ", ".join(made[:3])
        hint = f"agents are made in {where}, in a way that is not read: write them to agents.yaml and tasks.yaml"
    places = f"{folder}, {folder / 'config'}, or {folder / 'src' / '*' / 'config'}"
    return NoCrew(f"there is no {AGENTS} or {TASKS} in {places}, and no crew in Python or JSON", hint)


def _json_crew(folder: Path) -> Path | None:
    """Return the crew in JSON. Raise `NoCrew` where there are several."""
    found = [file for home in (folder, *sorted(folder.glob("src/*"))) if (file := json_file(home, "crew")) is not None]
    if len(found) > 1:
        raise NoCrew(f"{folder} holds several crews: {', '.join(map(str, found))}", "name the folder of one of them")
    return found[0] if found else None


# -- Python


def _code_of(packages: list[Path], notes: MigrationNotes) -> _CodeFile | None:
    """Return the file that has the crew: crew.py before others, a class before a script. The others are told."""
    found = list[_CodeFile]()
    for file in (file for package in packages for file in sorted(package.glob("*.py"))):
        text = _python(file, notes)
        try:
            code = crew_code(text)
        except SyntaxError as error:
            if file.name == CREW:
                what = f"is not Python that can be read: {error.msg}"
                notes.add("missing", file.name, what, "see what it sets beside the YAML")
            continue
        if code.agents or code.tasks or code.crew:
            found.append(_CodeFile(file, text, code))
    found.sort(key=lambda one: (one.file.name != CREW, not one.code.is_class))
    for other in found[1:]:
        notes.add("missing", other.file.name, "is another crew, and is not read", "import it from a folder of its own")
    return found[0] if found else None


def _given(file: Path, notes: MigrationNotes) -> dict[str, Any]:
    try:
        return dict(default_inputs(_python(file, notes)))
    except SyntaxError:
        return {}  # only defaults are read there


def _python(file: Path, notes: MigrationNotes) -> str:
    """Return the text of a Python file; empty where there is none, or it cannot be read."""
    if not file.is_file():
        return ""
    try:
        return read_text(file)
    except SpecError as error:
        notes.add("missing", file.name, f"cannot be read: {error.problems[0].message}")
        return ""


def _classes(package: Path) -> Classes:
    """Return the classes of a project's Python, as far as it can be read."""
    trees = []
    for file in _first_files(package):
        with suppress(SyntaxError):  # what it would have told of is told by the name of the class
            trees.append(parsed(_readable(file)))
    return classes_in(trees)


def _readable(file: Path) -> str:
    try:
        return read_text(file)
    except SpecError:
        return ""


def _first_files(package: Path) -> Iterator[Path]:
    """Yield the files of Python below a folder, up to a bound."""
    return islice(_python_files(package), _MOST_FILES)


def _python_files(package: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(package):
        inner[:] = sorted(name for name in inner if name not in _NOT_THEIRS and not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(".py"))
