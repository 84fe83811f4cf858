"""Sub-squads as they are read: what is wrong in which file, what is recorded of them, what plan they come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.rerun.fingerprint import changed, dependency_digests, parts_of
from orchestrator.squad.plan import Budget, SquadEntry, SquadResult
from orchestrator.squad.subsquads import tighter
from providers.documents.problems import ProblemsFound
from tests.orchestrator.subsquads import OUTER, PEOPLE, REVIEW, edited, made, written


def faults(folder: Path, *args: Any, **more: Any) -> list[tuple[str, str, str]]:
    """Return (file, code, message) of each mistake."""
    with pytest.raises(ProblemsFound) as caught:
        made(folder, *args, **more)
    problems = [one for one in caught.value.problems if one.severity == "error"]
    return [(Path(one.file).relative_to(folder).as_posix(), one.code, one.message) for one in problems]


def test_the_tasks_of_the_file_stand_among_those_of_the_squad(tmp_path: Path) -> None:
    plan = made(tmp_path).outline()
    assert list(plan.tasks) == ["draft", "review.inputs", "review.check", "review.judge", "review", "end"]
    assert plan.tasks["review.inputs"].needs == ("draft",)
    assert plan.tasks["review.check"].needs == ("review.inputs",)
    assert set(plan.tasks["review"].needs) == {"review.inputs", "review.check", "review.judge"}
    assert isinstance(plan.tasks["review.inputs"].work, SquadEntry)
    assert isinstance(plan.tasks["review"].work, SquadResult)
    assert set(plan.agents) == {"ann", "review.ann", "review.bob"}


def test_two_uses_and_a_squad_within_a_squad_have_names_of_their_own(tmp_path: Path) -> None:
    middle = {**REVIEW, "agents": {}, "tasks": {"deep": {"squad": "low/review.yaml", "with": {"draft": "x"}}}}
    middle |= {"inputs": {}, "outputs": {"all": "${{ tasks.deep.output.notes }}"}}
    tasks = {"one": {"squad": "middle.yaml"}, "two": {"squad": "middle.yaml"}}
    plan = made(tmp_path, tasks, {"middle.yaml": middle, "low/review.yaml": REVIEW}, agents={}).outline()
    inner = ["deep.inputs", "deep.check", "deep.judge", "deep"]
    own = [f"{name}.{task}" for name in ("one", "two") for task in ("inputs", *inner)]
    assert list(plan.tasks) == [*own[:5], "one", *own[5:], "two"]
    assert set(plan.squads) == {"one", "two", "one.deep", "two.deep"}
    assert plan.tasks["one.deep.check"].squad == "one.deep"


def test_mistakes_of_all_files_are_told_at_once_each_in_its_own(tmp_path: Path) -> None:
    review = edited(REVIEW, "check", agent="anna")
    found = faults(tmp_path, {**OUTER, "end": {"agent": "bo", "description": "x"}}, {"review.yaml": review})
    assert found == [
        ("outer.yaml", "invalid-squad", "the squad file 'review.yaml' has mistakes"),
        ("outer.yaml", "unknown-agent", "no agent is called 'bo'"),
        ("review.yaml", "unknown-agent", "no agent is called 'anna'"),
    ]


@pytest.mark.parametrize(
    ("review", "code", "told"),
    [
        ({"squad": "none.yaml"}, "invalid-squad", "the squad file 'none.yaml' cannot be read"),
        ({"squad": "../review.yaml"}, "unsafe-path", "the path leaves the folder of this file"),
        ({"squad": "/review.yaml"}, "unsafe-path", "the path is absolute"),
        ({"squad": "${{ inputs.which }}"}, "unsafe-path", "cannot be chosen by an expression"),
        ({"with": {"draft": "x", "ton": "y"}}, "unknown-input", "no input is called 'ton'"),
        ({"with": {}}, "missing-input", "'review.yaml' needs the input 'draft'"),
        ({"with": {"draft": 3}}, "invalid-input", "input 'draft' is of type string"),
        ({"with": {"draft": "${{ tasks.end.output }}"}}, "not-an-ancestor", "'review' does not wait for 'end'"),
        ({"output_file": "a.md"}, "misplaced-field", "'output_file' has no meaning in a task with 'squad'"),
        ({"repeat": {"until": "${{ output.verdct }}", "max_attempts": 2}}, "unknown-attribute", "has no 'verdct'"),
        ({"repeat": {"until": "${{ output.verdict }}"}}, "unbounded", "without 'max_attempts'"),
        ({"agent": "ann"}, "one-of", "this one has agent and squad"),
        ({"squad": "outer.yaml", "with": {}}, "cycle", "these files are a part of each other"),
    ],
)
@pytest.mark.few(2)
def test_what_cannot_be_a_sub_squad_is_told(tmp_path: Path, review: Any, code: str, told: str) -> None:
    found = faults(tmp_path, {**OUTER, "review": {**OUTER["review"], **review}})
    assert any(file == "outer.yaml" and code == one and told in message for file, one, message in found), found


def test_an_output_that_the_file_has_not_is_unknown(tmp_path: Path) -> None:
    end = {**OUTER["end"], "description": "${{ tasks.review.output.verdct }}"}
    assert faults(tmp_path, {**OUTER, "end": end}) == [
        ("outer.yaml", "unknown-attribute", "the output of task 'review' has no 'verdct'")
    ]


def test_a_ring_of_files_and_a_link_to_elsewhere_are_refused(tmp_path: Path) -> None:
    ring = {"name": "ring", "tasks": {"back": {"squad": "ring.yaml"}}}
    found = faults(tmp_path, {"a": {"squad": "ring.yaml"}}, {"ring.yaml": ring}, agents={})
    assert ("ring.yaml", "cycle") in [(file, code) for file, code, _ in found]
    (tmp_path / "own").mkdir()
    written(tmp_path / "own", files={})
    (tmp_path / "review.yaml").write_text("name: x")
    (tmp_path / "own" / "review.yaml").symlink_to(tmp_path / "review.yaml")
    with pytest.raises(PlanError, match="is a link to a file elsewhere"):
        Squad.from_file(tmp_path / "own" / "outer.yaml")


def test_two_uses_that_write_one_file_are_told(tmp_path: Path) -> None:
    review = edited(REVIEW, "check", output_file="notes.md")
    use = {"squad": "review.yaml", "with": {"draft": "x"}}
    found = faults(tmp_path, {"one": use, "two": use}, {"review.yaml": review}, agents={})
    assert found == [
        ("outer.yaml", "duplicate-output-file", "'two.check' writes notes.md, and so does 'one.check'"),
    ]


def test_its_sources_make_it_again_where_no_file_is(tmp_path: Path) -> None:
    review = edited({**REVIEW, "agents": {**REVIEW["agents"], "bob": {"persona": "./who.yaml"}}}, "check")
    files = {"low/review.yaml": review, "low/who.yaml": {"name": "Who", "role": "Judges."}}
    tasks = {**OUTER, "review": {**OUTER["review"], "squad": "low/review.yaml"}}
    squad = made(tmp_path, tasks, files)
    assert {one.name for one in squad.files()} == {"outer.yaml", "review.yaml", "who.yaml"}
    again = Squad.from_text(squad.text, "outer.yaml", sources=squad.sources())
    assert parts_of(again.outline()) == parts_of(squad.outline())
    for name in files:
        (tmp_path / name).unlink()
    gone = Squad.from_file(tmp_path / "outer.yaml", where_gone=squad.sources())
    assert parts_of(gone.outline()) == parts_of(squad.outline())


@pytest.mark.long
def test_an_edit_of_the_inner_file_is_seen_and_touches_what_it_must(tmp_path: Path) -> None:
    before = made(tmp_path).outline()
    after = made(tmp_path, files={"review.yaml": edited(REVIEW, "judge", description="Judge anew.")}).outline()
    assert changed(parts_of(before), parts_of(after)) == ["task review.judge"]
    was, now = dependency_digests(before), dependency_digests(after)
    assert [name for name in was if was[name] != now[name]] == ["review.judge", "review", "end"]


def test_a_forecast_counts_the_turns_of_a_sub_squad(tmp_path: Path) -> None:
    outlook = expect(made(tmp_path).outline(), Assumptions(), lambda _: 1.0)
    assert [(turn.task, turn.agent) for turn in outlook.turns] == [
        ("draft", "ann"),
        ("review.check", "review.ann"),
        ("review.judge", "review.bob"),
        ("end", "ann"),
    ]
    assert outlook.seconds == 4.0


def test_two_budgets_hold_both() -> None:
    one, other = Budget(max_cost=5, max_turns=9, on_exceed="pause"), Budget(max_cost=3, max_tokens=7)
    assert tighter(one, other) == Budget(max_cost=3, max_tokens=7, max_turns=9, on_exceed="pause")
    assert tighter(None, other) == other
    assert tighter(None, None) is None


TOOL = """
def shout(text: str) -> str:
    \"\"\"Say it loudly.\"\"\"
    return text.upper()
