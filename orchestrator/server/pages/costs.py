"""The page Costs: what was spent by day against its budget, where it went, which budgets are near their end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from orchestrator.server.cost_view import COST_BY, USUAL_DAYS, BudgetShown, CostBy, CostsShown, costs_shown
from orchestrator.server.pages.charts import ChartBar, ChartLimit, bar_chart
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.pages.words import usd
from orchestrator.server.state import ServerState

TIMES = {"1d": "Today", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
ROWS = 50


async def costs_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows. A filter that means nothing is told, and left out."""
    since, word = asked.query.get("since", f"{USUAL_DAYS}d"), asked.query.get("by", "provider")
    by: CostBy = next((one for one in COST_BY if one == word), "provider")
    wrong = "" if by == word else f"There is nothing to tell costs apart by that is called '{word[:40]}'."
    number = page_number(asked.query.get("page", ""))
    try:
        costs = await costs_shown(asked.state, since, by, (number - 1) * ROWS, ROWS)
    except ValueError as error:
        wrong, since = f"{error}.", f"{USUAL_DAYS}d"
        costs = await costs_shown(asked.state, since, by, (number - 1) * ROWS, ROWS)
    return {
        "costs": costs,
        "wrong": wrong,
        "sentence": sentence(costs),
        "chart": _chart(asked.state, costs) if _has_figures(costs) else "",
        "alerts": [said for one in costs.budgets if (said := alert_words(one))],
        "rows": costs.rows,
        "before": address(since, by, number - 1) if number > 1 else "",
        "after": address(since, by, number + 1) if number * ROWS < costs.count else "",
        "count": costs.count,
        "times": [(label, address(one, by), one == since) for one, label in TIMES.items()],
        "ways": [(one, address(since, one), one == by) for one in COST_BY],
        "money": money,
    }


def page_number(text: str) -> int:
    """Return which page is meant: the first where the text is not a number."""
    return max(int(text), 1) if text.isdecimal() and len(text) < 7 else 1


def address(since: str, by: str, page: int = 1) -> str:
    """Return where the page stands with these filters."""
    return f"/costs?{urlencode({'since': since, 'by': by, **({'page': page} if page > 1 else {})})}"


def money(value: float | None) -> str:
    """Return dollars as pages say them; None is unknown."""
    return usd(None if value is None else round(value * 1e6))


def sentence(costs: CostsShown) -> str:
    """Return the state of spending in one sentence."""
    said = f"Today {money(costs.today_usd)} so far"
    if costs.today_expected_usd is not None:
        said += f", about {money(costs.today_expected_usd)} by its end"
    said += f"; this month {money(costs.month_usd)}"
    if costs.month_expected_usd is not None:
        said += f", about {money(costs.month_expected_usd)} by its end at {money(costs.pace_usd)} a day"
    unknown = costs.total.cost_unknown
    return f"{said}.{f' The price of {unknown:,} of the calls below is unknown.' if unknown else ''}"


def alert_words(one: BudgetShown) -> str:
    """Return what a budget gives the alarm of; nothing where it does not."""
    if one.alert is None:
        return ""
    name = "The day's budget" if one.of == "day" else f"The budget of the {one.of}"
    share = one.used_usd / one.cap_usd if one.cap_usd else 1.0
    how = "is used up" if share >= 1 else f"has reached {100 * share:.0f} %"
    return f"{name} {how}: {money(one.used_usd)} of {money(one.cap_usd)}"


def _has_figures(costs: CostsShown) -> bool:
    """Whether a chart of the days shows anything."""
    return any(one.cost_usd or one.expected_usd for one in costs.days)


def _chart(state: ServerState, costs: CostsShown) -> Any:
    cap = state.manager.policy.budget.max_cost_per_day
    bars = [ChartBar(one.day, one.cost_usd, one.expected_usd, _note(one)) for one in costs.days]
    limit = None if cap is None else ChartLimit("The budget of a day", cap / 1e6)
    return bar_chart("by-day", f"Spent by day ({costs.timezone})", bars, money, limit)


def _note(one: Any) -> str:
    expected = f"about {money(one.cost_usd + one.expected_usd)} by its end" if one.expected_usd else ""
    unknown = f"{one.cost_unknown:,} calls of unknown price" if one.cost_unknown else ""
    return ", ".join(filter(None, (expected, unknown)))
