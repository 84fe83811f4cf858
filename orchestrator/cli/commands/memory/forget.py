"""`memory forget`: take records out."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.commands.memory.records import OpenMemory, scope_option, uses_memory
from orchestrator.cli.exits import NothingSelected
from orchestrator.cli.ui.console import count
from providers.documents.unicode import printable


@click.command("forget", cls=Command)
@argument("ids", nargs=-1, metavar="ID...", help="Ids of records.")
@scope_option
@click.option("--all", "all_", is_flag=True, help="All records, or all of --scope.")
@uses_memory
def forget_command(memory: OpenMemory, ids: tuple[str, ...], scopes: tuple[str, ...], all_: bool) -> None:
    """Forget records for good.

    ID may be the beginning of one; --all with --scope means all of a squad or an agent.
    """
    if bool(ids) == all_ or (scopes and not all_):
        raise click.UsageError("which records? name their ids, or give --all, with --scope where only some are meant")
    chosen = _of_scopes(memory, scopes) if all_ else [_named(memory, one) for one in ids]
    if not chosen:
        raise NothingSelected("nothing is remembered there", "`orchestrator memory ls` lists what is")
    gone = memory.store.forget(list(dict.fromkeys(chosen)))
    memory.console.say(f"forgot {count(gone, 'record')}")


def _of_scopes(memory: OpenMemory, scopes: tuple[str, ...]) -> list[str]:
    return [record.id for record in memory.store.records(memory.meant(scopes), memory.now)]


def _named(memory: OpenMemory, word: str) -> str:
    """Return the id that is meant. Raise `NothingSelected` where none or several begin so; nothing is forgotten."""
    found = [record.id for record in memory.store.get([word])] if word else []
    if word in found:
        return word
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} records begin with" if found else "no record has the id"
    raise NothingSelected(f"{what} {printable(word)}", "`orchestrator memory ls --all` lists them")
