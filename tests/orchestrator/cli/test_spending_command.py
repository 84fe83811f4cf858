"""Money at the command line: a day's budget stops what costs, says so, and `spending` tells where it went."""

from __future__ import annotations

import json
import re

import pytest

from orchestrator.cli.exits import Exit

ROUTING = """\
tiers: {worker: [lab/m], boss: [lab/m]}
last_resort: []
budget: {max_cost_per_day: CAP, alert_at: [10%]}
providers:
  lab:
    dialect: openai-chat
    base_url: URL
    models: {m: {context: 9000, max_output: 100, price: {input: 50, output: 50}}}
"""
SQUAD = """\
name: two
agents:
  mary: {persona: {name: Mary, role: Answers., tier: worker}}
tasks:
  research: {agent: mary, description: Research.}
  brief: {agent: mary, needs: [research], description: Write it down.}
"""
PAID = 19 * 50 / 1e6


@pytest.fixture
def capped(folder, loopback):
    """Return a function that writes a routing file with this cap, and changes its text as it is told."""
    (folder / "squad.yaml").write_text(SQUAD)

    def write(cap, *changes):
        text = ROUTING.replace("CAP", str(cap)).replace("URL", loopback.url("ok"))
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (folder / "agent_routing.yaml").write_text(text)

    return write


def test_a_spent_day_stops_a_question_with_the_reason_and_its_own_exit_code(call, capped):
    capped(0.012)
    first = call("ask", "hi")
    assert (first.code, first.err.count("warning:")) == (0, 0)
    answers = [call("ask", "hi") for _ in range(10)]
    warned = [line for answer in answers for line in answer.err.splitlines() if "warning:" in line]
    assert warned == ["warning: 10% of the day's budget is spent: $0.0019 of $0.0120"]
    refused = answers[-1]
    assert refused.code == Exit.LIMIT
    assert "lab/m: the day's budget of $0.012 is used up until" in refused.err
    shown = json.loads(call("providers", "limits", "--json").out)
    assert (shown[0]["for"], shown[0]["amount"]) == ("all", 0.012)
    assert 0.006 < shown[0]["used"] <= 0.012
    assert call("providers", "reset").code == 0
    assert call("ask", "hi").code == 0


def test_a_run_that_meets_it_pauses_tells_of_it_and_goes_on_later(call, capped):
    capped(0.02)
    for number in range(20):
        ended = call("run", "squad.yaml", "--json", "--run-id", f"r{number}")
        if ended.code != 0:
            break
    assert ended.code == Exit.LIMIT
    events = [json.loads(line) for line in ended.out.splitlines()]
    assert next(e for e in events if e["type"] == "budget.reached")["which"] == "day"
    assert events[-1]["status"] == "paused"
    assert "the day's budget of $0.02 is used up until" in ended.err
    assert (
        "hint: raise the day's budget in the routing file, or wait for another day\nnext: orchestrator runs resume r7"
        in ended.err
    )
    assert call("runs", "resume", f"r{number}").code == Exit.LIMIT
    capped(1)
    assert call("runs", "resume", f"r{number}").code == 0


def test_an_alert_is_an_event_of_the_run_and_a_line_on_stderr(call, capped):
    capped(0.018)
    ended = call("run", "squad.yaml", "--json", "--run-id", "r")
    alerts = [e for e in map(json.loads, ended.out.splitlines()) if e["type"] == "budget.alert"]
    assert [(e["which"], e["share"], e["spent_usd"], e["cap_usd"]) for e in alerts] == [("day", 0.1, 2 * PAID, 0.018)]
    assert "day: 10% of the day's budget is spent: $0.0019 of $0.0180" in ended.err
    recorded = [json.loads(line) for line in call("runs", "show", "r", "--json").out.splitlines()]
    assert alerts[0] in recorded


def test_spending_adds_up_what_runs_cost(call, capped):
    capped(1)
    nothing = call("spending")
    assert (nothing.code, "no run is recorded here" in nothing.err) == (Exit.NOTHING, True)
    assert call("run", "squad.yaml").code == 0
    document = json.loads(call("spending", "--by", "agent", "--json").out)
    (row,) = document["rows"]
    assert (row["agent"], row["turns"], row["input_tokens"], row["output_tokens"]) == ("mary", 2, 24, 14)
    assert (row["cost_usd"], row["cost_unknown"]) == (2 * PAID, 0)
    assert document["total"]["cost_usd"] == 2 * PAID
    shown = call("spending", "--by", "task").out.splitlines()
    assert [line.split()[0] for line in shown] == ["TASK", "brief", "research", "total"]
    assert shown[1].split() == ["brief", "1", "0", "12", "7", "$0.0009"]
    assert "nothing was spent since 2999-01-01" in call("spending", "--since", "2999-01-01").err
    since = [call("spending", "--since", when, "--json") for when in ("7d", "24h", "today")]
    assert [json.loads(one.out)["total"]["turns"] for one in since] == [2, 2, 2]
    assert call("spending", "--since", "soon").code == Exit.USAGE
    assert call("spending", "--timezone", "Mars/Base").code == Exit.USAGE


def test_an_answer_that_would_not_do_is_paid_and_shown_where_it_was(call, capped, loopback):
    capped(1, (loopback.url("ok"), loopback.url("empty", "ok")))
    assert call("run", "squad.yaml", "--run-id", "r").code == 0
    assert "57 tokens  $0.0029" in call("runs", "show", "r").out.splitlines()[0]
    assert call("spending", "--by", "task").out.splitlines()[1].split() == ["research", "1", "1", "24", "14", "$0.0019"]
    assert re.search(r"\(\d+\.\d s\), billed 12 tokens in, 7 out, \$0\.0009", call("explain", "r", "research").out)


def test_what_nobody_knows_the_price_of_is_not_nothing(call, capped):
    capped(1, (", price: {input: 50, output: 50}", ""), ("budget: {", "budget: {unknown_price: allow, "))
    assert call("run", "squad.yaml").code == 0
    shown = call("spending")
    assert shown.out.splitlines()[1].split() == ["lab", "2", "0", "24", "14", "unknown", "2"]
    assert "the cost of 2 bills is unknown" in shown.err
    assert json.loads(call("spending", "--json").out)["total"]["cost_usd"] is None
