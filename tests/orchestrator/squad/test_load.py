"""A squad as users hold it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agents import tool
from orchestrator import PlanError, SpecError, Squad
from orchestrator.squad.plan import EDITION

PERSONA = {"name": "T", "role": "Answers.", "tier": "worker"}


def mapping(**agent: Any) -> dict[str, Any]:
    task = {"agent": "ann", "description": "1e3"}
    return {"version": 1, "name": "s", "agents": {"ann": {"persona": PERSONA, **agent}}, "tasks": {"a": task}}


def test_objects_mean_what_they_are_not_what_yaml_would_read() -> None:
    plan = Squad.from_mapping(mapping()).plan()
    assert plan.tasks["a"].work.description.render({}) == "1e3"  # type: ignore[union-attr]


def test_a_pinned_model_must_be_one_that_the_catalog_knows() -> None:
    with pytest.raises(PlanError) as found:
        Squad.from_mapping(mapping(model="groq/openai/gpt-oss-120"))
    (problem,) = found.value.problems
    assert (problem.code, problem.hint) == ("unknown-model", "did you mean 'groq/openai/gpt-oss-120b'?")


@pytest.mark.parametrize("chain", [["groq/x", "groq/x"], ["groq/*", "groq/x"]])
def test_a_model_of_an_agents_chain_that_is_never_reached_is_a_mistake(chain: list[str]) -> None:
    with pytest.raises(PlanError) as found:
        Squad.from_mapping(mapping(model=[one.replace("x", "openai/gpt-oss-20b") for one in chain]))
    assert [problem.code for problem in found.value.problems] == ["no-effect"]


def test_several_models_are_a_chain_and_each_must_be_known() -> None:
    chain = ["groq/openai/gpt-oss-120b", "gemini/*", "openai/gpt-6-luna#2"]
    agent = Squad.from_mapping(mapping(model=chain)).plan().agents["ann"]
    assert (agent.model, agent.chain, agent.needs().chain) == (None, tuple(chain), tuple(chain))
    with pytest.raises(PlanError) as found:
        Squad.from_mapping(mapping(model=[*chain, "groq/nope", "grok/*"]))
    assert [problem.path for problem in found.value.problems] == [("agents", "ann", "model", at) for at in (3, 4)]


def test_a_local_server_serves_whatever_model_is_named() -> None:
    squad = Squad.from_mapping(mapping(model="ollama/qwen3:8b"))
    assert squad.plan().agents["ann"].model == "ollama/qwen3:8b"
    assert squad.catalog.find("ollama/qwen3:8b") is not None


def test_own_personas_win_over_the_library() -> None:
    squad = mapping(persona="dev")
    mine = {"dev": {"name": "Zoe", "role": "Mine.", "tier": "boss"}}
    assert Squad.from_mapping(squad, personas=mine).plan().agents["ann"].persona.display_name == "Zoe"
    assert Squad.from_mapping(squad).plan().agents["ann"].persona.display_name == "Amelia"


@pytest.mark.parametrize("more", [{}, {"title": "Clerk"}, {"extends": "dev"}])
def test_a_persona_without_a_name_is_called_like_its_agent(more: dict[str, Any]) -> None:
    agents = {name: {"persona": {"role": "Solves tickets.", **more}} for name in ("support_bot", "clerk_2")}
    squad = Squad.from_mapping({**mapping(), "agents": {**mapping()["agents"], **agents}})
    personas = {name: squad.plan().agents[name].persona for name in agents}
    if not more:
        assert {name: (one.name, one.display_name) for name, one in personas.items()} == {n: (n, n) for n in agents}
        assert "You are support_bot." in personas["support_bot"].instructions()
    else:
        assert {one.display_name for one in personas.values()} == {"Clerk" if "title" in more else "Amelia"}


def test_a_run_that_an_earlier_release_began_keeps_the_names_of_its_personas() -> None:
    squad = Squad.from_mapping(mapping(persona={"role": "Solves tickets."}))
    assert (squad.plan().edition, squad.plan(edition=1).edition) == (EDITION, 1)
    persona = squad.plan(edition=1).agents["ann"].persona
    assert (persona.name, persona.display_name) == ("custom", "custom")


def test_a_persona_file_stands_beside_the_squad(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: Kim\nrole: Sorts.\ntier: worker\n")
    (tmp_path / "squad.yaml").write_text(
        "version: 1\nname: s\nagents:\n  kim: {persona: ./mine.yaml}\ntasks:\n  a: {agent: kim, description: x}\n"
    )
    assert Squad.from_file(tmp_path / "squad.yaml").plan().agents["kim"].persona.display_name == "Kim"


def test_own_tools_are_known_by_name() -> None:
    @tool
    async def count(text: str) -> int:
        """Count."""
        return len(text)

    squad = Squad.from_mapping(mapping(tools=["count"]), tools=[count])
    assert [one.name for one in squad.plan().agents["ann"].tools] == ["count"]
    with pytest.raises(PlanError, match="count"):
        Squad.from_mapping(mapping(tools=["count"]))


def test_a_routing_files_mistakes_are_placed_in_it(tmp_path: Path) -> None:
    file = tmp_path / "agent_routing.yaml"
    file.write_text("version: 1\ntiers:\n  boss: [grok/openai/gpt-oss-120b]\n")
    with pytest.raises(SpecError) as found:
        Squad.from_mapping(mapping(), routing=file)
    first = found.value.problems[0]
    assert (first.file, first.line) == (str(file), 3)
    assert "groq" in str(first) + first.hint


def test_one_squad_plans_any_number_of_runs() -> None:
    squad = Squad.from_mapping({**mapping(), "inputs": {"n": {"type": "integer", "default": 1}}})
    assert squad.plan({"n": 2}).inputs == {"n": 2}
    assert squad.plan().inputs == {"n": 1}
    with pytest.raises(PlanError, match="n"):
        squad.plan({"n": "two"})


ROUTING = """\
tiers:
  worker: [lab/mute]
  boss: [lab/mute, groq/openai/gpt-oss-20b]
