"""`runs`: what is recorded of runs, and what can be done with them. A file for each command."""

from __future__ import annotations

import click

from orchestrator.cli.app import Group
from orchestrator.cli.commands.runs.cancel import cancel_command
from orchestrator.cli.commands.runs.conclude import conclude_command
from orchestrator.cli.commands.runs.export import export_command
from orchestrator.cli.commands.runs.fork import fork_command
from orchestrator.cli.commands.runs.ls import ls_command
from orchestrator.cli.commands.runs.replay import replay_command
from orchestrator.cli.commands.runs.resume import resume_command
from orchestrator.cli.commands.runs.rm import rm_command
from orchestrator.cli.commands.runs.show import show_command
from orchestrator.cli.commands.runs.watch import watch_command


@click.group("runs", cls=Group)
def runs_command() -> None:
    """Show, resume, fork, replay or remove recorded runs."""


for command in (
    *(ls_command, show_command, watch_command, resume_command, conclude_command, cancel_command),
    *(fork_command, replay_command, export_command, rm_command),
):
    runs_command.add_command(command)
