"""Wherever a run is named: its id, the beginning of it, or `latest`."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def runs(call):
    for name in ("tea-1", "tea-2", "other"):
        call("run", "gated.yaml", "--run-id", name)
    return call


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "show", "{}"),
        ("explain", "{}", "research"),
        ("approvals", "show", "{}"),
        ("runs", "replay", "{}"),
        ("runs", "fork", "{}", "--from", "research", "--dry-run"),
        ("runs", "rm", "{}", "--dry-run"),
        ("runs", "export", "{}", "a.db"),
    ],
)
@pytest.mark.few(3)
def test_latest_and_a_beginning_mean_one_run(runs, words):
    exact = runs(*(word.format("other") for word in words))
    assert exact.code == 0, exact.err
    for name in ("latest", "oth"):
        force = ("--force",) if "export" in words else ()
        assert runs(*(word.format(name) for word in words), *force)[:2] == exact[:2]


def test_a_run_is_resumed_and_cancelled_by_its_beginning(runs):
    runs("approvals", "approve", "latest")
    assert runs("runs", "resume", "latest").out == "approve\n"
    assert "tea-2: cancelled" in runs("runs", "cancel", "tea-2").err
    assert "tea-1: cancelled" in runs("runs", "cancel", "tea-1").err


def test_several_are_listed_and_none_is_told(runs):
    several = runs("runs", "show", "tea")
    assert several.code == 5
    assert "2 runs begin with tea: tea-2, tea-1" in several.err
    none = runs("runs", "show", "othr")
    assert none.code == 5
    assert "there is no run othr" in none.err
    assert "did you mean other?" in none.err


def test_a_run_that_is_called_so_is_meant_first(runs):
    runs("run", "gated.yaml", "--run-id", "latest")
    runs("run", "gated.yaml", "--run-id", "tea")
    assert runs("runs", "show", "latest").out.startswith("latest: ")
    assert runs("runs", "show", "tea").out.startswith("tea: ")


def test_explain_of_a_run_alone_asks_for_the_task(runs):
    asked = runs("explain", "tea-1")
    assert asked.code == 5
    assert "which task of the run tea-1? Its tasks: research, approve" in asked.err
    assert "`orchestrator explain tea-1 research`" in asked.err


def test_a_fork_does_not_say_that_it_is_resumed(runs):
    forked = runs("runs", "fork", "latest", "--from", "approve", "--run-id", "f-1")
    assert "f-1: starts: 1 of 2 tasks taken over, $0.00 spent" in forked.err
    assert "resumed" not in forked.err
    assert "f-1: resumed: 1 of 2 tasks done" in runs("runs", "resume", "f-1").err


def test_what_is_removed_leaves_the_spending_and_that_is_said(runs):
    assert "`spending` would no longer count $0.00" in runs("runs", "rm", "tea-1", "--dry-run").err
    assert "`spending` no longer counts $0.00" in runs("runs", "rm", "tea-1", "--yes").err
    assert [line["run"] for line in json.loads(runs("runs", "ls", "--json").out)] == ["other", "tea-2"]
