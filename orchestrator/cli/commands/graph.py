"""`graph`: the order of a squad's tasks, drawn."""

from __future__ import annotations

import sys

import click

from orchestrator.cli import app
from orchestrator.cli.app import argument, settings_of
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui import drawing
from orchestrator.cli.ui.console import print_json
from orchestrator.squad.drawn import nodes_of


@app.command("graph")
@argument("file", help="A squad file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ascii", "mermaid", "dot", "json"]),
    default="ascii",
    help="How to draw it (ascii).",
)
@click.pass_context
def graph_command(context: click.Context, file: str, form: str) -> None:
    """Draw the order of a squad's tasks: each is below the tasks that it needs."""
    squad = load_squad(file, settings_of(context))
    nodes = nodes_of(squad.outline())
    if form == "json":
        print_json(drawing.to_document(squad.name, nodes), indent=2)
    elif form == "ascii":
        fancy = drawing.encodes(sys.stdout.encoding or "ascii", drawing.UNICODE)
        click.echo(drawing.to_ascii(nodes, drawing.UNICODE if fancy else drawing.ASCII))
    else:
        click.echo(drawing.to_mermaid(nodes) if form == "mermaid" else drawing.to_dot(nodes))
