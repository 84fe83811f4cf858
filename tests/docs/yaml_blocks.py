"""What is wrong with a block of YAML: it is read as the file, or the part of a file, that it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cli.file_kind import FileKind, kind_of
from orchestrator.evals.spec import SuiteSpec
from orchestrator.evals.suite import problems_of_suite
from orchestrator.squad.load import Squad
from orchestrator.squad.routing_tools import tools_of_routing
from orchestrator.squad.spec import SquadSpec
from personas.persona import Personas, PersonaSpec
from personas.sources import packaged
from providers.catalog.file import load_catalog
from providers.documents.problems import Problem, ProblemsFound
from providers.documents.scalars import write_tree
from providers.documents.yaml import ParsedFile, parse_text
from providers.policy.parse import parse_policy
from providers.policy.shapes import PolicyShape
from providers.simulation.scenario_file import parse_scenario
from providers.simulation.scenario_shape import ScenarioShape

Parts = Mapping[str, Any]
FIELDS: Mapping[FileKind, frozenset[str]] = {
    "squad": frozenset(SquadSpec.model_fields),
    "routing": frozenset(PolicyShape.model_fields),
    "scenario": frozenset(ScenarioShape.model_fields),
    "persona": frozenset(PersonaSpec.model_fields),
    "tests": frozenset(SuiteSpec.model_fields),
}
FOREIGN: Mapping[str, frozenset[str]] = {
    "Prometheus": frozenset({"global", "scrape_configs", "rule_files"}),
    "Prometheus' rules": frozenset({"groups"}),
    "Docker Compose": frozenset({"services", "volumes", "networks"}),
    "Kubernetes": frozenset({"apiVersion", "kind", "metadata", "spec"}),
    "GitHub Actions": frozenset({"name", "on", "jobs", "permissions", "runs"}),
    "pre-commit": frozenset({"repos"}),
}
"""Files of other programs, by their keys: they must be YAML, no more."""
ELSEWHERE = frozenset(
    {
        *("unknown-agent", "unknown-conversation", "unknown-task", "unknown-step", "unknown-input", "unknown-tool"),
        *("unknown-server", "unknown-name", "no-tasks", "missing-field", "not-an-ancestor", "unreadable-file"),
    }
)
"""Problems that a part of a file has because the rest of it is not shown."""
NOT_SHOWN = frozenset({"bad-knowledge", "bad-embeddings", "bad-tool-file", "unreadable-file", "invalid-squad"})
"""Problems that a whole file has where another one is not shown, if they say that it is not there."""
PLACES: Sequence[tuple[type, FileKind, Callable[[Any], Any]]] = (
    (dict, "squad", lambda part: {"name": "x", "tasks": {"x": part}}),
    (dict, "squad", lambda part: {"name": "x", "agents": {"x": part}}),
    (dict, "squad", lambda part: {"name": "x", "conversations": {"x": part}}),
    (dict, "squad", lambda part: {"name": "x", "tasks": part}),
    (dict, "squad", lambda part: {"name": "x", "agents": part}),
    (dict, "squad", lambda part: {"name": "x", "tools": part}),
    (dict, "tests", lambda part: {"squad": "x.yaml", "cases": [part]}),
    (list, "tests", lambda part: {"squad": "x.yaml", "cases": part}),
)
"""Where a part may stand whose keys are those of no whole file: what it is, and the file around it."""


def yaml_problems(text: str, folder: Path) -> Iterator[str]:
    """Yield what is wrong with a block. `folder` has the files that the page shows beside it."""
    try:
        parsed = parse_text(text, str(folder / "shown.yaml"))
    except ProblemsFound as found:
        yield from map(str, found.problems)
        return
    if parsed.found:
        yield from map(str, parsed.found)
        return
    tree = parsed.root.plain()
    keys = frozenset(tree) if isinstance(tree, Mapping) else frozenset()
    if keys and any(keys <= known for known in FOREIGN.values()) and not keys <= FIELDS["squad"]:
        return
    tried: list[list[str]] = []
    for kind in (kind for kind, fields in FIELDS.items() if keys and keys <= fields):
        if not (wrong := list(_wrong_as(kind, parsed, partial=not _is_whole(kind, keys)))):
            return
        tried.append([f"as {kind}: {one}" for one in wrong])
    for kind, placed in ((kind, placed) for shape, kind, placed in PLACES if isinstance(tree, shape)):
        whole_text = write_tree(placed(tree))
        if not (wrong := list(_wrong_as(kind, parse_text(whole_text, parsed.file), partial=True))):
            return
        tried.append([f"as part of {kind}: {one}" for one in wrong])
    if keys and not any(keys <= fields for fields in FIELDS.values()):
        kind = kind_of(keys)
        unknown = ", ".join(sorted(keys - FIELDS[kind])) or "nothing"
        yield f"it fits no file of ours, and no part of one; of {kind}, {unknown} is no field"
    if not tried:
        yield "it is neither a mapping nor a list"
        return
    yield from min(tried, key=len)


def _is_whole(kind: FileKind, keys: frozenset[str]) -> bool:
    """Return whether a block shows a whole file: what it must have is there."""
    needed: Mapping[FileKind, frozenset[str]] = {
        "squad": frozenset({"name", "tasks"}),
        "scenario": frozenset({"load", "providers"}),
        "tests": frozenset({"squad", "cases"}),
        "routing": frozenset(),
        "persona": frozenset(),
    }
    return needed[kind] <= keys


def _wrong_as(kind: FileKind, parsed: ParsedFile, *, partial: bool) -> Iterator[str]:
    try:
        found: Sequence[Problem] = _read(kind, parsed)
    except ProblemsFound as error:
        found = error.problems
    unseen = {problem.code for problem in found if problem.code in NOT_SHOWN and _says_missing(problem)}
    if "bad-tool-file" in unseen:
        unseen.add("unknown-tool")  # one that stands in it
    for problem in found:
        if problem.code not in unseen and not (partial and _may_stand_elsewhere(problem)):
            yield f"{problem.line}: {problem.code}: {problem.message}; {problem.hint}"


def _may_stand_elsewhere(problem: Problem) -> bool:
    """Return whether a part of a file may have this problem: it is a warning, or the rest of the file settles it."""
    return problem.severity == "warning" or problem.code in ELSEWHERE


def _says_missing(problem: Problem) -> bool:
    return any(words in problem.message for words in ("No such file", "there is no file", "cannot be read"))


def _read(kind: FileKind, parsed: ParsedFile) -> Sequence[Problem]:
    match kind:
        case "squad":
            squad = Squad.from_file(parsed)
            squad.foresee()
            return squad.warnings
        case "routing":
            tools = tools_of_routing(parsed.mapping(), parsed.file)[1]
            parse_policy(parsed.mapping(), load_catalog(), [*parsed.found, *tools])
        case "scenario":
            parse_scenario(parsed.mapping(), "shown", parsed.found)
        case "persona":
            Personas(packaged()).build(parsed.mapping(), read=parsed.found)
        case "tests":
            return problems_of_suite(parsed, lambda file, tools: Squad.from_file(file, tools=tools))
    return ()
