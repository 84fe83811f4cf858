"""`config`: a squad file with every default filled in."""

from __future__ import annotations

import click
import yaml

from orchestrator.cli import app
from orchestrator.cli.app import settings_of
from orchestrator.cli.files import environment
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.resolved import resolved_document


@app.command("config")
@click.argument("file")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="How to write it (yaml).")
@click.pass_context
def config_command(context: click.Context, file: str, form: str) -> None:
    """Show the squad FILE with every name resolved and every default filled in."""
    settings = settings_of(context)
    document = resolved_document(load_squad(file, settings), environment(settings))
    if form == "json":
        print_json(document, indent=2)
        return
    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=100).rstrip())
