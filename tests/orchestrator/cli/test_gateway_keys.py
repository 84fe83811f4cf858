"""`gateway-keys` at the command line."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from orchestrator.server.gateway.keys import ClientKeys
from tests.orchestrator.cli.test_at_server import started, until
from tests.patience import PATIENCE_S

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
        (("a b",), "not the name of a key"),
        (("x", "--tag", "team"), "not a tag"),
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


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="nothing is killed so there")
def test_a_server_that_is_killed_leaves_a_key_what_its_run_did_not_cost(call, loopback, monkeypatch):
    """The run of a squad without a cap of its own holds all of the key's budget, until the next server looks."""
    folder = Path.cwd()
    Path("slow.yaml").write_text(
        "name: slow\nagents: {ann: {persona: analyst}}\ntasks: {a: {agent: ann, description: Wait.}}\n"
    )
    key = call("gateway-keys", "add", "web", "--budget", "5usd/day", "--rpm", "9").out.strip()
    keys = {"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": loopback.url("hang")}
    serve = ("serve", "slow.yaml", "--port", "0", "--trust", "--grace", "1s")
    body = json.dumps({"model": "squad/slow", "messages": [{"role": "user", "content": "go"}]})

    def spent():
        return json.loads(call("gateway-keys", "ls", "--json").out)[0]["budgets"][0]["spent_usd"]

    server = started(folder, *serve, **keys)
    try:
        address = until(server, "login?token=").partition("/login")[0]
        with httpx2.Client(timeout=PATIENCE_S) as http:
            asked = threading.Thread(target=lambda: suppressed(http.post, f"{address}/v1/chat/completions", key, body))
            asked.start()
            loopback.wait_for(1)
            assert spent() == 5
            server.kill()
            server.communicate(timeout=PATIENCE_S)
            asked.join()
        assert spent() == 5
        server = started(folder, *serve, **keys)
        until(server, "login?token=")
        assert 0 < spent() < 1, "what the call that hung may have cost"
    finally:
        server.terminate()
        _, err = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 0, err
    told = json.loads(call("spending", "--by", "key", "--json").out)
    assert [row["key"] for row in told["rows"]] == ["web"]


def suppressed(post, url, key, body):
    """Ask what nobody will answer."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with suppress(httpx2.HTTPError):
        post(url, content=body, headers=headers)
