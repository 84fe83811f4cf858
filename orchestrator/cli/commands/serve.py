"""`serve`: the server on one port of this machine."""

from __future__ import annotations

import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli.app import Command, Settings, argument, settings_of
from orchestrator.cli.binding import Binding, announced, binding_of, binding_options
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.exits import Exit, Interrupted, Terminated, Unusable
from orchestrator.cli.files import environment, load_policy, routing_file
from orchestrator.cli.journals import cluster_url, db_option, journal_url, record_for_run
from orchestrator.cli.local import with_local_server
from orchestrator.cli.observed import server_observed
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.arguments import DurationOption
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.cli.ui.next_step import command_line
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.errors import NoProvider
from orchestrator.journal.database_url import without_password
from orchestrator.journal.protocols import Journal
from orchestrator.options import RunOptions, steady
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from personas import Personas, packaged
from providers.catalog.trust import Consent
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.cluster.opening import ClusterDatabase
    from orchestrator.server.serving import RunLeft

INSTALL = "pip install 'squad-orchestrator[server]'"
NEEDED = ("fastapi", "uvicorn")
MOST_LEFT = 10
"""Runs that are named at the start and at the end."""


@click.command("serve", cls=Command)
@argument("files", nargs=-1, metavar="[SQUAD]...", help="Squad files that are offered.")
@binding_options
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.option("--resume", is_flag=True, help="Continue the runs that an earlier server left unfinished.")
@click.option("--grace", type=DurationOption(), default="8s", metavar="DUR", help="How long stopping may take (8s).")
@db_option
@click.pass_context
def serve_command(
    context: click.Context,
    /,
    files: tuple[str, ...],
    offline: bool,
    resume: bool,
    grace: float,
    db: str | None,
    **where: Any,
) -> int:
    """Offer agents, tiers, models and SQUADs to clients of OpenAI's and Anthropic's APIs, and pages to look at.

    Listens on this machine only, unless --host says more. The first time, a key for clients is made and shown once.
    """
    settings = settings_of(context)
    binding = binding_of(**where, environ=environment(settings))
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
    with binding.listen() as listening:
        asked = _ServeAsked(binding, listening, offline, resume, grace, db)
        anyio.run(_serve, settings, squads, asked)
    return Exit.DONE


@dataclass(frozen=True, slots=True)
class _ServeAsked:
    """How to serve, as the command line says it. `grace`: seconds."""

    binding: Binding
    listening: socket.socket
    offline: bool
    resume: bool
    grace: float
    db: str | None


async def _serve(settings: Settings, squads: Mapping[str, Squad], asked: _ServeAsked) -> None:
    from orchestrator.server.gateway.keys import ClientKeys
    from orchestrator.server.serving import ServerSettings, serve

    console, (policy, catalog) = Console(settings), load_policy(settings)
    environ = environment(settings)
    keys_allowed: Consent = trust_file().allows
    code = consent_to_code(settings, [use for squad in squads.values() for use in squad.code_uses()], console)
    if asked.offline:
        console.say(STUB_NOTICE)
    else:
        pinned = [agent.model for squad in squads.values() for agent in squad.outline().agents.values()]
        environ = await with_local_server(policy, catalog, environ, console.say, pinned)
        if not catalog.candidates(environ):
            if cluster_url(asked.db) is None:
                raise NoProvider(catalog.unconfigured(environ))
            console.warn("no provider is configured here: workers do runs, but chats and the gateway have no model")
        keys_allowed = consent(settings, catalog, environ, console)
    library, keys = Personas(packaged()), ClientKeys(settings.state_folder)
    try:
        first = "" if keys.all() else keys.make("first", time.time())
    except (ValueError, OSError) as error:
        raise Unusable(str(error), "name another --state" if isinstance(error, OSError) else "") from None
    if first:
        console.say("a key for clients, which is shown this once:")
        click.echo(first)  # past the console, which masks what looks like a key
    observing = server_observed(settings, console, environ)
    async with _record(settings, asked.db, console) as (journal, cluster), observing as subscribers:
        if journal is None:
            raise Unusable("the server keeps a record of what it does, and cannot write it", "name a --db, or --state")
        options = RunOptions(
            environ=environ,
            offline=asked.offline or None,
            clock=steady(),
            journal=journal,
            state=settings.state_folder,
            notify=telling(console.warn, console.write),
            trust=either(code, keys_allowed),
            subscribers=subscribers,
        )

        address = asked.binding.address(asked.listening.getsockname()[1])
        goes_on = partial(_tell_left, console, partial(command_line, settings, db=asked.db))

        def ready(link: str, left: Sequence[RunLeft]) -> None:
            console.say(
                f"serves {address}/v1 for clients of OpenAI's API, {address} for those of Anthropic's; Ctrl-C stops"
            )
            if not asked.binding.is_local and not asked.binding.proxies:
                console.warn(
                    "what goes to and fro is not encrypted: put a TLS proxy before it (`orchestrator docs server`)"
                )
            if not asked.resume:
                goes_on(left, ", or start with --resume")
            console.say("the dashboard, by this link once:")
            click.echo(f"{address}/login?token={link}")
            gc.collect()
            gc.freeze()  # what was loaded stays: to look through all of it again and again takes half of a page's time

        with announced(settings.state_folder, address):
            ended = await serve(
                ServerSettings(
                    policy=policy,
                    catalog=catalog,
                    routing_file=routing_file(settings),
                    squads=squads,
                    personas={name: library.get(name) for name in library.names()},
                    journal=journal,
                    cluster=cluster,
                    options=options,
                    keys=keys,
                    mask=lambda text: mask_secrets(text, environ),
                    listening=asked.listening,
                    hosts=asked.binding.hosts,
                    out=Path("out"),
                    token=asked.binding.token,
                    proxies=asked.binding.proxies,
                    grace_s=asked.grace,
                    resume=asked.resume,
                    tell=console.say,
                ),
                ready,
            )
        goes_on(ended.left, ", or `serve --resume`")
    if ended.forced_by == signal.SIGINT:
        raise Interrupted("interrupted")
    if ended.forced_by is not None:
        raise Terminated("terminated")


@asynccontextmanager
async def _record(
    settings: Settings, db: str | None, console: Console
) -> AsyncIterator[tuple[Journal | None, ClusterDatabase | None]]:
    """Open the journal that runs are kept in, and the cluster whose workers do them, where `--db` names one."""
    if (url := cluster_url(db)) is None:
        async with record_for_run(settings, db, console.warn) as journal:
            yield journal, None
        return
    from orchestrator.cli.clusters import cluster_at  # PostgreSQL's client, an extra

    async with cluster_at(url, console.warn) as cluster:
        console.say(f"shows the cluster in {without_password(url)}, whose workers do the runs' work")
        yield cluster.journal, cluster


def _tell_left(console: Console, command: Callable[..., str], left: Sequence[RunLeft], other: str) -> None:
    """Tell which runs wait to be gone on with, and how."""
    for run, state in left[:MOST_LEFT]:
        console.say(printable(f"{run} is {state}: `{command('runs', 'resume', run)}` goes on with it{other}"))
    if len(left) > MOST_LEFT:
        console.say(f"and {len(left) - MOST_LEFT} more runs: `{command('runs', 'ls')}`")
