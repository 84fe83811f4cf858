"""`config` prints a squad file: it validates, and comes to the same plan as the file that it was made of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
WHOLE = """\
name: whole
description: "every kind of field: 'quoted', 1e3, 日本語"
offline: auto
defaults: {timeout: 5m, retry: {max_attempts: 2, on: [timeout]}, history: {keep_last: 4}}
budget: {max_cost: 0.25, max_time: 2h, on_exceed: pause}
inputs:
  topic: {type: string, description: "What it is about"}
  parts: {type: list, default: ["1e3", "no", "012", "1:30"]}
  kind: {enum: [a, b], default: a}
agents:
  base: &own {persona: {name: Ann, role: "Says `no` and 1e3.", principles: ["yes", "~"]}}
  twin: *own
  mary: {persona: analyst, title: Chief, tools: [{name: write_file, approval: ask}], tier: boss, max_turns: 3}
  file: {persona: ./one.yaml, budget: {max_turns: 5}}
conversations:
  chat:
    participants: [base, mary, human]
    moderator: twin
    terminate: {any: [{max_turns: 6}, {text: DONE, from: base}]}
tasks:
  plan:
    agent: mary
    description: "Plan ${{ inputs.topic }} as 'x': #1"
    output_schema:
      type: object
      required: [stories]
      properties:
        stories: {type: array, maxItems: 5, items: {type: object, properties: {id: {type: string}}}}
        on: {enum: ["yes", "no", "1.0"]}
  each:
    needs: [plan]
    for_each: ${{ tasks.plan.output.stories }}
    as: story
    key: ${{ story.id }}
    max_parallel: 2
    steps:
      - {id: code, agent: file, description: "Do ${{ story.id }}", timeout: 90s}
      - {id: look, agent: mary, if: "${{ steps.code.output }}", description: Look., output_schema: {type: object}}
    repeat: {until: "${{ steps.look.output }}", max_attempts: 2}
  talk: {conversation: chat, needs: [plan], context: [], description: "Talk.\\nAt length.  ", output_file: "a/b.md"}
  ok:
    needs: [talk, each]
    approval: {prompt: Good?, show: [talk], choices: [approve, revise, reject], timeout: 1d, on_timeout: reject}
    on_revise: {rerun: [talk], max_attempts: 2}
outputs: {all: "${{ tasks.each.output }}", n: "${{ inputs.parts }}"}
"""


def comparable(plan: Plan) -> Plan:
    """Return a plan without where its parts stand in their file, and how its personas are filed."""
    tasks = {name: replace(task, position=(1, 1)) for name, task in plan.tasks.items()}
    agents = {
        name: replace(
            agent,
            persona=replace(agent.persona, name="", tools=()),
            tools=tuple((tool.name, tool.approval) for tool in agent.tools),
        )
        for name, agent in plan.agents.items()
    }
    return replace(plan, tasks=tasks, agents=agents)


def files() -> list[Path]:
    return sorted(
        [
            *ROOT.glob("examples/sprint.yaml"),
            *SHARED.glob("design/examples/sprint.yaml"),
            *SHARED.glob("cases/squads/[abdhmps]*.yaml"),
        ]
    )


@pytest.mark.parametrize("file", files(), ids=lambda path: f"{path.parent.name}-{path.name}")
@pytest.mark.few(4)
def test_what_config_prints_of_each_example_is_that_squad(call, folder, file):
    text = file.read_text()
    (folder / "x.yaml").write_text(text)
    done = call("config", "x.yaml")
    if done.code:
        assert call("validate", "x.yaml").code == 1, "config takes what validate takes"
        return
    (folder / "y.yaml").write_text(done.out)
    assert call("validate", "y.yaml").code == 0
    assert comparable(Squad.from_file("y.yaml").outline()) == comparable(Squad.from_file("x.yaml").outline())


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_config_prints_comes_to_the_same_plan(call, folder, form):
    (folder / "one.yaml").write_text("name: One\nrole: Codes.\nextends: dev\n")
    (folder / "x.yaml").write_text(WHOLE)
    done = call("config", "x.yaml", "--format", form)
    assert done.code == 0, done.err
    (folder / "one.yaml").unlink()
    (folder / "y.yaml").write_text(done.out)
    checked = call("validate", "y.yaml")
    assert checked.code == 0, checked.out
    (folder / "one.yaml").write_text("name: One\nrole: Codes.\nextends: dev\n")
    assert comparable(Squad.from_file("y.yaml").outline()) == comparable(Squad.from_file("x.yaml").outline())
    assert call("config", "y.yaml", "--format", form).out == done.out, "printed again it is the same"


def test_inputs_that_are_given_become_defaults(call, folder):
    (folder / "one.yaml").write_text("name: One\nrole: Codes.\n")
    (folder / "x.yaml").write_text(WHOLE)
    done = call("config", "x.yaml", "-i", "topic=tea", "-i", "parts=[1]", "--format", "json")
    inputs = json.loads(done.out)["inputs"]
    assert (inputs["topic"]["default"], inputs["parts"]["default"]) == ("tea", [1])
    wrong = call("config", "x.yaml", "-i", "kind=c", "-i", "topik=x")
    assert wrong.code == 1
    assert "input 'kind' is one of a, b" in wrong.err
    assert "topik" in wrong.err


def test_what_an_agent_left_behind_of_its_persona_is_told(call, folder):
    text = "name: s\nagents: {ann: {persona: analyst, title: Lawyer}}\ntasks: {t: {agent: ann, description: Go.}}\n"
    (folder / "s.yaml").write_text(text)
    made = call("config", "s.yaml")
    assert "ann has a title of its own, so of the persona 'analyst' it has only the role, tier, tools" in made.err
    assert ("Mary" in made.out, "name: Lawyer" in made.out) == (False, True)


def test_agents_that_are_tools_and_a_schema_in_a_file_read_back(call, folder):
    (folder / "note.json").write_text('{"type": "object"}')
    (folder / "x.yaml").write_text(
        "name: desk\n"
        "agents:\n"
        "  ann: {role: Write., tools: [{agent: bob, approval: ask}, {agent: cat, name: check, description: Checks.}]}\n"
        "  bob: {role: Look.}\n"
        "  cat: {role: Check.}\n"
        "tasks: {note: {agent: ann, description: Write., output_schema: ./note.json}}\n"
    )
    done = call("config", "x.yaml")
    (folder / "note.json").unlink()
    (folder / "y.yaml").write_text(done.out)
    tools = Squad.from_file("y.yaml").outline().agents["ann"].tools
    assert [(one.name, one.agent, one.approval) for one in tools] == [("bob", "bob", "ask"), ("check", "cat", "never")]
    assert call("config", "y.yaml").out == done.out
