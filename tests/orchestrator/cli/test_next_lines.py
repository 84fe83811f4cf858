"""Each `next:` line is a command that works as it is printed, options that lead to the same files included."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.orchestrator.cli.test_run_command import ROUTING

TALK = """\
name: talk
offline: auto
agents: {mary: {persona: analyst}}
conversations:
  chat: {pattern: round_robin, participants: [mary, human], terminate: {max_turns: 2}}
tasks:
  talk: {conversation: chat, description: Talk.}
"""
BROKEN = """\
name: broken
offline: auto
agents: {mary: {persona: analyst}}
tasks:
  each:
    for_each: ${{ ['a', 'b'] }}
    key: ${{ item }}
    agent: mary
    description: About ${{ item.name }}.
"""
WORKS = (0, 1, 6, 7)
"""Exit codes of a command that was understood and found what it names; 6: its budget is spent, 7: it waits again."""


@pytest.fixture
def follow(call):
    """Return a function that calls what a text's `next:` line says, up to `most` times one after another."""

    def run(text: str, most: int = 3) -> list[str]:
        done = []
        for _ in range(most):
            line = next((line for line in text.splitlines() if line.startswith("next: ")), None)
            if line is None:
                break
            for command in line.removeprefix("next: ").split(" && "):
                program, *words = shlex.split(command)
                assert program == "orchestrator"
                ended = call(*words)
                assert ended.code in WORKS, f"{command}: {ended.err}"
                done.append(command)
            text = ended.err + ended.out
        return done

    return run


def test_after_a_run_on_the_stub(call, follow):
    assert follow(call("run", "squad.yaml").err) == ["orchestrator providers ls"]


def test_after_a_run_that_a_person_rejected(call, follow):
    call("run", "gated.yaml", "--run-id", "r-1")
    call("approvals", "deny", "r-1", "approve")
    assert follow(call("runs", "resume", "r-1").err)[0] == "orchestrator runs show r-1"


def test_after_a_failure_that_asked_no_model(call, follow, folder):
    (folder / "broken.yaml").write_text(BROKEN)
    done = call("run", "broken.yaml", "--run-id", "r-1")
    assert done.code == 1
    assert "set the key of a provider" not in done.err, "a key cures nothing here"
    assert follow(done.err)[0] == "orchestrator runs show r-1"
    assert "failed: each[a]: 'name' is unknown in ${{ item.name }}" in call("runs", "show", "r-1").out


def test_an_element_that_a_failure_kept_from_beginning_is_shown_as_cancelled(call, folder):
    (folder / "broken.yaml").write_text(BROKEN.replace("    agent: mary", "    max_parallel: 1\n    agent: mary"))
    call("run", "broken.yaml", "--run-id", "r-1")
    shown = call("runs", "show", "r-1").out
    assert "failed: each: 1 of 2 failed: a; not done: b" in shown
    assert next(line.split() for line in shown.splitlines() if line.startswith("each[b]")) == ["each[b]", "cancelled"]


@pytest.mark.parametrize("options", [(), ("--state", "a folder"), ("--db", "sqlite:///own.db")])
def test_after_a_run_that_awaits_approval(call, follow, options):
    tail = " " + shlex.join(options) if options else ""
    expected = [f"orchestrator approvals approve r-1 approve{tail}", f"orchestrator runs resume r-1{tail}"]
    assert follow(call("run", "gated.yaml", "--run-id", "r-1", *options).err)[:2] == expected


def test_after_an_answer_and_after_a_look_at_the_run(call, follow):
    call("run", "gated.yaml", "--run-id", "r-1")
    assert follow(call("runs", "show", "r-1").out, 1) == [
        "orchestrator approvals approve r-1 approve",
        "orchestrator runs resume r-1",
    ]
    call("run", "gated.yaml", "--run-id", "r-2")
    assert follow(call("approvals", "deny", "r-2", "approve").err)[0] == "orchestrator runs resume r-2"


def test_after_a_run_that_waits_for_a_persons_words(call, follow, folder):
    (folder / "talk.yaml").write_text(TALK)
    waiting = call("run", "talk.yaml", "--run-id", "r-1")
    assert waiting.code == 7
    question = "talk/try-1/round-1/human"
    expected = [f"orchestrator approvals say r-1 {question} 'your words'", "orchestrator runs resume r-1"]
    assert f"next: {' && '.join(expected)}" in call("runs", "show", "r-1").out
    assert follow(waiting.err)[:2] == expected
    shown = call("runs", "show", "r-1").out
    assert "awaiting" not in shown, "what was said is not awaited any more"


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_after_a_run_that_a_budget_ended(call, follow, folder, action):
    text = (folder / "squad.yaml").read_text()
    (folder / "squad.yaml").write_text(f"{text}budget: {{max_turns: 1, on_exceed: {action}}}\n")
    ended = call("run", "squad.yaml", "--run-id", "r-1")
    assert ended.code == 6
    assert "hint: raise the budget in squad.yaml, or give --max-cost or --timeout" in ended.err
    goes_on = {"pause": "runs resume r-1", "stop": "runs fork r-1 --from brief"}  # neither pays again what is done
    assert follow(ended.err, 1) == [f"orchestrator {goes_on[action]}"]


