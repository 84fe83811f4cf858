"""Ranges as test files write them."""

from __future__ import annotations

import math

import pytest

from orchestrator.evals.ranges import parse_change, parse_range, parse_time_range


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        ("<= 0.40", [-1, 0.4], [0.41]),
        ("< 5", [4.9], [5]),
        (">= 80%", [0.8, 1], [0.79]),
        ("> 1", [1.1], [1]),
        ("3..8", [3, 8], [2.9, 8.1]),
        ("1..", [1, 1e9], [0]),
        ("..8", [-5, 8], [9]),
        (0, [0], [1, -1]),
        (2.5, [2.5], [2]),
        ("= 3", [3], [4]),
        ("== 3", [3], [2]),
        ("<=5", [5], [6]),
        ("1,000..2_000", [1500], [999]),
        ("<= $0.10", [0.1], [0.2]),
        ("-2..-1", [-1.5], [0]),
    ],
)
def test_a_range_holds_what_it_says(written: object, inside: list[float], outside: list[float]) -> None:
    made = parse_range(written)
    assert all(map(made.holds, inside))
    assert not any(map(made.holds, outside))


@pytest.mark.parametrize(
    "written", ["", "..", "about 5", "8..3", "<=", "1..2..3", True, None, [1], "nan", "inf", "<= x"]
)
def test_what_is_no_range_says_what_may_be_written(written: object) -> None:
    with pytest.raises(ValueError, match=r"write a number|holds no number"):
        parse_range(written)


def test_times_are_durations() -> None:
    made = parse_time_range("500ms..2m")
    assert (made.low, made.high) == (0.5, 120)
    assert parse_time_range("<= 90s").high == 90
    assert parse_time_range(30).low == 30
    with pytest.raises(ValueError, match="not a range"):
        parse_time_range("<= soon")


def test_changes_have_a_sign_and_are_shares() -> None:
    assert parse_change("-10%") == -0.1
    assert parse_change("+ 2.5 %") == pytest.approx(0.025)
    for wrong in ("10%", "+10", 0.1, "-x%"):
        with pytest.raises(ValueError, match="write `\\+20%`"):
            parse_change(wrong)
    assert math.isinf(parse_range("1..").high)
