"""Where commands about runs find them: in the journal of this machine, or at a server (`--server URL`)."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec

import anyio
import click

from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.desk import Desk
from orchestrator.cli.journals import db_option
from orchestrator.cli.local_desk import local_desk
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

    @db_option
    @server_option
    @click.pass_context
    @functools.wraps(work)
    def command(context: click.Context, /, *, db: str | None, server: str | None, **arguments: Any) -> int | None:
        return anyio.run(opened, settings_of(context), db, server, arguments)

    return command


@asynccontextmanager
async def open_desk(settings: Settings, db: str | None, server: str | None) -> AsyncIterator[Desk]:
    """Open the journal here, or a server. Raise `NothingSelected` where nothing is recorded."""
    if server is None:
        async with local_desk(settings, db) as desk:
            yield desk
        return
    if db is not None:
        raise click.UsageError("--db names a journal here, and --server asks another machine's: give one of them")
    from orchestrator.cli.remote.desk import remote_desk  # the catalog, and the HTTP client

    async with remote_desk(settings, server) as desk:
        yield desk
