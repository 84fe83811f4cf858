"""The picture of a simulation: a well-formed document that says in words what it shows."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from providers.simulation import Behaviour, Bucket, Durations, Outage, ProviderUse, Report, Waits, load_scenario
from providers.simulation.chart import COLOURS, to_png, to_svg

NAMES = ["groq", "cerebras", "gemini", "mistral", "nvidia", "deepseek", "together", "openai", "anthropic"]
SVG = "{http://www.w3.org/2000/svg}"


def report(names: list[str], *, failed: int = 0, cost: int = 0) -> Report:
    buckets = tuple(
        Bucket(at * 900.0, dict.fromkeys(names, 10 + at), {}, failed if at == 2 else 0, cost) for at in range(4)
    )
    uses = {name: ProviderUse(calls=46, answers=46, share=1 / len(names)) for name in names}
    turns = 46 * len(names) + failed
    return Report(
        scenario="x",
        title="X",
        seed=7,
        turns=turns,
        answered=turns - failed,
        answered_in_time=turns - failed,
        failed=failed,
        calls=turns,
        probes=0,
        violations=0,
        least_use=1.0,
        cost=4 * cost,
        unpriced=0,
        input_tokens=1,
        output_tokens=1,
        waits=Waits(),
        durations=Durations(),
        providers=uses,
        models={},
        agents={},
        tiers={},
        phases={},
        failures={},
        would_cost={},
        bucket_seconds=900.0,
        timeline=buckets,
        claims=(),
        decisions=1,
        digest="ab",
        virtual_seconds=3600.0,
    )


@pytest.fixture
def scenario():
    outages = {"groq": Behaviour(outages=(Outage(900, 600, "hangs"),)), "far": Behaviour(outages=(Outage(9e9, 1),))}
    return replace(load_scenario("development"), title="A <day> & more \x1b[31m", providers=outages)


def texts(svg: str, tag: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}{tag}")]


def test_it_says_in_words_what_it_shows(scenario):
    svg = to_svg(scenario, [("", report(NAMES, failed=3, cost=250_000))])
    shown = texts(svg, "text")
    assert set(NAMES) <= set(shown)
    assert {"turns answered per 15 min", "cost so far, USD", "groq down", "failed", "time since the start"} <= set(
        shown
    )
    (told,) = texts(svg, "desc")
    assert "3 failed" in told
    assert "$1.00" in told
    assert all(f"{name} 11.1%" in told for name in NAMES)
    titles = texts(svg, "title")
    assert titles[0].startswith("A <day> & more ")
    assert "groq is down from 15 min for 10 min: it hangs" in titles
    assert any(title.startswith("30 min to 45 min: groq 12, ") and title.endswith("; 3 failed") for title in titles)


def test_more_providers_than_colours_stay_apart(scenario):
    root = ET.fromstring(to_svg(scenario, [("", report(NAMES))]))
    legend = [rect.get("fill") for rect in root.findall(f"{SVG}rect") if rect.get("width") == "12.00"]
    assert len(legend) == len(set(legend)) == len(NAMES) > len(COLOURS)


def test_two_are_drawn_on_axes_that_compare(scenario):
    svg = to_svg(scenario, [("mine.yaml", report(["groq"], cost=1)), ("yours.yaml", report(NAMES))])
    shown = texts(svg, "text")
    assert {"mine.yaml", "yours.yaml"} <= set(shown)
    assert shown.count("cost so far, USD") == 2  # the free one too, so that nothing shifts
    assert shown.count("120") == 2  # the scale of the taller one, twice


def test_what_nothing_happened_in_can_be_drawn(scenario):
    nothing = replace(report(["groq"]), timeline=(), providers={})
    assert "no answer" not in to_svg(scenario, [("", nothing)])


def test_a_long_tail_is_drawn_in_no_more_bars_than_can_be_seen(scenario):
    long = replace(report(["groq"]), timeline=tuple(Bucket(at * 1.0, {"groq": 1}, {}, 0, 0) for at in range(5000)))
    svg = to_svg(scenario, [("", replace(long, bucket_seconds=1.0))])
    assert "turns answered per 21 s" in texts(svg, "text")
    assert svg.count("<g>") == 239
    assert len(svg) < 60_000


def test_a_png_is_one(scenario):
    data = to_png(to_svg(scenario, [("", report(NAMES, failed=3, cost=250_000))]))
    assert data.startswith(b"\x89PNG\r\n")
    assert int.from_bytes(data[16:20], "big") == 1920
