"""`config`: a squad file with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from orchestrator.cli import app
from orchestrator.cli.app import argument, settings_of
from orchestrator.cli.files import environment
from orchestrator.cli.inputs import given_inputs
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.resolved import notes_on, resolved_document, to_yaml
from orchestrator.errors import PlanError
from orchestrator.squad.load import Squad


@app.command("config")
@argument("file", help="A squad file.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="Another default of an input.")
@click.option("--inputs", "inputs_file", metavar="FILE.json", help="Defaults as a JSON object; -i overrides it.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="Output format (yaml).")
@click.pass_context
def config_command(
    context: click.Context, file: str, pairs: tuple[str, ...], inputs_file: str | None, form: str
) -> None:
    """Show the squad FILE with every name resolved and every default filled in: a squad file itself."""
    settings = settings_of(context)
    squad = load_squad(file, settings)
    inputs = given_inputs(pairs, inputs_file).of(squad)
    if inputs:
        _check(squad, inputs)
    for note in notes_on(squad, inputs):
        click.echo(f"note: {note}", err=True)
    document = resolved_document(squad, environment(settings), inputs)
    if form == "json":
        print_json(document, indent=2)
    else:
        click.echo(to_yaml(document))


def _check(squad: Squad, inputs: Mapping[str, Any]) -> None:
    """Raise `PlanError` with what is wrong with these inputs. That others are not given is no mistake here."""
    try:
        squad.plan(inputs)
    except PlanError as error:
        if wrong := [problem for problem in error.problems if problem.code != "missing-input"]:
            raise PlanError(wrong) from None
