"""The pages of the reference that are made of the models of files: what they say is what the reader takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.reference import generate_personas, generate_squad, generate_tests
from docs.reference.tables import rendered, slug
from orchestrator.cli.commands.schema import SCHEMAS
from orchestrator.evals.spec import json_schema as schema_of_tests
from orchestrator.squad.load import Squad
from orchestrator.squad.spec import json_schema
from personas.persona import Personas
from personas.sources import packaged
from providers.documents.quantities import duration_text, parse_duration
from providers.documents.yaml import read_tree

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
BESIDE = {
    "mytools.py": 'def convert(amount: float) -> float:\n    """Convert euros."""\n    return amount\n',
    "petstore.yaml": "openapi: 3.1.0\ninfo: {title: Pets, version: '1'}\nservers: [{url: https://pets.example.com}]\n"
    "paths: {'/pets/{id}': {get: {operationId: getPet, parameters: [{name: id, in: path, required: true, "
    "schema: {type: string}}], responses: {'200': {description: ok}}}}}\n",
    "team.yaml": "agents: {ann: {persona: writer}}\n",
    "review.yaml": "name: review\ninputs: {draft: {type: string}}\nagents: {bob: {persona: editor}}\n"
    "tasks: {check: {agent: bob, description: '${{ inputs.draft }}'}}\noutputs: {notes: '${{ tasks.check.output }}'}\n",
    "docs/a.md": "# A\n",
    "contracts/b.md": "# B\n",
}
"""What the squads of the page name beside themselves."""


def fenced(page: str, language: str = "yaml") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (REFERENCE / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


WHOLE = [text for text in fenced("squad-file.md") if text.startswith("name: ") and "\ntasks:" in text]


@pytest.mark.parametrize(
    ("module", "page"),
    [(generate_squad, "squad-file.md"), (generate_personas, "personas.md"), (generate_tests, "test-file.md")],
    ids=["squad", "personas", "tests"],
)
def test_the_page_is_what_the_code_says(module: Any, page: str) -> None:
    hint = f"run python {Path(module.__file__).relative_to(REFERENCE.parents[1])}"
    assert (REFERENCE / page).read_text("utf-8") == module.page(), hint


@pytest.mark.parametrize("kind", SCHEMAS)
def test_each_field_of_a_file_says_what_it_does_and_its_default_in_words(kind: str) -> None:
    rows = re.findall(r"^\| `.*", rendered(SCHEMAS[kind]()), re.MULTILINE)
    assert rows
    for row in rows:
        _, _, what, default, told, _, _ = re.split(r"(?<!\\) ?\| ?", row)
        assert told, row
        assert not default.startswith("`{"), row
        assert "duration" not in what or not re.fullmatch(r"`[\d.e-]+`", default), row


@pytest.mark.parametrize("seconds", [0, 5e-5, 9e-5, 0.0005, 0.5, 1, 1.5, 90, 120, 3600, 90000, 86400, 0.25])
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    assert parse_duration(duration_text(seconds)) == pytest.approx(seconds, rel=1e-9)


def test_each_mapping_of_a_squad_file_has_its_place_on_the_page() -> None:
    placed = {section.name for section in generate_squad.SECTIONS}
    assert set(json_schema()["$defs"]) - placed == {"PersonaSpec"}, "which has a page of its own"


def test_each_field_of_a_declared_tool_stands_below_a_kind_or_all() -> None:
    told = {name for section in generate_squad.SECTIONS if section.name == "ToolEntry" for name in section.only}
    assert told == set(json_schema()["$defs"]["ToolEntry"]["properties"])


def test_each_mapping_of_a_test_file_has_its_place_on_the_page() -> None:
    assert set(schema_of_tests()["$defs"]) == {section.name for section in generate_tests.SECTIONS} - {""}


@pytest.mark.parametrize("page", ["squad-file.md", "personas.md", "test-file.md"])
def test_links_within_a_page_lead_to_headings(page: str) -> None:
    text = (REFERENCE / page).read_text("utf-8")
    anchors = {slug(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@pytest.mark.parametrize("text", WHOLE, ids=lambda text: text.splitlines()[0].removeprefix("name: "))
def test_each_whole_squad_is_accepted(text: str, tmp_path: Path) -> None:
    for name, content in BESIDE.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, "utf-8")
    file = tmp_path / "squad.yaml"
    file.write_text(text, "utf-8")
    squad = Squad.from_file(file)
    assert [problem.message for problem in squad.warnings] == []
    assert squad.outline().tasks


def test_sections_have_a_whole_squad_each() -> None:
    lacking = {
        section.title
        for section in generate_squad.SECTIONS
        if "```yaml\nname: " not in section.after and section.level == 2 and section.name not in ("", "ToolEntry")
    }
    assert lacking == set()
    assert len(WHOLE) > 35


@pytest.mark.parametrize("text", fenced("personas.md"))
def test_each_whole_persona_is_accepted(text: str) -> None:
    written = read_tree(text, "ann.yaml")
    if set(yaml.safe_load(text)) != {"role"}:  # an example that was too long for its cell
        assert Personas(packaged()).build(written).role
