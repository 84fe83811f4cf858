"""A test file with mistakes: all of them at once, each in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.tools import Tool
from orchestrator.evals.spec import json_schema, suite_of
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.squad.load import Squad
from providers.documents.problems import ProblemsFound
from providers.documents.yaml import parse_file, parse_text

SQUAD = """\
version: 1
name: pair
inputs: {idea: {type: string}}
agents:
  ann: {persona: {name: Ann, role: Writes., tier: worker}, tools: [read_file]}
  bob: {persona: {name: Bob, role: Reads., tier: worker}}
conversations:
  chat: {participants: [ann, bob], terminate: {max_turns: 2}}
tasks:
  write: {agent: ann, description: "About ${{ inputs.idea }}."}
  talk: {conversation: chat, needs: [write], description: Talk.}
  gate: {needs: [talk], approval: {prompt: "Good?"}}
  again: {needs: [talk], approval: {prompt: "Good?"}, on_revise: {rerun: [talk], max_attempts: 1}}
outputs: {text: "${{ tasks.write.output }}"}
"""


def load(file: str, tools: tuple[Tool, ...]) -> Squad:
    return Squad.from_file(file, tools=tools)


def suite(folder: Path, cases: str, head: str = "") -> Suite:
    (folder / "pair.yaml").write_text(SQUAD)
    file = folder / "pair.test.yaml"
    file.write_text(f"version: 1\nsquad: pair.yaml\n{head}cases:\n{cases}")
    return load_suite(parse_file(str(file)), load)


def mistakes(folder: Path, cases: str, head: str = "") -> list[tuple[int, str]]:
    with pytest.raises(ProblemsFound) as found:
        suite(folder, cases, head)
    assert all(problem.file.endswith("pair.test.yaml") for problem in found.value.problems)
    return [(problem.line, problem.code) for problem in found.value.problems]


GOOD = "  - {name: one, inputs: {idea: tea}}\n"


def test_a_sound_file_is_a_suite(tmp_path: Path) -> None:
    made = suite(tmp_path, GOOD, "recording: rec\nbaseline: {file: base.json}\n")
    (case,) = made.spec.cases
    assert made.recording(case) == tmp_path / "rec" / "one.json"
    assert made.baseline == tmp_path / "base.json"
    assert made.line_of(("cases", 0, "expect", "run", "cost")) == 6


def test_an_answer_that_asks_for_changes_says_which(tmp_path: Path) -> None:
    cases = "  - {name: one, inputs: {idea: tea}, with: {approvals: {again: [%s, approve]}}}\n"
    assert mistakes(tmp_path, cases % "revise") == [(4, "missing-field")]
    assert suite(tmp_path, cases % "{choice: revise, comment: Shorter.}")


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    cases = """\
  - name: one
    inputs: {idea: tea}
    repeat: 0
    with:
      approvals: {gates: approve, gate: revise}
      tools: {reed_file: {returns: x}}
      faults: {groq: [timeouts]}
    expect:
      run: {cost: about 5}
      tasks:
        wriite: {}
        write: {output: {matches: "(", words: 8..3}}
      turns: [ann, {any_order: [bobb]}]
      tools:
        - {tool: read_file, never: x}
        - {tool: write_file, agent: an}
      conversations: {chat: {speakers: [cid]}, chatt: {}}
      outputs: {txt: {}}
      judge: [{of: writes, rubric: good}]
  - {name: One, inputs: {idea: tea}}
