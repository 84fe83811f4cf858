"""The JSON Schema of squad files beside their reader: editors take what it takes, and refuse what people mistype."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestrator.cli.commands.schema import SCHEMAS
from orchestrator.evals.spec import json_schema as schema_of_tests
from orchestrator.squad.routing_tools import tools_of_routing
from orchestrator.squad.spec import json_schema, parse_spec
from personas.persona import PersonaSpec
from providers.catalog.file import load_catalog
from providers.documents.models import checked
from providers.documents.nodes import tree_of
from providers.documents.problems import SpecError
from providers.documents.yaml import read_tree
from providers.policy.parse import parse_policy
from providers.simulation.scenario_file import parse_scenario

ROOT = Path(__file__).parents[3]
CASES = ROOT.parent / "shared" / "cases" / "squads"
FILES = sorted(
    file
    for folder in ("examples", "orchestrator/recipes", "tests")
    for file in (ROOT / folder).rglob("*.yaml")
    if "\ntasks:" in file.read_text("utf-8", "replace")
)
VALUES: Sequence[Any] = (None, True, -1, 0.5, "", "text", "${{ inputs.x }}", [], ["text"], {}, {"x": "y"})
"""What stands in place of each value of a file in turn."""
SCHEMA = json_schema()
EDITOR = Draft202012Validator(SCHEMA)
CATALOG = load_catalog()


def is_read(data: Any) -> bool:
    """Return whether the reader finds nothing wrong with the fields of a file, and of the personas in it."""
    try:
        spec, _, found = parse_spec(yaml.safe_dump(data, allow_unicode=True), "squad.yaml")
    except SpecError:
        return False
    personas = [agent.persona for agent in spec.agents.values() if isinstance(agent.persona, dict)]
    return found == [] and not any(checked(PersonaSpec, tree_of(one))[1] for one in personas)


def refused(data: Any) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in EDITOR.iter_errors(data)]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value inside a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    made = copy.deepcopy(data)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return made


def policy_is_read(data: Any) -> bool:
    try:
        parse_policy(data, CATALOG)
    except SpecError:
        return False
    return tools_of_routing(tree_of(data), "agent_routing.yaml")[1] == []


def scenario_is_read(data: Any) -> bool:
    try:
        parse_scenario(data, "day")
    except SpecError:
        return False
    return True


OTHERS: Mapping[str, tuple[Path, Callable[[Any], bool]]] = {
    "routing": (ROOT / "examples" / "agent_routing.yaml", policy_is_read),
    "scenario": (ROOT / "examples" / "scenario.yaml", scenario_is_read),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_editors_take_what_the_reader_takes_of_changed_files_of_other_kinds(kind: str) -> None:
    file, is_read_ = OTHERS[kind]
    data, editor = plain(file), Draft202012Validator(SCHEMAS[kind]())
    emptied = [((name,), None) for name in data]
    changes = [*emptied, *[(path, value) for path in places(data) for value in VALUES][::13]]
    assert is_read_(data)
    assert [
        (path, value, error.message)
        for path, value in changes
        for error in editor.iter_errors(changed(data, path, value))
        if is_read_(changed(data, path, value))
    ] == []


@pytest.mark.parametrize("field", ["timeout: 0s", "timeout: 0.0 m", "timeout: 0"])
def test_editors_refuse_a_time_of_nothing(field: str) -> None:
    name, _, value = field.partition(": ")
    assert refused(changed(SMALL, ("tasks", "sort", name), float(value) if value == "0" else value))
    assert refused(changed(SMALL, ("tasks", "sort", name), "0.5 m")) == []


def disagreements(data: Any, every: int = 1) -> list[tuple[Any, ...]]:
    """Return the changes of one value of a file after which the reader takes it and the editor does not."""
    changes = [(path, value) for path in places(data) for value in VALUES][::every]
    return [
        (path, value, refused(made))
        for path, value in changes
        if refused(made := changed(data, path, value)) and is_read(made)
    ]


def plain(file: Path) -> Any:
    return read_tree(file.read_text("utf-8"), str(file)).plain()


def test_the_squads_are_found() -> None:
    names = {file.parent.name if file.name == "squad.yaml" else file.name for file in FILES}
    assert {"sprint.yaml", "conversations.yaml", "writer-editor"} <= names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_editors_take_our_squads(file: Path) -> None:
    assert refused(plain(file)) == []


def test_editors_take_our_test_files() -> None:
    files = [file for folder in ("examples", "orchestrator/recipes") for file in (ROOT / folder).rglob("*.test.yaml")]
    assert len(files) > 3
    editor = Draft202012Validator(schema_of_tests())
    assert {file.name: [error.message for error in editor.iter_errors(plain(file))] for file in files} == {
        file.name: [] for file in files
    }


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases, which stands beside the checkout")
@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda file: file.name)
def test_editors_take_what_the_reader_takes_of_the_cases(file: Path) -> None:
    try:
        data = plain(file)
    except SpecError:
        return  # no YAML, for a reader or an editor
    assert not is_read(data) or refused(data) == []


SMALL = plain(ROOT / "examples" / "support-triage.yaml")


def test_editors_take_what_the_reader_takes_of_changed_squads() -> None:
    assert is_read(SMALL)
    assert disagreements(SMALL, every=17) == []


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_editors_take_what_the_reader_takes_of_every_changed_squad(file: Path) -> None:
    data = plain(file)
    assert disagreements(data, every=1 + len(list(places(data))) * len(VALUES) // 500) == []


MISTAKES = {
    "a misspelt field": lambda d: d.update(tsks=d.pop("tasks")),
    "a misspelt field of a task": lambda d: d["tasks"]["t"].update(descripton="x"),
    "a misspelt field of an agent": lambda d: d["agents"]["a"].update(instuctions="x"),
    "a misspelt field of a persona": lambda d: d["agents"]["a"].update(persona={"role": "x", "pinciples": ["y"]}),
    "no name": lambda d: d.pop("name"),
    "a list for a text": lambda d: d["tasks"]["t"].update(description=["x"]),
    "a text for a list": lambda d: d["tasks"]["t"].update(needs="research"),
    "a text for a number": lambda d: d.update(max_parallel="4"),
    "a number too large": lambda d: d["agents"]["a"].update(temperature=3),
    "no duration": lambda d: d["tasks"]["t"].update(timeout="soon"),
    "a text for a truth": lambda d: d.update(fail_fast="yes"),
    "an unknown pattern": lambda d: d["conversations"]["c"].update(pattern="circle"),
    "an unknown type of input": lambda d: d.update(inputs={"x": {"type": "text"}}),
    "a field of a condition": lambda d: d["conversations"]["c"]["terminate"].update(max_messages=3),
    "a mapping for a list of tools": lambda d: d["agents"]["a"].update(tools={"read_file": True}),
    "a repeat without an end": lambda d: d["tasks"]["t"].update(repeat={"until": True}),
    "history that is compacted never": lambda d: d.update(defaults={"history": {"compact_at": 2}}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_editors_refuse_what_people_mistype(name: str) -> None:
    data = {
        "name": "s",
        "agents": {"a": {"persona": "dev"}},
        "conversations": {"c": {"participants": ["a"], "terminate": {"max_turns": 2}}},
        "tasks": {"t": {"agent": "a", "description": "Do."}},
    }
    assert refused(data) == []
    MISTAKES[name](data)
    assert refused(data) != []
    assert not is_read(data) or "without an end" in name, "which is told once it is known what is repeated"


def test_the_schema_has_a_name_and_asks_no_host() -> None:
    assert SCHEMA["$id"] == "urn:squad-orchestrator:schema:squad"
    references = {value for path, value in walked(SCHEMA) if path[-1:] == ("$ref",)}
    assert references
    assert all(reference.startswith("#/$defs/") for reference in references)


def walked(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    yield path, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        yield from walked(child, (*path, key))
