"""`personas`: list them, show one, write one, and see what a model is told of one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from orchestrator.cli.app import Group, argument, settings_of
from orchestrator.cli.commands.init import write_new
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import environment, load_policy
from orchestrator.cli.inputs import given_inputs
from orchestrator.cli.persona_files import find_persona, folder_of, load_persona, own_folder
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.system_prompt import SystemPrompt, of_agent, of_persona
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, count, print_json
from orchestrator.cli.ui.masking import mask_secrets, masked
from orchestrator.cli.ui.persona_starter import in_flow, starter
from personas import Persona, Personas, first_of, packaged
from personas.errors import PersonaAmbiguous
from personas.markdown import persona_in
from personas.sources import is_persona, persona_name
from providers.documents.problems import SpecError, nearest
from providers.documents.unicode import printable
from providers.messages import Request, system

_NAME = re.compile(r"\w[\w-]{0,63}")
_IN = click.option("--dir", "folder", metavar="DIR", help="The folder of your own personas (personas).")


class _Listed(NamedTuple):
    name: str
    file: str | None
    persona: Persona | None
    """None: its file has mistakes."""


@click.group("personas", cls=Group)
def personas_command() -> None:
    """List or show personas: those in the folder `personas`, and those that come with the package."""


@personas_command.command("ls")
@_IN
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def list_personas(context: click.Context, folder: str | None, as_json: bool) -> None:
    """List the personas: name, display name, title, tier, and the file of your own."""
    console, found = Console(settings_of(context)), list(_all(_folder(folder)))
    if as_json:
        print_json([_as_json(one) for one in found])
    else:
        rows = [(one.name, *_told(one.persona), one.file or "") for one in found]
        click.echo(printable(columns([("PERSONA", "CALLED", "TITLE", "TIER", "FILE"), *rows])))
    for one in found:
        if one.persona is None:
            console.warn(f"{one.file} has mistakes: orchestrator validate {shlex.quote(str(one.file))}")


def _all(home: Path) -> Iterator[_Listed]:
    """Yield the personas by name; one of the folder hides one of the library."""
    own = folder_of(home)
    library = Personas(first_of(own, packaged()))
    for name in library.names():
        files = [str(home / file) for file in own.files_of(name)]
        try:
            persona = library.get(name)
        except (SpecError, PersonaAmbiguous):
            persona = None
        yield _Listed(name, " and ".join(files) if files else None, persona)


def _told(persona: Persona | None) -> tuple[str, str, str]:
    return ("?", "?", "?") if persona is None else (persona.display_name, persona.title, persona.tier or "")


def _as_json(one: _Listed) -> dict[str, Any]:
    called, title, tier = (None, None, None) if one.persona is None else _told(one.persona)
    found = {"name": one.name, "display_name": called, "title": title, "tier": tier or None, "file": one.file}
    return found if one.persona is not None else {**found, "has_mistakes": True}


@personas_command.command("show")
@argument("name", metavar="NAME|FILE", help="A persona's name or file.")
@_IN
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def show_persona(context: click.Context, name: str, folder: str | None, as_json: bool) -> None:
    """Show a persona, and the instructions that a model reads. Secrets are masked."""
    persona, environ = load_persona(name, _folder(folder)), environment(settings_of(context))
    if as_json:
        fields = {slot: getattr(persona, slot) for slot in persona.__slots__}
        print_json(masked({**fields, "instructions": persona.instructions()}, environ), indent=2)
        return
    facts = [
        ("name", persona.name),
        ("called", persona.display_name),
        ("title", persona.title),
        ("tier", persona.tier or ""),
    ]
    click.echo(mask_secrets(printable(columns(facts)), environ))
    click.echo(mask_secrets(f"\n{persona.instructions()}", environ))


@personas_command.command("new")
@argument("name", help="A persona's name or file.")
@click.option("--title", metavar="TEXT", help="What it is: Security Reviewer.")
@click.option("--tier", metavar="TIER", help="The class of models that it needs (worker).")
@click.option("--from", "base", metavar="PERSONA", help="Build it on this persona.")
@click.option("--markdown", is_flag=True, help="Write Markdown with front matter, not YAML.")
@_IN
@click.pass_context
def new_persona(
    context: click.Context,
    name: str,
    title: str | None,
    tier: str | None,
    base: str | None,
    markdown: bool,
    folder: str | None,
) -> None:
    """Write a persona to start from: NAME.yaml in the folder of your personas. Existing files are kept."""
    console, home = Console(settings_of(context)), _folder(folder)
    if not _NAME.fullmatch(name):
        slug = "-".join(re.findall(r"\w+", name))[:64]
        raise Unusable(f"{printable(name)!r} is not a persona's name", f"write {slug}" if slug else "write my-reviewer")
    if tier is not None and tier not in (tiers := load_policy(settings_of(context))[0].tiers):
        raise Unusable(f"there is no tier {printable(tier)!r}", nearest(tier, tiers))
    if base == name:
        raise Unusable(f"{name} cannot be built on itself", f"give it another name: {name}-2")
    if taken := folder_of(home).files_of(name):
        raise Unusable(f"{home / taken[0]} is there already", "give the new one another name")
    built_on = None if base is None else load_persona(base, home)
    file = home / f"{name}{'.md' if markdown else '.yaml'}"
    if not is_persona(file.name):
        raise Unusable(f"{file} would be no persona", "give it another name, or leave out --markdown")
    text = starter(name, title, tier, built_on, markdown=markdown)
    library = Personas(first_of(folder_of(home), packaged()))
    library.build(persona_in(text, str(file)), name)  # refuses a title that is too long, say
    if not write_new(file, text.encode()):
        raise Unusable(f"{file} is there already", "give the new one another name")
    click.echo(f"wrote {file}")
    if name in packaged().names():  # type: ignore[attr-defined]  # the packaged source lists them
        console.hint(f"it is found before the library's {name}: `extends` cannot reach that one from here")
    is_usual = home == own_folder()
    key, persona = in_flow(name), in_flow(name if is_usual else _from_here(file))
    console.say(f"in the squad: agents: {{{key}: {{persona: {persona}}}}}")
    console.say(f"next: orchestrator personas render {name if is_usual else shlex.quote(str(file))}")


def _from_here(file: Path) -> str:
    return f"{file}" if file.is_absolute() or str(file).startswith("..") else f"./{file}"


@personas_command.command("render")
@argument("name", required=False, metavar="[NAME|FILE]", help="A persona's name or file.")
@click.option("--squad", "squad_file", metavar="FILE", help="As this squad's agent: with what the agent overrides.")
@click.option("--agent", metavar="AGENT", help="The agent of the squad.")
@click.option("--task", metavar="TASK", help="The agent that does this task; with --json its brief, too.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="An input of the squad.")
@_IN
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def render_persona(
    context: click.Context,
    name: str | None,
    squad_file: str | None,
    agent: str | None,
    task: str | None,
    pairs: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> None:
    """Print the system message that a model is sent: of a persona, or of an agent of a squad. Spends nothing.

    Inputs that you give are filled in; others stay as they are written, and are named on stderr.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    if (name is None) == (squad_file is None):
        raise click.UsageError("name a persona or its file, or a squad's agent: --squad FILE --agent AGENT")
    if squad_file is None:
        if agent or task or pairs:
            raise click.UsageError("--agent, --task and -i are of a squad: add --squad FILE")
        found = find_persona(str(name), _folder(folder))
        made, file = of_persona(found.persona), found.file
    else:
        squad = load_squad(squad_file, settings)
        made, file = of_agent(squad, agent, task, given_inputs(pairs).of(squad)), Path(squad_file)
    environ = environment(settings)
    text = mask_secrets(made.text, environ)
    tokens = Request((system(made.text),)).input_tokens
    if as_json:
        brief = None if made.brief is None else mask_secrets(made.brief, environ)
        print_json(_document(made, text, tokens, file, brief), indent=2)
    else:
        click.echo(text.rstrip("\n"))
    if made.unset:
        console.warn(f"not given here: {', '.join(made.unset)}")
    console.say(f"about {count(tokens, 'token')}")


def _document(made: SystemPrompt, text: str, tokens: int, file: Path | None, brief: str | None) -> dict[str, Any]:
    document: dict[str, Any] = {"persona": made.persona, "file": None if file is None else str(file)}
    document |= {"system": text, "tokens": tokens, "unset": list(made.unset)}
    document |= {} if made.agent is None else {"agent": made.agent}
    return document | ({} if brief is None else {"brief": brief})


def _folder(folder: str | None) -> Path:
    if folder is None:
        return own_folder()
    if persona_name(folder) and not Path(folder).is_dir():
        raise Unusable(f"{folder} is a file", "--dir names a folder; a file is named alone: personas render FILE")
    return Path(folder)
