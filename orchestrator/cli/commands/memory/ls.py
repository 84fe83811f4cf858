"""`memory ls`: the records, the newest first."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command
from orchestrator.cli.commands.memory.records import OpenMemory, json_option, scope_option, show, uses_memory
from orchestrator.cli.ui.console import count


@click.command("ls", cls=Command)
@scope_option
@click.option("--limit", type=click.IntRange(min=1), default=20, help="How many records, the newest first (20).")
@click.option("--all", "all_", is_flag=True, help="All of them.")
@json_option
@uses_memory
def ls_command(memory: OpenMemory, scopes: tuple[str, ...], limit: int, all_: bool, as_json: bool) -> None:
    """List what is remembered.

    Shows id, scope, trust, since when, until when, and the text.
    """
    meant = memory.meant(scopes)
    total = sum(one.records for one in memory.store.scopes(memory.now) if one.scope in meant)
    records = memory.store.records(meant, memory.now, None if all_ else limit)
    show(memory, records, as_json=as_json)
    if not records:
        memory.console.say("nothing is remembered here")
    elif len(records) < total:
        memory.console.say(f"the newest {len(records)} of {count(total, 'record')}; --all shows all of them")
