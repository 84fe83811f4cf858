"""Costs as the API and the page show them: nothing twice, nothing unknown as 0, days of the budget's zone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from html import escape
from pathlib import Path
from typing import Any

import pytest

from agents.events import TurnEnded
from orchestrator.events import Event
from orchestrator.journal.protocols import RunManifest
from orchestrator.server.cost_view import costs_shown, first_day, next_month, pace_of
from orchestrator.server.gateway.keys import ClientKeys, KeyBudget
from orchestrator.server.gateway.spent import KeySpending, KeySpent, quarter_of
from orchestrator.server.pages.costs import page_number
from orchestrator.units import Unit
from providers.client.manager import ProviderManager
from providers.limits.rules import caps_of
from providers.messages import FinishReason, Usage
from providers.policy.model import DailyBudget, Policy
from tests.orchestrator.server.served import Served, served

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 30, 6, 0, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
HOSTILE = "<script>alert(1)</script>\u202e\ud800"


def turn(run: str, cost: int | None, at: float, agent: str = "ann", number: int = 1) -> Event:
    data = TurnEnded(agent, 1, "lab", "m", Usage(8, output=2), cost, FinishReason.STOP)
    return Event(run, Unit("draft"), ("try-1",), 1, number, at, data)


@asynccontextmanager
async def spending(
    folder: Path, runs: Sequence[tuple[str, Event]], budget: DailyBudget | None = None
) -> AsyncIterator[Served]:
    """Yield a server whose clock stands, and in whose journal these runs are, each of a squad."""
    manager = ProviderManager(
        [], Policy({"worker": ()}, budget=budget or DailyBudget()), adapters={}, clock=lambda: NOW
    )
    async with served(manager, folder, ClientKeys(folder)) as server:
        for squad, event in runs:
            await server.state.journal.create(event.run_id, RunManifest(squad, created_at=event.at), [event])
        yield replace(server, state=replace(server.state, clock=lambda: NOW))


async def test_nothing_spent_is_said_in_words(tmp_path: Path) -> None:
    async with spending(tmp_path, []) as server:
        shown = await costs_shown(server.state, "7d", "agent")
        page = (await server.http.get("/costs?since=7d&by=agent")).text
    assert (shown.rows, shown.total.cost_usd, shown.pace_usd, shown.budgets) == ([], 0.0, None, [])
    assert [one.cost_usd for one in shown.days] == [0.0] * 7
    assert page.count("Nothing was spent since") == 2
    assert "No budget is set" in page


async def test_runs_and_clients_are_added_up_once_and_unknown_prices_are_named(tmp_path: Path) -> None:
    runs = [
        ("notes", turn("r1", 1, NOW - HOUR)),
        ("notes", turn("r2", None, NOW - DAY)),
        ("talk", turn("r3", 2_000_000, NOW - 2 * DAY)),
    ]
    async with spending(tmp_path, runs) as server:
        quarter, tags = quarter_of(NOW), ("team=web", "env=prod")
        server.state.store.spend(KeySpent(quarter, "web", tags, "lab", "m"), KeySpending(turns=1, cost=500, hits=1))
        server.state.store.spend(
            KeySpent(quarter, "web", tags, "orchestrator", "squad/notes"), KeySpending(turns=1, cost=1)
        )
        await server.state.store.write_out()
        by = {one: await costs_shown(server.state, "7d", one) for one in ("squad", "model", "key", "tag")}
        api = (await server.http.get("/api/costs?since=400d&by=run&limit=1")).json()
    found: dict[str, dict[str, Any]] = {
        name: {row.name: row.cost_usd for row in shown.rows} for name, shown in by.items()
    }
    assert found["squad"] == {"talk": 2.0, "clients of the gateway": 0.0005, "notes": 0.000001}
    assert found["model"] == {"lab/m": 2.000501}
    assert found["key"] == {"web": 0.000501}
    assert found["tag"] == {"team=web": 0.000501, "env=prod": 0.000501}
    assert by["squad"].total.cost_usd == by["model"].total.cost_usd == 2.000501
    assert by["squad"].unknown_prices == {"lab/m": 1}
    assert (by["key"].total.hits, by["key"].total.turns) == (1, 2)
    assert len(api["rows"]) == 1


async def test_days_are_of_the_zone_of_the_budget_and_what_today_may_come_to_is_told(tmp_path: Path) -> None:
    budget = DailyBudget(max_cost_per_day=5_000_000, timezone="America/Los_Angeles")  # there it is 22:00 of the 29th
    runs = [
        ("s", turn("r1", 3_000_000, NOW - HOUR)),
        ("s", turn("r2", 6_000_000, NOW - DAY)),
        ("s", turn("r3", 12_000_000, NOW - 2 * DAY)),
    ]
    async with spending(tmp_path, runs, budget) as server:
        (cap,) = caps_of(budget)
        await server.state.manager.reservations.ledger.spend(
            [(cap.meter, 5_000_001.0)], server.state.manager.reservations.wall()
        )
        shown = await costs_shown(server.state, "3d", "provider")
        page = (await server.http.get("/costs?since=3d&by=nonsense")).text
    assert [(one.day, one.cost_usd) for one in shown.days] == [
        ("2026-11-27", 12.0),
        ("2026-11-28", 6.0),
        ("2026-11-29", 3.0),
    ]
    assert (shown.pace_usd, shown.timezone) == (9.0, "America/Los_Angeles")
    assert shown.today_expected_usd == pytest.approx(3.0 + 9.0 * 2 / 24)
    assert (shown.month_usd, shown.month_expected_usd) == (21.0, pytest.approx(21.0 + 9.0 * (2 / 24 + 1)))
    (day,) = shown.budgets
    assert (day.of, day.cap_usd, day.alert) == ("day", 5.0, 1.0)
    assert "The day&#39;s budget is used up: $5.00 of $5.00" in page
    assert "called &#39;nonsense&#39;" in page


async def test_a_key_has_a_budget_in_each_window(tmp_path: Path) -> None:
    async with spending(tmp_path, []) as server:
        assert server.state.keys is not None
        server.state.keys.make("web", NOW, budgets=(KeyBudget(1.0, "day"), KeyBudget(20.0, "month")))
        shown = await costs_shown(server.state, "1d", "key")
    assert [(one.of, one.label) for one in shown.budgets] == [("key web", "$1.00 a day"), ("key web", "$20.00 a month")]


async def test_names_that_others_gave_are_text(tmp_path: Path) -> None:
    runs = [(HOSTILE, turn("r1", 7, NOW - HOUR, HOSTILE))]
    async with spending(tmp_path, runs) as server:
        for by in ("agent", "squad"):
            page = await server.http.get("/costs", params={"since": "400d", "by": by})
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert escape("<script>alert(1)</script>") in page.text
            assert (await server.http.get("/api/costs", params={"since": "400d", "by": by})).status_code == 200


@pytest.mark.parametrize("since", ["", "0d", "401d", "2026-12-01", "2026-02-30", "yesterday", "-1d", "2020-01-01"])
async def test_a_time_that_is_none_is_refused_with_what_to_write(since: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a time|not a day|day is out of range|day of month"):
        first_day(since, date(2026, 11, 30))


async def test_a_wrong_time_is_told_in_the_page_and_by_the_api(tmp_path: Path) -> None:
    async with spending(tmp_path, []) as server:
        assert (await server.http.get("/api/costs?since=soon")).json()["error"]["code"] == "invalid_request"
        assert (await server.http.get("/api/costs?by=colour")).status_code == 422
        page = await server.http.get("/costs?since=soon&page=99999999999")
    assert (page.status_code, "&#39;soon&#39; is not a time" in page.text) == (200, True)


def test_figures_of_the_calendar() -> None:
    assert [next_month(date(2026, month, 28)).month for month in (1, 2, 11, 12)] == [2, 3, 12, 1]
    assert pace_of({}, date(2026, 3, 1)) is None
    assert pace_of({"2026-02-27": 10, "2026-03-01": 99}, date(2026, 3, 1)) == 5.0
    assert [page_number(text) for text in ("", "0", "2", "x", "1" * 9)] == [1, 1, 2, 1, 1]
