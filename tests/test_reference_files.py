"""The schemas and pages of routing and scenario files: they agree with what reads the files."""

from __future__ import annotations

import copy
import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import create_model

from orchestrator.squad.routing_tools import json_schema as schema_of_routing
from orchestrator.squad.routing_tools import tools_of_routing
from providers.catalog import shapes as of_rows
from providers.catalog.file import load_catalog
from providers.documents.models import StrictModel
from providers.documents.nodes import tree_of
from providers.documents.problems import SpecError
from providers.documents.yaml import mapping_in
from providers.errors import CatalogError
from providers.policy import shapes as of_routing
from providers.policy.parse import read_policy
from providers.simulation import scenario_shape as of_scenarios
from providers.simulation.cluster import shape as of_clusters
from providers.simulation.scenario_file import parse_scenario

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference"
SHARED = ROOT.parent / "shared"
SCHEMAS = {"routing": schema_of_routing(), "scenario": of_scenarios.json_schema()}
VALID = {kind: Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}
Document = dict[str, Any]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_page_is_what_the_models_say(kind: str) -> None:
    made = runpy.run_path(str(REFERENCE / f"generate_{kind}_file.py"))["page"]()
    hint = f"run python docs/reference/generate_{kind}_file.py"
    assert (REFERENCE / f"{kind}-file.md").read_text("utf-8") == made, hint


def test_links_between_the_pages_lead_to_sections() -> None:
    titles = re.findall(r"^#+ (.*)$", (REFERENCE / "routing-file.md").read_text("utf-8"), re.MULTILINE)
    known = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    linked = re.findall(r"\(routing-file\.md#([^)]+)\)", (REFERENCE / "scenario-file.md").read_text("utf-8"))
    assert linked
    assert set(linked) <= known


def shapes() -> Iterator[type[StrictModel]]:
    for module in (of_routing, of_rows, of_scenarios, of_clusters):
        for found in vars(module).values():
            if isinstance(found, type) and issubclass(found, StrictModel) and found.__module__ == module.__name__:
                yield found


@pytest.mark.parametrize("shape", list(shapes()), ids=lambda shape: shape.__name__)
def test_each_field_has_a_description_and_an_example_that_is_read(shape: type[StrictModel]) -> None:
    assert shape.__doc__ != StrictModel.__doc__, "say what it is"
    for name, field in shape.model_fields.items():
        assert field.description, name
        assert field.examples, name
        one: type[StrictModel] = create_model("One", __base__=StrictModel, **{name: (field.rebuild_annotation(), ...)})
        for example in field.examples:
            one.model_validate({name: example})


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_one_and_takes_its_own_examples(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[kind])
    for mapping in (SCHEMAS[kind], *SCHEMAS[kind]["$defs"].values()):
        for name, field in mapping["properties"].items():
            for example in field["examples"]:
                faults = list(Draft202012Validator({**field, "$defs": SCHEMAS[kind]["$defs"]}).iter_errors(example))
                assert not faults, (mapping.get("title"), name, faults)


# What the loader takes, the schema takes; what is misspelt or of another type is refused by both.


def routing_is_read(document: Document) -> bool:
    root = tree_of(copy.deepcopy(document))
    return not read_policy(root, load_catalog())[2] and not tools_of_routing(root, "routing.yaml")[1]


def scenario_is_read(document: Document) -> bool:
    try:
        parse_scenario(copy.deepcopy(document), "it")
    except CatalogError:
        return False
    return True


READ: Mapping[str, Callable[[Document], bool]] = {"routing": routing_is_read, "scenario": scenario_is_read}


def documents(text: str) -> Document:
    try:
        found = mapping_in(text, "it.yaml", []).plain()
    except SpecError:  # a block may hold a part of a file
        return {}
    return found if isinstance(found, dict) else {}


def blocks() -> Iterator[tuple[str, str]]:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for number, text in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        ):
            yield f"{page.relative_to(ROOT)}:{number}", text


