"""`runs` and `approvals`: what is recorded, and going on with it from another process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROUTING = """\
tiers: {{worker: [lab/m], boss: [lab/m], creative: [lab/m], fallback: [lab/m]}}
last_resort: []
providers:
  lab:
    dialect: openai-chat
    base_url: {url}
    models: {{m: {{context: 100000, max_output: 1000, price: {{input: 1, output: 1}}}}}}
"""
REVISED = """\
name: revised
offline: auto
agents:
  mary: {persona: analyst}
tasks:
  research: {agent: mary, description: Research tea., output_file: r.md}
  approve:
    needs: [research]
    approval: {prompt: Good enough?, show: [research], choices: [approve, revise, reject]}
    on_revise: {rerun: [research], max_attempts: 2}
  after: {agent: mary, needs: [approve], description: Build it.}
outputs:
  choice: ${{ tasks.approve.output.choice }}
"""


def state_of(call, run):
    return next(line["status"] for line in json.loads(call("runs", "ls", "--json").out) if line["run"] == run)


def test_a_parked_run_is_answered_and_goes_on(call, folder):
    assert call("run", "gated.yaml", "--run-id", "r-1").code == 7
    assert state_of(call, "r-1") == "waiting"
    (waiting,) = json.loads(call("approvals", "ls", "--json").out)
    assert (waiting["run"], waiting["task"], waiting["prompt"]) == ("r-1", "approve", "Good enough?")
    assert "tea" in call("approvals", "show", "r-1", "approve").out
    assert call("approvals", "approve", "r-1", "approve", "--comment", "fine").code == 0
    assert json.loads(call("approvals", "ls", "--json").out) == []
    done = call("runs", "resume", "r-1")
    assert (done.code, done.out) == (0, "approve\n")
    assert "r-1: resumed: 1 of 2 tasks done, $0.00 spent" in done.err
    assert "approve: approve by cli (fine)" in done.err
    assert "research: started" not in done.err, "what was done is not done again"
    assert state_of(call, "r-1") == "done"


def test_the_paths_of_files_are_told_from_here_after_a_resume_too(call, folder):
    (folder / "revised.yaml").write_text(REVISED)
    call("run", "revised.yaml", "--run-id", "r-1")
    call("approvals", "approve", "r-1")
    assert "artifact: out/r-1/r.md\n" in call("runs", "resume", "r-1").err


def test_a_parked_run_is_denied(call):
    call("run", "gated.yaml", "--run-id", "r-1")
    assert call("approvals", "reject", "r-1", "approve", "--comment", "no").code == 0
    assert call("runs", "resume", "r-1").code == 1
    assert state_of(call, "r-1") == "rejected"


def test_the_only_approval_of_a_run_needs_no_name(call, folder):
    call("run", "gated.yaml", "--run-id", "r-1")
    assert "Good enough?" in call("approvals", "show", "r-1").out
    assert "approve: approve" in call("approvals", "approve", "r-1").err
    again = call("approvals", "deny", "r-1")
    assert (again.code, "approve is answered already: approve by cli" in again.err) == (5, True)
    assert "the first answer counts" in call("approvals", "show", "r-1").err
    second = "  again: {needs: [research], approval: {prompt: Sure?}}\noutputs:"
    (folder / "two.yaml").write_text((folder / "gated.yaml").read_text().replace("outputs:", second))
    call("run", "two.yaml", "--run-id", "r-2")
    unclear = call("approvals", "approve", "r-2")
    assert unclear.code == 5
    assert "r-2 awaits several approvals: name the task" in unclear.err
    assert "hint: awaiting approval in this run: approve, again" in unclear.err


def test_each_answer_is_bound_to_what_was_shown(call, folder):
    (folder / "revised.yaml").write_text(REVISED)
    call("run", "revised.yaml", "--run-id", "r-1", "--out", "there")
    empty = call("approvals", "revise", "r-1", "approve", "--comment", " ")
    assert (empty.code, "`revise` needs a comment" in empty.err) == (2, True)
    assert 'approvals revise r-1 approve --comment "..."' in empty.err
    assert call("approvals", "revise", "r-1", "approve", "--comment", "shorter").code == 0, "nothing was recorded"
    assert call("approvals", "approve", "r-1", "approve").code == 5, "it is answered"
    again = call("runs", "resume", "r-1")
    assert again.code == 7
    assert "research: runs again" in again.err
    assert call("approvals", "revise", "r-1", "approve", "--comment", "shorter still").code == 0
    call("runs", "resume", "r-1")
    spent = call("approvals", "revise", "r-1", "approve", "--comment", "once more")
    assert spent.code == 2
    assert "takes one of: approve, reject; `revise` was answered 2 times, as often as `max_attempts`" in spent.err
    assert "`revise` was answered 2 times" in call("approvals", "show", "r-1").out
    assert call("approvals", "approve", "r-1", "approve").code == 0
    assert call("runs", "resume", "r-1").out == "approve\n"


def test_what_cannot_be_resumed_says_why(call, folder):
    assert call("runs", "ls").code == 5, "nothing was ever recorded"
    call("run", "gated.yaml", "--run-id", "r-1")
    call("run", "squad.yaml", "--run-id", "r-2")
    assert "is over: done" in call("runs", "resume", "r-2").err
    assert call("runs", "resume", "r-3").code == 5
    assert call("approvals", "approve", "r-1", "research").code == 5
    assert call("approvals", "revise", "r-1", "approve").code == 2, "it is no choice of this gate"
    twice = call("run", "gated.yaml", "--run-id", "r-1")
    assert (twice.code, "runs resume" in twice.err) == (2, True)
    text = (folder / "gated.yaml").read_text()
    (folder / "gated.yaml").write_text(text.replace("Research tea", "Research coffee"))
    changed = call("runs", "resume", "r-1")
    assert changed.code == 1
    assert "changed since it began: task research" in changed.err
    (folder / "gated.yaml").write_text(f"# a comment changes nothing\n{text}")
    assert call("runs", "resume", "r-1").code == 7
    (folder / "gated.yaml").unlink()
    assert call("runs", "resume", "r-1", "--approve", "auto").code == 0, "the record holds the squad too"


def test_a_cancelled_run_stays_so(call):
    call("run", "gated.yaml", "--run-id", "r-1")
    assert call("runs", "cancel", "r-1").code == 0
    done = call("runs", "resume", "r-1")
    assert (done.code, "was cancelled" in done.err) == (130, True)


def test_a_run_that_a_cap_paused_goes_on_under_a_higher_one(call, folder):
    text = (folder / "squad.yaml").read_text()
    (folder / "squad.yaml").write_text(f"{text}budget: {{max_turns: 1, on_exceed: pause}}\n")
    assert call("run", "squad.yaml", "--run-id", "r-1").code == 6
    assert call("runs", "resume", "r-1").code == 6, "what was spent counts"
    (folder / "squad.yaml").write_text(f"{text}budget: {{max_turns: 2, on_exceed: pause}}\n")
    done = call("runs", "resume", "r-1")
    assert (done.code, done.out) == (0, "brief.md\n")


def test_the_record_may_stand_elsewhere(call, folder):
    db = f"sqlite:///{folder}/deep/own.db"
    assert call("run", "gated.yaml", "--run-id", "r-1", "--db", db).code == 7
    assert call("runs", "show", "r-1").code == 5
    shown = call("runs", "show", "r-1", "--db", db).out
    assert "r-1: waiting" in shown
    answer, resume = (
        f"orchestrator {words} --db {db}" for words in ("approvals approve r-1 approve", "runs resume r-1")
    )
    assert f"next: {answer} && {resume}" in shown
    events = [json.loads(line) for line in call("runs", "watch", "r-1", "--json", "--db", db).out.splitlines()]
    assert [events[0]["type"], events[-1]["type"]] == ["run.started", "run.finished"]
    assert events == [json.loads(line) for line in call("runs", "show", "r-1", "--json", "--db", db).out.splitlines()]


def test_a_damaged_record_is_said_and_kept(call, folder):
    call("run", "gated.yaml", "--run-id", "r-1")
    file = folder / ".orchestrator" / "journal.db"
    file.write_bytes(b"this was a journal once, " * 200)
    for arguments in (["runs", "ls"], ["runs", "resume", "r-1"], ["run", "squad.yaml"]):
        done = call(*arguments)
        assert done.code == 2
        assert "is damaged" in done.err
    assert (folder / ".orchestrator" / "journal.db.damaged").read_bytes() == file.read_bytes()


def begin(folder: Path, url: str) -> subprocess.Popen[str]:
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=url))
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "run",
        "squad.yaml",
        "--run-id",
        "r-1",
        "--out",
        "out",
        "--max-cost",
        "5",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "signals",
    [
        ["SIGKILL"],
        pytest.param(["SIGTERM"], marks=pytest.mark.long),
        pytest.param(["SIGINT", "SIGINT"], marks=pytest.mark.long),
        ["SIGINT"],
    ],
)
@pytest.mark.few(1)
def test_a_run_that_was_stopped_is_resumed(call, folder, loopback, signals):
    cut = signals != ["SIGINT"]
    process = begin(folder, loopback.url("ok", "hang" if cut else "slow=6", "ok"))
    loopback.wait_for(2)
    state = {line["run"]: line["status"] for line in json.loads(call("runs", "ls", "--json").out)}
    assert state == {"r-1": "running"}
    assert "is being driven by another process" in call("runs", "resume", "r-1").err
    for number, name in enumerate(signals, 1):
        process.send_signal(getattr(signal, name))
        if number < len(signals):
            while "Ctrl-C again stops now" not in process.stderr.readline():
                assert process.poll() is None
    process.communicate(timeout=PATIENCE_S)
    assert state_of(call, "r-1") == ("unfinished" if cut else "interrupted")
    assert ("not in the cost: up to $0.00" in call("runs", "show", "r-1").out) == cut
    *_, last = map(json.loads, call("runs", "show", "r-1", "--json").out.splitlines())
    assert (last["cut_short_usd"] > 0) == cut
    done = call("runs", "resume", "r-1")
    assert (done.code, done.out) == (0, "brief.md\n"), done.err
    asked = [json.dumps(seen.body, sort_keys=True) for seen in loopback.requests]
    assert len(asked) == len(set(asked)) + cut, "only what was in flight is asked again"
    assert ("it may have been paid twice" in done.err) == cut
    (lost,) = [line for line in done.err.splitlines() if line.startswith("not in the cost")] or [""]
    assert bool(lost) == cut
    assert ("not in the cost" in call("runs", "show", "r-1").out) == cut
    assert lost in call("runs", "show", "r-1").out.splitlines() or not cut


@pytest.mark.long
def test_another_process_cancels_a_run(call, folder, loopback):
    process = begin(folder, loopback.url("slow=1.2", "ok"))
    loopback.wait_for(1)
    assert call("runs", "cancel", "r-1").err == "r-1: asked to stop\n"
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "another process cancelled the run" in error
    assert len(loopback.requests) == 1, "its first call ended, the second was not begun"
