"""Counts as values: what a ledger that stores them does for one call, for tests that look at each state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from providers.limits.counter import Count, LimitKey, Used
from providers.limits.reserve import Amounts, CounterStore, NoRoom

State = Mapping[str, Count]


def check(state: State, amounts: Amounts, now: float) -> NoRoom | None:
    return CounterStore(state).check(amounts, now)


def reserve(state: State, amounts: Amounts, lease: str, now: float, expires: float) -> tuple[State, NoRoom | None]:
    store = CounterStore(state)
    refused = store.reserve(amounts, lease, now, expires)
    return _after(state, store), refused


def settle(state: State, amounts: Amounts, lease: str, now: float) -> State:
    store = CounterStore(state)
    store.settle(amounts, lease, now)
    return _after(state, store)


def refund(state: State, meters: Iterable[LimitKey], lease: str, now: float) -> State:
    return settle(state, [(meter, 0.0) for meter in meters], lease, now)


def spend(state: State, amounts: Amounts, now: float) -> State:
    store = CounterStore(state)
    store.spend(amounts, now)
    return _after(state, store)


def observe(state: State, meter: LimitKey, remaining: float, until: float | None, now: float) -> State:
    store = CounterStore(state)
    store.observe(meter, remaining, until, now)
    return _after(state, store)


def view(state: State, meter: LimitKey, now: float) -> Used:
    return CounterStore(state).view(meter, now)


def _after(state: State, store: CounterStore) -> State:
    changed = store.changed()
    return {**state, **changed} if changed else state
