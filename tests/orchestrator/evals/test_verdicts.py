"""From runs to a verdict, and changes that are no chance."""

from __future__ import annotations

import pytest

from orchestrator.evals.verdicts import CaseRun, Sample, drifts, student, verdict_of, wilson


def attempts(outcomes: str) -> list[CaseRun]:
    names = {"p": "passed", "f": "failed", "s": "stale", "e": "error"}
    return [CaseRun(names[one]) for one in outcomes]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcomes", "rate", "verdict"),
    [
        ("ppppp", 0.8, "passed"),
        ("ppppf", 0.8, "flaky"),
        ("pppff", 0.8, "broken"),
        ("fffff", 0.0, "broken"),
        ("pf", 0.5, "flaky"),
        ("ppe", 1.0, "passed"),
        ("pfe", 0.5, "flaky"),
        ("ee", 1.0, "error"),
        ("", 1.0, "error"),
        ("ps", 0.1, "stale"),
        ("es", 1.0, "stale"),
        ("ppf", 2 / 3, "flaky"),
    ],
)
def test_the_verdict_of_a_case(outcomes: str, rate: float, verdict: str) -> None:
    assert verdict_of(attempts(outcomes), rate) == verdict


def test_wilsons_interval_as_its_table_has_it() -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I.
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148, 0.95) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29, 0.95) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson(0, 0, 0.9) == (0.0, 1.0)


def sample(passed: int, runs: int, **figures: tuple[float, ...]) -> Sample:
    return Sample(runs, passed, {"cost": (), "tokens": (), "turns": (), "time": (), **figures})


def test_a_lower_pass_rate_fails_only_beyond_the_noise_of_both_sides() -> None:
    allowed = {"pass_rate": -0.1}
    (few,) = drifts(sample(3, 3), sample(2, 3), allowed, 0.9)
    assert (few.fails, few.note) == (False, "within the noise of both sides")
    (many,) = drifts(sample(50, 50), sample(30, 50), allowed, 0.9)
    assert (many.fails, many.note) == (True, "certain")
    (noisy_base,) = drifts(sample(2, 2), sample(30, 50), allowed, 0.9)
    assert not noisy_base.fails
    (better,) = drifts(sample(30, 50), sample(50, 50), allowed, 0.9)
    assert (better.fails, better.note) == (False, "")
    (allowed_loss,) = drifts(sample(500, 500), sample(460, 500), allowed, 0.9)
    assert not allowed_loss.fails


def test_a_dearer_run_fails_only_beyond_what_is_allowed_and_the_noise() -> None:
    allowed = {"cost": 0.2}
    steady, dearer = (1.0, 1.01, 0.99, 1.0), (1.5, 1.51, 1.49, 1.5)
    assert drifts(sample(4, 4, cost=steady), sample(4, 4, cost=dearer), allowed, 0.9)[0].fails
    wild = (0.4, 2.8, 0.9, 1.9)
    assert not drifts(sample(4, 4, cost=steady), sample(4, 4, cost=wild), allowed, 0.9)[0].fails
    assert not drifts(sample(4, 4, cost=wild), sample(4, 4, cost=dearer), allowed, 0.9)[0].fails
    assert not drifts(sample(4, 4, cost=steady), sample(4, 4, cost=(1.1, 1.1, 1.1)), allowed, 0.9)[0].fails
    (single,) = drifts(sample(1, 1, cost=(1.0,)), sample(1, 1, cost=(9.0,)), allowed, 0.9)
    assert (single.fails, single.note) == (False, "one run is too few to tell it from noise")
    (unknown,) = drifts(sample(1, 1), sample(1, 1, cost=(9.0,)), allowed, 0.9)
    assert (unknown.fails, unknown.note) == (False, "not known on both sides")


def test_few_runs_say_as_little_as_student_knows() -> None:
    assert [round(student(freedom, 0.95), 3) for freedom in (1, 2, 3, 10)] == [6.314, 2.92, 2.353, 1.812]
    assert round(student(2, 0.995), 3) == 9.925
    allowed = {"cost": 0.2}
    assert not drifts(sample(2, 2, cost=(1.0, 1.0)), sample(2, 2, cost=(1.3, 1.7)), allowed, 0.9)[0].fails


def test_a_sample_is_the_same_after_it_was_written() -> None:
    made = sample(1, 2, cost=(0.1, 0.2), time=(3.0,))
    assert Sample.from_json(made.to_json()) == made
