"""`serve`: the server on one port of this machine."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.files import environment, load_policy
from orchestrator.cli.journals import db_option, journal_url, record_for_run
from orchestrator.cli.local import with_local_server
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.errors import NoProvider
from orchestrator.options import RunOptions, steady
from orchestrator.server.listening import listen
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from personas import Personas, packaged
from providers.catalog.trust import Consent

INSTALL = "pip install 'squad-orchestrator[server]'"
NEEDED = ("fastapi", "uvicorn")


@click.command("serve", cls=Command)
@click.argument("files", nargs=-1, metavar="[SQUAD]...")
@click.option("--port", type=click.IntRange(0, 65535), default=8700, metavar="PORT", help="Where to listen (8700).")
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@db_option
@click.pass_context
def serve_command(context: click.Context, files: tuple[str, ...], port: int, offline: bool, db: str | None) -> int:
    """Offer agents, tiers and models to clients of OpenAI's API, and SQUADs to be run.

    Listens on this machine alone. The first time, a key for clients is made and shown once.
    """
    settings = settings_of(context)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Unusable(f"the package `{missing[0]}` is not installed", INSTALL)
    journal_url(settings, db)
    squads: dict[str, Squad] = {}
    for file in files:
        squad = load_squad(file, settings)
        if squad.name in squads:
            raise Unusable(f"two squads are called '{squad.name}'", f"give the one in {file} another `name`")
        squads[squad.name] = squad
    try:
        listening = listen("127.0.0.1", port)
    except OSError as error:
        raise Unusable(
            f"cannot listen at 127.0.0.1:{port}: {error.strerror}", "give another --port; 0 is any"
        ) from error
    with listening:
        anyio.run(_serve, settings, squads, listening, offline, db)
    return Exit.DONE


async def _serve(
    settings: Settings, squads: Mapping[str, Squad], listening: socket.socket, offline: bool, db: str | None
) -> None:
    from orchestrator.server.gateway.keys import ClientKeys
    from orchestrator.server.serving import ServerSettings, serve

    console, (policy, catalog) = Console(settings), load_policy(settings)
    environ = environment(settings)
    keys_allowed: Consent = trust_file().allows
    code = consent_to_code(settings, [use for squad in squads.values() for use in squad.code_uses()], console)
    if offline:
        console.say(STUB_NOTICE)
    else:
        pinned = [agent.model for squad in squads.values() for agent in squad.outline().agents.values()]
        environ = await with_local_server(policy, catalog, environ, console.say, pinned)
        if not catalog.candidates(environ):
            raise NoProvider(catalog.unconfigured(environ))
        keys_allowed = consent(settings, catalog, environ, console)
    library, keys = Personas(packaged()), ClientKeys(settings.state_folder)
    try:
        is_first = not keys.all()
    except ValueError as error:
        raise Unusable(str(error)) from None
    if is_first:
        console.say("a key for clients, which is shown this once:")
        click.echo(keys.make("first", time.time()))  # past the console, which masks what looks like a key
    async with record_for_run(settings, db, console.warn) as journal:
        if journal is None:
            raise Unusable("the server keeps a record of what it does, and cannot write it", "name a --db, or --state")
        options = RunOptions(
            environ=environ,
            offline=offline or None,
            clock=steady(),
            journal=journal,
            state=settings.state_folder,
            notify=telling(console.warn),
            trust=either(code, keys_allowed),
        )

        def ready(address: str, link: str) -> None:
            console.say(
                f"serves {address}/v1 for clients of OpenAI's API; Ctrl-C stops\nthe dashboard, by this link once:"
            )
            click.echo(f"{address}/login?token={link}")

        await serve(
            ServerSettings(
                policy=policy,
                catalog=catalog,
                squads=squads,
                personas={name: library.get(name) for name in library.names()},
                journal=journal,
                options=options,
                keys=keys,
                mask=lambda text: mask_secrets(text, environ),
                listening=listening,
                out=Path("out"),
            ),
            ready,
        )
