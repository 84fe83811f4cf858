"""A field that a list's schema does not know is found where it is read, with the one that was meant."""

from __future__ import annotations

import pytest
import yaml

from orchestrator import PlanError, Squad

SQUAD = """\
version: 1
name: t
agents: {{ann: {{persona: {{name: A, role: R., tier: worker}}}}}}
inputs: {{stories: {{type: list, default: []}}}}
tasks:
  plan:
    agent: ann
    description: Plan.
    output_schema: {schema}
  each:
    needs: [plan]
    agent: ann
    for_each: ${{{{ {items} }}}}
    as: story
    key: ${{{{ story.id }}}}
    description: "About ${{{{ {read} }}}}"
"""
STORY = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "title": {"type": "string"},
        "owner": {"type": "object", "properties": {"name": {"type": "string"}}},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    },
}


def listed(item: object) -> dict[str, object]:
    return {"type": "object", "properties": {"stories": {"type": "array", "items": item}}}


def problems(read: str, items: str = "tasks.plan.output.stories", item: object = STORY) -> list[tuple[str, str, int]]:
    schema = yaml.safe_dump(listed(item), default_flow_style=True, width=10_000).strip()
    text = SQUAD.format(schema=schema, items=items, read=read)
    try:
        Squad.from_text(text).plan({})
    except PlanError as error:
        line = text.splitlines()[-1]
        return [(p.message, p.hint, p.column - line.index(read) - 1) for p in error.problems if p.severity == "error"]
    return []


@pytest.mark.parametrize(
    ("read", "field", "meant"),
    [
        ("story.titel", "titel", "title"),
        ("story['titel']", "titel", "title"),
        ("story.owner.nmae", "owner.nmae", "name"),
        ("story.parts[0].sice", "parts[0].sice", "size"),
        ("story.titel.upper()", "titel", "title"),
    ],
)
def test_a_misspelt_field_of_an_element(read: str, field: str, meant: str) -> None:
    assert problems(read) == [(f"'story' has no '{field}'", f"did you mean '{meant}'?", 0)]


@pytest.mark.parametrize(
    ("read", "field"),
    [
        ("tasks.plan.output.stories[0].titel", "stories[0].titel"),
        ("tasks.plan.output.stories[-1].titel", "stories[-1].titel"),
        ("tasks.plan.output['stories'][12]['titel']", "stories[12].titel"),
        ("tasks.plan.output.stories[0].title ~ tasks.plan.output.stories[1].titel", "stories[1].titel"),
    ],
)
def test_a_misspelt_field_of_one_of_a_list(read: str, field: str) -> None:
    [(message, hint, at)] = problems(read)
    assert (message, hint) == (f"the output of task 'plan' has no '{field}'", "did you mean 'title'?")
    assert at == read.rindex("tasks.")


@pytest.mark.parametrize(
    ("read", "items", "item"),
    [
        ("story.title", "tasks.plan.output.stories", STORY),
        ("story.parts[0].size", "tasks.plan.output.stories", STORY),
        ("tasks.plan.output.stories[0].owner.name", "tasks.plan.output.stories", STORY),
        ("story.any.thing", "tasks.plan.output.stories", {"type": "object"}),
        ("story.other", "tasks.plan.output.stories", {**STORY, "additionalProperties": True}),
        ("story.other", "tasks.plan.output.stories", {**STORY, "additionalProperties": {}}),
        ("story.other", "tasks.plan.output.stories", {"anyOf": [STORY]}),
        ("story.anything", "tasks.plan.output.stories | map(attribute='owner')", STORY),
        ("story.anything", "[tasks.plan.output.stories]", STORY),
        ("story.anything", "inputs.stories", STORY),
        ("story.items()", "tasks.plan.output.stories", STORY),
    ],
)
def test_what_may_be_there_is_not_told(read: str, items: str, item: object) -> None:
    assert problems(read, items, item) == []


def test_a_part_of_an_element_is_a_list_of_its_own() -> None:
    assert problems("story.sice", "tasks.plan.output.stories[0].parts")[-1][:2] == (
        "'story' has no 'sice'",
        "did you mean 'size'?",
    )
    assert problems("story.titel", item={**STORY, "additionalProperties": False}) != []