def test_of_a_cancelled_run_none_is_offered_that_would_be_refused(call, follow):
    call("run", "gated.yaml", "--run-id", "r-1")
    call("runs", "cancel", "r-1")
    assert call("runs", "resume", "r-1").code == 130
    assert follow(call("runs", "show", "r-1").out) == []


def test_after_init_and_export(call, follow, folder, monkeypatch):
    call("run", "squad.yaml", "--run-id", "r-1")
    assert follow(call("runs", "export", "r-1", "a file.db").err) == ["orchestrator runs replay 'a file.db'"]
    line = next(line for line in call("init", "new").err.splitlines() if line.startswith("next: "))
    folder_of, command = line.removeprefix("next: ").split(" && ")
    monkeypatch.chdir(shlex.split(folder_of)[1])
    assert call(*shlex.split(command)[1:]).code == 0


GATES = """\
name: gates
offline: auto
agents: {mary: {persona: analyst}}
conversations:
  chat: {pattern: round_robin, participants: [mary, human], terminate: {max_turns: 2}}
tasks:
  one: {approval: {prompt: One?, choices: [approve, reject]}}
  two: {approval: {prompt: Two?, choices: [approve, reject]}}
  talk: {conversation: chat, description: Talk.}
"""


@pytest.mark.parametrize("from_show", [False, True])
def test_where_several_questions_are_open_one_line_answers_all_of_them(call, follow, folder, from_show):
    (folder / "gates.yaml").write_text(GATES)
    text = call("run", "gates.yaml", "--run-id", "r-1").err
    done = follow(call("runs", "show", "r-1").out if from_show else text, 1)
    assert sorted(done[:-1]) == sorted(
        [
            "orchestrator approvals approve r-1 one",
            "orchestrator approvals approve r-1 two",
            "orchestrator approvals say r-1 talk/try-1/round-1/human 'your words'",
        ]
    )
    assert done[-1] == "orchestrator runs resume r-1"
    assert call("runs", "show", "r-1").out.startswith("r-1: done")


def test_of_many_open_questions_the_first_are_named(call, follow, folder):
    gates = "".join(f"  t{i}: {{approval: {{prompt: Go?, choices: [approve, reject]}}}}\n" for i in range(10))
    (folder / "gates.yaml").write_text(f"name: gates\noffline: auto\ntasks:\n{gates}")
    done = follow(call("run", "gates.yaml", "--run-id", "r-1").err, 2)
    assert [line.split()[-1] for line in done] == [*(f"t{i}" for i in range(8)), "r-1", "t8", "t9", "r-1"]


def test_a_cancelled_run_takes_no_answer(call, follow):
    call("run", "gated.yaml", "--run-id", "r-1")
    cancelled = call("runs", "cancel", "r-1")
    assert follow(cancelled.err) == []
    for command in (("approve", "r-1", "approve"), ("deny", "r-1", "approve"), ("approve", "r-1")):
        refused = call("approvals", *command)
        assert refused.code == 130
        assert "error: the run r-1 was cancelled for good: it cannot be resumed, and takes no answer\n" in refused.err
        assert "next:" not in refused.err
    assert call("approvals", "ls", "--json").out.strip() == "[]"


def test_a_run_that_is_over_takes_no_answer(call):
    call("run", "gated.yaml", "--run-id", "r-1")
    call("approvals", "approve", "r-1", "approve")
    assert call("runs", "resume", "r-1").code == 0
    refused = call("approvals", "deny", "r-1", "approve")
    assert (refused.code, "next:" in refused.err) == (5, False)


@pytest.mark.parametrize("place", ["{task}/try-1/turn-1", "{task}/try-1/turn-1/model"])
def test_a_place_as_it_is_shown_is_explained(call, folder, place):
    call("run", "squad.yaml", "--run-id", "r-1")
    task = json.loads(call("runs", "show", "r-1", "--json").out.splitlines()[0])["tasks"][0]
    explained = call("explain", "r-1", place.format(task=task))
    assert explained.code == 0
    assert explained.out.startswith(f"{task}/try-1, turn 1\n")
    assert call("explain", "r-1", f"{task}/try-1/turn-7").code == 5
    assert call("explain", "r-1", place.format(task=task), "--request").code in (0, 5)


def test_the_line_that_explains_names_the_run_though_another_began_later(call, follow, folder, loopback):
    (folder / "gates.yaml").write_text(
        "name: gates\nagents: {mary: {persona: analyst}}\ntasks:\n"
        "  gate: {approval: {prompt: Go?}}\n  after: {agent: mary, description: Go on., needs: [gate]}\n"
    )
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.url("401")))
    call("run", "gates.yaml", "--run-id", "r-1")
    call("run", "squad.yaml", "--run-id", "r-2", "--offline")
    call("approvals", "approve", "r-1")
    assert follow(call("runs", "resume", "r-1").err, 1) == ["orchestrator explain r-1 after"]
