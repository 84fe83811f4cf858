"""Parts of a squad that stand in files of their own: put into its tree before its fields are read. Pure.

Each part keeps its own file's name and lines, so what is wrong in it is told there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.subsquads import UnusableSquad
from providers.documents.nodes import Mark, Node
from providers.documents.problems import Path, Problem, ProblemsFound, nearest
from providers.documents.yaml import ParsedFile

GROUPS = ("inputs", "defaults", "tools", "mcp", "agents", "conversations")
"""What an included file may hold, besides `include`."""
MOST_FILES = 64

ReadInclude = Callable[[str, tuple[str, ...]], ParsedFile]
"""Returns an included file, by its path in the squad, and given those that it is included by.

Raises `ProblemsFound`, `UnusableSquad`, `OSError`."""


def with_included(parsed: ParsedFile, read: ReadInclude) -> ParsedFile:
    """Return a squad's file with what it includes in its tree, and what is wrong with that among its problems."""
    if not isinstance(parsed.root.value, Mapping) or "include" not in parsed.root.value:
        return parsed
    merger = _Merger(parsed, read, list(parsed.found))
    for place, file, only in merger.wanted(parsed.root):
        merger.include(parsed.root, place, file, only, (parsed.file,))
    return replace(parsed, root=merger.root(), found=tuple(merger.found))


@dataclass(slots=True)
class _Merger:
    """Puts files together. The squad's own part stands first."""

    parsed: ParsedFile
    read: ReadInclude
    found: list[Problem]
    parts: dict[str, dict[str, Node]] = field(default_factory=dict)
    """By group: the parts of included files, by name."""
    _read: set[tuple[str, str]] = field(default_factory=set)
    """Group and file of what was taken: a file that is included twice is taken once."""
    _marks: dict[tuple[str, str], Mark | None] = field(default_factory=dict)
    """Where the names of those parts stand."""

    def wanted(self, root: Node) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
        """Yield each file that a tree includes, with its place and the groups to take; what is no such thing is left
        to the check of fields, in the squad, and told here in an included file."""
        listed = root.child("include")
        is_own = root is self.parsed.root
        items = listed.value if listed is not None and isinstance(listed.value, tuple) else ()
        if not (is_own or listed is None or listed.value is None or isinstance(listed.value, tuple)):
            self.found.append(root.problem(("include",), "wrong-type", "'include' is a list of files"))
        for index, item in enumerate(items):
            match item.plain():
                case str(file):
                    yield ("include", index), file, GROUPS
                case {"file": str(file), **more} if more.keys() <= {"only"}:
                    only = more.get("only", GROUPS)
                    listed_groups = only if isinstance(only, list | tuple) else ()
                    groups = tuple(one for one in GROUPS if one in listed_groups)
                    if not is_own and (not groups or any(one not in GROUPS for one in listed_groups)):
                        message = f"'only' is a list of {', '.join(GROUPS)}"
                        self.found.append(root.problem(("include", index, "only"), "wrong-type", message))
                    yield ("include", index, "file"), file, groups
                case _ if not is_own:
                    self.found.append(
                        root.problem(("include", index), "wrong-type", "an include is the path of a file")
                    )

    def include(self, root: Node, place: Path, file: str, groups: tuple[str, ...], above: tuple[str, ...]) -> None:
        """Take the groups of a file, and of those that it includes."""
        try:
            parsed = self.read(file, above)
        except UnusableSquad as error:
            self.found.append(root.problem(place, error.code, str(error), error.hint))
            return
        except OSError as error:
            message = f"cannot read '{file}': {error.strerror or error}"
            self.found.append(root.problem(place, "unreadable-file", message))
            return
        except ProblemsFound as error:
            self.found += error.problems
            return
        if len({name for _, name in self._read}) > MOST_FILES:
            self.found.append(root.problem(place, "too-large", f"more than {MOST_FILES} files are included"))
            return
        self.found += parsed.found
        self._take(parsed, groups, is_whole=groups == GROUPS)
        for inner, name, only in self.wanted(parsed.root):
            self.include(parsed.root, inner, name, tuple(one for one in only if one in groups), (*above, parsed.file))

    def _take(self, parsed: ParsedFile, groups: tuple[str, ...], *, is_whole: bool) -> None:
        value = parsed.root.value
        if not isinstance(value, Mapping):
            message = f"an included file is a mapping of {', '.join(GROUPS)}"
            self.found.append(parsed.root.problem((), "wrong-type", message))
            return
        for group, node in value.items():
            if group in groups and (group, parsed.file) not in self._read:
                self._read.add((group, parsed.file))
                self._group(parsed.root, group, node)
            elif is_whole and group not in (*GROUPS, "include"):
                of_squads = group in SquadSpec.model_fields
                hint = (
                    "take a part of it: include: [{file: ..., only: [agents]}]" if of_squads else nearest(group, GROUPS)
                )
                message = f"an included file has no '{group}'"
                self.found.append(parsed.root.problem((group,), "misplaced-field", message, hint, key=True))

    def _group(self, root: Node, group: str, node: Node) -> None:
        if not isinstance(node.value, Mapping):
            self.found.append(root.problem((group,), "wrong-type", f"'{group}' is a mapping"))
            return
        own, taken = self.parsed.root.child(group), self.parts.setdefault(group, {})
        for name, part in node.value.items():
            first = (own.child(name) if own is not None else None) or taken.get(name)
            if first is None:
                taken[name] = part
                self._marks[group, name] = node.keys.get(name)
                continue
            there = self.parsed.root.mark_of((group, name), key=True) if taken.get(name) is None else first.mark
            message = f"'{name}' is already in {first.source.file}, line {there.line}"
            hint = "give one of them another name"
            self.found.append(root.problem((group, name), "duplicate-key", message, hint, key=True))

    def root(self) -> Node:
        """Return the tree of the whole."""
        root = self.parsed.root
        assert isinstance(root.value, Mapping), "`with_included` looked"
        value, keys = dict(root.value), dict(root.keys)
        for group, taken in self.parts.items():
            own = value.get(group)
            if own is not None and own.value is not None and not isinstance(own.value, Mapping):
                continue  # it is no mapping, which the check of fields tells
            mine = own.value if own is not None and isinstance(own.value, Mapping) else {}
            marks = {**(own.keys if own is not None else {})}
            marks |= {name: mark for name in taken if (mark := self._marks[group, name]) is not None}
            base = own if own is not None else root
            value[group] = replace(base, value={**mine, **taken}, keys=marks)
            keys.setdefault(group, root.keys["include"])
        return replace(root, value=value, keys=keys)
