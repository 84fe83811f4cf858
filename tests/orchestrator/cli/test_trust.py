"""Where a folder's files send keys is asked once, and kept outside of the folder; nothing is sent before."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest

from orchestrator.trust import TrustFile, trust_file
from providers.catalog.trust import KeyUse
from tests.patience import PATIENCE_S

KEY = "key-of-the-user-17"


@pytest.fixture
def steered(folder, monkeypatch, loopback):
    """A folder whose .env names an address, and a key in the user's environment."""
    url = loopback.by(lambda seen: "ok")
    (folder / ".env").write_text(f"GROQ_BASE_URL={url}\n")
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    return loopback


def test_a_key_of_the_environment_is_not_sent_where_a_file_says(call, steered, folder):
    for command in (
        ("ask", "hi"),
        ("run", "squad.yaml"),
        ("providers", "test"),
        ("ask", "hi", "--model", "groq/openai/gpt-oss-20b"),
    ):
        ended = call(*command)
        assert ended.code == 4, ended.err
        assert "GROQ_API_KEY to http://127.0.0.1:" in ended.err
        assert ", named by .env)" in ended.err
        assert "hint: `orchestrator trust` allows it here from now on; so does `--trust`" in ended.err
        assert KEY not in ended.out + ended.err
    ended = call("doctor", "--online")
    assert "not asked: GROQ_API_KEY to http://127.0.0.1:" in ended.out
    assert not steered.requests
    assert not (folder / ".orchestrator").exists()
    assert not (folder / "out").exists()


@pytest.mark.parametrize("words", [("--trust", "ask", "hi"), ("ask", "hi", "--trust"), ("ask", "--trust", "hi")])
def test_trust_allows_it_wherever_it_stands_and_from_then_on(call, steered, words):
    ended = call(*words)
    assert (ended.code, "allowed: GROQ_API_KEY to " in ended.err) == (0, True), ended.err
    assert {seen.headers["authorization"] for seen in steered.requests} == {f"Bearer {KEY}"}
    again = call("ask", "hi")
    assert (again.code, "allowed" in again.err) == (0, False)


def test_another_address_and_another_variable_are_asked_for_again(call, steered, folder, monkeypatch):
    assert call("trust").code == 0
    assert call("ask", "hi").code == 0
    monkeypatch.setenv("GROQ_API_KEY_2", "another-key")
    assert call("ask", "hi").code == 4
    monkeypatch.delenv("GROQ_API_KEY_2")
    (folder / ".env").write_text("GROQ_BASE_URL=http://127.0.0.1:9/v1\n")
    assert call("ask", "hi").code == 4


def test_the_trust_command_allows_lists_and_forgets(call, steered, folder):
    added = call("trust", "--json")
    assert [(row["folder"], row["variable"]) for row in json.loads(added.out)] == [(str(folder), "GROQ_API_KEY")]
    listed = json.loads(call("trust", "ls", "--json").out)
    assert [row["address"] for row in listed] == [row["address"] for row in json.loads(added.out)]
    assert str(folder) in call("trust", "ls").out
    mode = stat.S_IMODE((folder / "home" / "trust.json").stat().st_mode)
    assert mode == 0o600
    assert call("trust", "rm").code == 0
    assert call("trust", "rm").code == 5
    assert call("ask", "hi").code == 4
    assert call("trust", "add", str(folder)).code == 0
    assert call("ask", "hi").code == 0
    assert call("trust", "rm", "--all").code == 0
    assert call("trust", str(folder)).code == 0
    assert call("ask", "hi").code == 0
    assert call("trust", "nowhere").code == 2


def test_a_folder_is_allowed_before_its_key_is_set(call, folder, monkeypatch, loopback):
    (folder / ".env").write_text(f"GROQ_BASE_URL={loopback.by(lambda seen: 'ok')}\n")
    assert call("trust").code == 0
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert call("ask", "hi").code == 0


