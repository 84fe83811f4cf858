"""`explain` where several candidates could have been asked."""

from __future__ import annotations

import pytest

from agents.events import FileOrigin, HistoryFitted, HistorySummarised
from orchestrator.cli.commands.explain import explanation, lies_in
from orchestrator.events import Event, RunResumed, to_json
from orchestrator.units import place_of

RIVALS = """\
tiers: {{boss: [near/m, far/m, far/n], creative: [near/m]}}
environment: production
factors: {{cost: 30}}
last_resort: []
providers:
  near: {{dialect: openai-chat, base_url: {url}, hosted: false, models: {{m: {{context: 9000, max_output: 900}}}}}}
  far:
    dialect: openai-chat
    base_url: {url}
    models:
      m: {{context: 9000, max_output: 900, price: {{input: 1, output: 1}}}}
      n: {{context: 9000, max_output: 900, price: {{input: 0, output: 0}}}}
"""


def test_explain_shows_what_was_compared_and_who_would_have_been_asked_without_a_provider(call, folder, loopback):
    (folder / "agent_routing.yaml").write_text(RIVALS.format(url=loopback.url("ok")))
    assert call("run", "squad.yaml", "--run-id", "r-1").code == 0
    lines = call("explain", "research", "--without", "far").out.splitlines()
    assert lines[1:7] == [
        "  candidates: far/n, far/m, near/m",
        "  compared in boss, strategy tier:",
        "            quota (20)  health (30)  latency (10)  cost (30)  environment (20)  score",
        "    near/m  1           1            0.5           0.5        0                 70.0",
        "    far/m   1           1            0.5           0.9        1                 102.0",
        "    far/n   1           1            0.5           1          1                 105.0",
    ]
    assert lines[7] == "  without far: near/m"
    assert not any("compared" in line or "without" in line for line in call("explain", "r-1", "nothing").out)


def test_explain_of_a_task_that_asked_no_model_names_the_other_tasks(call):
    assert call("run", "gated.yaml", "--run-id", "r-1").code == 7
    done = call("explain", "r-1", "approve")
    assert done.code == 5
    assert "no model was asked for 'approve' in run r-1" in done.err
    assert "hint: its other tasks: research" in done.err


@pytest.mark.parametrize(
    ("path", "task", "lies"),
    [
        ("build/try-1", "build", True),
        ("build#2/try-1", "build", True),
        ("build[S-1]/try-1/code", "build", True),
        ("build[S-1]#3/try-1/code", "build[S-1]", True),
        ("talk/try-1/round-1/ann", "talk", True),
        ("talk/try-1/round-1/ann", "talk/try-1/round-1/ann", True),
        ("builder/try-1", "build", False),
        ("build[S-10]/try-1", "build[S-1]", False),
    ],
)
def test_a_task_is_found_in_its_elements_its_turns_and_after_revisions(path, task, lies):
    place = to_json(Event("r", *place_of(path), 0, 1, 0.0, RunResumed((), ())))["place"]
    assert lies_in(place, task) is lies


LONG = """\
name: long
offline: always
defaults: {context: {max_tokens: 300}}
agents: {mary: {persona: analyst}, bob: {persona: sm}}
tasks:
  one: {agent: mary, description: Look at it.}
  plan: {agent: bob, needs: [one], description: Plan it.}
"""


def test_explain_says_what_was_shortened_and_left_out(call, folder):
    (folder / "long.yaml").write_text(LONG)
    assert call("run", "long.yaml", "--run-id", "r-1").code == 0
    lines = call("explain", "r-1", "plan").out.splitlines()
    assert lines[0] == "plan/try-1/context/one, turn 1"
    assert any(
        line.startswith("  one, shortened for the task: from about ") and " tokens to " in line for line in lines
    )
    place = place_of("plan/try-1")
    said = [
        HistoryFitted("bob", 1, 12, 2, 3000, 3600),
        HistorySummarised("bob", 1, 9, 4000, 0, "no provider can take this turn"),
        FileOrigin("a.md", "the workspace", ("fetch",)),
    ]
    events = [to_json(Event("r-1", *place, 1, number, 0.0, one)) for number, one in enumerate(said)]
    assert list(explanation(events, "plan", None)) == [
        "plan/try-1, turn 1",
        "  too long for each: 12 older messages left out, 2 results of tools shortened, about 3,000 tokens are sent",
        "  summary of 9 older messages: none, no provider can take this turn (about 4,000 tokens were read)",
        "  a.md in the workspace may hold what others wrote (fetch)",
    ]
