"""`runs export`: one run as a file that another machine can show, explain and replay."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.desks import at_desk
from orchestrator.cli.local_desk import LocalDesk
from orchestrator.cli.remote.desk import RemoteDesk
from orchestrator.rerun.export import export_run


@click.command("export", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@argument("file", required=False, help="The file that is written.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@at_desk
async def export_command(desk: LocalDesk | RemoteDesk, run: str, file: str | None, force: bool) -> None:
    """Write RUN and everything that it used to FILE (RUN.run.db).

    On another machine: `orchestrator runs replay FILE`, or any command about runs with --db sqlite:///FILE.
    """
    target = Path(file or f"{run}.run.db")
    if isinstance(desk, RemoteDesk):
        size = await desk.export(run, target, overwrite=force)
    else:
        size = await export_run(desk.records.journal, run, target, overwrite=force)
    click.echo(str(target))
    desk.console.say(f"{run}: {size:,} bytes\nnext: {shlex.join(['orchestrator', 'runs', 'replay', str(target)])}")
