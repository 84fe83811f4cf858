"""Why a run stands as it does: told at its end, by `runs show`, and by both with `--json`."""

from __future__ import annotations

import json
import signal

import pytest

from orchestrator.cli.ui.reasons import Reasons, amount, budget_text, by_command, hint_of
from tests.orchestrator.cli.test_runs_command import begin, state_of
from tests.patience import PATIENCE_S

FAILING = """\
name: failing
offline: auto
agents: {mary: {persona: analyst}}
tasks:
  good: {agent: mary, description: Fine.}
  bad: {agent: mary, description: "About ${{ [tasks.good.output][1].name }}.", needs: [good]}
  each: {agent: mary, for_each: "${{ ['a', 'b'] }}", key: "${{ item }}", description: "About ${{ item.name }}."}
  later: {agent: mary, needs: [bad], description: Never.}
"""
STEPS = """\
name: steps
offline: auto
budget: {max_turns: 2}
agents: {mary: {persona: analyst}}
tasks:
  work:
    steps:
      - {id: a, agent: mary, description: A}
      - {id: b, agent: mary, description: B}
      - {id: c, agent: mary, description: C}
"""
ROUTING = """\
tiers: {{worker: [lab/m], boss: [lab/m], creative: [lab/m], fallback: [lab/m]}}
last_resort: []
providers:
  lab: {{dialect: openai-chat, base_url: {url}, models: {{m: {{context: 100000, max_output: 1000}}}}}}
"""


def test_each_failed_task_says_why_and_what_was_not_done(call, folder):
    (folder / "failing.yaml").write_text(FAILING)
    ended = call("run", "failing.yaml", "--run-id", "r-1")
    shown = call("runs", "show", "r-1").out
    for text in (ended.err, shown):
        for task in ("each[a]", "each[b]"):
            assert f"{task}: 'name' is unknown in ${{{{" in text.partition("r-1: failed")[2]
        assert "not done: later: needs bad, which was failed" in text
        assert "  hint: correct the expression, then `orchestrator runs resume r-1 --edited`" in text
    (last,) = [json.loads(line) for line in call("runs", "show", "r-1", "--json").out.splitlines()][-1:]
    assert {one["task"] for one in last["failures"]} == {"bad", "each", "each[a]", "each[b]"}
    assert last["not_done"] == {"later": "needs bad, which was failed"}


def test_a_stopped_run_says_which_budget_how_much_of_it_and_at_which_step(call, folder):
    (folder / "steps.yaml").write_text(STEPS)
    ended = call("run", "steps.yaml", "--run-id", "r-1", "--json")
    shown = call("runs", "show", "r-1").out
    for text in (ended.err, shown):
        assert "budget reached: squad: max_turns: 2 turns used of 2 turns, so: stop" in text
        assert "  at: work/try-1/c" in text
        assert "  hint: raise max_turns in the budget of the squad\n" in text
    last = json.loads(ended.out.splitlines()[-1])
    assert last["budgets"] == [{"budget": "squad", "kind": "max_turns", "action": "stop", "used": 2, "limit": 2}]
    assert last["failures"][0]["step"] == "work/try-1/c"


def test_a_failure_names_the_attempts_that_caused_it(call, folder, loopback):
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.url("401")))
    call("run", "squad.yaml", "--run-id", "r-1")
    (one,) = json.loads(call("runs", "show", "r-1", "--json").out.splitlines()[-1])["failures"]
    assert (one["task"], one["step"]) == ("research", "research/try-1")
    assert one["causes"][0].startswith("lab/m: AuthFailed: ")
    assert "orchestrator providers test" in one["hint"]


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.few(1)
def test_an_interrupted_run_is_told_from_a_cancelled_one_and_shows_no_task_at_work(call, folder, loopback, cancelled):
    process = begin(folder, loopback.url("ok", "hang"))
    loopback.wait_for(2)
    assert "\nbrief     paige  running" in call("runs", "show", "r-1").out
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    if cancelled:
        call("runs", "cancel", "r-1")
    state = "cancelled" if cancelled else "unfinished"
    assert state_of(call, "r-1") == state
    assert [line["run"] for line in json.loads(call("runs", "ls", "--json", "--status", state).out)] == ["r-1"]
    shown = call("runs", "show", "r-1").out
    assert shown.startswith(f"r-1: {state} ")
    assert f"\nbrief     paige  {'cancelled' if cancelled else 'interrupted'}" in shown
    assert ("next: orchestrator runs resume r-1" in shown) is not cancelled
    assert ("it was cancelled for good; `orchestrator runs fork r-1`" in shown) is cancelled
    last = json.loads(call("runs", "show", "r-1", "--json").out.splitlines()[-1])
    assert (last["type"], last["state"]) == ("run.state", state)
    assert last["tasks"] == {"research": "ok", "brief": "cancelled" if cancelled else "interrupted"}
    if cancelled:
        refused = call("runs", "resume", "r-1")
        assert "was cancelled for good: it cannot be resumed" in refused.err
        assert "orchestrator runs fork r-1" in refused.err


def test_a_run_whose_time_is_up_has_no_task_at_work(call, folder, loopback):
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.url("hang")))
    ended = call("run", "squad.yaml", "--run-id", "r-1", "--timeout", "0.05s", "--json")
    last = json.loads(ended.out.splitlines()[-1])
    assert (last["status"], last["tasks"]["research"]) == ("stopped", "interrupted")
    assert last["budgets"][0]["limit"] == 0.05
    assert "running" not in ended.err.partition("r-1: stopped")[2]
    assert "running" not in call("runs", "show", "r-1").out


def test_amounts_are_in_the_units_of_their_budget():
    assert [amount("max_cost", 0.0123), amount("max_cost", 1.5), amount("max_tokens", 1200)] == [
        "$0.0123",
        "$1.50",
        "1,200 tokens",
    ]
    old = {"which": "task build", "kind": "max_cost", "action": "stop"}
    assert budget_text(old) == "task build: max_cost, so: stop"


def test_hints_are_commands_as_they_may_be_typed_here():
    assert hint_of("AllAttemptsFailed", ("lab/m: Unreachable: no",)).startswith("`orchestrator doctor --online`")
    typed = by_command("try `orchestrator runs resume RUN` or `x`", lambda *words: " ".join(["O", *words]), "r-1")
    assert typed == "try `O runs resume r-1` or `x`"


def test_a_task_that_runs_again_has_failed_no_more():
    reasons = Reasons()
    failed = {"type": "task.ended", "place": None, "task": "a", "status": "failed", "error": "no", "error_kind": "X"}
    reasons.apply(failed)
    assert list(reasons.failures) == ["a"]
    reasons.apply({"type": "task.reset", "place": None, "task": "a"})
    assert reasons.document() == {}
