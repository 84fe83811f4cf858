"""`runs resume --edited` and `runs fork`: what is asked again is said before it is paid, and is what is asked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.orchestrator.cli.test_runs_command import ROUTING

SQUAD = """\
name: trio
inputs:
  idea: {type: string, default: tea}
agents:
  mary: {persona: analyst}
  paige: {persona: tech-writer}
tasks:
  research: {agent: mary, description: "Research ${{ inputs.idea }}.", output_file: research.md}
  brief: {agent: paige, needs: [research], description: Write it down., output_file: brief.md}
  aside: {agent: mary, needs: [research], description: Look aside.}
  talk: {agent: paige, needs: [brief], description: Talk on it.}
outputs:
  file: ${{ tasks.brief.output_file }}
"""


@pytest.fixture
def asked(folder, loopback):
    """Return a function: the tasks that were put to the provider since it was called last."""
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.url("ok")))
    (folder / "squad.yaml").write_text(SQUAD)
    seen = 0

    def since() -> list[str]:
        nonlocal seen
        new = [request.body["messages"][-1]["content"].rpartition("# Task\n\n")[2] for request in loopback.requests]
        seen, before = len(new), seen
        return sorted(text.splitlines()[0] for text in new[before:])

    return since


def edit(folder, old="Write it down.", new="Write it up."):
    text = (folder / "squad.yaml").read_text()
    assert old in text
    (folder / "squad.yaml").write_text(text.replace(old, new))


def test_an_edited_run_says_first_what_runs_again(call, folder, asked):
    assert call("run", "squad.yaml", "--run-id", "r-1").code == 0
    assert len(asked()) == 4
    edit(folder)
    edit(folder, "  aside:", "  sidelong:")
    refused = call("runs", "resume", "r-1")
    assert (refused.code, "runs resume r-1 --edited" in refused.err) == (5, True)
    told = call("runs", "resume", "r-1", "--edited", "--dry-run")
    assert (told.code, told.err, asked()) == (0, "", [])
    said = [line.split("  ")[0] + ": " + line.split("  ")[-1].strip() for line in told.out.splitlines()]
    assert "brief: it was edited" in said
    assert "talk: it needs brief" in said
    assert "sidelong: it was called aside" in said
    assert (
        "spent so far, and counted: 76 tokens  $0.0001; of that, on results that no longer count: 38 tokens  <$0.0001"
        in told.out
    )
    done = call("runs", "resume", "r-1", "--edited")
    assert (done.code, done.out) == (0, "brief.md\n")
    assert told.out.strip() in done.err
    assert asked() == ["Talk on it.", "Write it up."]
    assert "r-1: done  114 tokens" in call("runs", "show", "r-1").out
    assert call("runs", "resume", "r-1", "--edited").code == 5, "it is over, and as it was"


def test_a_fork_leaves_the_other_run_as_it_is(call, folder, asked):
    call("run", "squad.yaml", "--run-id", "r-1")
    asked()
    before = call("runs", "show", "r-1", "--json").out
    assert call("runs", "fork", "r-1", "--from", "brief", "--dry-run").out.count("runs again") == 2
    done = call("runs", "fork", "r-1", "--from", "brief", "--run-id", "f-1")
    assert (done.code, done.out, asked()) == (0, "brief.md\n", ["Talk on it.", "Write it down."])
    assert "2 tasks taken over, for which the other run paid 38 tokens  <$0.0001; this run begins at $0.00" in done.err
    assert call("runs", "show", "r-1", "--json").out == before
    shown = call("runs", "show", "f-1").out
    assert "f-1: done  38 tokens" in shown
    assert "forked: from r-1, which paid <$0.0001 for 2 tasks" in shown
    for name in ("research.md", "brief.md"):
        assert (folder / "out" / "f-1" / name).read_bytes() == (folder / "out" / "r-1" / name).read_bytes()


def test_a_fork_takes_another_file_and_another_input(call, folder, asked):
    call("run", "squad.yaml", "--run-id", "r-1")
    asked()
    (folder / "other.yaml").write_text(SQUAD.replace("Talk on it.", "Sing of it."))
    assert call("runs", "fork", "r-1", "--file", "other.yaml").code == 0
    assert asked() == ["Sing of it."]
    assert call("runs", "fork", "r-1", "-i", "idea=coffee", "--run-id", "f-2").code == 0
    assert len(asked()) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["r-1"], 2, "nothing of r-1 would run again"),
        (["r-1", "--from", "tal"], 2, "the squad has no task tal"),
        (["r-2", "--from", "talk"], 5, "there is no run r-2"),
        (["r-1", "--from", "talk", "--run-id", "r-1"], 2, "there is a run r-1 already"),
        (["r-1", "--from", "talk", "--run-id", "a/b"], 2, "letters, digits"),
        (["r-1", "--from", "talk", "-i", "ida=x"], 1, "takes no input 'ida'"),
        (["r-1", "--from", "talk", "--file", "none.yaml"], 2, "there is no squad file none.yaml"),
    ],
)
@pytest.mark.few(2)
def test_what_cannot_be_forked_says_why_before_anybody_is_asked(call, folder, asked, arguments, code, words):
    call("run", "squad.yaml", "--run-id", "r-1")
    asked()
    done = call("runs", "fork", *arguments)
    assert (done.code, asked()) == (code, [])
    assert words in done.err
    assert [line["run"] for line in json.loads(call("runs", "ls", "--json").out)] == ["r-1"]


@pytest.mark.parametrize("how", [["resume", "r-1", "--edited"], ["fork", "r-1", "--from", "brief", "--run-id", "f-1"]])
@pytest.mark.few(1)
def test_killed_and_resumed_it_pays_for_nothing_twice_but_what_was_in_flight(call, folder, loopback, asked, how):
    call("run", "squad.yaml", "--run-id", "r-1")
    asked()
    edit(folder)
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.url("ok", "hang", "ok")))
    command = [sys.executable, "-m", "orchestrator", "runs", *how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        loopback.wait_for(6)
        process.kill()
        process.communicate()
    assert asked() == ["Talk on it.", "Write it up."]
    done = call("runs", "resume", "f-1" if how[0] == "fork" else "r-1")
    assert (done.code, asked()) == (0, ["Talk on it."])
    assert "it may have been paid twice" in done.err