agents:
  chained: {chain: {primary: lab/mute, last_resort: cerebras/gpt-oss-120b}}
  moved: {tier: worker}
  alone: {model: lab/mute}
providers:
  lab:
    dialect: openai-chat
    base_url: http://127.0.0.1:9/v1
    models: {mute: {context: 9000, max_output: 900}}
"""
HANDS = """\
name: hands
%s
agents:
  quiet: {persona: dev, tier: worker}
  armed: {persona: dev, tier: worker, tools: [read_file]}
  able: {persona: dev, tier: boss, tools: [read_file]}
  chained: {persona: dev, tier: worker, tools: [read_file]}
  moved: {persona: dev, tier: boss, tools: [read_file]}
  alone: {persona: dev, tier: boss, tools: [read_file]}
  pinned: {persona: dev, model: lab/mute, tools: [read_file]}
  second: {persona: dev, model: "groq/openai/gpt-oss-20b#2", tools: [read_file]}
tasks:
  a: {agent: quiet, description: x, tools: [read_file]}
  b: {agent: armed, description: x, tools: [write_file]}
  c: {agent: quiet, description: x}
  d: {agent: able, description: x, needs: [a, b, c]}
"""


def test_an_agent_with_tools_that_no_model_of_its_route_can_call_is_told_where_it_stands(tmp_path):
    (tmp_path / "routing.yaml").write_text(ROUTING)
    (tmp_path / "hands.yaml").write_text(HANDS % "")
    with pytest.raises(PlanError) as failed:
        Squad.from_file(tmp_path / "hands.yaml", routing=tmp_path / "routing.yaml")
    found = [problem for problem in failed.value.problems if problem.code == "unanswerable"]
    assert [(p.line, p.message.split("'")[1]) for p in found] == [
        (5, "armed"),
        (8, "moved"),
        (9, "alone"),
        (10, "pinned"),
        (13, "quiet"),
    ]
    assert {p.message.partition(": ")[2] for p in found} == {"lab/mute lacks tools"}


def test_the_stub_can_call_every_tool_and_somebody_who_is_left_out_none(tmp_path):
    (tmp_path / "routing.yaml").write_text(ROUTING)
    (tmp_path / "hands.yaml").write_text(HANDS % "offline: always")
    Squad.from_file(tmp_path / "hands.yaml", routing=tmp_path / "routing.yaml")
    (tmp_path / "routing.yaml").write_text(f"{ROUTING}environment: production\nonly: {{production: [lab, cerebras]}}\n")
    (tmp_path / "hands.yaml").write_text(HANDS % "")
    with pytest.raises(PlanError, match="gpt-oss-20b not for production: only lab, cerebras may be asked there"):
        Squad.from_file(tmp_path / "hands.yaml", routing=tmp_path / "routing.yaml")


def test_an_app_that_lets_a_mistake_through_shows_its_line_and_its_hint() -> None:
    with pytest.raises(PlanError) as found:
        Squad.from_text(
            "version: 1\nname: s\nagents: {a: {persona: analyst}}\ninputs: {city: {type: string}}\n"
            "tasks:\n  t: {agent: a, description: 'to ${{ inputs.cty }}'}\n"
        ).plan({"city": "Rome"})
    assert "description: 'to ${{ inputs.cty }}'" in str(found.value)
    assert "^^^^^^^^^^ did you mean 'city'?" in str(found.value)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "text",
    [
        "agents: {ann: {persona: ./pipe.yaml}}",
        "agents: {ann: {instructions: ./pipe.md}}",
        "include: [pipe.yaml]\nagents: {ann: {role: x}}",
        "inputs: {d: {type: file, default: pipe.md}}\nagents: {ann: {role: x}}",
    ],
)
def test_a_pipe_that_a_squad_names_is_told_and_not_waited_for(tmp_path, text):
    os.mkfifo(tmp_path / "pipe.yaml")
    os.mkfifo(tmp_path / "pipe.md")
    file = tmp_path / "squad.yaml"
    file.write_text(f"name: piped\n{text}\ntasks: {{t: {{agent: ann, description: x}}}}\n")
    with pytest.raises((SpecError, PlanError), match="it is a pipe"):
        Squad.from_file(file).plan({})
