"""`providers`: which models can be asked, whether they answer, and what their limits leave. A file for each command."""

from __future__ import annotations

import click

from orchestrator.cli.app import Group
from orchestrator.cli.commands.providers.limits import limits_command
from orchestrator.cli.commands.providers.ls import ls_command
from orchestrator.cli.commands.providers.rebalance import rebalance_command
from orchestrator.cli.commands.providers.reset import reset_command
from orchestrator.cli.commands.providers.status import status_command
from orchestrator.cli.commands.providers.test import test_command


@click.group("providers", cls=Group)
def providers_command() -> None:
    """List the providers and their models; test them; show their limits."""


for command in (ls_command, status_command, rebalance_command, test_command, limits_command, reset_command):
    providers_command.add_command(command)
