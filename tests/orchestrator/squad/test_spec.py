"""The fields of a squad file: what is accepted, what they hold, and what editors are told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from orchestrator.squad.spec import SquadSpec, json_schema, load_spec, parse_spec
from providers.documents.models import StrictModel
from providers.documents.problems import Problem, SpecError
from providers.documents.yaml import read_tree

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "sprint.yaml"
SMALLEST = "name: s\nagents: {a: {persona: dev}}\ntasks: {t: {agent: a, description: Do.}}\n"


def spec_of(text: str) -> tuple[SquadSpec, list[Problem]]:
    spec, _, found = parse_spec(text, "s.yaml")
    return spec, found


def test_the_example_reads() -> None:
    spec, node, found = load_spec(EXAMPLE)
    assert found == []
    assert spec.defaults.timeout == 600
    assert spec.budget is not None
    assert spec.budget.max_time == 7200
    assert spec.tasks["approve"].if_ == "${{ not inputs.autopilot }}"
    assert spec.tasks["build"].as_ == "story"
    assert node.at(["tasks", "build", "as"]).value == "story"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("10m", 600), ("2h", 7200), ("3d", 259200), ("7", 7), ("1.5", 1.5)],
)
def test_durations(written: str, seconds: float) -> None:
    spec, found = spec_of(SMALLEST + f"defaults: {{timeout: {written}}}\n")
    assert not found
    assert spec.defaults.timeout == seconds


def test_an_empty_value_is_as_no_field() -> None:
    spec, found = spec_of(SMALLEST.replace("agent: a,", "agent: a, needs: , timeout: ~,") + "budget:\n")
    assert not found
    assert spec.tasks["t"].needs is None
    assert spec.budget is None


def test_wrong_fields_hold_harmless_values() -> None:
    spec, found = spec_of("name: 3\nagents: {a: 4, b: {persona: [x]}}\ntasks: {t: {steps: [7], repeat: {}}}\nx: 1\n")
    assert [(p.code, p.path) for p in found] == [
        ("wrong-type", ("name",)),
        ("wrong-type", ("agents", "a")),
        ("wrong-type", ("agents", "b", "persona")),
        ("wrong-type", ("tasks", "t", "steps", 0)),
        ("missing-field", ("tasks", "t", "repeat", "until")),
        ("unknown-field", ("x",)),
    ]
    assert set(spec.agents) == {"a", "b"}
    assert spec.tasks["t"].steps is not None


def test_a_value_that_fits_no_case_of_a_union_is_told_by_the_nearest() -> None:
    found = spec_of(f"{SMALLEST}mcp: {{s: {{command: x, env: {{PORT: 8080, HOST: a, DEBUG: [true]}}}}}}\n")[1]
    assert [(p.path[2:], p.message) for p in found] == [
        (("env", "PORT"), "'PORT' takes text, not the number 8080"),
        (("env", "DEBUG"), "'DEBUG' takes text, not a list"),
    ]


def test_a_wrong_value_says_what_would_be_right() -> None:
    found = spec_of(SMALLEST.replace("agent: a,", "agent: a, needs: x, continue_on_error: on, timeout: [],"))[1]
    assert [(p.message, p.hint) for p in found] == [
        ("'needs' takes a list, not the text 'x'", "write [x]"),
        ("'continue_on_error' takes true or false, not the text 'on'", "YAML 1.2 knows true and false only"),
        ("a list is not a duration: write 500ms, 5s, 10m, 2h, 3d or a number of seconds", ""),
    ]


@pytest.mark.parametrize(
    ("field", "begins"),
    [
        ("for_each: [a, b]", 'write for_each: "${{ tasks.plan'),
        ("retry: 3", "write retry: {max_attempts: 3}"),
        ("repeat: often", "write repeat: {until: "),
        ("needs: u v", "write needs: [research]"),
        ('needs: "u, v"', "write [u, v]"),
    ],
)
def test_a_field_of_a_wrong_type_is_shown_as_it_is_written(field: str, begins: str) -> None:
    [problem] = spec_of(SMALLEST.replace("agent: a,", f"agent: a, {field},"))[1]
    assert problem.code == "wrong-type"
    assert problem.hint.startswith(begins)


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("depends_on", "needs"),
        ("human", "approval"),
        ("prompt", "description"),
        ("when", "if"),
        ("retries", "retry"),
        ("output", "output_file"),
    ],
)
def test_a_field_that_other_formats_have_is_told_by_our_name(field: str, meant: str) -> None:
    (problem,) = spec_of(SMALLEST.replace("agent: a,", f"agent: a, {field}: x,").replace(", description: Do.", ""))[1]
    assert (problem.code, problem.hint.partition("?")[0]) == ("unknown-field", f"did you mean '{meant}'")


def test_every_other_name_leads_to_a_field_and_is_none_itself() -> None:
    for model in StrictModel.__subclasses__():
        fields = {field.alias or name for name, field in model.model_fields.items()}
        assert set(model.other_names.values()) <= fields
        assert not {*model.other_names, *model.advice} & fields
        assert set(model.advice).isdisjoint(model.other_names)


def test_a_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(SpecError, match="a squad is a mapping"):
        spec_of("- a\n")


def test_problems_of_reading_and_of_fields_come_together() -> None:
    found = spec_of(SMALLEST + "name: t\nversion: x\n")[1]
    assert [(p.line, p.code) for p in found] == [(4, "duplicate-key"), (5, "wrong-type")]


def test_the_schema_for_editors_takes_the_example_and_refuses_mistakes() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    data = read_tree(EXAMPLE.read_text("utf-8"), "s").plain()
    assert list(validator.iter_errors(data)) == []
    data["tasks"]["prd"]["agnt"] = "mary"
    assert [list(error.absolute_path) for error in validator.iter_errors(data)] == [["tasks", "prd"]]


def test_every_part_of_the_schema_is_described() -> None:
    schema = json_schema()
    undescribed = [name for name, part in schema["$defs"].items() if not part.get("description")]
    assert undescribed == []
    parts = {**schema["$defs"], "Squad": schema}
    fields = [(part, name, field) for part, body in parts.items() for name, field in body["properties"].items()]
    assert [(part, name) for part, name, field in fields if not field.get("description")] == []
    task = schema["$defs"]["TaskSpec"]["properties"]
    assert {"if", "as", "for_each"} <= set(task)
    assert "ms|s|m|h|d" in str(task["timeout"])
