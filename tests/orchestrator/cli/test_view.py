"""The fold of a run's events."""

from __future__ import annotations

import pytest

from agents.events import TurnEnded
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.cuts import cut_lines
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.cli.ui.progress import Progress, budget_line
from orchestrator.events import (
    ArtifactWritten,
    CutText,
    ElementEnded,
    ElementStarted,
    Event,
    GateAnswered,
    GateOpened,
    RunEdited,
    RunFinished,
    RunForked,
    RunStarted,
    TaskEnded,
    TaskExpanded,
    TaskRetried,
    TaskStarted,
    to_json,
)
from orchestrator.units import place_of
from providers.events import AttemptEnded, AttemptStarted, BudgetAlert, WaitingForProvider
from providers.messages import FinishReason, Usage


def fold(*happened):
    """Return the progress after (unit, payload) pairs, one a second, and the lines that they are worth."""
    progress, changes = Progress(), []
    for at, (unit, payload) in enumerate(happened, 1):
        changes.append(progress.apply(to_json(Event("r-1", *place_of(unit), 0, at, float(at), payload))))
    return progress, [f"{c.row}: {c.text}" for c in changes if c is not None]


def started(*tasks, stub=False):
    return ("", RunStarted("squad", tasks, stub, None))


def turn(cost):
    usage = Usage(input=10, cache_read=5, output=3, reasoning=2)
    return TurnEnded("mary", 1, "groq", "fast", usage, cost, FinishReason.STOP)


def test_a_task_from_start_to_end():
    progress, lines = fold(
        started("a", "b"),
        ("a", TaskStarted("a", 1, "mary")),
        ("a/try-1", AttemptStarted(1, "groq", "fast")),
        ("a/try-1", AttemptEnded(1, "groq", "fast", "ok", None, None, 5.0)),
        ("a/try-1", turn(1500)),
        ("a", TaskEnded("a", "ok", "done")),
    )
    row = progress.rows["a"]
    assert (row.state, row.who, row.model, row.tokens, row.cost) == ("ok", "mary", "groq/fast", 20, 0.0015)
    assert row.seconds(100.0) == 4.0
    assert progress.rows["b"].state == "waiting"
    assert progress.last_output == "done"
    assert lines == ["a: started (mary)", "a: ok  4.0 s  groq/fast  20 tokens  $0.0015"]


def test_an_unknown_cost_stays_unknown():
    progress, _ = fold(started("a"), ("a", TaskStarted("a", 1, "m")), ("a", turn(None)), ("a", turn(7)))
    assert progress.cost is None
    assert usd(progress.rows["a"].cost) == "cost unknown"
    assert [usd(cost) for cost in (0.0, 0.00002, 0.0001, 0.5)] == ["$0.00", "<$0.0001", "$0.0001", "$0.50"]


def test_elements_stand_below_their_task_and_get_what_happens_in_them():
    keys = ("x", "odd]/[key", "x]")
    progress, _ = fold(
        started("a", "build", "z"),
        ("build", TaskExpanded("build", keys, (1, 2, 3))),
        *(("build", ElementStarted("build", key)) for key in keys),
        ("build[x]/try-1", turn(1)),
        ("build[odd]/[key]/try-1/review", turn(2)),
        ("build[x]]", turn(3)),
        ("build", ElementEnded("build", "x", "failed", error="no")),
    )
    assert list(progress.rows) == ["a", "build", "build[x]", "build[odd]/[key]", "build[x]]", "z"]
    assert [progress.rows[f"build[{key}]"].cost for key in keys] == [1e-6, 2e-6, 3e-6]
    assert progress.rows["build"].cost == 0
    assert progress.last_failure == ("build[x]", "no")


def test_a_task_that_is_expanded_again_has_the_rows_of_its_new_elements():
    progress, _ = fold(
        started("b", "c"),
        ("b", TaskExpanded("b", ("x", "y"), (1, 2))),
        ("b", TaskExpanded("b", ("y",), (2,))),
    )
    assert list(progress.rows) == ["b", "b[y]", "c"]


def test_failures_waits_and_retries_are_told():
    progress, lines = fold(
        started("a"),
        ("a", TaskStarted("a", 1, "m")),
        ("a/try-1", AttemptEnded(1, "groq", "fast", "failed", "RateLimited", "slow down", 5.0)),
        ("a/try-1", WaitingForProvider(13.0, "all are held")),
        ("a", TaskRetried("a", 2, "no model answered")),
        ("a", TaskEnded("a", "failed", error="still none", error_kind="NoRoute")),
    )
    assert lines[1:] == [
        "a: groq/fast failed: RateLimited: slow down",
        "a: waiting 9 s: all are held",
        "a: attempt 2, after: no model answered",
        "a: failed: still none",
    ]
    assert progress.attempt_errors == {"RateLimited"}


def test_a_gate():
    progress, lines = fold(
        started("g"),
        ("g", GateOpened("g", "Good?", ("approve", "reject"), {}, 1)),
        ("g", GateAnswered("g", "approve", "fine", "terminal")),
    )
    assert progress.rows["g"].state == "gate"
    assert lines == ["g: awaiting approval: Good?", "g: approve by terminal (fine)"]