def files(kind: str) -> Iterator[tuple[str, str]]:
    if kind == "scenario":
        folder = resources.files("providers.simulation") / "scenarios"
        yield from ((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".yaml"))
        yield "examples/scenario.yaml", (ROOT / "examples/scenario.yaml").read_text("utf-8")
        yield "cluster-planning.yaml", (ROOT / "docs/guides/cluster-planning.yaml").read_text("utf-8")
        return
    yield "built in", (resources.files("providers.policy") / "agent_routing.yaml").read_text("utf-8")
    for path in sorted(ROOT.glob("examples/**/agent_routing.yaml")):
        yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def is_of(kind: str, document: Document) -> bool:
    fields = set(SCHEMAS[kind]["properties"])
    own = {"squad", "persona", "tasks", "agents"} if kind == "scenario" else {"tasks", "name", "title"}
    return bool(document) and set(document) <= fields and not own & set(document)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_what_is_read_fits_the_schema(kind: str) -> None:
    told = [(name, documents(text)) for name, text in files(kind)]
    told += [(name, found) for name, text in blocks() if is_of(kind, found := documents(text))]
    seen = 0
    for name, document in told:
        if READ[kind](document):
            seen += 1
            assert [fault.message for fault in VALID[kind].iter_errors(document)] == [], name
    assert seen > (10 if kind == "scenario" else 8), [name for name, _ in told]


def test_what_is_read_of_the_shared_files_fits_the_schema() -> None:
    path = SHARED / "design/examples/agent_routing.yaml"
    if not path.exists():
        pytest.skip("the shared design files are not beside the project: nothing else is needed for this test")
    document = documents(path.read_text("utf-8"))
    assert routing_is_read(document)
    assert [fault.message for fault in VALID["routing"].iter_errors(document)] == []


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*at, key))


def changed(document: Document, at: tuple[str | int, ...], value: Any) -> Document:
    made: Any = copy.deepcopy(document)
    here = made
    for part in at[:-1]:
        here = here[part]
    here[at[-1]] = value
    return made


def mutants(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the document with one value of another type, or one key more that no mapping with fixed fields has."""
    for at in places(document):
        yield f"{at}: a mapping", changed(document, at, {"tirr": {"tirr": ["x"]}})
        yield f"{at}: a list", changed(document, at, [[["x"]]])
        yield f"{at}: true", changed(document, at, value=True)
    for at in [(), *places(document)]:
        here: Any = document
        for part in at:
            here = here[part]
        if isinstance(here, dict) and all(isinstance(key, str) for key in here):
            more = {**here, "tirr": ["x"]}
            yield f"{at}: one key more", more if not at else changed(document, at, more)


def disagreements(kind: str, document: Document) -> list[str]:
    found = []
    for name, mutant in mutants(document):
        if not VALID[kind].is_valid(mutant) and READ[kind](mutant):
            found.append(f"{name}: the schema refuses what is read")
        if VALID[kind].is_valid(mutant) and not READ[kind](mutant) and not is_about_names(kind, mutant):
            found.append(f"{name}: the schema takes what is of another type")
    return found


def is_about_names(kind: str, document: Document) -> bool:
    """Return whether what is wrong is more than types and fields, which no schema can say: an unknown name."""
    root = tree_of(copy.deepcopy(document))
    if kind == "routing":
        found = [*read_policy(root, load_catalog())[2], *tools_of_routing(root, "routing.yaml")[1]]
    else:
        try:
            parse_scenario(root, "it")
            return True
        except CatalogError as error:
            found = list(error.problems)
    return not {one.code for one in found} & {"unknown-field", "invalid-type", "wrong-type"}


SMALL = {
    "routing": "examples/agent_routing.yaml",
    "scenario": "examples/scenario.yaml",
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_misspelt_keys_and_wrong_types_are_refused_by_both(kind: str) -> None:
    text = (ROOT / SMALL[kind]).read_text("utf-8")
    assert disagreements(kind, documents(text)) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_same_of_all_files(kind: str) -> None:
    for name, text in files(kind):
        assert disagreements(kind, documents(text)) == [], name
