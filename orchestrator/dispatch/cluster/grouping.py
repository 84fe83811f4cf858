"""Statements that are alike and wait at the same time, done in one transaction: many jobs begin and end at once, and
most of what each takes is its trip and its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException, NoResult
from psycopg.rows import dict_row

from orchestrator.dispatch.cluster.connections import is_lost


@dataclass(slots=True)
class _Execution:
    """One execution of a statement, and its first row, or None."""

    arguments: dict[str, Any]
    answer: asyncio.Future[dict[str, Any] | None]

    @property
    def job(self) -> int:
        return int(self.arguments.get("job_id", 0))


@dataclass(slots=True)
class _Group:
    """What waits of one statement, and the task that does it, if there is one."""

    returns_row: bool
    waiting: list[_Execution] = field(default_factory=list)
    doing: asyncio.Task[None] | None = None


class GroupingConnector(PsycopgConnector):
    """Procrastinate's connection to the database, for a worker with many jobs.

    While a statement is under way, those like it wait, and then go together: committed together, or one by one where
    one of them fails, so that it leaves the others alone. `before` is awaited before each that returns nothing, at the
    last moment; what it raises is raised by all that waited for it.
    """

    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._before = before
        self._groups: dict[str, _Group] = {}

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        await self._ask(query, arguments, returns_row=False)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        row = await self._ask(query, arguments, returns_row=True)
        if row is None:
            raise NoResult
        return row

    async def _ask(self, query: Any, arguments: dict[str, Any], *, returns_row: bool) -> dict[str, Any] | None:
        asked = _Execution(arguments, asyncio.get_running_loop().create_future())
        group = self._groups.setdefault(query, _Group(returns_row))
        group.waiting.append(asked)
        if group.doing is None:
            # A task of its own: who asks may be cancelled, and the others that it goes with are not.
            group.doing = asyncio.ensure_future(self._serve(query, group))
        return await asked.answer

    async def _serve(self, query: Any, group: _Group) -> None:
        try:
            while group.waiting:
                now, group.waiting = group.waiting, []
                # In the order in which a cancelled run's jobs are gone through, so that neither waits for the other.
                now.sort(key=lambda asked: asked.job)
                done = asyncio.ensure_future(self._do(query, now, returns_row=group.returns_row))
                await asyncio.wait({done})
                if (error := done.exception()) is not None:
                    _answer(now, error)
        finally:
            group.doing = None

    async def _do(self, query: Any, asked: Sequence[_Execution], *, returns_row: bool) -> None:
        if not returns_row:
            await self._before()
        if len(asked) > 1:
            try:
                rows = await self._together(query, [one.arguments for one in asked], returns_row=returns_row)
            except psycopg.Error as error:
                if is_lost(error):
                    raise ConnectorException from error
            else:
                for one, row in zip(asked, rows, strict=True):
                    _answer([one], row)
                return
        for one in asked:
            try:
                _answer([one], await self._alone(query, one.arguments, returns_row=returns_row))
            except ConnectorException as error:
                _answer([one], error)

    async def _together(
        self, query: Any, arguments: Sequence[dict[str, Any]], *, returns_row: bool
    ) -> list[dict[str, Any] | None]:
        async with self.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.executemany(query, arguments, returning=returns_row)
            if not returns_row:
                return [None] * len(arguments)
            rows = [await cursor.fetchone()]
            while cursor.nextset():
                rows.append(await cursor.fetchone())
            return rows

    async def _alone(self, query: Any, arguments: dict[str, Any], *, returns_row: bool) -> dict[str, Any] | None:
        if returns_row:
            row: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
            return row
        await super().execute_query_async(query, **arguments)
        return None


def _answer(asked: Sequence[_Execution], outcome: dict[str, Any] | BaseException | None) -> None:
    """Tell those who still wait for it what came of it."""
    for one in asked:
        if one.answer.done():
            continue
        if isinstance(outcome, BaseException):
            one.answer.set_exception(outcome)
        else:
            one.answer.set_result(outcome)
