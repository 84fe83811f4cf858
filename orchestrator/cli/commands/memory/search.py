"""`memory search`: the records that have words in common with a text, the best first."""

from __future__ import annotations

import click

from agents.memory.store import MOST_FOUND
from orchestrator.cli.app import Command
from orchestrator.cli.commands.memory.records import OpenMemory, json_option, scope_option, show, uses_memory
from orchestrator.cli.exits import NothingSelected


@click.command("search", cls=Command)
@click.argument("text", nargs=-1, required=True)
@scope_option
@click.option("--limit", type=click.IntRange(1, MOST_FOUND), default=5, help="How many records (5).")
@json_option
@uses_memory
def search_command(
    memory: OpenMemory, text: tuple[str, ...], scopes: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """Search what is remembered, as an agent does.

    Found is what has words of TEXT.
    """
    found = memory.store.search(" ".join(text), memory.meant(scopes), memory.now, limit)
    if not found:
        raise NothingSelected("nothing that is remembered has these words", "`orchestrator memory ls` lists all")
    show(memory, [one.record for one in found], as_json=as_json, scores=[one.score for one in found])
