"""Agents as people write them: with a persona or without one, and what is told to a model of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.rerun.fingerprint import parts_of
from orchestrator.squad.plan import AgentPlan
from providers.documents.problems import Problem

TASKS = {"t": {"agent": "ann", "description": "Write."}}


def planned(agent: dict[str, Any], inputs: dict[str, Any] | None = None) -> AgentPlan:
    declared = {"topic": {"default": "tea"}}
    squad = Squad.from_mapping({"name": "s", "inputs": declared, "agents": {"ann": agent}, "tasks": TASKS})
    return squad.plan(inputs).agents["ann"]


def problems(agent: Any) -> list[Problem]:
    with pytest.raises(PlanError) as caught:
        planned(agent)
    return [one for one in caught.value.problems if one.severity == "error"]


def test_instructions_alone_are_all_that_is_told() -> None:
    text = 'You write about ${{ inputs.topic }}.\nAnswer as {"text": ...} and keep {{ braces }}.'
    assert planned({"instructions": text}).told() == text.replace("${{ inputs.topic }}", "tea")


def test_instructions_are_a_section_after_those_of_a_persona() -> None:
    told = planned({"persona": "analyst", "instructions": "Use tables only."}).told()
    assert told.startswith("You are Mary, Business Analyst.")
    assert told.endswith("\n\n## Your instructions\n\nUse tables only.\n")


def test_a_template_may_place_the_instructions() -> None:
    template = "First: {{ instructions }} Then: {{ persona.role }}"
    made = planned({"role": "Critic", "template": template, "instructions": "Be brief {{ persona.role }}."})
    assert made.told() == "First: Be brief {{ persona.role }}. Then: Critic"


def test_role_and_goal_do_for_a_persona() -> None:
    told = planned({"role": "Critic of ${{ inputs.topic }}", "goal": "Find faults"}, {"topic": "ale"}).told()
    assert told == "You are ann.\n\n## Your role\n\nCritic of ale\n\n## Your goal\n\nFind faults\n"


def test_an_input_is_never_a_template() -> None:
    made = planned({"instructions": "About ${{ inputs.topic }}"}, {"topic": "${{ inputs.topic }} {{ 7 * 7 }}"})
    assert made.told() == "About ${{ inputs.topic }} {{ 7 * 7 }}"


def squad_of(agent: dict[str, Any]) -> Squad:
    return Squad.from_mapping({"name": "s", "agents": {"ann": agent}, "tasks": TASKS})


@pytest.mark.parametrize("text", ["", "  \n"])
def test_instructions_say_something(text: str) -> None:
    assert [one.code for one in problems({"role": "x", "instructions": text})] == ["out-of-range"]


def test_a_template_that_cannot_be_rendered_is_told_before_a_run() -> None:
    assert "'foo' is unknown" in problems({"template": "{{ foo }}"})[0].message
    with pytest.raises(PlanError, match="its template: 'persona"):
        planned({"template": "{{ inputs.topic }} {{ persona.foo }}", "instructions": "x"})
    assert planned({"role": "Critic", "template": "{{ persona.role }}{{ instructions }}"}).told() == "Critic"


def test_a_temperature_that_no_model_is_sent_is_told() -> None:
    silent = squad_of({"role": "x", "model": "openai/gpt-6-luna", "temperature": 0.3}).warnings
    assert [(one.code, one.path) for one in silent] == [("not-sent", ("agents", "ann", "temperature"))]
    assert squad_of({"role": "x", "model": "groq/openai/gpt-oss-120b", "temperature": 0.3}).warnings == ()
    assert squad_of({"role": "x", "temperature": 0.3}).warnings == ()


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"title": "Lawyer"}, "You are Lawyer.\n\n## Your role\n\nFind out what the problem is"),
        ({"role": "Defends the client."}, "You are ann.\n\n## Your role\n\nDefends the client.\n"),
        ({"name": "Eve", "title": "Lawyer", "role": "Defends."}, "You are Eve, Lawyer.\n\n## Your role\n\nDefends.\n"),
    ],
)
def test_a_title_or_role_of_ones_own_leaves_name_and_habits_behind(own: dict[str, Any], told: str) -> None:
    mary = planned({"persona": "analyst"}).persona
    made = planned({"persona": "analyst", **own, "principles": ["Never lose."]})
    assert made.told().startswith(told)
    assert "Mary" not in made.told()
    assert made.persona.principles == ("Never lose.",)
    assert (made.persona.identity, made.persona.style, made.persona.produces) == ("", "", ())
    assert (made.persona.name, made.persona.tier) == ("analyst", mary.tier)


def test_what_is_no_title_and_no_role_is_added_to_the_persona() -> None:
    mary = planned({"persona": "analyst"}).persona
    made = planned({"persona": "analyst", "name": "Eve", "goal": "Find it.", "principles": ["Never lose."]}).persona
    assert made == replace(mary, display_name="Eve", goal="Find it.", principles=(*mary.principles, "Never lose."))


def test_who_extends_a_persona_keeps_what_it_does_not_replace() -> None:
    mary = planned({"persona": "analyst"}).persona
    assert planned({"persona": {"extends": "analyst", "title": "Chief"}}).persona == replace(mary, title="Chief")


def test_a_run_of_an_earlier_edition_keeps_its_personas() -> None:
    squad = squad_of({"persona": "analyst", "title": "Lawyer"})
    assert squad.plan(edition=2).agents["ann"].told().startswith("You are Mary, Lawyer.")
    assert squad.plan().agents["ann"].told().startswith("You are Lawyer.")


@pytest.mark.parametrize("agent", [{}, {"tier": "boss"}, {"name": "Ann"}, {"tools": ["read_file"], "max_turns": 3}])
def test_an_agent_says_who_it_is(agent: dict[str, Any]) -> None:
    (only,) = problems(agent)
    assert (only.code, only.message) == ("missing-field", "the agent 'ann' does not say who it is")
    assert "persona: analyst" in only.hint
    assert "instructions:" in only.hint


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("agent", "meant"),
    [
        ({"system_prompt": "x"}, "'instructions'"),
        ({"prompt": "x"}, "'instructions'"),
        ({"role": "x", "backstory": "y"}, "'identity'"),
        ({"role": "x", "llm": "openai/x"}, "'model'"),
        ({"role": "x", "max_tokens": 5}, "'max_output_tokens'"),
        ({"role": "x", "reasoning_effort": "low"}, "'effort'"),
        ({"role": "x", "top_p": 1}, "leave it out"),
    ],
)
def test_words_of_other_frameworks_are_told(agent: dict[str, Any], meant: str) -> None:
    assert meant in problems(agent)[0].hint


@pytest.mark.parametrize("wrong", [{"temperature": 3}, {"temperature": -0.1}, {"effort": "max"}, {"temperature": "1"}])
def test_sampling_has_bounds(wrong: dict[str, Any]) -> None:
    assert [one.path[-1] for one in problems({"role": "x", **wrong})] == list(wrong)


def test_who_names_no_tier_is_served_by_the_default() -> None:
    assert planned({"role": "x"}).persona.tier is None
    assert planned({"role": "x", "tier": "boss"}).tier == "boss"


def test_an_edited_prompt_is_noticed_and_an_old_record_keeps_its_digests() -> None:
    squad = Squad.from_mapping({"name": "s", "agents": {"ann": {"persona": "dev"}}, "tasks": TASKS})
    plan = squad.plan()
    assert parts_of(plan)["agent ann"] == "132bb7c48b757ea5"
    for field, value in (("instructions", "x"), ("temperature", 0.0), ("effort", "low")):
        edited = {"ann": replace(plan.agents["ann"], **{field: value})}
        assert parts_of(replace(plan, agents=edited))["agent ann"] != parts_of(plan)["agent ann"], field


PROMPTED = """\
name: s
inputs: {topic: {default: tea}}
agents: {ann: {instructions: ./prompts/ann.md}}
tasks: {t: {agent: ann, description: Write.}}
"""


def prompted(folder: Path, prompt: str | bytes) -> Path:
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "ann.md").write_bytes(prompt.encode() if isinstance(prompt, str) else prompt)
    (folder / "s.yaml").write_text(PROMPTED)
    return folder / "s.yaml"


def test_instructions_may_stand_in_a_file(tmp_path: Path) -> None:
    file = prompted(tmp_path, "\ufeffYou write about ${{ inputs.topic }}.\n")
    squad = Squad.from_file(file)
    assert squad.plan().agents["ann"].told() == "You write about tea.\n"
    assert tmp_path / "prompts" / "ann.md" in squad.files()
    sources = squad.sources()
    (tmp_path / "prompts" / "ann.md").unlink()
    for again in (Squad.from_text(PROMPTED, str(file), where_gone=sources), Squad.from_text(PROMPTED, sources=sources)):
        assert again.plan().agents["ann"].told() == "You write about tea.\n"
    with pytest.raises(PlanError, match="cannot read"):
        Squad.from_file(file)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (" \n", "empty-file"),
        (b"\xff\xfea", "UTF-16"),
        ("${{ inputs.tpoic }}", "no input is called 'tpoic', in './prompts/ann.md'"),
        ("${{ inputs.", "bad-expression"),
    ],
)
def test_what_is_wrong_in_a_file_of_instructions_is_told(tmp_path: Path, prompt: str | bytes, told: str) -> None:
    with pytest.raises(PlanError) as caught:
        Squad.from_file(prompted(tmp_path, prompt))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("path", "why"),
    [(".env.txt", "holds keys"), ("../other.md", "outside"), ("link.md", "outside"), ("/etc/motd.txt", "outside")],
)
def test_a_prompt_lies_below_the_squad_and_holds_no_keys(tmp_path: Path, path: str, why: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "other.md").write_text("Other.")
    (home / ".env.txt").write_text("KEY=1")
    (home / "link.md").symlink_to(tmp_path / "other.md")
    (home / "s.yaml").write_text(PROMPTED.replace("./prompts/ann.md", path))
    with pytest.raises(PlanError, match=why):
        Squad.from_file(home / "s.yaml")


@pytest.mark.parametrize(
    "text", ["Read notes.md", "notes.md.", "README.md\nis a file", "md", "Write ${{inputs.topic}}.md"]
)
def test_a_sentence_is_no_file(text: str) -> None:
    assert planned({"instructions": text}).instructions == text.replace("${{inputs.topic}}", "tea")
