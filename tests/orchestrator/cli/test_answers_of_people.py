"""People answer a run while it is at work, at its terminal and in other processes, and tools that ask each time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.loopback import Served
from tests.orchestrator.cli.test_run_command import ROUTING, read_until
from tests.patience import PATIENCE_S

WRITER = """\
name: writer
agents: {mary: {persona: analyst, tools: [write_file]}}
tasks:
  write: {agent: mary, description: Write.}
"""
BUSY = """\
name: busy
agents: {mary: {persona: analyst}}
tasks:
  side: {agent: mary, description: Take your time.}
  gate: {approval: {prompt: Go?, choices: [approve, reject]}}
  after: {agent: mary, description: Go on., needs: [gate]}
"""
GATE = """\
name: gate
offline: auto
agents: {mary: {persona: analyst}}
tasks:
  gate: {approval: {prompt: Go?, choices: [approve, reject]}}
  after: {agent: mary, description: Go on., needs: [gate]}
"""
TWO = """\
name: two
offline: auto
tasks:
  one: {approval: {prompt: One?, choices: [approve, reject]}}
  two: {approval: {prompt: Two?, choices: [approve, reject]}}
"""
AGAIN = """\
name: again
offline: auto
agents: {mary: {persona: analyst}}
tasks:
  draft: {agent: mary, description: Write.}
  gate:
    needs: [draft]
    approval: {prompt: Good?, choices: [approve, revise]}
    on_revise: {rerun: [draft], max_attempts: 3}
