"""A sound squad with one mistake in it: exactly that mistake is reported, at its place."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.tools import Registry, Tool
from orchestrator.errors import PlanError
from orchestrator.squad.resolve import resolve
from orchestrator.squad.spec import parse_spec
from personas import Personas, packaged
from providers.documents.findings import Thing
from providers.documents.problems import CODES, FORMATS, Problem, SpecError

HERE = Path(__file__).parent
CORPUS = HERE / "mutations"
SQUAD = (CORPUS / "squad.yaml").read_text("utf-8")
SPRINT = (HERE.parents[2] / "examples" / "sprint.yaml").read_text("utf-8")
CASES = yaml.safe_load((CORPUS / "cases.yaml").read_text("utf-8"))
TOOLS = Registry(tuple(Tool(name, "", print) for name in ("read_file", "write_file")))
LIBRARY = Personas(packaged())


def problems_of(text: str) -> list[Problem]:
    try:
        spec, node, found = parse_spec(text, "squad.yaml")
        return resolve(
            spec,
            node,
            personas=LIBRARY,
            tools=TOOLS,
            tiers=("boss", "worker", "creative", "fallback"),
            models=("acme/small",),
            found=found,
        )[1]
    except (SpecError, PlanError) as error:
        return list(error.problems)


def brief(problem: Problem) -> str:
    return f"{problem.line}:{problem.column} {problem.code}{'?' if problem.severity == 'warning' else ''}"


def test_the_squad_itself_is_sound() -> None:
    assert problems_of(SQUAD) == []


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_exactly_the_mistake_is_reported(case: dict) -> None:
    old = case.get("old", SQUAD)
    assert SQUAD.count(old) == 1, f"{old!r} stands {SQUAD.count(old)} times in the squad"
    problems = problems_of(SQUAD.replace(old, case["new"]))
    assert [brief(p) for p in problems] == case["found"], FORMATS["text"](problems)


@pytest.mark.parametrize(("element", "key"), [("object", "${{ piece.id }}"), ("string", "${{ piece }}")])
def test_a_missing_key_is_suggested_as_the_elements_schema_allows(element: str, key: str) -> None:
    text = SQUAD.replace("    key: ${{ piece.id }}\n", "").replace(
        "items: {type: object}", f"items: {{type: {element}}}"
    )
    (problem,) = problems_of(text)
    assert (problem.code, problem.hint) == ("missing-field", f"key: {key}")


def test_every_code_that_the_source_reports_is_listed() -> None:
    """Of the calls that report a problem, by the words with hyphens among their arguments."""
    root, reported = HERE.parents[2], dict[str, str]()
    for room in ("orchestrator", "personas", "providers"):
        for file in (root / room).rglob("*.py"):
            if not re.search(r"\.(error|warning|problem)\(", text := file.read_text("utf-8")):
                continue
            for call in ast.walk(ast.parse(text)):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("error", "warning", "problem"):
                    texts = (one.value for one in call.args if isinstance(one, ast.Constant))
                    reported |= {
                        text: file.name for text in texts if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", str(text))
                    }
    assert len(reported) > 50
    assert {code: file for code, file in reported.items() if code not in CODES} == {}
    assert {f"unknown-{thing}" for thing in get_args(Thing)} <= set(CODES)


lines = st.integers(0, SPRINT.count("\n"))
junk = st.one_of(
    st.sampled_from(
        [":", "- ", "{", "[", "}", "]", "${{", "}}", "&a", "*a", "!", "|", ">", "'", '"', "\t", "#", "~", "null"]
    ),
    st.text(max_size=6),
    st.sampled_from(SPRINT.split()),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Return the example with a few lines dropped, doubled, swapped or written over."""
    text = SPRINT.split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(lines) % len(text)
        match draw(st.sampled_from(["drop", "double", "move", "write", "indent"])):
            case "drop":
                del text[at]
            case "double":
                text.insert(at, text[at])
            case "move":
                text.insert(draw(lines) % len(text), text.pop(at))
            case "indent":
                text[at] = " " * draw(st.integers(0, 5)) + text[at].strip()
            case "write":
                column = draw(st.integers(0, len(text[at])))
                text[at] = text[at][:column] + draw(junk) + text[at][column + draw(st.integers(0, 3)) :]
    return "\n".join(text)


@given(mutated())
def test_any_damage_is_only_ever_reported(text: str) -> None:
    problems = problems_of(text)
    assert all(problem.code in CODES for problem in problems)
    count = len(text.splitlines()) + 1
    assert all(1 <= problem.line <= count and problem.column >= 1 for problem in problems)
    for render in FORMATS.values():
        render(problems)
