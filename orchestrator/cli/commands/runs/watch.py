"""`runs watch`: follow a run from another terminal."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import click

from orchestrator.cli.app import Command
from orchestrator.cli.files import environment
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.outcome import with_reasons
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.run_list import when
from orchestrator.events import to_json
from providers.documents.unicode import printable


@click.command("watch", cls=Command)
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@reads_runs
async def watch_command(records: RecordedRuns, run: str, as_json: bool) -> None:
    """Show a run's events, the recorded ones first, then each new one until the run ends."""
    journal, progress, environ = records.journal, Progress(), environment(records.settings)
    await journal.manifest(run)
    async with aclosing(journal.watch(run)) as events:
        async for seq, event in events:
            document: Any = to_json(event)
            line = progress.apply(document)
            if as_json:
                print_json(mask_document(with_reasons(document, progress), environ))
            elif line is not None:
                click.echo(printable(mask_secrets(f"{when(event.at)}  {line.row}: {line.text}", environ)))
            if event.type == "run.finished" and not await journal.events(run, seq):
                return
