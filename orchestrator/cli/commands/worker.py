"""`worker`: one process that does the work of a cluster's runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.commands.cluster import named_cluster
from orchestrator.cli.exits import Exit
from orchestrator.cli.journals import db_option
from orchestrator.cli.ui.arguments import DurationOption
from orchestrator.cli.worker_options import HEALTH_HOST, QUEUES, HealthAddress, HealthOption, QueuesOption, WorkerAsked


@click.command("worker", cls=Command)
@click.option(
    "--queues",
    type=QueuesOption(),
    default=QUEUES,
    show_default=False,
    metavar="NAME=N,...",
    help=f"Jobs done at a time, by queue ({','.join(f'{name}={slots}' for name, slots in QUEUES.items())}).",
)
@click.option(
    "--health",
    type=HealthOption(),
    metavar="[HOST:]PORT",
    help=f"Answer /healthz, /readyz, /metrics and POST /drain there (HOST: {HEALTH_HOST}).",
)
@click.option(
    "--out", metavar="DIR", help="A folder that all workers share, for files of tools (files: in the record)."
)
@click.option("--grace", type=DurationOption(), default="30s", metavar="DUR", help="How long stopping may take (30s).")
@click.option("--heartbeat", type=DurationOption(), default="5s", metavar="DUR", help="Time between heartbeats (5s).")
@click.option(
    "--timeout",
    type=DurationOption(),
    default="20s",
    metavar="DUR",
    help="After this time without a heartbeat, others get its work (20s).",
)
@db_option
@click.pass_context
def worker_command(
    context: click.Context,
    queues: Mapping[str, int],
    health: HealthAddress | None,
    out: str | None,
    grace: float,
    heartbeat: float,
    timeout: float,
    db: str | None,
) -> int:
    """Do the work of a cluster's runs: drive them, and work on their tasks. Start any number, on any hosts.

    SIGTERM or Ctrl-C: it takes nothing new, hands its work over, and ends with 0. A second signal stops at once: other
    workers continue its work. It ends with 70 if it was taken for dead: let a supervisor start it again.
    """
    settings, url = settings_of(context), named_cluster(db)
    if timeout < 2 * heartbeat:
        raise click.UsageError("--timeout is at least two heartbeats: one may be late on a busy machine")
    folder = None if out is None else Path(out)
    return anyio.run(_work, settings, WorkerAsked(url, queues, health, folder, grace, heartbeat, timeout))


async def _work(settings: Settings, asked: WorkerAsked) -> Exit:
    from orchestrator.cli.working import work  # PostgreSQL's client, an extra

    return await work(settings, asked)
