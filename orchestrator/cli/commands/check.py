"""`validate`, `schema`, `graph` and `config`: what can be said of a file without running it."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from orchestrator.cli import app
from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.arguments import environment, load_scenario_file, load_squad
from orchestrator.cli.exits import Exit, NothingSelected
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.ui.console import Console, count, print_json
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.squad.file_kind import NAMES, Kind, kind_of_file
from providers.documents.problems import FORMATS, Problem
from providers.documents.unicode import printable

READERS = (
    "orchestrator.squad.load",
    "orchestrator.squad.spec",
    "personas.persona",
    "providers.simulation.scenario_file",
)


@app.command("validate")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", help="How to write them (text).")
@click.pass_context
def validate_command(context: click.Context, files: tuple[str, ...], form: str) -> int:
    """Find every mistake in FILEs: squads, routing files, scenarios. Spends nothing.

    A folder stands for the YAML files in it. What a file is for is told by its fields.
    """
    settings, talk = settings_of(context), Console(settings_of(context))
    chosen = [path for file in files for path in matching(file)]
    if not chosen:
        raise NothingSelected("no squad file was given, or none matches", "orchestrator validate squad.yaml")
    _load_readers()
    problems: list[Problem] = []
    for file in chosen:
        kind = kind_of_file(file)
        if kind != "squad":
            talk.say(f"{printable(file)}: read as {NAMES[kind]}")
        problems += problems_of(file, kind, settings)
    errors = sum(problem.severity == "error" for problem in problems)
    if problems or form != "text":
        click.echo(mask_secrets(FORMATS[form](problems), os.environ))  # it repeats lines of files
    talk.say(f"{count(len(chosen), 'file')}: {count(errors, 'error')}, {count(len(problems) - errors, 'warning')}")
    return Exit.FAILED if errors else Exit.DONE


def matching(file: str) -> list[str]:
    """Return the files that an argument stands for: itself, a folder's YAML files, or those that a pattern matches."""
    path = Path(file)
    if path.is_dir():
        return sorted(str(child) for child in path.iterdir() if child.suffix in (".yaml", ".yml"))
    if not path.exists() and any(character in file for character in "*?["):
        return sorted(glob.glob(file, recursive=True))  # noqa: PTH207  # the pattern may be absolute
    return [file]


@interrupts_held()
def _load_readers() -> None:
    """Import what reads files. They are read when Ctrl-C works again: one may be a pipe that never ends."""
    for module in READERS:
        import_module(module)


def problems_of(file: str, kind: Kind, settings: Settings) -> Sequence[Problem]:
    """Return all that is wrong with a file of this kind, in the order of its text."""
    from orchestrator.squad.load import Squad, load_routing
    from providers.documents.problems import ProblemsFound

    try:
        if kind == "routing":
            load_routing(file)
            return ()
        if kind == "scenario":
            load_scenario_file(file)
            return ()
        return Squad.from_file(file, routing=settings.routing_file()).warnings
    except ProblemsFound as found:
        return found.problems


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of squad files, for editors."""
    from orchestrator.squad.spec import json_schema

    print_json(json_schema(), indent=2)


@app.command("graph")
@click.argument("file")
@click.option("--format", "form", type=click.Choice(["ascii", "mermaid", "dot", "json"]), default="ascii")
@click.pass_context
def graph_command(context: click.Context, file: str, form: str) -> None:
    """Draw the order of a squad's tasks: each stands below all that it needs."""
    from orchestrator.cli.ui import drawing

    squad = load_squad(file, settings_of(context))
    nodes = drawing.nodes_of(squad.outline())
    if form == "json":
        print_json(drawing.to_document(squad.name, nodes), indent=2)
    elif form == "ascii":
        fancy = drawing.encodes(sys.stdout.encoding or "ascii", drawing.UNICODE)
        click.echo(drawing.to_ascii(nodes, drawing.UNICODE if fancy else drawing.ASCII))
    else:
        click.echo(drawing.to_mermaid(nodes) if form == "mermaid" else drawing.to_dot(nodes))


@app.command("config")
@click.argument("file")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="(yaml)")
@click.pass_context
def config_command(context: click.Context, file: str, form: str) -> None:
    """Show what a squad FILE comes to: every name bound, every default in place."""
    from orchestrator.cli.ui.resolved import resolved_document

    document = resolved_document(load_squad(file, settings_of(context)), environment(settings_of(context)))
    if form == "json":
        print_json(document, indent=2)
        return
    import yaml

    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=100).rstrip())
