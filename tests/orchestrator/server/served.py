"""The server's application in this process, with a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions, steady
from orchestrator.server.access import Access
from orchestrator.server.app import application
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.hosting import hosting
from orchestrator.server.pages.live import live_pages
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad
from personas import Personas, packaged
from providers.client.manager import ProviderManager

LIBRARY = Personas(packaged())
SECRET = "sekret"


@dataclass(frozen=True)
class Served:
    """A client of the server, which is logged in as an operator, and what stands behind it."""

    http: httpx2.AsyncClient
    state: ServerState
    access: Access
    app: Any


@asynccontextmanager
async def served(
    manager: ProviderManager, folder: Path, keys: ClientKeys | None = None, squads: Iterable[Squad] = ()
) -> AsyncIterator[Served]:
    personas = {"analyst": LIBRARY.get("analyst")}
    journal, clock = MemoryJournal(), steady()
    async with hosting(journal, RunOptions(clock=clock, manager=manager)) as host, live_pages() as live:
        access, by_name = Access(folder, clock), {squad.name: squad for squad in squads}
        state = ServerState(
            manager, journal, host, by_name, personas, keys, clock, lambda text: text.replace(SECRET, "***"), folder
        )
        app = application(state, access, live, ["test"])
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {access.token}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
            yield Served(http, state, access, app)
