"""A crew in JSON with comments: `crew.jsonc`, and a file for each agent. It is what `crewai create crew` writes.

Source: CrewAI 1.15, `project/json_loader.py`: `agents/NAME.jsonc` beside the crew; what stands in an agent's `settings`
stands in the agent; `{"python": "module.name"}` is code; a manager need not be among the crew's `agents`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.migration.crew_file import NamesInText
from orchestrator.migration.crew_python import CrewCode, CrewPart, PythonCode
from providers.documents.nodes import Mark, source_of
from providers.documents.problems import SpecError
from providers.documents.yaml import MAX_BYTES

ENDINGS = (".jsonc", ".json")
_TOKENS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\\n]|\\.)*")|,(?=\s*[\]}])')


class JsonCrew(NamedTuple):
    """The parts of a crew in JSON, as those of other projects are."""

    agents: NamesInText
    tasks: NamesInText
    code: CrewCode
    given: Mapping[str, Any]
    name: str


def json_file(folder: Path, stem: str) -> Path | None:
    """Return the file of this name in JSON, the one with comments first; None where there is none."""
    return next((file for ending in ENDINGS if (file := folder / f"{stem}{ending}").is_file()), None)


def json_crew(file: Path, read: Callable[[Path], str]) -> JsonCrew:
    """Return the crew of a `crew.jsonc`. Raise `SpecError` where it, or a file of its agents, cannot be read."""
    text = read(file)
    crew = _object(str(file), text)
    at_crew = NamesInText(str(file), text, {})

    def agent(name: str) -> dict[str, Any]:
        own = json_file(file.parent / "agents", name) if re.fullmatch(r"[\w. -]+", name) else None
        if own is None:
            message = f"no file is called {file.parent / 'agents' / name}.jsonc"
            raise at_crew.error((name,), "unknown-agent", message, "each agent has a file of its own")
        fields = _object(str(own), read(own))
        settings = fields.pop("settings", None)
        return {**fields, **settings} if isinstance(settings, dict) else fields

    names = [name for name in _list(crew.pop("agents", None)) if isinstance(name, str)]
    tasks: dict[str, Any] = {}
    for number, task in enumerate(_list(crew.pop("tasks", None)), 1):
        if not isinstance(task, dict):
            raise at_crew.error(("tasks",), "wrong-type", f"task {number} must be a mapping of fields")
        name = task.pop("name", None)
        name = name if isinstance(name, str) and name else f"task_{number}"
        if name in tasks:
            raise at_crew.error((name,), "duplicate-key", f"two tasks are called '{name}'", "give one another name")
        tasks[name] = task
    agents = {name: agent(name) for name in names}
    manager, given = crew.get("manager_agent"), crew.pop("inputs", None)
    others = {manager: CrewPart(manager, agent(manager))} if isinstance(manager, str) and manager not in agents else {}
    parts = {name: CrewPart(name, {}) for name in agents}
    code = CrewCode(parts, {name: CrewPart(name, {}) for name in tasks}, crew, others=others)
    called = str(crew.get("name") or "") or file.parent.resolve().name
    at_agents = NamesInText(str(file), text, agents)
    return JsonCrew(
        at_agents, NamesInText(str(file), text, tasks), code, given if isinstance(given, dict) else {}, called
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(file: str, text: str) -> dict[str, Any]:
    """Return what a file of JSON with comments says. Raise `SpecError` where it is no mapping."""
    source = source_of(text, file)
    if len(text.encode()) > MAX_BYTES:
        raise SpecError([source.problem(Mark(1, 1, 0, 0, 0), "too-large", f"the file has more than {MAX_BYTES} bytes")])
    try:
        made = json.loads(_without_comments(text), object_hook=_read)
    except json.JSONDecodeError as error:
        mark = Mark(error.lineno, error.colno, 1, error.pos, error.pos + 1)
        raise SpecError([source.problem(mark, "bad-json", f"this is not JSON: {error.msg}")]) from None
    except RecursionError:
        raise SpecError([source.problem(Mark(1, 1, 0, 0, 0), "bad-json", "the file nests too deeply")]) from None
    if not isinstance(made, dict):
        raise SpecError([source.problem(Mark(1, 1, 0, 0, 0), "wrong-type", "the file must be a mapping: { ... }")])
    return made


def _read(value: dict[str, Any]) -> Any:
    code = value.get("python")
    return PythonCode(code) if value.keys() == {"python"} and isinstance(code, str) else value


def _without_comments(text: str) -> str:
    """Return the text with blanks for comments and trailing commas: everything else stays where it is."""
    bare = _TOKENS.sub(lambda found: found[0] if found[0][0] == '"' else re.sub(r"[^\n]", " ", found[0]), text)
    return _TRAILING.sub(lambda found: found[1] or " ", bare)
