"""Kill -9 anywhere: the ledger of the day's spending is never below what the journal says was paid."""

from __future__ import annotations

import time
from datetime import UTC
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.run.spending import spending
from providers.limits.counter import Used
from providers.limits.ledger.sqlite import SqliteLedger
from providers.limits.rules import caps_of
from tests.orchestrator.crashes import CAPPED, LEDGER, Counting, Order, run_to_its_end

COST = 7
MOST = 20_000
"""Micro-USD that a call may be expected to cost here."""
KILLED = -9


def booked(folder: Path) -> tuple[Used, int]:
    """Return what the ledger counts for the day, and what the journal says was paid."""

    async def read() -> tuple[Used, int]:
        ledger = SqliteLedger(folder / LEDGER)
        (used,) = await ledger.usage([cap.meter for cap in caps_of(CAPPED)], time.time())
        await ledger.aclose()
        async with SqliteJournal(folder / "journal.db") as journal:
            return used, spending(await journal.spent(["run"]), "run", UTC)[1].cost

    return anyio.run(read)


def ended(squad: str, folder: Path, provider: Counting, commits: tuple[int, ...]) -> int:
    """Run it to its end through one death after each number of records; return how often it died."""
    for deaths, left in enumerate((*commits, 0)):
        code = run_to_its_end(Order(squad, str(folder), provider.port, resume=deaths > 0, commits=left, budget=True))
        if code == 0:
            return deaths
        assert code == KILLED
        used, paid = booked(folder)
        assert used.used >= paid
    raise AssertionError("it did not end")


@pytest.mark.skipif(
    time.gmtime().tm_hour == 23 and time.gmtime().tm_min > 55, reason="the day is about to end: run it after midnight"
)
class TestTheLedgerAndTheJournal:
    @pytest.mark.parametrize("squad", ["small", "large"])
    @pytest.mark.few(1)
    def test_agree_to_the_last_where_nothing_is_killed(self, squad: str, tmp_path: Path) -> None:
        with Counting().serving() as provider:
            assert ended(squad, tmp_path, provider, ()) == 0
        used, paid = booked(tmp_path)
        assert (used.used, used.held) == (paid, 0)
        assert paid == provider.answered.total() * COST > 0

    @settings(
        max_examples=settings().max_examples // 20,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @example(commits=(4,))
    @given(commits=st.lists(st.integers(2, 70), min_size=1, max_size=3).map(tuple))
    def test_after_any_deaths_the_ledger_is_higher_by_what_was_not_recorded(
        self, commits: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("killed")
        with Counting().serving() as provider:
            deaths = ended("large", folder, provider, commits)
        used, paid = booked(folder)
        settled, answered = used.used - used.held, provider.answered.total() * COST
        assert paid <= settled <= answered, "what was settled was answered, and what is recorded was settled"
        assert used.used >= paid
        assert used.held <= deaths * 4 * MOST, "only calls that were out when a process died are still held"
