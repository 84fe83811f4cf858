"""`memory add`: a person's own facts."""

from __future__ import annotations

import sys

import click

from agents.memory.records import NotStorable, RecordSource, made_record
from orchestrator.cli.app import Command, argument
from orchestrator.cli.commands.memory.records import OpenMemory, makes_memory
from orchestrator.cli.exits import Unusable
from orchestrator.cli.ui.arguments import DurationOption
from providers.documents.secrets import MASK


@click.command("add", cls=Command)
@argument("scope", help="Whose memory: a squad, or squad/agent.")
@argument("text", help="What is to be remembered.")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="A word to find it by; may be repeated.")
@click.option("--ttl", type=DurationOption(), metavar="AGE", help="How long it is kept: 12h, 90d (for good).")
@makes_memory
def add_command(memory: OpenMemory, scope: str, text: str, tags: tuple[str, ...], ttl: float | None) -> None:
    """Remember a text for a squad or an agent.

    TEXT is `-` for stdin; SCOPE is a squad, or squad/agent. Agents are told that a person said it.
    """
    said = sys.stdin.read() if text == "-" else text
    try:
        made = made_record(said, scope, "user", memory.now, source=RecordSource(), ttl_s=ttl, tags=tags)
    except NotStorable as error:
        raise Unusable(str(error)) from error
    [(kept, is_new)] = memory.store.remember([made], memory.now)
    click.echo(kept.id)
    if not is_new:
        memory.console.say("it was remembered already")
    if MASK in made.text and MASK not in said:
        memory.console.warn("what looks like a key was left out")
