"""How a cluster stands, on stdout."""

from __future__ import annotations

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.clusters import cluster_at
from orchestrator.cli.exits import Exit
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.figures import duration
from orchestrator.cli.ui.next_step import command_line
from orchestrator.cluster.standing import faults, state_of_worker, status_document
from orchestrator.dispatch.cluster.status import ClusterStatus
from providers.documents.unicode import printable


async def show_status(settings: Settings, db: str, as_json: bool) -> Exit:
    """Show how the cluster stands, and return `Exit.FAILED` where something keeps work from being done."""
    console = Console(settings)
    async with cluster_at(db, console.warn, create=False) as cluster:
        status = await cluster.queue.status()
    found = faults(status)
    if as_json:
        print_json(status_document(status), indent=2)
    else:
        click.echo(printable("\n".join(status_lines(status))))
        for fault in found:
            console.warn(printable(fault.message))
        if any(fault.code == "no_worker" for fault in found):
            console.say(f"next: {command_line(settings, 'worker', db=db)}")
    return Exit.FAILED if found else Exit.DONE


def status_lines(status: ClusterStatus) -> list[str]:
    """Return the tables of workers and of queues. Pure."""
    workers = [
        (
            f"{worker.host}/{worker.pid}",
            state_of_worker(worker),
            " ".join(f"{name} {share.busy}/{share.slots}" for name, share in worker.queues.items()),
            f"{duration(worker.heartbeat_age_s)} ago",
            duration(worker.age_s),
        )
        for worker in status.workers
    ]
    queues = [
        (
            name,
            str(depth.waiting),
            str(depth.later),
            str(depth.running),
            str(depth.stalled),
            str(depth.again),
            duration(depth.oldest_waiting_s) if depth.waiting else "",
            ", ".join(f"{count} of {priority}" for priority, count in depth.by_priority.items()),
        )
        for name, depth in status.queues.items()
    ]
    return [
        columns([("WORKER", "STATE", "BUSY", "HEARTBEAT", "UP"), *workers]) if workers else "no worker serves",
        "",
        columns([("QUEUE", "WAITING", "LATER", "RUNNING", "STALLED", "AGAIN", "OLDEST", "BY PRIORITY"), *queues]),
    ]
