"""`completion SHELL`."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.completing import script

INSTALL = {
    "bash": "echo 'eval \"$(orchestrator completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(orchestrator completion zsh)\"' >> ~/.zshrc   # after compinit",
    "fish": "orchestrator completion fish > ~/.config/fish/completions/orchestrator.fish",
}
"""How each shell gets it for good."""


@click.command("completion", cls=Command)
@argument("shell", type=click.Choice(list(INSTALL)), help="The shell.")
def completion_command(shell: str) -> None:
    """Print a shell's completion script: of commands, options, squads, runs, tasks, agents, personas, models.

    \b
    bash: eval "$(orchestrator completion bash)"   in ~/.bashrc
    zsh:  eval "$(orchestrator completion zsh)"    in ~/.zshrc, after compinit
    fish: orchestrator completion fish > ~/.config/fish/completions/orchestrator.fish
    """
    click.echo(script(shell))
    if sys.stdout.isatty():
        click.echo(f"hint: to have it in each new shell: {INSTALL[shell]}", err=True)
