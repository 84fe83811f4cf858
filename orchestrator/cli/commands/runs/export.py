"""`runs export`: one run as a file that another machine can show, explain and replay."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from orchestrator.cli.app import Command
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.rerun.export import export_run


@click.command("export", cls=Command)
@click.argument("run")
@click.argument("file", required=False)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@reads_runs
async def export_command(records: RecordedRuns, run: str, file: str | None, force: bool) -> None:
    """Write RUN and everything that it used to FILE (RUN.run.db).

    On another machine: `orchestrator runs replay FILE`, or any command about runs with --db sqlite:///FILE.
    """
    target = Path(file or f"{run}.run.db")
    size = await export_run(records.journal, run, target, overwrite=force)
    click.echo(str(target))
    records.console.say(f"{run}: {size:,} bytes\nnext: {shlex.join(['orchestrator', 'runs', 'replay', str(target)])}")
