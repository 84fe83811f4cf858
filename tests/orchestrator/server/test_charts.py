"""Charts: what they draw, what they say of it, and that nothing given is more than text in them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from orchestrator.server.pages.charts import ChartBar, ChartLimit, bar_chart, scale_of, sparkline

HOSTILE = "</title><script>alert(1)</script>\u202e\"'&"


def usd(value: float) -> str:
    return f"${value:.2f}"


def svg_of(made: str) -> ET.Element:
    """Return the drawing of a chart, which is well-formed."""
    (drawn,) = ET.fromstring(f"<div>{made}</div>").iter("svg")
    return drawn


def test_bars_stand_on_a_scale_with_a_limit_and_what_is_expected() -> None:
    bars = [ChartBar("2026-11-29", 4.0), ChartBar("2026-11-30", 1.0, 3.0, "about $4.00 by its end")]
    made = bar_chart("days", "Spent by day", bars, usd, ChartLimit("A day's budget", 5.0))
    first, last, expected = svg_of(made).iter("rect")
    assert [first.get("height"), last.get("height"), expected.get("height")] == ["80", "20", "60"]
    assert (expected.get("y"), expected.get("class")) == ("20", "bar expected")
    (line,) = (line for line in svg_of(made).iter("line") if line.get("class") == "limit")
    assert line.get("y1") == "0"
    assert "The most: $4.00 (2026-11-29). The last: $1.00 (2026-11-30), about $4.00 by its end." in made
    assert "A day&#39;s budget: $5.00, never passed." in made
    assert made.count("<tr>") == 3, "each bar is a row of the table too"
    assert "style" not in made


def test_a_far_limit_is_told_and_not_drawn_and_one_that_was_passed_is_counted() -> None:
    far = bar_chart("days", "t", [ChartBar("a", 0.02)], usd, ChartLimit("Budget", 50.0))
    assert "limit" not in {line.get("class") for line in svg_of(far).iter("line")}
    assert "Budget: $50.00, never passed." in far
    assert "passed once" in bar_chart(
        "days", "t", [ChartBar("a", 9.0), ChartBar("b", 5.0)], usd, ChartLimit("Budget", 5.0)
    )


@pytest.mark.parametrize(
    "values", [[], [ChartBar("a", 0.0)], [ChartBar("a", float("nan")), ChartBar("b", -1.0)], [ChartBar("a", 1e-9)]]
)
def test_nothing_and_next_to_nothing_can_be_drawn(values: list[ChartBar]) -> None:
    for bar in svg_of(bar_chart("days", "t", values, usd)).iter("rect"):
        assert 0 <= float(bar.get("height") or "x") <= 100


def test_what_is_given_is_text() -> None:
    bars = [ChartBar(HOSTILE, 1.0, 0.0, HOSTILE)]
    for made in (
        bar_chart("c", HOSTILE, bars, lambda _: HOSTILE, ChartLimit(HOSTILE, 1.0), of=HOSTILE),
        sparkline("s", HOSTILE, [1.0, 2.0], lambda _: HOSTILE),
    ):
        assert "<script" not in made
        assert svg_of(made).findtext("title") == HOSTILE


def test_a_small_line_has_gaps_and_says_what_it_shows() -> None:
    made = sparkline("p50", "Latency", [1.0, None, 3.0, 2.0], usd)
    one, two = svg_of(made).iter("polyline")
    assert (one.get("points"), two.get("points")) == ("0.1,90 0.9,90", "2.5,10 3.5,50")
    assert svg_of(made).findtext("desc") == "3 figures, from $1.00 to $3.00; the last is $2.00."
    assert "<svg" not in sparkline("p50", "Latency", [None], usd)
    assert "50" in sparkline("p50", "Latency", [2.0, 2.0], usd)


@pytest.mark.parametrize(("tallest", "top"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (4.2, 5), (21, 25), (999, 1000)])
def test_a_scale_ends_at_a_round_number_above(tallest: float, top: float) -> None:
    assert scale_of(tallest) == pytest.approx(top)
