"""Operations that come while a transaction waits for its locks: they join it, and are decided after its own."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import psycopg
import pytest
from anyio.abc import TaskGroup

from orchestrator.journal.postgres.journal import PostgresJournal
from orchestrator.journal.protocols import Fenced, JournalUnusable
from tests.orchestrator.journal.postgres.units import A, event, key, opened
from tests.patience import PATIENCE_S
from tests.postgres import PostgresServer

pytestmark = pytest.mark.anyio
HOLD = "SELECT 1 FROM orchestrator.runs WHERE run = 'r' FOR UPDATE"
WAITING = """
    SELECT 1 FROM pg_stat_activity
    WHERE application_name = 'squad-orchestrator' AND wait_event_type = 'Lock' AND datname = current_database()
    """
BY_TRANSACTION = """
    SELECT array_agg(e.seq ORDER BY e.seq) FROM orchestrator.events e JOIN orchestrator.runs r ON r.id = e.run
    WHERE r.run = 'r' GROUP BY e.xmin::text ORDER BY 1
    """


async def hold_up(journal: PostgresJournal, url: str, give: Callable[[TaskGroup], None]) -> None:
    """Have event 2 of the run `r` wait for its lock until more was given to be done."""
    with anyio.fail_after(PATIENCE_S):
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as holder,
            anyio.create_task_group() as tasks,
            holder.transaction(),
        ):
            await holder.execute(HOLD)
            tasks.start_soon(journal.append, "r", [event(2)])
            while not await (await holder.execute(WAITING)).fetchone():  # noqa: ASYNC110  # the server knows
                await anyio.sleep(0.01)
            give(tasks)
            await anyio.wait_all_tasks_blocked()


async def test_they_are_committed_together_in_their_order(postgres_server: PostgresServer, postgres_url: str) -> None:
    async with opened(postgres_url) as journal:
        await journal.append("r", [event(1)])
        await journal.append("s", [event(1, run="s")])
        fences: list[int | None] = []

        async def claim() -> None:
            fences.append(await journal.claim("r", A, "me"))

        def give(tasks: TaskGroup) -> None:
            for number in (3, 4):
                tasks.start_soon(journal.append, "r", [event(number)])
            tasks.start_soon(journal.append, "s", [event(2, run="s")])  # its lock is not held: it ends the row
            tasks.start_soon(journal.append, "r", [event(5)])
            tasks.start_soon(claim)

        await hold_up(journal, postgres_url, give)
        assert [found.seq for found in await journal.events("r")] == [1, 2, 3, 4, 5]
        assert [found.seq for found in await journal.events("s")] == [1, 2]
    by_transaction = postgres_server.run(BY_TRANSACTION, postgres_url.rpartition("/")[2])
    assert by_transaction == [([1],), ([2, 3, 4],), ([5],)]
    assert fences == [1]


async def test_one_that_is_refused_and_one_that_the_database_refuses_leave_the_others_alone(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    refusing = "ALTER TABLE orchestrator.events ADD CHECK (at <> 4)"
    failed: list[str] = []
    async with opened(postgres_url) as journal:
        await journal.append("r", [event(1)])
        postgres_server.run(refusing, postgres_url.rpartition("/")[2])

        async def stale() -> None:
            with pytest.raises(Fenced):
                await journal.begin("r", A, key("k"), b"h", 7)
            failed.append("stale")

        async def broken() -> None:
            with pytest.raises(JournalUnusable):
                await journal.append("r", [event(4)])
            failed.append("broken")

        def give(tasks: TaskGroup) -> None:
            tasks.start_soon(stale)
            tasks.start_soon(broken)
            tasks.start_soon(journal.append, "r", [event(3)])

        await hold_up(journal, postgres_url, give)
        assert [found.seq for found in await journal.events("r")] == [1, 2, 3]
        assert sorted(failed) == ["broken", "stale"]
