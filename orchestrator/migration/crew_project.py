"""The files of a CrewAI project: found and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.migration.crew_python import NO_CODE, CrewCode, crew_code, default_inputs
from orchestrator.migration.loose_yaml import LooseFile
from orchestrator.migration.notes import MigrationNotes
from providers.documents.problems import SpecError
from providers.documents.yaml import read_text

AGENTS, TASKS = "agents.yaml", "tasks.yaml"


class NoCrew(ValueError):
    """A folder in which no project was found, or several. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CrewProject:
    """What a project's files say. `given` are the inputs that its main.py hands over."""

    name: str
    agents: LooseFile
    tasks: LooseFile
    code: CrewCode = NO_CODE
    given: Mapping[str, Any] = field(default_factory=dict)


def read_project(folder: Path, notes: MigrationNotes) -> CrewProject:
    """Return the project in a folder. Raise `NoCrew` where there is none, `SpecError` where a file cannot be read."""
    home = _config_of(folder)
    agents, tasks = (LooseFile(str(file), read_text(file)) for file in (_file(home, AGENTS), _file(home, TASKS)))
    for file in (agents, tasks):
        for twice in file.twice:
            notes.add(
                "changed", f"{Path(file.file).name}: {twice}", "stands twice; the last one counts, as it did there"
            )
    package = home.parent if home.name == "config" else home
    code, given = NO_CODE, dict[str, Any]()
    try:
        if text := _python(package / "crew.py", notes):
            code = crew_code(text)
            notes.add("carried", "crew.py", "was read, not run")
    except SyntaxError as error:
        notes.add(
            "missing", "crew.py", f"is not Python that can be read: {error.msg}", "see what it sets beside the YAML"
        )
    try:
        given = default_inputs(_python(package / "main.py", notes))
    except SyntaxError:
        given = {}  # only defaults are read there
    return CrewProject(folder.resolve().name, agents, tasks, code, given)


def _config_of(folder: Path) -> Path:
    """Return the folder that has the project's YAML."""
    if not folder.is_dir():
        raise NoCrew(f"there is no folder {folder}", "name the folder of a CrewAI project")
    found = [home for home in _homes(folder) if _has(home, AGENTS) or _has(home, TASKS)]
    if len(found) > 1:
        raise NoCrew(f"{folder} holds several crews: {', '.join(map(str, found))}", "name the folder of one of them")
    if found:
        return found[0]
    for made in sorted((*folder.glob("crew.json*"), *folder.glob("src/*/crew.json*"))):
        hint = "write its agents and tasks, whose fields have the same names, to agents.yaml and tasks.yaml beside it"
        raise NoCrew(f"{made} is a crew in JSON, which is not read", hint)
    deeper = sorted({path.parent.parent for path in folder.glob(f"src/*/crews/*/config/{AGENTS}")})
    hint = f"name one of its crews: {', '.join(map(str, deeper))}" if deeper else "name the folder that has agents.yaml"
    places = f"{folder}, {folder / 'config'}, or {folder / 'src' / '*' / 'config'}"
    raise NoCrew(f"there is no {AGENTS} or {TASKS} in {places}", hint)


def _homes(folder: Path) -> Iterator[Path]:
    yield from (folder, folder / "config")
    yield from sorted(folder.glob("src/*/config"))


def _has(home: Path, name: str) -> bool:
    return (home / name).is_file() or (home / name).with_suffix(".yml").is_file()


def _file(home: Path, name: str) -> Path:
    file = home / name
    if file.is_file():
        return file
    if file.with_suffix(".yml").is_file():
        return file.with_suffix(".yml")
    raise NoCrew(f"there is no {name} in {home}", "a crew has agents.yaml and tasks.yaml side by side")


def _python(file: Path, notes: MigrationNotes) -> str:
    """Return the text of a Python file; empty where there is none, or it cannot be read."""
    if not file.is_file():
        return ""
    try:
        return read_text(file)
    except SpecError as error:
        notes.add("missing", file.name, f"cannot be read: {error.problems[0].message}")
        return ""
