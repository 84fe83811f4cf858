"""An `output_schema` that stands in a file of its own, JSON or YAML: put into the squad's tree before its fields are
read. What is wrong in it is told there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.squad.includes import ReadInclude
from orchestrator.squad.subsquads import UnusableSquad
from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem, ProblemsFound
from providers.documents.yaml import ParsedFile

FIELD = "output_schema"
_HOLD_WORK = frozenset({"steps", "switch", "cases"})
"""Fields of a task in which other work may have a schema."""


def with_schemas(parsed: ParsedFile, read: ReadInclude) -> ParsedFile:
    """Return a squad's file with the schemas that its tasks name as files, and what is wrong with those files."""
    root = parsed.root
    tasks = root.child("tasks")
    if tasks is None or not isinstance(tasks.value, Mapping) or not isinstance(root.value, Mapping):
        return parsed
    filler = _Filler(root, parsed.file, read, list(parsed.found))
    filled = {name: filler.work(task, ("tasks", name)) for name, task in tasks.value.items()}
    if all(filled[name] is task for name, task in tasks.value.items()):
        return parsed
    root = replace(root, value={**root.value, "tasks": replace(tasks, value=filled)})
    return replace(parsed, root=root, found=tuple(filler.found))


@dataclass(slots=True)
class _Filler:
    root: Node
    file: str
    read: ReadInclude
    found: list[Problem]

    def work(self, node: Node, path: Path) -> Node:
        """Return a piece of work with its schemas; the same where none is in a file."""
        if not isinstance(node.value, Mapping):
            return node
        made = dict(node.value)
        for key, child in node.value.items():
            if key == FIELD and isinstance(child.value, str):
                made[key] = self._schema(child, child.value, (*path, key))
            elif key in _HOLD_WORK:
                made[key] = self._inside(child, (*path, key))
        return node if all(made[key] is child for key, child in node.value.items()) else replace(node, value=made)

    def _inside(self, node: Node, path: Path) -> Node:
        """Return steps, a switch or its cases with their schemas."""
        if isinstance(node.value, tuple):
            items = tuple(self.work(item, (*path, index)) for index, item in enumerate(node.value))
            same = all(one is other for one, other in zip(items, node.value, strict=True))
            return node if same else replace(node, value=items)
        if path[-1] != "cases" or not isinstance(node.value, Mapping):
            return self.work(node, path)
        cases = {name: self.work(case, (*path, name)) for name, case in node.value.items()}
        return node if all(cases[name] is case for name, case in node.value.items()) else replace(node, value=cases)

    def _schema(self, node: Node, file: str, path: Path) -> Node:
        try:
            parsed = self.read(file.strip().removeprefix("./"), (self.file,))
        except UnusableSquad as error:
            self.found.append(self.root.problem(path, error.code, str(error), error.hint))
        except OSError as error:
            message = f"cannot read '{file}': {error.strerror or error}"
            self.found.append(self.root.problem(path, "unreadable-file", message, "a schema is a mapping, or its file"))
        except ProblemsFound as error:
            gone = [one for one in error.problems if one.code == "unreadable-file"]
            hint = "a schema is a mapping, or the path of its file"
            self.found += [self.root.problem(path, one.code, one.message, hint) for one in gone] or error.problems
        else:
            self.found += parsed.found
            return parsed.root
        return replace(node, value={})
