"""`validate`: every mistake in squads, routing files, scenarios and personas, at once."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import click

from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, settings_of
from orchestrator.cli.exits import Exit, NothingSelected
from orchestrator.cli.file_kind import NAMES, FileKind, is_ours, kind_of
from orchestrator.cli.files import environment
from orchestrator.cli.inputs import GivenInputs, given_inputs
from orchestrator.cli.persona_files import beside_file, parse_persona
from orchestrator.cli.squad_files import squad_of_file
from orchestrator.cli.ui.console import Console, count
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.squad.routing_tools import tools_of_routing
from orchestrator.squad.who import FOLDER
from personas.markdown import is_markdown
from personas.persona import Personas
from personas.sources import is_persona
from providers.catalog.file import load_catalog
from providers.documents.problems import FORMATS, Problem, ProblemsFound
from providers.documents.unicode import printable
from providers.documents.yaml import ParsedFile, parse_file
from providers.policy.parse import parse_policy


@app.command("validate")
@argument("files", nargs=-1, metavar="FILE...", help="Squad, routing, scenario, persona and test files.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="Check squads with this input, too.")
@click.option("--inputs", "inputs_file", metavar="FILE.json", help="Inputs as a JSON object; -i overrides it.")
@click.option("--skip-others", is_flag=True, help="Skip YAML files of other programs, and say how many.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", help="Output format (text).")
@click.pass_context
def validate_command(
    context: click.Context,
    files: tuple[str, ...],
    pairs: tuple[str, ...],
    inputs_file: str | None,
    skip_others: bool,
    form: str,
) -> int:
    """Find every mistake in FILEs: squads, routing files, scenarios, personas. Spends nothing.

    FILE may be a folder: all YAML files in it are checked, in one called `personas` the Markdown files, too. The kind
    of a file is recognised by its fields; Markdown is a persona. With inputs a squad is checked as `run` would before
    it spends anything.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    chosen = [path for file in files for path in matching(file)]
    if not chosen:
        raise NothingSelected("no file was given, or none matches", "orchestrator validate squad.yaml")
    if skip_others:
        chosen, named = [file for file in chosen if not _is_others(file)], chosen
        if left := len(named) - len(chosen):
            console.say(f"{count(left, 'file')} of other programs left out")
    given = given_inputs(pairs, inputs_file)
    problems: list[Problem] = []
    for file in chosen:
        problems += problems_of(file, settings, console, given)
    errors = sum(problem.severity == "error" for problem in problems)
    if problems or form != "text":
        click.echo(mask_secrets(FORMATS[form](problems), os.environ))  # it repeats lines of files
    console.say(f"{count(len(chosen), 'file')}: {count(errors, 'error')}, {count(len(problems) - errors, 'warning')}")
    return Exit.FAILED if errors else Exit.DONE


def matching(file: str) -> list[str]:
    """Return the files that an argument means: itself, a folder's YAML files, or those that a pattern matches."""
    path = Path(file)
    if path.is_dir():
        own = [str(child) for child in path.iterdir() if child.suffix in (".yaml", ".yml")]
        if path.resolve().name == FOLDER:
            own += [str(child) for child in path.iterdir() if is_markdown(child.name) and is_persona(child.name)]
        return sorted(own)
    if not path.exists() and any(character in file for character in "*?["):
        return sorted(glob.glob(file, recursive=True))  # noqa: PTH207  # the pattern may be absolute
    return [file]


def _is_others(file: str) -> bool:
    """Return whether a file is there, and another program's."""
    try:
        return not is_markdown(file) and not is_ours(Path(file).read_text("utf-8", errors="replace"), file)
    except OSError:
        return False  # reading it tells what is wrong


def problems_of(file: str, settings: Settings, console: Console, given: GivenInputs) -> Sequence[Problem]:
    """Return all that is wrong with a file, in the order of its text. Say what it is read as, if not as a squad."""
    try:
        parsed = parse_persona(file) if is_markdown(file) else parse_file(file)
        if (kind := kind_of(parsed.keys, parsed.file)) != "squad":
            console.say(f"{printable(file)}: read as {NAMES[kind]}")
        return _checked(parsed, kind, settings, console, given)
    except ProblemsFound as found:
        return found.problems


def _checked(
    parsed: ParsedFile, kind: FileKind, settings: Settings, console: Console, given: GivenInputs
) -> Sequence[Problem]:
    """Return the warnings about a file of this kind, and tell which code a run would start. Raise `ProblemsFound`
    where there are errors."""
    match kind:
        case "squad":
            squad = squad_of_file(parsed, settings)
            squad.foresee(squad.plan(given.of(squad)) if given else None)
            for use in squad.code_uses():
                console.say(printable(f"a run would start {use}"))
            return squad.warnings_in(environment(settings))
        case "routing":
            tools = tools_of_routing(parsed.mapping(), parsed.file)[1]
            parse_policy(parsed.mapping(), load_catalog(), [*parsed.found, *tools])
        case "scenario":
            from providers.simulation.scenario_file import parse_scenario

            parse_scenario(parsed.mapping(), Path(parsed.file).stem, parsed.found)
        case "persona":
            Personas(beside_file(parsed.file)).build(parsed.mapping(), read=parsed.found)
        case "tests":
            from orchestrator.evals.suite import problems_of_suite

            return problems_of_suite(parsed, lambda file, tools: squad_of_file(parse_file(file), settings, tools=tools))
        case _:
            assert_never(kind)
    return ()