"""
TALK = """\
name: talk
offline: auto
agents: {mary: {persona: analyst}}
conversations: {chat: {participants: [mary, human], terminate: {max_turns: 4}}}
tasks: {talk: {conversation: chat, description: Talk.}}
"""
AT_WORK = "the run is at work and continues with this answer"
WENT_ON = (AT_WORK, "the run went on at once and is over: done")
"""A run may end with an answer before the process that gave it looks."""
at_a_terminal = pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")


def writes(path):
    """Return a turn that calls `write_file`."""
    arguments = json.dumps({"path": path, "content": "x"})
    call = {"id": "c", "type": "function", "function": {"name": "write_file", "arguments": arguments}}
    return _served({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")


def _served(message, finish):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Served(200, {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})


@pytest.mark.parametrize("answers", [["deny"], pytest.param(["approve", "deny", "approve"], marks=pytest.mark.long)])
def test_a_tool_asks_before_each_call_and_the_comment_of_a_denial_reaches_the_model(call, folder, loopback, answers):
    """The same call with the same arguments, turn after turn."""

    def rule(seen):
        done = sum(message["role"] == "tool" for message in seen.body["messages"])
        return writes("a.txt") if done < len(answers) else "ok"

    base = loopback.by(rule)
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=base).replace("price:", "tools: true, price:"))
    (folder / "writer.yaml").write_text(WRITER)
    assert call("run", "writer.yaml", "--run-id", "r-1", "--out", "made").code == 7
    for turn, answer in enumerate(answers, 1):
        (listed,) = json.loads(call("approvals", "ls", "--json").out)
        assert listed["task"] == f"write/try-1/turn-{turn}/tool-1"
        before = (folder / "made" / "a.txt").exists()
        given = call("approvals", answer, "r-1", "write", "--comment", f"because {turn}")
        assert given.err.splitlines()[1] == "next: orchestrator runs resume r-1"
        assert call("runs", "resume", "r-1").code == (0 if turn == len(answers) else 7)
        assert (folder / "made" / "a.txt").exists() == (before or answer == "approve")
        (*_, told) = [one["content"] for one in loopback.to(base)[-1].body["messages"] if one["role"] == "tool"]
        refused = f"error: write_file failed: a person refused this call: because {turn}"
        assert told == (refused if answer == "deny" else "wrote 1 bytes to a.txt")


@pytest.mark.long
def test_arguments_are_changed_and_a_tool_is_allowed_for_the_run(call, folder, loopback):
    def rule(seen):
        done = sum(message["role"] == "tool" for message in seen.body["messages"])
        return writes(f"{done}\u202e.txt") if done < 3 else "ok"

    base = loopback.by(rule)
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=base).replace("price:", "tools: true, price:"))
    (folder / "writer.yaml").write_text(WRITER)
    assert call("run", "writer.yaml", "--run-id", "r-1", "--out", "made").code == 7
    shown = call("approvals", "show", "r-1").out
    assert "changes the arguments" in shown
    assert "0\\u202e.txt" in shown or "0<U+202E>.txt" in shown
    wrong = call("approvals", "approve", "r-1", "--args", '{"path": 1}')
    assert (wrong.code, "$.path: 1 is not of type 'string'" in wrong.err or "required" in wrong.err) == (2, True)
    assert call("approvals", "approve", "r-1", "--args", "{}", "--edit", "x").code == 2
    assert call("approvals", "approve", "r-1", "--edit", "nowhere").code == 2
    changed = '{"path": "b.txt", "content": "y"}'
    given = call("approvals", "approve", "r-1", "--args", changed, "--for-run")
    assert given.err.splitlines()[0] == "write/try-1/turn-1/tool-1: approve, changed, for the run"
    assert call("runs", "resume", "r-1").code == 0
    assert sorted(file.name for file in (folder / "made").iterdir() if file.name.endswith(".txt")) == [
        *("1\u202e.txt", "2\u202e.txt", "b.txt"),
    ]
    told = [one["content"] for one in loopback.to(base)[-1].body["messages"] if one["role"] == "tool"]
    assert told[0].startswith("[A person changed the arguments of this call before it was made, to: ")
    assert "No approvals are waiting." in call("approvals", "ls").err
    assert call("approvals", "approve", "r-1", "--for-run").code == 5


@pytest.mark.long
@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_a_run_at_work_in_another_process_goes_on_with_an_answer(call, folder, loopback, answer):
    def rule(seen):
        return "slow=3" if "Take your time" in str(seen.body) else "ok"

    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.by(rule)))
    (folder / "busy.yaml").write_text(BUSY)
    command = [sys.executable, "-m", "orchestrator", "run", "busy.yaml", "--run-id", "r-1"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    loopback.wait_for(1)
    while "gate: awaiting approval" not in process.stderr.readline():
        assert process.poll() is None
    assert call("approvals", answer, "r-1", "gate").err.splitlines() == [
        f"gate: {'approve' if answer == 'approve' else 'reject'}",
        AT_WORK,
    ]
    second = call("approvals", "approve", "r-1", "gate")
    assert second.code == 5
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == (0 if answer == "approve" else 1), error
    assert ("Go on." in str([seen.body for seen in loopback.requests])) == (answer == "approve")


class Terminal:
    """A run at a terminal of its own."""

    def __init__(self, process, leader):
        self.process = process
        self.leader = leader
        self.shown = ""

    def until(self, wanted):
        self.shown += read_until(self.leader, wanted)

    def type(self, line):
        os.write(self.leader, f"{line}\n".encode())

    def end(self):
        self.until("")
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


@contextmanager
def terminal(folder, text):
    (folder / "at.yaml").write_text(text)
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "run", "at.yaml", "--run-id", "r-1", "--no-color"]
    process = subprocess.Popen(command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True)
    os.close(follower)
    try:
        yield Terminal(process, leader)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        os.close(leader)


@at_a_terminal
@pytest.mark.long
def test_who_is_asked_at_a_terminal_is_told_that_another_process_answered(call, folder):
    with terminal(folder, GATE) as person:
        person.until("approve / reject: ")
        given = call("approvals", "approve", "r-1")
        assert given.err.splitlines() in [["gate: approve", told] for told in WENT_ON]
        assert person.end() == 0
    assert "gate: no answer is needed here any more: approve by cli" in person.shown


@at_a_terminal
@pytest.mark.long
def test_an_answer_at_the_terminal_after_another_processs_does_not_count(call, folder):
    with terminal(folder, GATE) as person:
        person.until("approve / reject: ")
        person.type("a")
        person.until("comment (may be empty): ")
        os.kill(person.process.pid, signal.SIGSTOP)
        given = call("approvals", "deny", "r-1", "gate", "--comment", "no")
        person.type("yes")
        os.kill(person.process.pid, signal.SIGCONT)
        assert given.err.splitlines() == ["gate: reject", AT_WORK]
        assert person.end() == 1
    told = ["gate: your answer approve does not count: it was answered before, reject by cli"]
    told += ["gate: no answer is needed here any more: reject by cli"]
    assert sum(line in person.shown for line in told) == 1
    assert call("runs", "show", "r-1").out.startswith("r-1: rejected")


@at_a_terminal
@pytest.mark.long
def test_an_answer_in_another_process_after_the_terminals_does_not_count(call, folder):
    with terminal(folder, TWO) as person:
        person.until("approve / reject: ")
        first, second = ("one", "two") if "One?" in person.shown else ("two", "one")
        person.type("a")
        person.until("comment (may be empty): ")
        person.type("")
        person.until("approve / reject: ")
        late = call("approvals", "deny", "r-1", first)
        assert (late.code, f"{first} is answered already: approve by terminal" in late.err) == (5, True)
        given = call("approvals", "approve", "r-1")
        assert given.err.splitlines() in [[f"{second}: approve", told] for told in WENT_ON]
        assert person.end() == 0


@at_a_terminal
@pytest.mark.long
def test_a_person_speaks_at_the_terminal_and_sees_their_words_as_theirs(call, folder):
    with terminal(folder, TALK) as person:
        for words in ("hello there", "and good bye"):
            person.until("your words: ")
            person.type(words)
        assert person.end() == 0
    lines = person.shown.replace("\r", "").splitlines()
    assert lines[lines.index("--- human ---") + 1] == "hello there"
    assert json.loads(call("approvals", "ls", "--json").out) == []


def test_without_a_terminal_a_persons_turns_are_spoken_by_the_lines_that_are_printed(call, folder):
    (folder / "talk.yaml").write_text(TALK)
    ended = call("run", "talk.yaml", "--run-id", "r-1")
    for turn in (1, 2):
        assert ended.code == 7
        (listed,) = json.loads(call("approvals", "ls", "--json").out)
        assert (listed["run"], listed["task"]) == ("r-1", f"talk/try-1/round-{turn}/human")
        (line,) = [line for line in ended.err.splitlines() if line.startswith("next: ")]
        for command in line.removeprefix("next: ").split(" && "):
            ended = call(*shlex.split(command)[1:])
    assert ended.code == 0
    assert "your words" in ended.out
    assert json.loads(call("approvals", "ls", "--json").out) == []


def test_where_one_reply_is_awaited_the_words_alone_are_enough(call, folder):
    (folder / "talk.yaml").write_text(TALK)
    assert call("run", "talk.yaml", "--run-id", "r-1").code == 7
    assert "awaits words: `say` them: orchestrator approvals say r-1" in call("approvals", "approve", "r-1").err
    assert len(call("approvals", "ls").out.splitlines()) == 2  # a question of several lines is listed on one
    assert "put them in quotes" in call("approvals", "say", "r-1", "three", "loose", "words").err
    assert "what are your words?" in call("approvals", "say", "r-1", "talk").err
    assert call("approvals", "say", "r-1", "good morning").code == 0
    assert call("runs", "resume", "r-1").code == 7
    assert "good morning" in call("approvals", "show", "r-1").out


def test_a_question_that_is_asked_again_resumes_its_run_once(call, folder):
    (folder / "again.yaml").write_text(AGAIN)
    call("run", "again.yaml", "--run-id", "again")
    call("approvals", "revise", "again", "--comment", "Shorter.")
    for _ in range(2):
        done = call("runs", "resume", "again")
        assert done.code == 7
        assert done.err.count("resumed:") == 1
    assert call("approvals", "approve", "again").code == 0
    assert call("runs", "resume", "again").code == 0
