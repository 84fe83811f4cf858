"""`completion SHELL`."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command, orchestrator


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print a shell's completion script: `eval "$(orchestrator completion bash)"`."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click completes these three shells"
    click.echo(found(orchestrator, {}, "orchestrator", "_ORCHESTRATOR_COMPLETE").source())
