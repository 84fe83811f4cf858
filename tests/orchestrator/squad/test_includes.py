"""Parts of a squad in files of their own: what is taken, what is wrong in which file, what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.cli.ui.resolved import resolved_document
from orchestrator.rerun.fingerprint import parts_of
from providers.documents.problems import Problem, ProblemsFound
from tests.orchestrator.subsquads import REVIEW, made

PERSONA = {"name": "Tester", "role": "Answers.", "tier": "worker"}
TEAM: dict[str, Any] = {
    "agents": {"ann": {"persona": PERSONA}, "bob": {"persona": PERSONA}},
    "conversations": {"talk": {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}},
    "inputs": {"topic": {"type": "string", "default": "tea"}},
    "defaults": {"timeout": "3m"},
}
TASKS = {
    "draft": {"agent": "ann", "description": "About ${{ inputs.topic }}"},
    "agree": {"conversation": "talk", "needs": ["draft"], "description": "Agree."},
}


def squad(folder: Path, files: Any, include: Any = ("team.yaml",), tasks: Any = TASKS, **more: Any) -> Squad:
    return made(folder, tasks, files, **{"agents": {}, "include": list(include), **more})


def faults(folder: Path, *args: Any, **more: Any) -> list[str]:
    with pytest.raises(ProblemsFound) as caught:
        squad(folder, *args, **more)
    return [told(folder, one) for one in caught.value.problems if one.severity == "error"]


def told(folder: Path, one: Problem) -> str:
    return f"{Path(one.file).relative_to(folder).as_posix()} {one.code}: {one.message}"


def test_agents_conversations_inputs_and_defaults_come_from_another_file(tmp_path: Path) -> None:
    given = squad(tmp_path, {"team.yaml": TEAM})
    plan = given.plan()
    assert (set(plan.agents), set(plan.conversations), dict(plan.inputs)) == (
        {"ann", "bob"},
        {"talk"},
        {"topic": "tea"},
    )
    assert plan.tasks["draft"].timeout == 180
    assert given.warnings == ()
    assert {one.name for one in given.files()} == {"outer.yaml", "team.yaml"}


def test_only_what_is_asked_for_is_taken_also_of_a_whole_squad(tmp_path: Path) -> None:
    whole = {"name": "other", "tasks": {"x": {"agent": "ann", "description": "x"}}, **TEAM}
    include = [{"file": "team.yaml", "only": ["agents", "conversations"]}]
    tasks = {**TASKS, "draft": {"agent": "ann", "description": "Draft."}}
    plan = squad(tmp_path, {"team.yaml": whole}, include, tasks).outline()
    assert (set(plan.agents), dict(plan.inputs), list(plan.tasks)) == ({"ann", "bob"}, {}, ["draft", "agree"])
    assert faults(tmp_path, {"team.yaml": whole}) == [
        "team.yaml misplaced-field: an included file has no 'name'",
        "team.yaml misplaced-field: an included file has no 'tasks'",
    ]


def test_what_nothing_uses_of_an_included_file_is_no_matter(tmp_path: Path) -> None:
    more = {**TEAM, "agents": {**TEAM["agents"], "cid": {"persona": PERSONA}}}
    assert squad(tmp_path, {"team.yaml": more}).warnings == ()


def test_one_name_twice_is_told_with_both_places(tmp_path: Path) -> None:
    found = faults(tmp_path, {"team.yaml": TEAM}, agents={"ann": {"persona": PERSONA}})
    assert found == [f"team.yaml duplicate-key: 'ann' is already in {tmp_path / 'outer.yaml'}, line 3"]
    two = {"team.yaml": {"agents": TEAM["agents"]}, "more.yaml": {"agents": {"bob": {"persona": PERSONA}}}}
    found = faults(tmp_path, two, ["team.yaml", "more.yaml"], {"draft": {"agent": "ann", "description": "x"}})
    assert [one.partition("'bob' is already in")[0] for one in found] == ["more.yaml duplicate-key: "]


def test_a_mistake_in_an_included_file_is_told_there_with_its_line(tmp_path: Path) -> None:
    wrong = {**TEAM, "agents": {**TEAM["agents"], "ann": {"persona": "analist"}}}
    with pytest.raises(ProblemsFound) as caught:
        squad(tmp_path, {"team.yaml": wrong})
    (problem,) = caught.value.problems
    assert (Path(problem.file).name, problem.code) == ("team.yaml", "unknown-persona")
    assert "analist" in (tmp_path / "team.yaml").read_text().splitlines()[problem.line - 1]


@pytest.mark.parametrize(
    ("files", "include", "told"),
    [
        ({}, ["none.yaml"], "outer.yaml unreadable-file: cannot read"),
        ({}, ["../team.yaml"], "outer.yaml unsafe-path: the path leaves the folder of this file"),
        ({}, ["outer.yaml"], "outer.yaml cycle: these files are a part of each other"),
        ({"team.yaml": {"include": ["team.yaml"]}}, ["team.yaml"], "team.yaml cycle: these files are a part"),
        ({"team.yaml": ["ann"]}, ["team.yaml"], "team.yaml wrong-type: an included file is a mapping of inputs"),
        ({"team.yaml": {"agents": ["ann"]}}, ["team.yaml"], "team.yaml wrong-type: 'agents' is a mapping"),
        ({"team.yaml": {"agnets": {}}}, ["team.yaml"], "team.yaml misplaced-field: an included file has no 'agnets'"),
        ({"team.yaml": TEAM}, [{"file": "team.yaml", "only": ["tasks"]}], "outer.yaml invalid-value"),
        ({"team.yaml": TEAM}, [{"flie": "team.yaml"}], "outer.yaml unknown-field: 'flie'"),
    ],
)
@pytest.mark.few(2)
def test_what_cannot_be_included_is_told(tmp_path: Path, files: Any, include: Any, told: str) -> None:
    if told.startswith("outer.yaml unreadable"):
        told = "none.yaml unreadable-file: cannot read the file"
    assert any(one.startswith(told) for one in faults(tmp_path, files, include)), faults(tmp_path, files, include)


def test_included_files_may_include_others_and_each_is_taken_once(tmp_path: Path) -> None:
    files = {
        "team.yaml": {"include": ["low/people.yaml"], "conversations": TEAM["conversations"]},
        "more.yaml": {"include": ["low/people.yaml"], "inputs": TEAM["inputs"]},
        "low/people.yaml": {"agents": TEAM["agents"]},
    }
    assert set(squad(tmp_path, files, ["team.yaml", "more.yaml"]).outline().agents) == {"ann", "bob"}


def test_its_sources_make_it_again_and_a_sub_squad_may_include_too(tmp_path: Path) -> None:
    review = {**REVIEW, "agents": {}, "include": ["who.yaml"]}
    files = {"low/review.yaml": review, "low/who.yaml": {"agents": REVIEW["agents"]}, "team.yaml": TEAM}
    tasks = {**TASKS, "review": {"squad": "low/review.yaml", "with": {"draft": "x"}}}
    given = squad(tmp_path, files, tasks=tasks)
    assert {"ann", "review.ann"} < set(given.outline().agents)
    again = Squad.from_text(given.text, "outer.yaml", sources=given.sources())
    assert parts_of(again.outline()) == parts_of(given.outline())
    for name in files:
        (tmp_path / name).unlink()
    gone = Squad.from_file(tmp_path / "outer.yaml", where_gone=given.sources())
    assert parts_of(gone.outline()) == parts_of(given.outline())


def test_an_edit_of_an_included_file_is_seen(tmp_path: Path) -> None:
    was = parts_of(squad(tmp_path, {"team.yaml": TEAM}).outline())
    other = {**TEAM, "agents": {**TEAM["agents"], "ann": {"persona": {**PERSONA, "role": "Asks."}}}}
    now = parts_of(squad(tmp_path, {"team.yaml": other}).outline())
    assert [name for name in was if was[name] != now[name]] == ["agent ann"]


def test_the_resolved_whole_stands_alone(tmp_path: Path) -> None:
    document = resolved_document(squad(tmp_path, {"team.yaml": TEAM}), {})
    (tmp_path / "team.yaml").unlink()
    again = Squad.from_mapping(document)
    assert set(again.outline().agents) == {"ann", "bob"}
    assert again.plan().inputs == {"topic": "tea"}


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("more.yaml", "'include' is a list of files"),
        ({"file": "more.yaml"}, "'include' is a list of files"),
        ([{"file": "more.yaml", "only": "agents"}], "'only' is a list of"),
        ([{"file": "more.yaml", "only": ["agnts"]}], "'only' is a list of"),
        ([{"file": "more.yaml", "only": []}], "'only' is a list of"),
    ],
)
def test_what_an_included_file_writes_wrong_is_no_include_of_nothing(
    tmp_path: Path, include: Any, message: str
) -> None:
    told = faults(tmp_path, {"team.yaml": {"include": include, **TEAM}, "more.yaml": {}})
    assert any(one.startswith(f"team.yaml wrong-type: {message}") for one in told)
