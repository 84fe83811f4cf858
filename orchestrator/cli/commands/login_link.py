"""`login-link`: a link that logs a browser in at a running server, once."""

from __future__ import annotations

import anyio
import click

from orchestrator.cli.app import Settings, command, settings_of
from orchestrator.cli.remote.api import server_api, server_here
from orchestrator.cli.ui.arguments import server_option
from orchestrator.cli.ui.console import Console


@command("login-link")
@click.option(
    "--role", type=click.Choice(["viewer", "operator"]), default="operator", help="A viewer changes nothing (operator)."
)
@server_option
@click.pass_context
def login_link_command(context: click.Context, role: str, server: str | None) -> None:
    """Print a link that logs a browser in, once, within ten minutes. Without --server, at the one that runs here."""
    settings = settings_of(context)
    anyio.run(_print_link, settings, role, server or server_here(settings))


async def _print_link(settings: Settings, role: str, server: str) -> None:
    async with server_api(settings, server) as api:
        made = await api.post("login-links", body={"role": role})
        Console(settings).say(f"logs in once, as {role}, within ten minutes:")
        click.echo(f"{api.url}{made['path']}")
