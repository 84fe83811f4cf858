"""`serve`: the gateway on one port of this machine."""

from __future__ import annotations

import time
from importlib.util import find_spec

import anyio
import click

from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.consent import consent
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.files import environment, load_policy
from orchestrator.cli.local import with_local_server
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.errors import NoProvider
from orchestrator.server.gateway.keys import Keys
from orchestrator.trust import trust_file
from personas import Personas, packaged
from providers.catalog.trust import Consent

INSTALL = "pip install 'squad-orchestrator[server]'"
NEEDED = ("fastapi", "uvicorn")


@click.command("serve")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8700, metavar="PORT", help="Listen there (8700); 0: any."
)
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.pass_context
def serve_command(context: click.Context, port: int, offline: bool) -> int:
    """Offer agents, tiers and models to clients of OpenAI's API.

    Listens on this machine alone. The first time, a key for clients is made and shown once.
    """
    settings = settings_of(context)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Unusable(f"the package `{missing[0]}` is not installed", INSTALL)
    anyio.run(_serve, settings, port, offline)
    return Exit.DONE


async def _serve(settings: Settings, port: int, offline: bool) -> None:
    from orchestrator.server.serving import ServerSettings, serve  # on use: an extra

    console, (policy, catalog) = Console(settings), load_policy(settings)
    environ = environment(settings)
    trust: Consent = trust_file().allows
    if offline:
        console.say(STUB_NOTICE)
    else:
        environ = await with_local_server(policy, catalog, environ, console.say)
        if not catalog.candidates(environ):
            raise NoProvider(catalog.unconfigured(environ))
        trust = consent(settings, catalog, environ, console)
    library, keys = Personas(packaged()), Keys(settings.state_folder)
    if not keys.all():
        console.say("a key for clients, which is shown this once:")
        click.echo(keys.make("first", time.time()))  # past the console, which masks what looks like a key

    def ready(address: str) -> None:
        console.say(f"serves {address}/v1 for clients of OpenAI's API; Ctrl-C stops")

    await serve(
        ServerSettings(
            policy=policy,
            catalog=catalog,
            environ=environ,
            personas={name: library.get(name) for name in library.names()},
            state=settings.state_folder,
            keys=keys,
            notify=telling(console.warn),
            trust=trust,
            mask=lambda text: mask_secrets(text, environ),
            offline=offline,
            port=port,
        ),
        ready,
    )
