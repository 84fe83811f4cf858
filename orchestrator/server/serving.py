"""Opens what the server works with, listens, and serves until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from orchestrator.journal.protocols import Journal
from orchestrator.options import RunOptions
from orchestrator.server.access import Access
from orchestrator.server.app import application
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.gateway.store import gateway_store
from orchestrator.server.hosting import hosting
from orchestrator.server.joined_writes import joining
from orchestrator.server.pages.live import live_pages
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad
from personas import Persona
from providers.catalog.model import Catalog
from providers.client.manager import open_manager
from providers.policy.model import Policy

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE_S = 10
"""How long what is being answered may take when the server is told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`options` are those of each run, `state` and `clock` among them. `keys` None: clients need none."""

    policy: Policy
    catalog: Catalog
    squads: Mapping[str, Squad]
    personas: Mapping[str, Persona]
    journal: Journal
    options: RunOptions
    keys: ClientKeys | None
    mask: Callable[[str], str]
    listening: socket
    """Where it listens: bound before anything is opened, so that a port that is taken is told first."""
    hosts: Iterable[str] = LOOPBACK
    out: Path | None = None
    """The folder in which each run gets one for its files; None: runs keep their files in the record alone."""


async def serve(settings: ServerSettings, ready: Callable[[str, str], None]) -> None:
    """Serve until cancelled or told to stop by a signal. `ready` is told the address that is listened at,
    and the token of a link that logs in once."""
    options = settings.options
    assert options.state is not None, "a server has a folder of its own"
    assert options.clock is not None, "and a clock"
    opening = open_manager(
        settings.policy,
        settings.catalog,
        options.variables,
        offline=bool(options.offline),
        state=options.state,
        notify=options.notify,
        trust=options.trust,
    )
    async with (
        gateway_store(options.state, options.clock) as store,
        opening as manager,
        hosting(settings.journal, options, settings.out) as host,
        live_pages() as live,
    ):
        state = ServerState(
            manager,
            settings.journal,
            host,
            settings.squads,
            settings.personas,
            settings.keys,
            options.clock,
            settings.mask,
            options.state,
            store,
            bool(options.offline),
        )
        access = Access(options.state, options.clock)
        server = uvicorn.Server(configured(application(state, access, live, settings.hosts)))
        host_name, port = settings.listening.getsockname()[:2]
        ready(f"http://{host_name}:{port}", access.link("operator"))
        await server.serve(sockets=[settings.listening])


def configured(app: ASGIApp, grace_s: int = GRACE_S) -> uvicorn.Config:
    """Return how an application is served."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        http=joining(AutoHTTPProtocol),
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=grace_s,
    )
