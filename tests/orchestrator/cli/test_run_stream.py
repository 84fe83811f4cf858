"""`run --stream`: what agents say as they say it, beside the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.ui.spoken import CleanText, SpokenLines
from orchestrator.run.deltas import AnswerEnded, CallsWhole, RunDelta
from orchestrator.units import Unit
from providers.documents.unicode import printable
from providers.messages import Delta, ReasoningDelta, Restarted, TextDelta, ToolCallDelta
from tests.orchestrator.cli.test_run_command import read_until
from tests.patience import PATIENCE_S


def delta(what: Delta | AnswerEnded, agent: str = "mary", task: str = "a") -> RunDelta:
    return RunDelta("r", "0.1.x", Unit(task), ("try-1",), 1, agent, what)


def lines_of(*deltas: RunDelta) -> list[str]:
    lines = SpokenLines()
    return [line for one in deltas for line in lines.add(one)]


def test_lines_are_told_when_they_are_whole_with_who_speaks():
    assert lines_of(
        delta(TextDelta("One")),
        delta(TextDelta("two."), "bob", "b"),
        delta(TextDelta(" line.\nAnd half")),
        delta(AnswerEnded(True), "bob", "b"),
        delta(AnswerEnded(True)),
    ) == ["[mary] One line.", "[bob] two.", "[mary] And half"]


def test_two_answers_of_one_agent_are_told_apart_and_thoughts_from_answers():
    assert lines_of(
        delta(ReasoningDelta("hm\n")),
        delta(TextDelta("x\n"), task="b"),
        delta(TextDelta("yes\n")),
    ) == ["[mary thinks] hm", "[mary, b] x", "[mary, a] yes"]


def test_what_is_void_is_told_as_that():
    assert lines_of(delta(TextDelta("Half an")), delta(Restarted("it broke")), delta(TextDelta("Whole\n"))) == [
        "[mary] Half an",
        "[mary] (void; it begins again: it broke)",
        "[mary] Whole",
    ]
    assert lines_of(delta(TextDelta("Half")), delta(AnswerEnded(False))) == [
        "[mary] Half",
        "[mary] (void: there was no answer)",
    ]


def test_a_line_that_does_not_end_is_broken_at_a_blank():
    shown = lines_of(delta(TextDelta("word " * 100)), delta(AnswerEnded(True)))
    assert len(shown) > 2
    assert max(map(len, shown)) < 180
    assert " ".join(line.removeprefix("[mary] ") for line in shown).split() == ["word"] * 100


@pytest.mark.parametrize(
    "text", ["a\x1b[31mb\x1b]0;title\x07c\n", "x\u202ey\ud83d\ude00\n", "\x9b31mred\nblue\x1b", "é\x00"]
)
def test_pieces_are_cleaned_as_the_whole_is(text):
    for cut in range(len(text) + 1):
        clean = CleanText()
        assert clean.add(text[:cut]) + clean.add(text[cut:]) + clean.end() == printable(text)


def test_a_call_of_a_tool_is_passed_on_whole():
    calls, found = CallsWhole(), []
    pieces = [
        ToolCallDelta(0, "c", "look", '{"key": "sk-se'),
        ToolCallDelta(0, arguments='cret"}'),
        ToolCallDelta(1, "d", "look", "{}"),
        AnswerEnded(True),
    ]
    for piece in pieces:
        found += [one.delta for one in calls.add(delta(piece))]
    assert found == [ToolCallDelta(0, "c", "look", '{"key": "sk-secret"}'), *pieces[2:]]


def test_a_stream_goes_to_stderr_and_results_to_stdout(call, folder):
    plain = call("run", "squad.yaml")
    ended = call("run", "squad.yaml", "--stream", "--quiet")
    assert ended.code == 0
    assert ended.out == plain.out
    spoken = [line for line in ended.err.splitlines() if line.startswith("[")]
    assert {line.partition("]")[0] for line in spoken} == {"[mary", "[paige"}
    assert not [line for line in ended.err.splitlines() if "started" in line]


def test_with_json_the_deltas_are_documents_among_the_events(call):
    ended = call("run", "squad.yaml", "--stream", "--json")
    documents = [json.loads(line) for line in ended.out.splitlines()]
    deltas = [one for one in documents if one["type"] == "delta"]
    assert {(one["agent"], one["kind"]) for one in deltas} == {
        ("mary", "text"),
        ("mary", "ended"),
        ("paige", "text"),
        ("paige", "ended"),
    }
    assert documents[-1]["type"] == "run.finished"
    order = [(one["type"], one.get("kind"), (one.get("place") or {}).get("task")) for one in documents]
    assert order.index(("delta", "text", "research")) < order.index(("task.ended", None, "research"))
    shown = call("run", "squad.yaml", "--json")
    assert {one["type"] for one in map(json.loads, shown.out.splitlines())} == {o["type"] for o in documents} - {
        "delta"
    }


@pytest.mark.long
def test_a_log_has_what_is_said_too(call):
    ended = call("run", "squad.yaml", "--stream", "--log-format", "json")
    events = [json.loads(line)["event"] for line in ended.err.splitlines() if line.startswith("{")]
    assert any(str(event).startswith("[mary] ") for event in events)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.long
def test_a_terminal_has_the_table_and_what_is_said(folder):
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "run", "squad.yaml", "--stream", "--no-color"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True, env=environ)
    os.close(follower)
    shown = read_until(leader, "")
    process.communicate(timeout=PATIENCE_S)
    os.close(leader)
    assert process.returncode == 0
    assert "[mary] " in shown
    assert "[paige] " in shown
    assert "provider/model" in shown


def test_a_watcher_sees_the_answers_that_have_ended_and_the_run_replays_as_any(call):
    call("run", "squad.yaml", "--run-id", "r", "--stream")
    assert call("runs", "replay", "r").code == 0
    ended = call("runs", "watch", "r", "--stream")
    spoken = [line for line in ended.out.splitlines() if line.startswith("[")]
    assert {line.partition("]")[0] for line in spoken} == {"[mary", "[paige"}
    documents = [json.loads(line) for line in call("runs", "watch", "r", "--stream", "--json").out.splitlines()]
    deltas = [one for one in documents if one["type"] == "delta"]
    assert [one["position"].split(".")[0] for one in deltas if one["kind"] == "ended"] == ["1", "2"]
    assert all(one["recorded"] for one in deltas)
    later = [
        json.loads(line) for line in call("runs", "watch", "r", "--stream", "--json", "--after", "1").out.splitlines()
    ]
    assert [one["agent"] for one in later if one["type"] == "delta"] == ["paige", "paige"]
