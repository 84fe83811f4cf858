"""Limits divided among workers: whatever each of them does, all together never pass a limit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog.file import load_catalog
from providers.catalog.model import Catalog
from providers.catalog.models import Limit
from providers.limits.counter import LimitKey
from providers.limits.reserve import CounterStore
from providers.policy.environment import with_environment
from providers.policy.model import DailyBudget, Policy
from providers.policy.parse import parse_policy
from providers.policy.split import Split, split
from providers.windows import Calendar, Fixed, Paced, Rolling

NOW = 1_795_176_000.0
windows = st.sampled_from([Rolling(60), Fixed(60), Calendar("day"), Calendar("month", "Europe/Berlin")])
amounts = st.integers(0, 10**12).map(float) | st.floats(1e-6, 1e9, allow_nan=False)
names = st.text(max_size=20)
workers = st.integers(1, 60)


def of_all(count: int) -> list[Split]:
    return [Split(count, index) for index in range(count)]


@given(total=st.integers(0, 10**15), count=workers, name=names)
def test_all_parts_of_a_whole_number_are_the_number_and_fair(total, count, name):
    parts = [each.part(total, name) for each in of_all(count)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1
    assert Split(count).part(total, name) == min(parts), "one that does not know its index takes no more than any"


@given(total=amounts, count=workers, name=names)
def test_all_parts_of_an_amount_are_never_more_than_it(total, count, name):
    parts = [Fraction(each.amount(total, name)) for each in of_all(count)]
    assert sum(parts) <= Fraction(total)
    assert sum(parts) >= Fraction(total) * Fraction(999_999, 1_000_000)


@given(amount=amounts, window=windows, count=workers, cap=st.none() | st.integers(0, 10**9))
def test_limits_and_budgets_of_all_workers_are_those_that_were_divided(amount, window, count, cap):
    limit = Limit("requests", amount, window)
    catalog = Catalog({"lab": provider_with(limit)})
    policy = Policy({}, budget=DailyBudget(cap, providers={"lab": 7}, models={"lab/small": 10**6}))
    divided = [split(policy, catalog, each) for each in of_all(count)]
    assert sum(Fraction(rows.providers["lab"].limits[0].amount) for _, rows in divided) <= Fraction(amount)
    if cap is not None:
        assert sum(policy.budget.max_cost_per_day or 0 for policy, _ in divided) == cap
    assert sum(policy.budget.providers["lab"] for policy, _ in divided) == 7
    assert sum(policy.budget.models["lab/small"] for policy, _ in divided) == 10**6


@given(
    seconds=st.floats(0.01, 100),
    burst=st.integers(1, 20),
    count=st.integers(1, 8),
    steps=st.lists(st.tuples(st.integers(0, 7), st.floats(0, 5)), max_size=60),
)
def test_whatever_workers_do_a_pace_is_kept(seconds, burst, count, steps):
    """In any time as many calls come as the burst and as the pace brings, as if one process kept the limit."""
    catalog = Catalog({"lab": provider_with(Limit("requests", 1.0, Paced(seconds, burst)))})
    meters = []
    for each in of_all(count):
        limit = split(Policy({}), catalog, each)[1].providers["lab"].limits[0]
        meters.append(LimitKey("pace", limit.amount, limit.window))
    stores = [CounterStore() for _ in meters]
    now, went = NOW, list[float]()
    for number, (worker, passed) in enumerate(steps):
        now += passed
        for _ in range(burst):  # as many as it may
            asked = [(meters[worker % count], 1.0)]
            if stores[worker % count].reserve(asked, f"{number}", now, now + 60) is not None:
                break
            went.append(now)
    for at, first in enumerate(went):
        for more, last in enumerate(went[at:]):
            assert more + 1 <= burst + (last - first) / seconds + 1e-3


def provider_with(*limits: Limit):
    row = next(iter(load_catalog().providers.values()))
    return replace(row, name="lab", limits=limits)


@pytest.mark.parametrize(("total", "count", "parts"), [(1, 4, [0, 0, 0, 1]), (30, 4, [7, 7, 8, 8]), (8, 4, [2] * 4)])
def test_of_little_some_workers_have_nothing(total, count, parts):
    assert sorted(each.part(total, "requests") for each in of_all(count)) == parts
    assert len({tuple(each.part(1, name) for each in of_all(4)) for name in "abcdefghij"}) > 1, "not always the same"


def test_a_spacing_is_one_workers_alone():
    catalog = Catalog({"lab": provider_with(Limit("requests", 1.0, Paced(0.5)))})
    limits = [split(Policy({}), catalog, each)[1].providers["lab"].limits[0] for each in of_all(4)]
    assert sorted(str(each.window) for each in limits) == ["Fixed(seconds=0.5)"] * 3 + ["Paced(seconds=0.5, burst=1)"]
    assert sorted(each.amount for each in limits) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("variable", "in_file", "share"),
    [
        ("split:1/4", None, (1, 4)),
        ("split:1/4", "redis://host/0", (1, 4)),
        (None, "split:4", (None, 4)),
        ("redis://host/0", "split:4", None),
        ("postgresql://host/db", "split:4", None),
        ("split:4/4", None, None),
        ("split:0", None, None),
        (None, None, None),
    ],
)
def test_the_environment_goes_before_the_file_and_divides_once(variable, in_file, share):
    policy, catalog = parse_policy(
        {"budget": {"max_cost_per_day": 4}} | ({"ledger": in_file} if in_file else {}), load_catalog()
    )
    environ = {"ORCHESTRATOR_LEDGER": variable} if variable else {}
    policy, catalog = with_environment(policy, catalog, environ)
    assert policy.split == share
    assert policy.budget.max_cost_per_day == (4_000_000 if share is None else 1_000_000)
    assert with_environment(policy, catalog, environ)[0].budget == policy.budget
