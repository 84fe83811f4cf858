"""`runs export`: one run as a file that another machine can show, explain and replay."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.commands.approvals import db_option
from orchestrator.cli.journals import open_record
from orchestrator.cli.ui.console import Console


@click.command("export", cls=Command)
@click.argument("run")
@click.argument("file", required=False)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@db_option
@click.pass_context
def export_command(context: click.Context, run: str, file: str | None, force: bool, db: str | None) -> None:
    """Write RUN with all that it was made of to FILE (RUN.run.db).

    Elsewhere: `orchestrator runs replay FILE`, or any command about runs with --db sqlite:///FILE.
    """
    settings = settings_of(context)
    target = Path(file or f"{run}.run.db")
    size = anyio.run(_export, settings, run, target, force, db)
    click.echo(str(target))
    Console(settings).say(f"{run}: {size:,} bytes; elsewhere: orchestrator runs replay {target.name}")


async def _export(settings: Settings, run: str, file: Path, force: bool, db: str | None) -> int:
    from orchestrator.rerun.export import export_run

    async with open_record(settings, db) as journal:
        return await export_run(journal, run, file, overwrite=force)
