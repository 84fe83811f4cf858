"""`cluster`: how a cluster stands."""

from __future__ import annotations

import anyio
import click

from orchestrator.cli.app import Command, Group, Settings, settings_of
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.journals import cluster_url, db_option
from orchestrator.cli.ui.next_step import DB_VARIABLE

NAME_ONE = f"name its database: --db postgresql://USER@HOST/DATABASE, or set {DB_VARIABLE}"


@click.group("cluster", cls=Group)
def cluster_command() -> None:
    """Show the state of a cluster."""


@cluster_command.command("status", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@db_option
@click.pass_context
def status_command(context: click.Context, as_json: bool, db: str | None) -> int:
    """Show the workers and the queues of a cluster, and what keeps work from being done.

    The exit code is 1 if something does: a queue that no worker serves, or a worker that is silent.
    """
    return anyio.run(_status, settings_of(context), named_cluster(db), as_json)


def named_cluster(db: str | None) -> str:
    """Return the URL of a cluster's database. Raise `Unusable` where none is named."""
    if db is None:
        raise Unusable("which cluster?", NAME_ONE)
    if (url := cluster_url(db)) is None:
        raise Unusable("a cluster is in a PostgreSQL database, and --db names a journal of one machine", NAME_ONE)
    return url


async def _status(settings: Settings, db: str, as_json: bool) -> Exit:
    from orchestrator.cli.cluster_status import show_status  # PostgreSQL's client, an extra

    return await show_status(settings, db, as_json)
