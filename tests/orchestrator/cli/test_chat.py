"""`chat`: in scripts, at a terminal, after a kill, and days later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.loopback import ANSWER, Loopback, Seen
from tests.orchestrator.cli.test_run_command import read_until
from tests.patience import PATIENCE_S

at_a_terminal = pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
SQUAD = """\
name: pair
agents:
  ann: {persona: analyst, model: lm/m}
  bob: {persona: tech-writer, model: lm/m}
tasks:
  a: {agent: ann, description: Do a.}
  b: {agent: bob, description: Do b.}
"""


def routing(url: str) -> str:
    model = {"context": 8192, "max_output": 512, "price": {"input": 1, "output": 1}}
    row = {"dialect": "openai-chat", "base_url": url, "api_key_env": "LM_API_KEY", "models": {"m": model}}
    tiers = {name: ["lm/m"] for name in ("worker", "boss", "creative", "fallback")}
    return json.dumps({"version": 1, "providers": {"lm": row}, "tiers": tiers})


@pytest.fixture
def squad_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a squad and a routing file to a provider at an address."""

    def make(url: str) -> None:
        (folder / "agent_routing.yaml").write_text(routing(url))
        (folder / "two.yaml").write_text(SQUAD)
        monkeypatch.setenv("LM_API_KEY", "k-loopback")
        monkeypatch.setenv("ORCHESTRATOR_TRUST", "1")

    return make


