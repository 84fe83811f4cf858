"""`providers limits`, `providers reset`, and counts that outlive the command."""

from __future__ import annotations

import json

import pytest

ROUTING = """\
tiers: {worker: [local/default]}
providers:
  local:
    limits:
      - {metric: requests, amount: 2, calendar: month}
      - {metric: total, amount: 100000, window: 1h}
"""


@pytest.fixture
def limited(folder, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    (folder / "agent_routing.yaml").write_text(ROUTING)
    return folder


def test_counts_are_kept_over_commands_until_they_are_reset(call, limited):
    assert [call("ask", "hi").code for _ in range(2)] == [0, 0]
    refused = call("ask", "hi")
    assert refused.code == 8
    assert "its limit of 2 requests in a month (UTC) is used up until" in refused.err
    shown = json.loads(call("providers", "limits", "--json").out)
    assert (shown[0]["for"], shown[0]["amount"], shown[0]["used"]) == ("local", 2, 2)
    assert 0 < shown[1]["used"] < 100000
    assert shown[0]["all_free_at"].endswith("-01T00:00:00Z")
    assert call("providers", "reset", "local").code == 0
    assert "0     100%  now" in call("providers", "limits").out
    assert call("ask", "hi").code == 0


def test_looking_makes_no_file_and_neither_does_a_call_without_limits(call, limited):
    assert "2 requests in a month (UTC)" in call("providers", "limits").out
    assert call("providers", "reset").code == 0
    assert not (limited / ".orchestrator" / "limits.sqlite3").exists()
    (limited / "agent_routing.yaml").write_text(ROUTING.partition("providers:")[0])
    assert call("ask", "hi").code == 0
    assert not (limited / ".orchestrator" / "limits.sqlite3").exists()


def test_without_limits_there_is_nothing_to_show_or_forget(call, folder):
    shown = call("providers", "limits")
    assert (shown.code, shown.out) == (0, "")
    assert "no limits and no budgets are counted" in shown.err
    assert json.loads(call("providers", "limits", "--json").out) == []
    assert call("providers", "reset", "groq").code == 2


def test_a_published_plan_is_kept_where_the_file_says_so(call, folder, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret-of-mine")
    (folder / "agent_routing.yaml").write_text("providers: {groq: {plan: free}}")
    shown = call("providers", "limits")
    assert "groq/openai/gpt-oss-20b   1,000 requests in 24 h" in shown.out
    assert "secret" not in shown.out + call("providers", "limits", "--json").out
