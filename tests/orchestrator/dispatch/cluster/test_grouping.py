"""Statements that wait together are done together, and are each other's business no further than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from procrastinate.exceptions import ConnectorException, NoResult
from psycopg.errors import DivisionByZero
from psycopg_pool import AsyncConnectionPool

from tests.components import imported

grouping = imported("orchestrator.dispatch.cluster.grouping", "cluster")
connections = imported("orchestrator.dispatch.cluster.connections", "cluster")

pytestmark = pytest.mark.anyio
WHO = "SELECT txid_current() AS transaction, %(job_id)s AS job"
NOTE = "INSERT INTO noted SELECT 10 / %(job_id)s"


async def ready() -> None:
    """Nothing is to be done before."""


@asynccontextmanager
async def connector(url: str, before: Any = ready) -> AsyncIterator[Any]:
    pool: AsyncConnectionPool = connections.new_pool(connections.conninfo_of(url, "test"), "public", 3, "test")
    async with pool:
        made = grouping.GroupingConnector(before)
        await made.open_async(pool)
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE noted (number int)")
        yield made


async def noted(made: Any) -> list[int]:
    return [row["number"] for row in await made.execute_query_all_async("SELECT number FROM noted ORDER BY number")]


async def test_each_gets_its_own_answer_and_all_share_a_transaction(postgres_url: str) -> None:
    async with connector(postgres_url) as made:
        rows = await asyncio.gather(*(made.execute_query_one_async(WHO, job_id=job) for job in (3, 1, 2)))
    assert [row["job"] for row in rows] == [3, 1, 2]
    assert len({row["transaction"] for row in rows}) == 1


async def test_one_that_fails_leaves_the_others_alone(postgres_url: str) -> None:
    async with connector(postgres_url) as made:
        asked = [made.execute_query_async(NOTE, job_id=job) for job in (1, 0, 2)]
        first, failed, last = await asyncio.gather(*asked, return_exceptions=True)
        assert (first, last) == (None, None)
        assert isinstance(failed, ConnectorException)
        assert isinstance(failed.__cause__, DivisionByZero)
        assert await noted(made) == [5, 10]


async def test_who_is_cancelled_takes_no_other_along(postgres_url: str) -> None:
    async with connector(postgres_url) as made:
        asked = [asyncio.ensure_future(made.execute_query_async(NOTE, job_id=job)) for job in (1, 2, 5)]
        await asyncio.sleep(0)
        asked[0].cancel()
        assert [type(end) for end in await asyncio.gather(*asked, return_exceptions=True)] == [
            asyncio.CancelledError,
            type(None),
            type(None),
        ]
        assert await noted(made) == [2, 5, 10], "it was given, so it is done"


async def test_what_comes_before_is_done_once_for_all_and_may_refuse_them(postgres_url: str) -> None:
    asked = list[str]()

    async def refuse() -> None:
        asked.append("may we?")
        raise PermissionError

    async with connector(postgres_url, refuse) as made:
        ends = await asyncio.gather(
            *(made.execute_query_async(NOTE, job_id=job) for job in (1, 2)), return_exceptions=True
        )
        assert [type(end) for end in ends] == [PermissionError, PermissionError]
        assert asked == ["may we?"]
        assert await noted(made) == []
        await made.execute_query_one_async(WHO, job_id=1)  # of what only reads, or takes, it is not asked


async def test_a_connection_that_is_lost_is_told_to_all_that_wait(postgres_url: str) -> None:
    cut = "SELECT pg_terminate_backend(pg_backend_pid()), %(job_id)s"
    async with connector(postgres_url) as made:
        ends = await asyncio.gather(
            *(made.execute_query_one_async(cut, job_id=job) for job in (1, 2)), return_exceptions=True
        )
        assert all(isinstance(end, ConnectorException) and connections.is_lost(end) for end in ends)
        await made.pool.check()
        assert (await made.execute_query_one_async(WHO, job_id=7))["job"] == 7


async def test_a_statement_without_a_row_is_told_as_such(postgres_url: str) -> None:
    none = "SELECT %(job_id)s AS job WHERE false"
    async with connector(postgres_url) as made:
        ends = await asyncio.gather(
            *(made.execute_query_one_async(none, job_id=job) for job in (1, 2)), return_exceptions=True
        )
    assert [type(end) for end in ends] == [NoResult, NoResult]