@contextmanager
def terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a chat whose three streams are a terminal of its own; it is over after the block."""
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "chat", "--no-color", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environ, start_new_session=True
    )
    os.close(follower)
    try:
        yield process, leader
    finally:
        process.kill()
        process.wait()
        os.close(leader)


@pytest.mark.long
def test_a_chat_stays_with_the_squad_or_the_persona_that_it_began_with(call, spawn, folder, squad_at, loopback):
    squad_at(loopback.url("ok"))
    (folder / "other.yaml").write_text(SQUAD.replace("name: pair", "name: other"))
    assert spawn("chat", "two.yaml", "--session", "s", stdin=b"one\n").returncode == 0
    refused = call("chat", "other.yaml", "--session", "s")
    assert (refused.code, "the chat s is with the squad pair, not with the squad other" in refused.err) == (2, True)
    assert spawn("chat", "two.yaml", "--agent", "bob", "--session", "s", stdin=b"two\n").returncode == 0
    assert spawn("chat", "--agent", "analyst", "--offline", "--session", "p", stdin=b"one\n").returncode == 0
    refused = call("chat", "--agent", "pm", "--session", "p")
    assert (refused.code, "the chat p is with analyst, not with pm" in refused.err) == (2, True)
    assert call("chat", "two.yaml", "--session", "p").code == 2


def test_each_line_of_a_pipe_is_a_message(spawn, folder, squad_at, loopback: Loopback):
    squad_at(loopback.url("ok"))
    script = b'hello\n\n"""\nseveral\nlines\n"""\ngoes on \\\nhere\n//slash\n'
    ended = spawn("chat", "--session", "s", stdin=script)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.decode() == f"{ANSWER}\n" * 4
    sent = [seen.body["messages"][-1]["content"] for seen in loopback.requests]
    assert sent == ["hello", "several\nlines", "goes on \nhere", "/slash"]
    assert not any(seen.body.get("stream") is None for seen in loopback.requests)


@pytest.mark.parametrize(
    ("message", "told"), [("@zoe, when?", True), ("@", False), ("@ 3 pm", False), ("hi @zoe", False)]
)
def test_a_message_to_nobody_goes_to_who_answers_and_says_so(spawn, message, told):
    ended = spawn("chat", "--agent", "analyst", "--offline", stdin=message.encode())
    assert ended.returncode == 0
    assert (b"no agent here is called zoe: analyst is told all of it" in ended.stderr) == told


def test_a_chat_goes_on_another_day_and_without_what_was_undone(spawn, folder, squad_at, loopback: Loopback):
    squad_at(loopback.url("ok"))
    spawn("chat", "two.yaml", "--session", "s", stdin=b"one\ntwo\n/undo\n/agent bob\nthree\n")
    ended = spawn("chat", "--session", "s", "--json", stdin=b"@ann four\n/cost\n")
    assert ended.returncode == 0, ended.stderr
    [document] = map(json.loads, ended.stdout.splitlines())
    assert (document["agent"], document["number"], document["status"]) == ("ann", 4, "ok")
    told = [(m["role"], m["content"]) for m in loopback.requests[-1].body["messages"][1:]]
    assert next(content for role, content in told if role == "user") == "one"
    assert "two" not in str(told)
    assert "three" in str(told)
    assert b"$0.0001" in ended.stderr


@pytest.mark.long
def test_chats_are_listed_and_shown_beside_runs(spawn, call, folder):
    spawn("chat", "--offline", "--session", "s", stdin=b"hi\n")
    assert call("chat", "--list").out.splitlines()[1].split()[:4] == ["s", "assistant", "1", "open"]
    assert "waiting" in call("runs", "ls").out
    shown = call("runs", "show", "s").out
    assert "next: orchestrator chat --session s" in shown
    for command in (["runs", "resume", "s"], ["runs", "fork", "s", "--from", "x"]):
        ended = call(*command)
        assert ended.code == 5
        assert "is a chat" in ended.err
    assert "is a chat" in call("runs", "replay", "s").err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--agent", "analist"], 2, "did you mean 'analyst'"),
        (["none.yaml"], 2, "there is no squad file"),
        (["--tier", "bos"], 2, "did you mean 'boss'"),
        (["--model", "nobody/x"], 2, "no provider is called 'nobody'"),
        (["squad.yaml", "--agent", "zoe"], 2, "there is no agent 'zoe'"),
        (["squad.yaml", "--tier", "boss"], 2, "--tier is for a chat without SQUAD"),
        (["--session", "a b"], 2, "--session"),
    ],
)
@pytest.mark.few(3)
def test_what_cannot_be_talked_to_is_told_at_once(call, arguments, code, told):
    ended = call("chat", "--offline", *arguments)
    assert ended.code == code
    assert told in ended.err


def test_the_run_of_a_squad_is_no_chat(call):
    call("run", "squad.yaml", "--run-id", "r")
    ended = call("chat", "--session", "r")
    assert ended.code == 5
    assert "is a run of tasks" in ended.err


@pytest.mark.long
def test_commands_that_are_wrong_end_a_script_with_code_2(spawn, folder):
    script = b"/undo x\n/nope\n/save\n/agent nobody\n/model nobody/x\nhi\n/save chat.md\n/save chat.md\n"
    ended = spawn("chat", "--offline", "--session", "s", stdin=script)
    assert ended.returncode == 2
    assert b"is there already" in ended.stderr
    assert b"no provider is called 'nobody'" in ended.stderr
    assert b"## You\n\nhi\n\n## assistant" in (folder / "chat.md").read_bytes()


@pytest.mark.long
def test_a_provider_that_fails_ends_the_answer_and_not_the_script(spawn, folder, squad_at, loopback: Loopback):
    squad_at(loopback.url("400", "ok"))
    ended = spawn("chat", "--session", "s", stdin=b"one\ntwo\n")
    assert ended.returncode == 8, ended.stderr
    assert ended.stdout.decode() == f"{ANSWER}\n"
    assert "one" not in str(loopback.requests[-1].body["messages"])


@pytest.mark.long
def test_a_budget_that_is_spent_ends_the_answers(spawn, folder, squad_at, loopback: Loopback):
    squad_at(loopback.url("ok"))
    ended = spawn("chat", "--session", "s", "--max-cost", "0.0000001", stdin=b"one\n")
    assert ended.returncode == 6, ended.stderr
    assert not loopback.requests


@pytest.mark.long
def test_models_text_is_data(spawn, folder, squad_at, loopback: Loopback):
    squad_at(loopback.url("literal"))
    loopback.literal = b'"red \\u001b[31m\\u202e and \\u0007 done"'
    for more in ([], ["--stream"]):
        ended = spawn("chat", "--session", f"s{len(more)}", *more, stdin=b"one\n")
        shown = ended.stdout.decode()
        assert shown.endswith(" done\n")
        assert not {"\x1b", "\u202e", "\x07"} & set(shown)


@at_a_terminal
@pytest.mark.long
def test_ctrl_c_stops_the_answer_and_ctrl_d_ends_the_chat(folder, squad_at, loopback: Loopback):
    squad_at(loopback.url("stall", "ok"))
    with terminal("--session", "s") as (process, leader):
        shown = read_until(leader, "\n> ")
        os.write(leader, b"one\n")
        shown += read_until(leader, "Hello")
        os.write(leader, b"\x03")
        process.send_signal(signal.SIGINT)
        shown += read_until(leader, "without this answer")
        os.write(leader, b"two\n")
        shown += read_until(leader, ANSWER)
        os.write(leader, b"\x04")
        shown += read_until(leader, "")
        assert process.wait(PATIENCE_S) == 0, shown
    assert "orchestrator chat --session s" in shown
    assert "one" not in str(loopback.requests[-1].body["messages"])


@at_a_terminal
@pytest.mark.long
def test_ctrl_c_twice_at_the_prompt_ends_the_chat(folder):
    with terminal("--offline") as (process, leader):
        shown = read_until(leader, "\n> ")
        process.send_signal(signal.SIGINT)
        shown += read_until(leader, "Ctrl-C once more")
        process.send_signal(signal.SIGINT)
        shown += read_until(leader, "")
        assert process.wait(PATIENCE_S) == 130, shown
    assert "Traceback" not in shown


@at_a_terminal
@pytest.mark.long
def test_another_persona_and_another_chat_at_a_terminal(folder):
    with terminal("--offline", "--session", "s") as (process, leader):
        read_until(leader, "\n> ")
        for typed, wanted in (
            (b"hi\n", "No model was asked"),
            (b"/agent analyst\n", "s: analyst answers; 1 exchange"),
            (b"/new\n", "; /help says"),
            (b"/exit\n", ""),
        ):
            os.write(leader, typed)
            read_until(leader, wanted)
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="kills a process as a machine would; run it on Linux or macOS")
def test_a_chat_that_was_killed_goes_on_and_tells_what_was_cut_short(spawn, folder, squad_at, loopback: Loopback):
    def mode(seen: Seen) -> str:
        return "hang" if len(loopback.requests) == 1 else "ok"

    squad_at(loopback.by(mode))
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "orchestrator", "chat", "--session", "s"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdin is not None
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        loopback.wait_for(2)
        process.kill()
    assert len(loopback.requests) == 2
    ended = spawn("chat", "--session", "s", stdin=b"three\n")
    assert ended.returncode == 0, ended.stderr
    assert b'the answer to "two" was cut short: it continues' in ended.stderr
    assert ended.stdout.decode() == f"{ANSWER}\n" * 2
    users = [m["content"] for m in loopback.requests[-1].body["messages"] if m["role"] == "user"]
    assert users == ["one", "two", "three"]
    assert len(loopback.requests) == 4


@pytest.mark.long
def test_an_answer_that_waits_for_a_person_is_not_given_up_by_a_later_script(spawn, call, folder, squad_at, loopback):
    squad_at(loopback.url("ok"))
    strict = "model: lm/m, guardrails: {output: [{require: [sorry], on_fail: escalate}]}}"
    (folder / "two.yaml").write_text(SQUAD.replace("model: lm/m}", strict, 1))
    for said in (b"one\ntwo\n", b"three\n"):
        ended = spawn("chat", "two.yaml", "--session", "s", stdin=said)
        assert (ended.returncode, ended.stdout) == (7, b""), ended.stderr
    assert len(loopback.requests) == 1
    assert call("approvals", "approve", "s").code == 0
    ended = spawn("chat", "--session", "s", stdin=b"")
    assert (ended.returncode, ended.stdout.decode()) == (0, f"{ANSWER}\n"), ended.stderr


@at_a_terminal
@pytest.mark.long
def test_a_line_that_a_terminal_cuts_is_told(folder):
    with terminal("--offline") as (process, leader):
        shown = read_until(leader, "\n> ")
        os.write(leader, b"word " * 1200 + b"\n")
        shown += read_until(leader, "4,095 bytes of a line")
        os.write(leader, b"/exit\n")
        shown += read_until(leader, "")
        assert process.wait(PATIENCE_S) == 0, shown
