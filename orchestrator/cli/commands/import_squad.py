"""`import`: a project of another framework as a squad."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.app import Group, Settings, argument, settings_of
from orchestrator.cli.commands.init import write_new
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.files import load_policy, routing_file
from orchestrator.cli.ui.console import Console, count, print_json
from orchestrator.cli.ui.masking import mask_secrets, masked
from orchestrator.errors import PlanError
from orchestrator.migration.crew_project import NoCrew, read_project
from orchestrator.migration.crew_squad import CrewSquad
from orchestrator.migration.notes import MigrationNotes
from orchestrator.migration.squad_text import squad_text
from orchestrator.squad.load import Squad
from providers.documents.unicode import printable

STDOUT = "-"


@click.group("import", cls=Group)
def import_squad_command() -> None:
    """Make a squad of a project of another framework. The project is read, never run."""


@import_squad_command.command("crewai")
@argument("folder", metavar="DIR", help="The folder of the project.")
@click.option("--out", default="squad.yaml", metavar="FILE", help="The squad to write (squad.yaml); - is stdout.")
@click.option("--json", "as_json", is_flag=True, help="Write what became of each part as JSON, to stdout.")
@click.pass_context
def import_crewai(context: click.Context, folder: str, out: str, as_json: bool) -> None:
    """Make a squad of the CrewAI project in DIR: of its agents.yaml and tasks.yaml, of its crew.jsonc, or of crew.py.

    They are looked for in DIR, DIR/config and DIR/src/*/config. Python is read, never run. Existing files are kept.
    Changes, and parts without a counterpart, are reported, and written into the squad as comments.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    if as_json and out == STDOUT:
        raise click.UsageError("--json and --out - both write to stdout: give --out a file")
    if out != STDOUT and os.path.lexists(out):
        raise Unusable(f"{out} is there already", "name another file: --out FILE")
    notes = MigrationNotes()
    try:
        project = read_project(Path(folder), notes)
    except NoCrew as error:
        raise NothingSelected(printable(str(error)), error.hint) from None
    _, catalog = load_policy(settings)
    serving_any = [name for name, row in catalog.providers.items() if row.any_model]
    made = CrewSquad(project, notes, frozenset(catalog.names()), serving_any)
    text = mask_secrets(_sound(made, Path(folder) if out == STDOUT else Path(out), settings), os.environ)
    if out == STDOUT:
        click.echo(text, nl=False)
    elif not write_new(Path(out), text.encode()):
        raise Unusable(f"{out} is there already", "name another file: --out FILE")
    if as_json:
        listed = [{name: value for name, value in note._asdict().items() if value} for note in notes.found]
        shown: Any = {"squad": out, "inputs": list(made.texts.inputs.values()), "notes": listed}
        print_json(masked(shown, os.environ), indent=2)
        return
    for line in notes.lines():
        console.say(printable(mask_secrets(line, os.environ)))
    if out != STDOUT:
        console.say(f"wrote {out}: {count(len(made.agents), 'agent')}")
        console.say(f"next: orchestrator run {shlex.quote(out)} --offline{_inputs(made)}")


def _inputs(made: CrewSquad) -> str:
    needed = [own for name, own in made.texts.inputs.items() if name not in made.project.given]
    return "".join(f" -i {name}=..." for name in needed)


def _sound(made: CrewSquad, file: Path, settings: Settings) -> str:
    """Return the squad's text, checked as `validate` does. A model that could not answer its agent is left out.

    Raise `SpecError` for mistakes of the project, `PlanError` for what cannot be put right.
    """
    document = made.document()
    for _ in range(2):
        text = _text(made, document)
        try:
            Squad.from_text(text, str(file), routing=routing_file(settings))
        except PlanError as error:
            wrong = {str(p.path[1]) for p in error.problems if p.code in ("unanswerable", "unknown-model")}
            if not wrong or not all(document["agents"][name].pop("model", None) for name in wrong):
                raise
            for name in sorted(wrong):
                made.notes.add(
                    "missing", f"agents.{name}.llm", "its model cannot do what the agent needs", "choose another"
                )
        else:
            break
    return text


def _text(made: CrewSquad, document: Mapping[str, Any]) -> str:
    head = [
        "Made of a CrewAI project by `orchestrator import crewai`. Check it: orchestrator validate",
        *made.notes.lines(),
    ]
    return squad_text(document, {**made.comments, (): head})
