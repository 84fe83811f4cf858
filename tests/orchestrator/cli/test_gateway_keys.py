"""`gateway-keys` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.server.gateway.keys import ClientKeys

ADD = ("gateway-keys", "add", "web", "--model", "tier/*", "--rpm", "60", "--budget", "5usd/day", "--tag", "team=web")


def test_a_key_is_shown_once_and_listed_by_its_end(call, tmp_path):
    made = call(*ADD, "--budget", "$20/month", "--cache", "1h", "--at-once", "4", "--tpm", "9000")
    text = made.out.strip()
    assert made.code == 0
    assert text.startswith("sk-orch-")
    known = ClientKeys(Path(".orchestrator"))
    assert known.of(text).tags == ("team=web",)
    assert text not in known.path.read_text()
    [listed] = json.loads(call("gateway-keys", "ls", "--json").out)
    assert (listed["name"], listed["ends"], listed["cache_s"]) == ("web", text[-4:], 3600)
    assert listed["budgets"][1] == {"usd": 20, "per": "month", "spent_usd": 0}
    shown = call("gateway-keys", "ls").out
    assert "60 requests/min, 9,000 tokens/min, 4 at once" in shown
    assert "$0.00 of $5.00 a day" in shown
    assert text not in shown
    assert call("gateway-keys", "revoke", "web").code == 0
    assert known.of(text) is None
    assert call("gateway-keys", "revoke", "web").code == 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("web",), "already"),
        (("a b",), "no name of a key"),
        (("x", "--tag", "team"), "no tag"),
        (("x", "--budget", "5usd"), "5usd/day"),
        (("x", "--budget", "5usd/week"), "5usd/day"),
        (("x", "--budget", "1usd/day", "--budget", "2usd/day"), "same period"),
        (("x", "--rpm", "0"), "x>=1"),
    ],
)
def test_what_is_no_key_is_told(call, more, told):
    call("gateway-keys", "add", "web")
    done = call("gateway-keys", "add", *more)
    assert done.code == 2
    assert told in done.err
    assert done.out == ""
    assert [key.name for key in ClientKeys(Path(".orchestrator")).all()] == ["web"]


def test_a_damaged_file_is_told(call):
    call("gateway-keys", "add", "web")
    Path(".orchestrator/gateway-keys.json").write_text('{"keys": [{"name": 1}]}')
    done = call("gateway-keys", "ls")
    assert done.code == 2
    assert "holds no keys" in done.err