"""
    assert mistakes(tmp_path, cases) == [
        (6, "out-of-range"),
        (8, "unknown-approval"),
        (8, "invalid-value"),
        (9, "unknown-tool"),
        (10, "unknown-fault"),
        (12, "invalid-value"),
        (14, "unknown-task"),
        (15, "invalid-value"),
        (15, "invalid-value"),
        (16, "unknown-agent"),
        (18, "one-of"),
        (19, "unknown-tool"),
        (19, "unknown-agent"),
        (20, "unknown-agent"),
        (20, "unknown-conversation"),
        (21, "unknown-output"),
        (22, "missing-field"),
        (22, "unknown-task"),
        (23, "duplicate-name"),
    ]


@pytest.mark.parametrize(
    ("cases", "head", "line", "code"),
    [
        ("  - {name: one}\n", "", 4, "invalid-input"),
        ("  - {name: one, inputs: {idea: tea, more: x}}\n", "", 4, "invalid-input"),
        ("  - {nam: one, inputs: {idea: tea}}\n", "", 4, "unknown-field"),
        ("  []\n", "", 4, "out-of-range"),
        (GOOD, "squat: x\n", 3, "unknown-field"),
        (GOOD.replace("}}", "}, expect: {outputs: {text: {schema: no.json}}}}"), "", 4, "bad-schema"),
    ],
)
def test_a_single_mistake(tmp_path: Path, cases: str, head: str, line: int, code: str) -> None:
    assert (line, code) in mistakes(tmp_path, cases, head)


def test_the_mistakes_of_the_squad_are_told_as_its_own(tmp_path: Path) -> None:
    (tmp_path / "pair.yaml").write_text(SQUAD)
    file = tmp_path / "x.test.yaml"
    file.write_text("squad: nothing.yaml\ncases: [{name: one}]\n")
    with pytest.raises(ProblemsFound) as found:
        load_suite(parse_file(str(file)), load)
    assert [problem.code for problem in found.value.problems] == ["unreadable-file"]
    file.write_text("squad: bad.yaml\ncases: [{name: one}]\n")
    (tmp_path / "bad.yaml").write_text("name: x\ntasks: {a: {agnt: b}}\n")
    with pytest.raises(ProblemsFound) as found:
        load_suite(parse_file(str(file)), load)
    assert {problem.file for problem in found.value.problems} == {str(tmp_path / "bad.yaml")}


def test_what_the_page_shows_can_be_written() -> None:
    page = Path(__file__).parents[3] / "docs" / "guides" / "testing-squads.md"
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        head = "" if "squad:" in block else "squad: x.yaml\n"
        whole = f"{head}cases:\n{block}" if block.startswith("  - ") else f"{head}{block}"
        assert suite_of(parse_text(whole, "page.test.yaml"))[2] == [], block


def test_the_schema_names_every_field() -> None:
    schema = json_schema()
    assert schema["properties"].keys() >= {"squad", "recording", "defaults", "judge", "baseline", "cases"}
    assert "description" in schema["properties"]["squad"]


def test_a_key_of_nothing_is_told_whatever_stands_under_it(tmp_path: Path) -> None:
    case = "  - {name: one, inputs: {idea: tea}, expect: {tasks: {'': {output: {words: '1..9'}}}}}\n"
    with pytest.raises(ProblemsFound, match="a key of 'tasks' is empty"):
        suite(tmp_path, case)
    with pytest.raises(ProblemsFound, match="'' takes a mapping, not the text 'x'"):
        suite(tmp_path, case.replace("{output: {words: '1..9'}}", "x"))


def test_a_plain_value_is_told_to_be_what_it_equals(tmp_path: Path) -> None:
    case = "  - {name: one, inputs: {idea: tea}, expect: {outputs: {text: tea}}}\n"
    with pytest.raises(ProblemsFound) as found:
        suite(tmp_path, case)
    assert [one.hint for one in found.value.problems] == ['write text: {equals: "tea"}']
    with pytest.raises(ProblemsFound) as found:
        suite(tmp_path, case.replace("text: tea", "text: {has: tea}"))
    assert [one.hint for one in found.value.problems] == ["did you mean 'contains'?"]


def test_words_of_other_test_files_are_told_with_ours(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound) as found:
        suite(tmp_path, "  - {name: one, vars: {idea: tea}, assert: {outputs: {text: {contains: tea}}}}\n")
    assert [one.hint for one in found.value.problems] == ["did you mean 'inputs'?", "did you mean 'expect'?"]
