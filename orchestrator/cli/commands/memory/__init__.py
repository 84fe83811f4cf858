"""`memory`: what agents remember over runs. A file for each command."""

from __future__ import annotations

import click

from orchestrator.cli.app import Group
from orchestrator.cli.commands.memory.add import add_command
from orchestrator.cli.commands.memory.forget import forget_command
from orchestrator.cli.commands.memory.ls import ls_command
from orchestrator.cli.commands.memory.search import search_command


@click.group("memory", cls=Group)
def memory_command() -> None:
    """Search what agents remember over runs; list, add or forget records."""


for command in (search_command, ls_command, add_command, forget_command):
    memory_command.add_command(command)
