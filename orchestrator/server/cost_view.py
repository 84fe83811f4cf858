"""What was spent, as the API and the page Costs show it: by day and by what one asks, beside its budgets.

Runs are added up by the journal, clients of the gateway by its store. Of runs that clients asked for as a model
both know: they count once, with the runs; by key and by tag they count for who asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

import anyio.to_thread
from pydantic import BaseModel

from orchestrator.journal.spent import QUARTER_S, Spending, SpentBy, SpentRow
from orchestrator.run.spending import day_of, spending
from orchestrator.server.gateway.allowance import meters_of
from orchestrator.server.gateway.spent import KeySpending, KeySpent, KeySpentBy, KeySpentRows
from orchestrator.server.gateway.store import spent_in
from orchestrator.server.state import ServerState
from providers.documents.unicode import clean
from providers.limits.counter import Used
from providers.limits.rules import caps_of

CostBy = Literal["provider", "model", "agent", "squad", "task", "run", "key", "tag"]
COST_BY: tuple[CostBy, ...] = get_args(CostBy)
OF_KEYS = ("key", "tag")
OF_MODELS: tuple[SpentBy, SpentBy] = ("provider", "model")
OF_CLIENTS = "clients of the gateway"
"""Under which name their calls count where agents, squads, tasks and runs are told apart."""
USUAL_DAYS, MOST_DAYS, PACE_DAYS = 30, 400, 7
_SINCE = re.compile(r"(\d{1,3})d|(\d{4}-\d{2}-\d{2})")


class SpentShown(BaseModel):
    """What was spent under a name. `cost_usd` is of the bills whose cost is known; null: of none of them is.

    Of `cost_unknown` bills it is not known: the model has no known price, or no usage was reported. `hits` are requests
    that were answered by an answer that was kept.
    """

    name: str
    cost_usd: float | None
    cost_unknown: int
    turns: int
    lost_attempts: int
    embedding_requests: int
    hits: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class DayShown(BaseModel):
    """What a day has cost. `expected_usd`: what is expected beside that by its end; 0 for a day that is over."""

    day: str
    cost_usd: float
    cost_unknown: int
    expected_usd: float


class BudgetShown(BaseModel):
    """A budget as its ledger counts it: with what calls in flight hold, and what may have been billed.

    `of` is `day`, `provider NAME`, `model NAME` or `key NAME`; `alert` is the largest share of its alerts that it has
    reached, null: none.
    """

    of: str
    label: str
    used_usd: float
    held_usd: float
    cap_usd: float
    resets_at: float
    alert: float | None


class CostsShown(BaseModel):
    """What was spent from the day `since` on, in days of `timezone`; the most expensive first.

    `pace_usd` is what a day costs lately, null: not enough is known for it. The month is the present one.
    """

    since: str
    timezone: str
    by: CostBy
    days: list[DayShown]
    rows: list[SpentShown]
    count: int
    """How many rows there are; `rows` may be some of them."""
    total: SpentShown
    today_usd: float
    pace_usd: float | None
    today_expected_usd: float | None
    month_usd: float
    month_expected_usd: float | None
    budgets: list[BudgetShown]
    unknown_prices: dict[str, int]
    """The models of unknown price, with how many of their bills there are."""


def first_day(since: str, today: date) -> date:
    """Return the day that `30d` (so many days, today among them) or `2026-11-01` begins with. Raise `ValueError`."""
    found = _SINCE.fullmatch(since.strip())
    if found is None:
        raise ValueError(f"'{since[:40]}' is not a time: write 7d, 30d or a day like 2026-11-01")
    day = today - timedelta(days=int(found[1]) - 1) if found[1] else date.fromisoformat(found[2])
    if not today - timedelta(days=MOST_DAYS) < day <= today:
        raise ValueError(f"'{since[:40]}' is not a day to look at: from today back to {MOST_DAYS - 1} days before it")
    return day


async def costs_shown(
    state: ServerState, since: str, by: CostBy, offset: int = 0, limit: int | None = None
) -> CostsShown:
    """Return what was spent, with some of its rows. Raise `ValueError` for a `since` that is no time."""
    now, zone = state.clock(), ZoneInfo(state.manager.policy.budget.timezone)
    today = datetime.fromtimestamp(now, zone).date()
    day = first_day(since, today)
    began = begin_of(day, zone)
    known_from = min(began, begin_of(today - timedelta(days=PACE_DAYS), zone), begin_of(today.replace(day=1), zone))
    clients = await anyio.to_thread.run_sync(spent_in, state.folder, known_from)
    needs_look = by not in (*OF_KEYS, *OF_MODELS)  # the look at models tells of their providers, too
    quarters, models, *others = await state.journal.spent_in_ways(
        (["quarter"], known_from), (OF_MODELS, began), *[([cast(SpentBy, by)], began)] * needs_look
    )
    days, _ = spending(quarters, "day", zone)
    _add(days, clients, zone)
    shown = {whose: figures for whose, figures in clients.items() if whose.quarter * QUARTER_S >= began}
    sums, total = _by(by, others[0] if needs_look else models, shown)
    pace = pace_of({name: one.cost for name, one in days.items()}, today)
    rest = _rest_of_day(now, zone)
    month = sum(one.cost for name, one in days.items() if name[:7] == f"{today:%Y-%m}")
    left = (next_month(today) - today).days - 1
    today_cost = days[f"{today}"].cost if f"{today}" in days else 0
    return CostsShown(
        since=f"{day}",
        timezone=str(zone),
        by=by,
        days=list(days_shown(days, day, today, 0 if pace is None else pace * rest)),
        rows=[_shown(name, one) for name, one in _ordered(sums)[offset:][:limit]],
        count=len(sums),
        total=_shown("", total),
        today_usd=today_cost / 1e6,
        pace_usd=None if pace is None else pace / 1e6,
        today_expected_usd=None if pace is None else (today_cost + pace * rest) / 1e6,
        month_usd=month / 1e6,
        month_expected_usd=None if pace is None else (month + pace * (rest + left)) / 1e6,
        budgets=await budgets_shown(state),
        unknown_prices=_unknown(models, shown),
    )


def begin_of(day: date, zone: tzinfo) -> float:
    """Return the first instant of a day, in epoch seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def next_month(day: date) -> date:
    """Return the first day of the month after that of a day."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def pace_of(costs: Mapping[str, int], today: date) -> float | None:
    """Return micro-USD that a day costs lately: of the last days that are over, from the first that cost something on.

    None: nothing is known of any.
    """
    last = [costs.get(f"{today - timedelta(days=ago)}", 0) for ago in range(PACE_DAYS, 0, -1)]
    first = next((number for number, cost in enumerate(last) if cost), None)
    return None if first is None else sum(last[first:]) / len(last[first:])


def days_shown(days: Mapping[str, Spending], first: date, today: date, expected: float) -> Iterable[DayShown]:
    """Yield each day from the first to today, also those on which nothing was spent."""
    for number in range((today - first).days + 1):
        day = first + timedelta(days=number)
        spent = days.get(f"{day}", Spending())
        more = expected / 1e6 if day == today else 0.0
        yield DayShown(day=f"{day}", cost_usd=spent.cost / 1e6, cost_unknown=spent.unknown, expected_usd=more)


async def budgets_shown(state: ServerState) -> list[BudgetShown]:
    """Return all budgets: those of the routing file, and those of the gateway's keys, of each window one."""
    policy, ledger = state.manager.policy.budget, state.manager.reservations.ledger
    caps = [(str(cap.budget), cap.meter) for cap in caps_of(policy)]
    for key in () if state.keys is None else state.keys.all():
        caps += [(f"key {key.name}", meter) for meter in meters_of(key, policy.timezone).budgets]
    used = await ledger.usage([meter for _, meter in caps], state.manager.reservations.wall()) if caps else []
    return [_budget(of, one, policy.alert_at) for (of, _), one in zip(caps, used, strict=True)]


