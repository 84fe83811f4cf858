"""Where commands about runs find them: in a journal of this machine, in a cluster, or at a server (`--server URL`)."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec

import anyio
import click

from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.desk import Desk, RunList
from orchestrator.cli.journals import cluster_url, db_beside, db_option, open_records
from orchestrator.cli.local_list import LocalList
from orchestrator.cli.ui.arguments import server_option

P = ParamSpec("P")


def at_desk(work: Callable[Concatenate[Any, P], Awaitable[int | None]]) -> Callable[..., int | None]:
    """Make a command of an async function: it takes `--db` and `--server`, and gets the desk as its first argument.

    Its argument `run` may be any of what `Desk.run_named` takes; the function gets the id.
    """

    async def opened(settings: Settings, db: str | None, server: str | None, arguments: dict[str, Any]) -> int | None:
        async with open_desk(settings, db, server) as desk:
            if isinstance(named := arguments.get("run"), str):
                arguments["run"] = await desk.run_named(named)
            return await work(desk, **arguments)  # type: ignore[call-arg]  # click gives options by name

    return _command(work, opened)


def at_list(work: Callable[Concatenate[Any, P], Awaitable[int | None]]) -> Callable[..., int | None]:
    """Make a command as `at_desk` does, of a function that needs no more than a `RunList`."""

    async def opened(settings: Settings, db: str | None, server: str | None, arguments: dict[str, Any]) -> int | None:
        async with open_list(settings, db, server) as runs:
            return await work(runs, **arguments)  # type: ignore[call-arg]  # as above

    return _command(work, opened)


def _command(
    work: Callable[..., Any],
    opened: Callable[[Settings, str | None, str | None, dict[str, Any]], Awaitable[int | None]],
) -> Callable[..., int | None]:
    @db_option
    @server_option
    @click.pass_context
    @functools.wraps(work)
    def command(context: click.Context, /, *, db: str | None, server: str | None, **arguments: Any) -> int | None:
        return anyio.run(opened, settings_of(context), db_beside(context, db, server), server, arguments)

    return command


@asynccontextmanager
async def open_desk(settings: Settings, db: str | None, server: str | None) -> AsyncIterator[Desk]:
    """Open the journal here, a cluster, or a server. Raise `NothingSelected` where nothing is recorded."""
    if server is None and (url := cluster_url(db)) is not None:
        from orchestrator.cli.cluster_desk import cluster_desk  # PostgreSQL's client, an extra

        async with cluster_desk(settings, url) as desk:
            yield desk
        return
    if server is None:
        from orchestrator.cli.local_desk import local_desk  # all that runs are made of

        async with local_desk(settings, db) as desk:
            yield desk
        return
    from orchestrator.cli.remote.desk import remote_desk  # the catalog, and the HTTP client

    async with remote_desk(settings, server) as desk:
        yield desk


@asynccontextmanager
async def open_list(settings: Settings, db: str | None, server: str | None) -> AsyncIterator[RunList]:
    """Open what `open_desk` does, for the list of its runs alone."""
    if server is None and cluster_url(db) is None:
        async with open_records(settings, db) as records:
            yield LocalList(records)
        return
    async with open_desk(settings, db, server) as desk:
        yield desk
