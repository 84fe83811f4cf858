"""The agents and tasks of a CrewAI project: what is said of each, what they are called in a squad, and their order.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from orchestrator.migration.crew_fields import RESERVED, identifier
from orchestrator.migration.crew_file import CrewFile
from orchestrator.migration.crew_project import CrewProject
from orchestrator.migration.crew_python import CrewPart
from orchestrator.migration.notes import MigrationNotes
from providers.documents.problems import nearest


def agent_ids(project: CrewProject, notes: MigrationNotes) -> dict[str, str]:
    """Return the names of the agents in a squad. Raise `SpecError` for one that the YAML lacks."""
    parts = project.code.agents
    for part in parts.values():
        refuse_unwritten_agent(project, part)
    keys = dict.fromkeys([*project.agents.values, *(part.key for part in parts.values())])
    ids: dict[str, str] = {}
    for key in keys:
        if not _is_template(key, project, notes):
            is_fine = re.fullmatch(r"[A-Za-z_][\w-]*", key, re.ASCII) and key not in RESERVED
            _call(ids, "agents", key, key if is_fine else None, notes)
    return ids


def task_ids(project: CrewProject, notes: MigrationNotes) -> dict[str, str]:
    """Return the names of the tasks in a squad, in their order. Raise `SpecError` for one that the YAML lacks."""
    values, parts = project.tasks.values, project.code.tasks
    for part in parts.values():
        if part.in_yaml and part.key not in values:
            message = f"the task '{part.key}', which the crew's code reads, is not in the YAML"
            raise project.tasks.error((part.key,), "unknown-task", message, nearest(part.key, values))
    keys = dict.fromkeys([*values, *(part.key for part in parts.values())])
    ids: dict[str, str] = {}
    for key in dict.fromkeys(_in_order(keys, project, notes)) if parts else keys:
        _call(ids, "tasks", key, None, notes)
    return ids


def refuse_unwritten_agent(project: CrewProject, part: CrewPart) -> None:
    """Raise `SpecError` where Python reads an agent of the YAML that is not there."""
    values = project.agents.values
    if part.in_yaml and part.key not in values:
        message = f"the agent '{part.key}', which the crew's code reads, is not in the YAML"
        raise project.agents.error((part.key,), "unknown-agent", message, nearest(part.key, values))


def agent_fields(project: CrewProject, key: str) -> dict[str, Any]:
    """Return what is said of an agent: the YAML, and over it the code. Raise `SpecError` where that is no mapping."""
    return _fields(project.agents, {**project.code.others, **project.code.agents}, key)


def task_fields(project: CrewProject, key: str) -> dict[str, Any]:
    """Return what is said of a task: the YAML, and over it the code. Raise `SpecError` where that is no mapping."""
    return _fields(project.tasks, project.code.tasks, key)


def _fields(file: CrewFile, parts: Mapping[str, CrewPart], key: str) -> dict[str, Any]:
    written = file.values.get(key)
    if written is None:
        written = {}
    if not isinstance(written, dict):
        raise file.error((key,), "wrong-type", f"'{key}' must be a mapping of fields")
    own = next((part.fields for part in parts.values() if part.key == key), {})
    return {str(name): value for name, value in {**written, **own}.items() if value is not None}


def _call(ids: dict[str, str], place: str, key: str, own: str | None, notes: MigrationNotes) -> None:
    """Give an entry a name that no other has; its `own` where it can keep it."""
    taken = set(ids.values())
    ids[key] = own if own is not None and own not in taken else identifier(key, taken, place[:-1])
    if ids[key] != key:
        notes.add("changed", f"{place}.{key}", f"is called {ids[key]}: names are words of letters and digits")


def _is_template(key: str, project: CrewProject, notes: MigrationNotes) -> bool:
    """Whether an entry is there for anchors alone: it says nothing of an agent, and no task names it."""
    fields, code = project.agents.values.get(key), project.code
    if not isinstance(fields, dict) or fields.keys() & {"role", "goal", "backstory"}:
        return False
    doing = [task.get("agent") for task in project.tasks.values.values() if isinstance(task, dict)]
    if key in doing or any(part.key == key for part in code.agents.values()):
        return False
    notes.add("changed", f"agents.{key}", "is left out: it has no role, goal or backstory, and no task names it")
    return True


def _in_order(keys: Collection[str], project: CrewProject, notes: MigrationNotes) -> Iterator[str]:
    """Yield the tasks as the code has them do: as it lists them, else as their methods stand there."""
    listed, parts = project.code.crew.get("tasks"), project.code.tasks
    if isinstance(listed, list) and all(isinstance(name, str) and name in parts for name in listed) and listed:
        order = [parts[name].key for name in listed]
    else:
        order = [part.key for part in parts.values()]
    yield from order
    for key in keys:
        if key not in order:
            notes.add("changed", f"tasks.{key}", "is not among the tasks of the crew's code: it is done last")
            yield key