def test_a_folder_without_addresses_has_nothing_to_allow(call, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    ended = call("trust")
    assert (ended.code, "nothing to allow" in ended.err) == (0, True)


def test_a_cloned_folder_brings_no_consent_of_its_own(call, steered, folder, monkeypatch):
    """Neither where the file would be, nor by variables in its .env, nor by a path that is relative."""
    with (folder / ".env").open("a") as file:
        file.write(f"ORCHESTRATOR_TRUST=1\nORCHESTRATOR_TRUST_FILE={folder}/mine.json\nXDG_CONFIG_HOME={folder}\n")
    address = next(line for line in (folder / ".env").read_text().splitlines()).partition("=")[2].removesuffix("/v1")
    row = {"folder": str(folder), "address": address, "variable": "GROQ_API_KEY"}
    mine = json.dumps({"version": 1, "allowed": [row]})
    for place in ("mine.json", ".orchestrator/trust.json", "orchestrator/trust.json", "config/orchestrator/trust.json"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(mine)
    monkeypatch.delenv("ORCHESTRATOR_TRUST_FILE")
    monkeypatch.setenv("HOME", str(folder / "elsewhere"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    assert call("ask", "hi").code == 4
    assert not steered.requests


def test_what_cannot_be_remembered_holds_once(call, steered, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_TRUST_FILE", f"{os.devnull}/trust.json")
    ended = call("ask", "hi", "--trust")
    assert (ended.code, "what you allowed is not remembered" in ended.err) == (0, True)
    assert call("ask", "hi").code == 4


def test_offline_and_what_sends_nothing_ask_nobody(call, steered):
    for command in (
        ("ask", "hi", "--offline"),
        ("run", "squad.yaml", "--offline"),
        ("run", "squad.yaml", "--dry-run"),
        ("validate", "squad.yaml"),
        ("config", "squad.yaml"),
    ):
        assert call(*command).code == 0, command
    assert not steered.requests


def test_where_addresses_and_keys_come_from_is_shown(call, steered):
    listed = {row["provider"]: row for row in json.loads(call("providers", "ls", "--json").out)}
    assert listed["groq"]["base_url_from"] == "GROQ_BASE_URL in .env"
    assert listed["groq"]["key_from"] == "GROQ_API_KEY in the environment"
    assert listed["groq"]["base_url"].startswith("http://127.0.0.1:")
    assert "(GROQ_BASE_URL in .env)" in call("providers", "ls").out
    assert "is from GROQ_BASE_URL in .env" in call("doctor").out


def test_plain_http_to_another_machine_is_said(call, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setenv("GROQ_BASE_URL", "http://192.0.2.1:8080/v1")
    ended = call("ask", "hi")
    assert (ended.code, "over plain http, which anyone on the way can read" in ended.err) == (4, True)


def test_the_file_is_the_users_own_and_a_damaged_one_allows_nothing(tmp_path):
    assert trust_file({"HOME": "/x", "XDG_CONFIG_HOME": "/y"}).file.as_posix() == "/y/orchestrator/trust.json"
    store, use = TrustFile(tmp_path / "deep" / "trust.json"), KeyUse("/a", "https://x.example", "KEY")
    assert not store.allows(use)
    store.allow([use, use])
    store.allow([KeyUse("/b", "https://x.example", "KEY")])
    assert store.allows(use)
    assert len(store.rows()) == 2
    store.file.chmod(0o666)
    assert not store.allows(use)
    store.file.chmod(0o600)
    for text in ("", "[]", '{"allowed": [1]}', '{"allowed": [{"folder": 1}]}', "\x00"):
        store.file.write_text(text)
        assert store.rows() == []


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("answer", "code"), [(b"y\n", 0), *(pytest.param(no, 4, marks=pytest.mark.long) for no in (b"n\n", b"\n"))]
)
def test_at_a_terminal_it_is_a_question(call, steered, answer, code):
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "ask", "hi", "--no-color"]
    process = subprocess.Popen(command, stdin=follower, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(leader, 65536)
    assert b"GROQ_API_KEY to http://127.0.0.1:" in shown
    assert not steered.requests
    os.write(leader, answer)
    process.communicate(timeout=PATIENCE_S)
    os.close(leader)
    assert process.returncode == code
    assert bool(steered.requests) == (code == 0)
    assert call("ask", "hi").code == code  # the answer is remembered, or asked for again


def test_a_key_in_the_path_of_an_address_is_not_shown(call, folder):
    key = "sk-proj-Ab3dEf6hIj9kLm2n"
    (folder / "agent_routing.yaml").write_text(
        "tiers: {worker: [lab/m]}\nproviders:\n  lab:\n    dialect: openai-chat\n"
        f"    base_url: http://127.0.0.1:9/{key}/v1\n    models: {{m: {{context: 9000, max_output: 900}}}}\n"
    )
    for command in (("providers", "ls"), ("providers", "ls", "--json"), ("doctor",)):
        ended = call(*command)
        assert "http://127.0.0.1:9/***/v1" in ended.out, command
        assert key not in ended.out + ended.err


def test_another_address_during_a_run_is_not_asked_and_the_screen_says_so(call, folder, monkeypatch, loopback):
    evil = loopback.by(lambda _: "ok")

    def swap(_) -> str:
        (folder / ".env").write_text(f"GROQ_BASE_URL={evil.replace('127.0.0.1', 'localhost')}\n")
        return "ok"

    (folder / ".env").write_text(f"GROQ_BASE_URL={loopback.by(swap)}\n")
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    ended = call("run", "squad.yaml", "--trust")
    assert ended.code == 0, ended.err
    assert loopback.requests
    assert not loopback.to(evil)
    assert ".env changed, and the run goes on as before: files would send keys of yours" in ended.err
    assert "GROQ_API_KEY to http://localhost:" in ended.err