def test_the_end_holds_the_final_figures():
    finished = RunFinished("r-1", "done", {}, {}, Usage(input=3, output=4), 2_500_000, {"a": "ok"}, stub=False)
    progress, _ = fold(started("a"), ("a", ArtifactWritten("x.md", "00ff", 3)), ("", finished))
    assert (progress.status, progress.cost, progress.tokens, progress.took()) == ("done", 2.5, 7, "2.0 s")
    assert progress.artifacts == {"x.md": "00ff"}


def test_an_event_of_a_later_release_is_passed_over():
    assert Progress().apply({"type": "something.new", "at": 1.0, "unit": ""}) is None


def test_the_budget_line_names_each_cap():
    progress, _ = fold(started("a"))
    assert (
        budget_line(progress, Caps(5.0, 2_000, 7200), now=4.0) == "$0.00 of $5.00  0 of 2,000 tokens  3.0 s of 2:00:00"
    )
    assert budget_line(progress, Caps(), now=4.0) == "$0.00  0 tokens  3.0 s"


def test_figures():
    assert [duration(s) for s in (None, 0, 59.94, 59.96, 187.4, 3723)] == [
        "",
        "0.0 s",
        "59.9 s",
        "1:00",
        "3:07",
        "1:02:03",
    ]
    assert [usd(c) for c in (None, 0, 0.25, 0.0123, 1.239, 1234.5)] == [
        "cost unknown",
        "$0.00",
        "$0.25",
        "$0.0123",
        "$1.24",
        "$1,234.50",
    ]


def test_an_attempt_that_answered_nobody_but_was_billed_counts():
    lost = AttemptEnded(1, "groq", "fast", "failed", "BadReply", "empty", 5.0, usage=Usage(10, output=5), cost=500)
    progress, _ = fold(started("a"), ("a", TaskStarted("a", 1, "m")), ("a/try-1", lost), ("a/try-1", turn(1500)))
    assert (progress.tokens, progress.cost) == (35, 0.002)
    assert (progress.rows["a"].tokens, progress.rows["a"].cost) == (35, 0.002)


def test_a_budget_alert_says_whose_budget_it_is():
    _, lines = fold(
        started("a"),
        ("a", BudgetAlert("day", 0.5, 2_510_000, 5_000_000)),
        ("a", BudgetAlert("provider openai", 1.0, 1_990_000, 2_000_000)),
    )
    assert lines == [
        "day: 50% of the day's budget is spent: $2.51 of $5.00",
        "provider openai: the day's budget for openai is used up: $1.99 of $2.00",
    ]


def test_an_edit_renames_rows_and_empties_those_that_run_again():
    progress, lines = fold(
        started("a", "b", "c"),
        ("a", TaskStarted("a", 1, "mary")),
        ("a/try-1", turn(1500)),
        ("a", TaskEnded("a", "ok", "done")),
        ("b", TaskExpanded("b", ("x",), (1,))),
        ("b[x]/try-1", turn(1500)),
        (
            "",
            RunEdited(("z", "b", "d"), ("task b",), ("b",), ("c",), {"a": "z"}, {"b": 2}, ("b[x]/try-1/turn-1/model",)),
        ),
        ("b", TaskExpanded("b", ("x",), (1,))),
        ("b[x]#2/try-1", turn(1500)),
    )
    assert [*progress.rows] == ["z", "b", "b[x]", "d"]
    assert (progress.rows["z"].state, progress.rows["z"].cost) == ("ok", 0.0015)
    assert progress.rows["b[x]"].cost == 0.0015, "what is void is no more in the row"
    assert progress.cost == pytest.approx(0.0045), "but it was spent"
    assert "r-1: edited: task b; runs again: b; was in flight: b[x]/try-1/turn-1/model" in lines


def test_a_fork_begins_at_nothing_spent():
    progress, lines = fold(
        started("a", "b"),
        ("a/try-1", turn(1500)),
        ("", RunForked("r-0", ("a",), ("b",), (), Usage(10), 1500)),
        ("b/try-1", turn(500)),
    )
    assert (progress.cost, progress.tokens) == (0.0005, 20)
    assert lines == ["r-1: forked from r-0, which paid $0.0015 for 1 task"]


def test_a_text_that_is_cut_off_is_told_in_its_line_its_row_and_the_end():
    two = (CutText("outline", "length", 4096), CutText("draft", "length", 4096))
    progress, lines = fold(
        started("a", "b", "c"),
        ("a", TaskStarted("a", 1, "mary")),
        ("a", TaskEnded("a", "ok", "half", truncated=(CutText("", "length", 4096),))),
        ("b", TaskStarted("b", 1, "mary")),
        ("b", TaskEnded("b", "ok", "half", truncated=(CutText("round-1/bob", "content_filter"),))),
        ("c", TaskStarted("c", 1, "mary")),
        ("c", TaskEnded("c", "ok", "half", truncated=two)),
    )
    assert [line for line in lines if "truncated" in line] == [
        "a: ok  1.0 s  $0.00  truncated: its text was cut off at 4,096 tokens",
        "b: ok  1.0 s  $0.00  truncated: the text of round-1/bob was cut off by the provider's content filter",
        "c: ok  1.0 s  $0.00  truncated: 2 texts were cut off: outline, draft",
    ]
    ended = list(cut_lines(progress.truncated()))
    assert ended[0] == (
        "a: truncated: its text was cut off at 4,096 tokens: raise max_output_tokens, or ask for less at once"
    )
    assert len(ended) == 3
