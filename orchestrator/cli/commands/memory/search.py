"""`memory search`: the records that have words in common with a text, the best first."""

from __future__ import annotations

from pathlib import Path

import click

from agents.memory.embedders import LocalEmbedder
from agents.memory.store import MOST_FOUND
from orchestrator.cli.app import Command, argument
from orchestrator.cli.commands.memory.records import OpenMemory, json_option, scope_option, show, uses_memory
from orchestrator.cli.exits import NothingSelected


@click.command("search", cls=Command)
@argument("text", nargs=-1, required=True, help="Words to look for.")
@scope_option
@click.option("--limit", type=click.IntRange(1, MOST_FOUND), default=5, help="How many records (5).")
@click.option("--embeddings", metavar="FOLDER", help="By meaning too, with the model in this folder.")
@json_option
@uses_memory
def search_command(
    memory: OpenMemory,
    text: tuple[str, ...],
    scopes: tuple[str, ...],
    limit: int,
    embeddings: str | None,
    as_json: bool,
) -> None:
    """Search what is remembered, as an agent does.

    Finds records with words of TEXT; with --embeddings, also records with a similar meaning.
    """
    if embeddings is not None:
        memory.store.embedder = LocalEmbedder(Path(embeddings).expanduser())
        memory.store.embed(memory.store.embedder)
    found = memory.store.search(" ".join(text), memory.meant(scopes), memory.now, limit)
    if not found:
        raise NothingSelected("nothing that is remembered has these words", "`orchestrator memory ls` lists all")
    show(memory, [one.record for one in found], as_json=as_json, scores=[one.score for one in found])
