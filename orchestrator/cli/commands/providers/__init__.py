"""`providers`: which models can be asked, whether they answer, and what their limits leave. A file for each command."""

from __future__ import annotations

import click

from orchestrator.cli.app import LazyGroup

PROVIDERS = {
    "ls": ("providers.ls", "List models and prices, and which providers have a key."),
    "status": ("providers.status", "Show who may be asked at a running server, and why not."),
    "rebalance": ("providers.rebalance", "Set weights and the strategy; drain, pause, resume."),
    "test": ("providers.test", "Ask each configured provider for one word; costs a little."),
    "limits": ("providers.limits", "Show how much of each limit and budget is used."),
    "reset": ("providers.reset", "Set the counts of limits and budgets to zero."),
}


@click.command("providers", cls=LazyGroup, parts=PROVIDERS)
def providers_command() -> None:
    """List the providers and their models; test them; show their limits."""
