"""Personas in files beside a squad, Markdown or YAML: both are found, checked, recorded and guarded alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.errors import AgentError
from orchestrator.errors import PlanError
from orchestrator.options import RunOptions
from orchestrator.out_folder import run_folder
from orchestrator.rerun.fingerprint import changed, parts_of
from orchestrator.squad.load import Squad

SQUAD = """version: 1
name: t
offline: always
inputs: {topic: {type: string, default: boats}}
agents:
  ann: {persona: WHO}
tasks:
  go: {agent: ann, description: Go.}
"""
FRONT = "---\nname: Rae\nrole: Reviews ${{ inputs.topic }}.\n---\n"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "personas").mkdir()
    return tmp_path


def squad_in(home, who="rae"):
    (home / "squad.yaml").write_text(SQUAD.replace("WHO", who), "utf-8")
    return Squad.from_file(home / "squad.yaml")


def told(squad):
    return squad.plan({}).agents["ann"].told()


def problems(home, who="rae"):
    with pytest.raises(PlanError) as failed:
        squad_in(home, who)
    return [
        (str(p.file).replace(f"{home}/", ""), p.line, p.column, p.code)
        for p in failed.value.problems
        if p.severity == "error"
    ]


@pytest.mark.parametrize("file", ["rae.md", "rae.markdown"])
def test_a_persona_beside_the_squad_goes_by_its_name(home, file) -> None:
    (home / "personas" / file).write_text(FRONT + "On ${{ inputs.topic }}, {{ braces }} stay.", "utf-8")
    squad = squad_in(home)
    assert "Reviews boats." in told(squad)
    assert told(squad).endswith("On boats, {{ braces }} stay.\n")
    assert squad.plan({}).agents["ann"].persona.name == "rae"


def test_yaml_says_the_same(home) -> None:
    (home / "personas" / "rae.md").write_text(FRONT + "One.\nTwo.", "utf-8")
    markdown = told(squad_in(home))
    (home / "personas" / "rae.md").unlink()
    (home / "personas" / "rae.yml").write_text(
        FRONT.replace("---\n", "") + "instructions: |-\n  One.\n  Two.\n", "utf-8"
    )
    assert told(squad_in(home)) == markdown


def test_it_comes_before_one_of_the_library_and_may_be_extended(home) -> None:
    (home / "personas" / "analyst.md").write_text("Mine.", "utf-8")
    (home / "own.md").write_text("---\nextends: analyst\n---\nOwn.", "utf-8")
    assert told(squad_in(home, "analyst")) == "Mine."
    squad = squad_in(home, "./own.md")
    assert told(squad) == "Own."
    assert "persona personas/analyst.md" in squad.sources()


def test_a_role_of_the_agent_overrides_the_file_alone(home) -> None:
    (home / "personas" / "rae.md").write_text("---\nrole: R.\ngoal: Quality.\n---\nBody.", "utf-8")
    text = told(squad_in(home, "rae, role: Other."))
    assert "Other." in text
    assert "Quality." in text
    assert "Body." in text


def test_mistakes_are_shown_in_the_file(home) -> None:
    (home / "personas" / "rae.md").write_text(FRONT + "> quoted\n\nsee ${{ inputs.tpic }}", "utf-8")
    assert problems(home) == [("personas/rae.md", 7, 9, "unknown-input")]
    (home / "personas" / "rae.md").write_text("---\nname: Rae\nmodel: x\n---\nBody", "utf-8")
    assert ("personas/rae.md", 3, 1, "unknown-field") in problems(home)
    assert ("squad.yaml", 6, 18, "invalid-persona") in problems(home)


def test_two_files_of_one_name_are_named(home) -> None:
    for name in ("rae.md", "rae.yaml"):
        (home / "personas" / name).write_text("---\nrole: R.\n", "utf-8")
    assert problems(home) == [("squad.yaml", 6, 18, "ambiguous-persona")]
    (home / "own.md").write_text("---\nextends: rae\n---\n", "utf-8")
    assert problems(home, "./own.md")[0] == ("own.md", 2, 10, "ambiguous-persona")


def test_a_misspelt_name_suggests_one_of_the_folder(home) -> None:
    (home / "personas" / "reviewer.md").write_text("Body", "utf-8")
    with pytest.raises(PlanError, match="did you mean 'reviewer'"):
        squad_in(home, "reviewr")


def test_a_record_makes_the_squad_again_without_the_files(home) -> None:
    (home / "personas" / "rae.md").write_text(FRONT + "Body.", "utf-8")
    squad = squad_in(home)
    recorded, sources = parts_of(squad.plan({})), squad.sources()
    again = Squad.from_text(squad.text, squad.file, sources=sources)
    assert told(again) == told(squad)
    (home / "personas" / "rae.md").unlink()
    gone = Squad.from_file(home / "squad.yaml", where_gone=sources)
    assert changed(recorded, parts_of(gone.plan({}))) == []
    (home / "personas" / "rae.md").write_text(FRONT + "Other.", "utf-8")
    assert changed(recorded, parts_of(squad_in(home).plan({}))) == ["agent ann"]


def test_a_persona_without_instructions_has_the_digest_that_it_had() -> None:
    plan = Squad.from_text(SQUAD.replace("WHO", "analyst")).plan({})
    ann = plan.agents["ann"]
    with_prompt = replace(plan, agents={"ann": replace(ann, persona=replace(ann.persona, prompt="x"))})
    assert parts_of(plan)["agent ann"] == "69c89087c15a80ad"
    assert parts_of(with_prompt) != parts_of(plan)


def test_no_run_writes_into_the_folder_of_personas(home) -> None:
    (home / "personas" / "rae.md").write_text("Body.", "utf-8")
    folder = run_folder(home, squad_in(home), RunOptions(), overwrite=True)
    assert folder is not None
    with pytest.raises(AgentError):
        folder.check("personas/analyst.md", "")


def test_tools_of_other_programs_are_told(home) -> None:
    (home / "personas" / "rae.md").write_text("---\nrole: R.\ntools: [Read, Bash]\n---\n", "utf-8")
    with pytest.raises(PlanError) as failed:
        squad_in(home)
    assert "write read_file" in str(failed.value)
    assert "write run_command, and name the programs" in str(failed.value)
