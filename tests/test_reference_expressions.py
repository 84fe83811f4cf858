"""The page of expressions says what the sandbox and the checks do."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, nodes

from orchestrator import Squad
from orchestrator.squad.templates import RENDERED_FIELDS, RenderedField, is_rendered
from personas.ast_check import _ALLOWED
from providers.documents.problems import ProblemsFound

REFERENCE = Path(__file__).parents[1] / "docs/reference"
MADE = runpy.run_path(str(REFERENCE / "generate_expressions.py"))
OF_STATEMENTS = {"Template", "Output", "TemplateData", "If", "For", "Assign"}


def test_the_page_is_what_the_code_says() -> None:
    hint = "run python docs/reference/generate_expressions.py"
    assert (REFERENCE / "expressions.md").read_text("utf-8") == MADE["page"](), hint


def test_each_operator_has_an_example() -> None:
    examples = [
        *(example for _, examples in MADE["OPERATORS"].values() for example in examples),
        *(word.example for word in (*MADE["DESCRIBED_FILTERS"].values(), *MADE["METHOD_WORDS"].values())),
    ]
    shown = {
        type(node).__name__ for one in examples for node in Environment().parse(f"{{{{ {one} }}}}").find_all(nodes.Node)
    }
    signs = " ".join(MADE["OPERATORS"])
    unary = {"Neg", "Pos"}  # shown by filters, if at all
    missing = _ALLOWED - OF_STATEMENTS - unary - shown
    assert missing <= {"Tuple", "Name", "Sub", "Getattr"}, missing
    assert {"`-`", "`x.y`", "`(...)`"} <= set(signs.split())


READS = {
    "inputs": "${{ inputs.topic }}",
    "tasks": "${{ tasks.first.output }}",
    "steps": "${{ steps.one.output }}",
    "item": "${{ item }}",
    "output": "${{ output }}",
}


@pytest.mark.parametrize("place", RENDERED_FIELDS, ids=lambda place: place.path)
def test_each_place_reads_the_names_that_it_is_said_to(place: RenderedField) -> None:
    assert {name for name, text in READS.items() if not faults(place, text)} == set(place.names)


def faults(place: RenderedField, text: str) -> list[str]:
    """Return what is wrong with an expression at a place. In agents and schemas what reads no input stays text."""
    squad, path = squad_with(place, text)
    assert is_rendered(path), "the page tells of a field that is not rendered"
    try:
        problems = Squad.from_mapping(squad).warnings
    except ProblemsFound as error:
        problems = error.problems
    told = {"unknown-name", "unknown-step", "other-braces", "bad-expression"}
    return [one.message for one in problems if one.code in told and one.path[: min(len(path), 2)] == path[:2]]


def squad_with(place: RenderedField, text: str) -> tuple[dict[str, Any], tuple[str | int, ...]]:
    """Return a squad in which a text stands at a place, and where that is."""
    parts: list[str | int] = []
    for part in place.path.split("."):
        parts += [part[:-2], 1] if part.endswith("[]") else [NAMES.get(part, part)]
    task: dict[str, Any] = {"needs": ["first"], "for_each": "${{ inputs.list }}", "key": "${{ item }}"}
    work: dict[str, Any] = {"agent": "ann", "description": "Go on."}
    match parts[2:]:
        case ["steps" | "repeat", *_]:
            task |= {"steps": [{"id": "one", **work}, {"id": "two", **work}]}
            task |= {"repeat": {"until": True, "max_attempts": 2}} if "repeat" in parts else {}
        case ["switch", *_]:
            task |= {"switch": {"on": "${{ tasks.first.output }}", "cases": {"money": work, "default": work}}}
        case ["approval", *_]:
            task = {"needs": ["first"], "approval": {"prompt": ""}}
        case ["with", *_]:
            task |= {"squad": "inner.yaml", "with": {}}
        case ["output_schema"]:
            task |= work
        case _:
            task |= work
    persona = {"name": "Ann", "role": "Writes.", "tier": "worker"}
    own = {"instructions": "Write."} if parts[-1] == "instructions" else {"persona": persona}
    squad: dict[str, Any] = {
        "version": 1,
        "name": "places",
        "inputs": {"topic": {"type": "string", "default": "cats"}, "list": {"type": "list", "default": ["a"]}},
        "agents": {"ann": own},
        "tasks": {"first": dict(work), "it": task},
        "outputs": {},
    }
    if parts[0] == "agents" and "persona" in own:
        parts.insert(2, "persona")
    at: Any = squad
    for part in parts[:-1]:
        at = at[part]
    value: Any = [text] if parts[-1] in ("principles", "produces") else text
    at[parts[-1]] = {"type": "object", "description": text} if parts[-1] == "output_schema" else value
    return squad, tuple(parts)


NAMES = {"TASK": "it", "AGENT": "ann", "CASE": "money", "INPUT": "topic", "NAME": "result"}