"""


def test_its_tools_are_its_own_and_asked_for(tmp_path: Path) -> None:
    review = {**REVIEW, "tools": {"shout": {"python": "tools.py:shout"}}}
    review["agents"] = {**REVIEW["agents"], "bob": {**REVIEW["agents"]["bob"], "tools": ["shout"]}}
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "tools.py").write_text(TOOL)
    tasks = {**OUTER, "review": {**OUTER["review"], "squad": "low/review.yaml"}}
    squad = made(tmp_path, tasks, {"low/review.yaml": review})
    assert [tool.name for tool in squad.outline().agents["review.bob"].tools] == ["shout"]
    assert len(squad.code_uses()) == 1
    (tmp_path / "tools.py").write_text(TOOL.replace("upper", "lower"))
    more = {"tools": {"shout": {"python": "tools.py:shout"}}}
    assert faults(tmp_path, tasks, {"low/review.yaml": review}, **more) == [
        ("outer.yaml", "duplicate-name", "'low/review.yaml' has a tool 'shout', which is another one here")
    ]
    (tmp_path / "read.py").write_text(TOOL.replace("shout", "read_file"))
    reads = {"agents": {"ann": {**PEOPLE["ann"], "tools": ["read_file"]}}}
    mine = {"tools": {"read_file": {"python": "read.py"}}}
    review = {**REVIEW, "agents": {**REVIEW["agents"], **reads["agents"]}}
    clash = "'review.yaml' has a tool 'read_file', which is another one here"
    for outer, inner in ((mine, review), (reads, {**REVIEW, **mine})):
        assert (("outer.yaml", "duplicate-name", clash)) in faults(tmp_path, OUTER, {"review.yaml": inner}, **outer)


def test_an_agent_that_is_called_as_one_of_a_sub_squad_is_told(tmp_path: Path) -> None:
    people = {name: {"persona": {"name": "Tester", "role": "Answers."}} for name in ("ann", "review.bob")}
    assert faults(tmp_path, agents=people) == [
        ("outer.yaml", "duplicate-name", "'review.bob' is what 'bob' of 'review' is called here")
    ]
