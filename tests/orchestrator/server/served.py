"""The server's application in this process, with a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import anyio
import httpx2
import uvicorn

from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions, steady
from orchestrator.server.access import Access
from orchestrator.server.app import application
from orchestrator.server.connections import ConnectionLimits
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.gateway.store import gateway_store
from orchestrator.server.hosting import hosting
from orchestrator.server.listening import listen
from orchestrator.server.observation import Observation
from orchestrator.server.pages.live import live_pages
from orchestrator.server.serving import configured
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad
from personas import Personas, packaged
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.messages import Capability
from providers.policy.model import Policy, Timeouts
from providers.transport.sockets import SocketTransport
from tests.patience import PATIENCE_S

LIBRARY = Personas(packaged())
SECRET = "sekret"
LIMITS = ConnectionLimits()
NOBODY_WATCHES = Observation()
FREE = Model("m", context=8192, max_output=512, capabilities=frozenset({Capability.TOOLS}), price=Price(0, 0))
EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Served:
    """A client of the server, which is logged in as an operator, and what stands behind it."""

    http: httpx2.AsyncClient
    state: ServerState
    access: Access
    app: Any


@asynccontextmanager
async def served(
    manager: ProviderManager,
    folder: Path,
    keys: ClientKeys | None = None,
    squads: Iterable[Squad] = (),
    watch: Observation = NOBODY_WATCHES,
) -> AsyncIterator[Served]:
    personas = {"analyst": LIBRARY.get("analyst")}
    journal, clock = MemoryJournal(), steady()
    options = RunOptions(clock=clock, manager=manager, subscribers=watch.feeds)
    async with gateway_store(folder, clock) as store, hosting(journal, options) as host, live_pages() as live:
        access, by_name = Access(folder, clock), {squad.name: squad for squad in squads}
        state = ServerState(
            manager,
            journal,
            host,
            by_name,
            personas,
            keys,
            clock,
            lambda text: text.replace(SECRET, "***"),
            folder,
            store,
            watch=watch,
        )
        app = application(state, access, live, ["test", "127.0.0.1"])
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {access.token}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
            yield Served(http, state, access, app)


async def streamed(server: Served, path: str, count: int, headers: Mapping[str, str] = EMPTY) -> list[dict[str, str]]:
    """Return the fields of so many events of a stream that never ends by itself: the client leaves."""
    heard, left = bytearray(), anyio.Event()
    address, _, query = path.partition("?")
    asked = {"authorization": f"Bearer {server.access.token}", "host": "test", **headers}
    scope = {
        "type": "http",
        "method": "GET",
        "path": address,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in asked.items()],
    }

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        heard.extend(message.get("body", b""))
        if heard.count(b"\n\n") >= count:
            left.set()

    with anyio.fail_after(PATIENCE_S):
        await server.app(scope, receive, send)
    told = [dict(line.split(": ", 1) for line in one.splitlines()) for one in heard.decode().split("\n\n") if one]
    return told[:count]


@asynccontextmanager
async def listening(app: Any, limits: ConnectionLimits = LIMITS, **how: Any) -> AsyncIterator[str]:
    """Serve an application on a port of this machine, as `orchestrator serve` does, and yield its address."""
    server, socket = uvicorn.Server(configured(app, 1, limits, **how)), listen("127.0.0.1", 0)
    with closing(socket):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [socket])
            with anyio.fail_after(PATIENCE_S):
                while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
                    await anyio.sleep(0.005)
            try:
                yield f"http://127.0.0.1:{socket.getsockname()[1]}"
            finally:
                server.should_exit = True


@asynccontextmanager
async def asking_at(*addresses: str, row: Model = FREE) -> AsyncIterator[ProviderManager]:
    """Yield a manager of models that are asked at these addresses, in order."""
    known = [
        Candidate(Provider(f"p{number}", "openai-chat", address, "KEY", {"m": row}), row, key="sk-loopback-secret")
        for number, address in enumerate(addresses)
    ]
    policy = Policy(
        dict.fromkeys(("boss", "worker"), tuple(one.name for one in known)),
        timeouts=Timeouts(connect=PATIENCE_S, first_token=PATIENCE_S, between_chunks=PATIENCE_S, total=PATIENCE_S),
        last_resort=(),
        attempts_per_turn=len(known),
    )
    async with SocketTransport() as transport:
        yield ProviderManager(known, policy, adapters={"openai-chat": OpenAIChat()}, transport=transport, rng=Random(1))