def _budget(of: str, used: Used, alert_at: Sequence[float]) -> BudgetShown:
    cap, share = used.meter.amount, used.used / used.meter.amount if used.meter.amount else 1.0
    return BudgetShown(
        of=of,
        label=used.meter.label,
        used_usd=used.used / 1e6,
        held_usd=used.held / 1e6,
        cap_usd=cap / 1e6,
        resets_at=used.resets_at,
        alert=max((mark for mark in (*alert_at, 1.0) if share >= mark), default=None),
    )


def _by(by: CostBy, runs: Iterable[SpentRow], clients: KeySpentRows) -> tuple[dict[str, KeySpending], KeySpending]:
    """Return the sums under each name, and in all. `runs` are told apart by this, or as `OF_MODELS` are."""
    sums, total = dict[str, KeySpending](), KeySpending()
    for whose, spent in clients.items():
        if by in OF_KEYS or not whose.is_run:
            for name in _names_of(whose, by):
                sums.setdefault(name, KeySpending()).add(spent)
            total.add(spent)
    if by not in OF_KEYS:
        place = OF_MODELS.index(by) if by in OF_MODELS else 0
        for names, ours in runs:
            sums.setdefault(str(names[place]), KeySpending()).add(ours)
            total.add(ours)
    return sums, total


def _names_of(whose: KeySpent, by: CostBy) -> Sequence[str]:
    if by in ("agent", "squad", "task", "run"):
        return [OF_CLIENTS]
    return [str(name) for name in whose.names(cast(KeySpentBy, by))]


def _add(days: dict[str, Spending], clients: KeySpentRows, zone: tzinfo) -> None:
    """Add what clients spent beside runs to its days."""
    for whose, spent in clients.items():
        if not whose.is_run:
            days.setdefault(day_of(whose.quarter, zone), Spending()).add(spent)


def _unknown(models: Iterable[SpentRow], clients: KeySpentRows) -> dict[str, int]:
    sums, _ = _by("model", models, clients)
    return {clean(name): one.unknown for name, one in sorted(sums.items()) if one.unknown}


def _ordered(sums: Mapping[str, KeySpending]) -> list[tuple[str, KeySpending]]:
    return sorted(sums.items(), key=lambda one: (-one[1].cost, one[0]))


def _shown(name: str, spent: KeySpending) -> SpentShown:
    return SpentShown(
        name=clean(name),
        cost_usd=spent.cost / 1e6 if spent.is_known or not spent.bills else None,
        cost_unknown=spent.unknown,
        turns=spent.turns,
        lost_attempts=spent.lost,
        embedding_requests=spent.embedded,
        hits=spent.hits,
        input_tokens=spent.input,
        output_tokens=spent.output,
        cached_tokens=spent.cached,
        reasoning_tokens=spent.reasoning,
    )


def _rest_of_day(now: float, zone: tzinfo) -> float:
    """Return the share of today that is left: a day of a change of clocks is longer or shorter than others."""
    today = datetime.fromtimestamp(now, zone).date()
    began, ends = begin_of(today, zone), begin_of(today + timedelta(days=1), zone)
    return (ends - now) / (ends - began)
