"""Opens what the server works with, listens, and serves until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from orchestrator.server.app import application
from orchestrator.server.gateway.keys import Keys
from orchestrator.server.gateway.published import Published
from orchestrator.server.gateway.routes import Gateway
from personas import Persona
from providers.catalog.model import Catalog
from providers.catalog.trust import Consent
from providers.client.manager import open_manager
from providers.events import Emit
from providers.policy.model import Policy

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE_S = 10
"""How long what is being answered may take when the server is told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`keys` None: clients need none. `state` is the folder that keeps keys and what providers' limits allow."""

    policy: Policy
    catalog: Catalog
    environ: Mapping[str, str]
    personas: Mapping[str, Persona]
    state: Path
    keys: Keys | None
    notify: Emit
    trust: Consent
    mask: Callable[[str], str]
    offline: bool = False
    host: str = "127.0.0.1"
    port: int = 8700
    hosts: Iterable[str] = LOOPBACK


async def serve(settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until cancelled or told to stop by a signal. `ready` is told the address that is listened at."""
    async with open_manager(
        settings.policy,
        settings.catalog,
        settings.environ,
        offline=settings.offline,
        state=settings.state,
        notify=settings.notify,
        trust=settings.trust,
    ) as manager:
        tiers = tuple(manager.policy.tiers)

        def published() -> Published:
            return Published(tiers, settings.personas, manager.configured)

        gateway = Gateway(manager, published, settings.keys, manager.clock(), settings.mask)
        config = uvicorn.Config(
            application(gateway, settings.hosts),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        server = uvicorn.Server(config)
        listening = config.bind_socket()
        host, port = listening.getsockname()[:2]
        ready(f"http://{host}:{port}")
        await server.serve(sockets=[listening])
