"""`personas ls` and `personas show`."""

from __future__ import annotations

import click

from orchestrator.cli.app import Group
from orchestrator.cli.persona_files import load_persona
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from personas import Personas, packaged


@click.group("personas", cls=Group)
def personas_command() -> None:
    """List or show the personas that come with the package."""


@personas_command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_personas(as_json: bool) -> None:
    """List the personas: name, display name, title, tier."""
    library = Personas(packaged())
    found = [library.get(name) for name in library.names()]
    if as_json:
        print_json([{"name": p.name, "display_name": p.display_name, "title": p.title, "tier": p.tier} for p in found])
        return
    click.echo(
        columns(
            [("PERSONA", "CALLED", "TITLE", "TIER"), *((p.name, p.display_name, p.title, p.tier or "") for p in found)]
        )
    )


@personas_command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show_persona(name: str, as_json: bool) -> None:
    """Show a persona, and the instructions that a model reads."""
    persona = load_persona(name)
    if as_json:
        fields = {slot: getattr(persona, slot) for slot in persona.__slots__}
        print_json({**fields, "instructions": persona.instructions()}, indent=2)
        return
    facts = [
        ("name", persona.name),
        ("called", persona.display_name),
        ("title", persona.title),
        ("tier", persona.tier or ""),
    ]
    click.echo(columns(facts))
    click.echo(f"\n{persona.instructions()}")
