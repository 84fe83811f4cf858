"""What the shipped scenarios claim is measured, and holds; a day of a million turns in a part of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from providers.simulation import Report, Scenario, load_scenario, shipped, simulate
from providers.simulation.scenario import Expectation
from providers.simulation.scenario_file import parse_scenario

DAY = "million-turn-day"


def told(report: Report) -> str:
    return "\n".join(f"{claim.held} {claim.text}: {claim.measured}" for claim in report.claims)


@pytest.mark.parametrize("name", [name for name in shipped() if name != DAY])
@pytest.mark.few(4)
def test_every_claim_of_a_shipped_scenario_holds(name):
    scenario = load_scenario(name)
    report = simulate(scenario)
    assert report.claims
    assert report.held, told(report)
    assert report.turns == sum(load.count for load in scenario.load) == report.answered + report.failed


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in shipped() if name != DAY])
def test_claims_hold_for_other_dice_too(name):
    report = simulate(load_scenario(name), seed=7)
    assert report.held, told(report)


def part_of_the_day(turns: int) -> Scenario:
    day = load_scenario(DAY)
    (load,) = day.load
    return replace(day, load=(replace(load, count=turns, over=load.over * turns / load.count),))


@pytest.mark.long
def test_part_of_the_day_of_a_million_turns():
    report = simulate(part_of_the_day(20_000))
    assert (report.violations, report.failed) == (0, 0)
    assert report.answered_in_time >= 0.999 * report.turns
    by_minutes = [report.providers[name].limits[0].used for name in ("groq", "nvidia")]
    assert min(by_minutes) >= 0.93, "a window that began before the last turn came is not full"


def test_a_claim_that_does_not_hold_says_so_with_its_figure():
    wrong = Expectation("nobody is answered", of=("answered",), at_most=0)
    report = simulate(replace(load_scenario("development"), claims=(wrong,)))
    assert not report.held
    assert report.claims[0].measured == "answered is 15"


def test_a_claim_about_money_is_measured_with_its_unit():
    cheap = Expectation("it costs at most a dollar", of=("cost",), at_most=1_000_000)
    report = simulate(replace(load_scenario("development"), claims=(cheap,)))
    assert report.claims[0].measured == f"cost is {report.cost:,} micro-USD"


@pytest.mark.long
def test_a_report_is_plain_data_and_its_parts_agree():
    report = simulate(load_scenario("shared-limits"))
    read = json.loads(json.dumps(report.to_json()))
    assert read["answered"] == report.answered
    answers = sum(use.answers for use in report.providers.values())
    assert report.answered == answers == sum(use.answers for use in report.models.values())
    assert answers == sum(sum(bucket.answers.values()) for bucket in report.timeline)
    assert report.cost == sum(use.cost for use in report.providers.values())
    assert report.cost == sum(bucket.cost for bucket in report.timeline)
    assert all(0 < limit.used <= 1 for use in report.providers.values() for limit in use.limits)
    assert report.durations.p50 <= report.durations.p95 <= report.durations.longest


def test_a_limit_that_nobody_knows_of_is_met_once_and_then_kept_away_from():
    scenario = load_scenario("quota-exhaustion")
    known = scenario.catalog.providers["gemini"]
    catalog = replace(scenario.catalog, providers={**scenario.catalog.providers, "gemini": replace(known, limits=())})
    gemini = replace(scenario.providers["gemini"], hidden=known.limits)
    hidden = replace(scenario, catalog=catalog, providers={**scenario.providers, "gemini": gemini})
    report = simulate(hidden)
    assert report.failed == 0
    assert report.providers["gemini"].answers == 200
    assert report.providers["gemini"].errors == {"RateLimited": 1}
    assert report.violations == 0, "a limit that the routers cannot know is none of theirs"


def small(budget=None, **provider) -> Scenario:
    policy = {"tiers": {"worker": ["groq/openai/gpt-oss-20b", "mistral/mistral-small-latest"]}, "budget": budget}
    load = [{"count": 600, "over": "30m", "arrivals": "random", "output_tokens": 400}]
    file = {"title": "small", "providers": {"groq": None, "mistral": None}, "load": load}
    return parse_scenario({**file, "policy": {**policy, "providers": {"groq": provider}}}, "small")


def test_each_account_of_a_provider_has_its_own_limits():
    limits = [{"metric": "requests", "amount": 100, "calendar": "day"}]
    one = simulate(small(limits=limits)).providers["groq"]
    two = simulate(small(limits=limits, api_key_env=["GROQ_API_KEY", "OTHER_KEY"])).providers["groq"]
    assert (one.answers, two.answers) == (100, 200)
    assert [limit.peak for limit in two.limits] == [100, 100]


def test_a_limit_that_lets_calls_in_by_their_input_counts_the_answer_once_it_is_there():
    limits = [{"metric": "total", "amount": 20_000, "window": "5m", "fixed": True, "reserves": "input"}]
    report = simulate(small(limits=limits))
    assert report.violations == 0
    (limit,) = report.providers["groq"].limits
    assert limit.total == report.providers["groq"].answers * 1000
    assert 20_000 < limit.peak < 22_000, "the answers of calls that were out together"


def test_our_own_budget_for_a_day_is_kept():
    whole = simulate(small())
    assert whole.cost > 60_000
    report = simulate(small(budget={"max_cost_per_day": 0.06}))
    assert 0.95 * 60_000 < report.cost <= 60_000
    assert report.failures == {"NoRoute": report.failed}
    assert report.answered + report.failed == 600
