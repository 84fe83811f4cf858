"""Which calls a run's record leaves open, and what they count."""

from __future__ import annotations

from typing import Any

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event, RunForked, RunResumed
from orchestrator.run.history import history_of
from orchestrator.run.recorder import Recorder
from orchestrator.units import Unit
from providers.events import AttemptEnded, AttemptStarted
from providers.messages import FinishReason, Usage

UNIT = Unit("t")
STEP = ("try-1",)
TURN = TurnStarted("ann", 1)
OUT = AttemptStarted(1, "p", "m", 1, 1000, 900, 20)
OK = AttemptEnded(1, "p", "m", "ok", None, None, 1.0)
DONE = TurnEnded("ann", 1, "p", "m", Usage(30, output=5), 70, FinishReason.STOP)


def ended(how: str, **more: Any) -> AttemptEnded:
    return AttemptEnded(1, "p", "m", how, None, None, 1.0, **more)


def counted(*told: Any) -> tuple[list[tuple[int | None, int]], int]:
    """Return what a resume counts after these events, and what the recorder says may have been billed besides."""
    recorder = Recorder("r", None, lambda: 0.0)
    for payload in told:
        recorder.record(payload, UNIT, STEP)
    events: list[Event] = recorder.take()
    recorder.record(RunResumed((), ()))
    past = history_of(events)
    assert sorted(past.paid, key=str) == sorted(history_of([*events, *recorder.take()]).paid, key=str)
    return [(call.cost, call.tokens) for call in past.paid], recorder.cut_short


def test_a_call_without_a_recorded_end_counts_as_it_had_reserved() -> None:
    assert counted(TURN, OUT) == ([(1000, 900)], 1000)
    assert counted(TURN, OUT, OK) == ([(1000, 900)], 1000), "its turn was to say what it cost"
    assert counted(TURN, OUT, RunResumed((), ()), TURN, OUT) == ([(1000, 900)] * 2, 2000)
    assert counted(TURN, OUT, TURN, OUT, OK, DONE) == ([(1000, 900), (70, 35)], 1000)


def test_a_call_whose_end_is_recorded_counts_as_that() -> None:
    assert counted(TURN, OUT, OK, DONE) == ([(70, 35)], 0)
    assert counted(TURN, OUT, ended("failed")) == ([], 0)
    assert counted(TURN, OUT, ended("failed", usage=Usage(10), cost=10)) == ([(10, 10)], 0)
    lost = ended("cancelled", usage=Usage(10), cost=10, in_doubt=True)
    assert counted(TURN, OUT, lost) == ([(1000, 900)], 990)


def test_an_answer_that_was_continued_is_no_call_that_was_cut_short() -> None:
    assert counted(TURN, OUT, OK, OUT, OK, DONE) == ([(70, 35), (0, 0)], 0)
    assert counted(TURN, OUT, OK, OUT) == ([(1000, 900)] * 2, 2000)


def test_a_hedge_that_was_given_up_leaves_the_other_open() -> None:
    second = AttemptStarted(2, "p", "m", 1, 500, 400, 20)
    assert counted(TURN, OUT, second, ended("cancelled", in_doubt=True)) == ([(1000, 900), (500, 400)], 1500)


def test_records_of_earlier_releases_have_no_open_calls() -> None:
    assert counted(TURN, AttemptStarted(1, "p", "m")) == ([], 0)


def test_a_fork_begins_without_the_open_calls_of_its_source() -> None:
    fork = RunForked("s", (), (), (), Usage(), 0)
    assert counted(TURN, OUT, fork) == ([], 0)
