"""The server in this process, with a client beside it: for counting instructions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from benchmarks.gateway.load import request
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions, steady
from orchestrator.server.access import Access
from orchestrator.server.app import application
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.hosting import hosting
from orchestrator.server.listening import listen
from orchestrator.server.pages.live import live_pages
from orchestrator.server.state import ServerState
from providers import open_manager
from providers.catalog.file import load_catalog
from providers.policy.parse import parse_policy

Asking = Callable[[], Awaitable[object]]
BODY = b'{"id":"x","object":"chat.completion","choices":[{"message":{"content":"' + b"y" * 300 + b'"}}]}'


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads a body and answers the same always: what uvicorn takes by itself."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


@asynccontextmanager
async def asked(app: Any, message: bytes) -> AsyncIterator[Asking]:
    """Yield what asks the application once over one kept connection of loopback."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listening.getsockname())

        async def ask() -> None:
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            if (at := head.find(b"content-length: ")) >= 0:
                await reader.readexactly(int(head[at + 16 :].partition(b"\r\n")[0]))
            else:
                await reader.readuntil(b"\r\n0\r\n\r\n")

        yield ask
        writer.close()
        server.should_exit = True
        await serving


@asynccontextmanager
async def bare_turn() -> AsyncIterator[Asking]:
    async with asked(bare, request("/", "m", "k", stream=False)) as ask:
        yield ask


@asynccontextmanager
async def gateway_turn(base_url: str, *, stream: bool = False) -> AsyncIterator[Asking]:
    """A tier of one model behind the gateway, asked with a key."""
    model = {"context": 128_000, "max_output": 4096, "price": {"input": 0.15, "output": 0.6}}
    row = {"dialect": "openai-chat", "base_url": base_url, "models": {"gpt-4o-mini": model}}
    tiers = dict.fromkeys(("boss", "worker"), ["up/gpt-4o-mini"])
    policy, catalog = parse_policy({"version": 1, "tiers": tiers, "providers": {"up": row}}, load_catalog())
    async with AsyncExitStack() as stack:
        folder, clock = Path(stack.enter_context(tempfile.TemporaryDirectory())), steady()
        manager = await stack.enter_async_context(open_manager(policy, catalog, {}))
        journal, keys = MemoryJournal(), ClientKeys(folder)
        host = await stack.enter_async_context(hosting(journal, RunOptions(clock=clock, manager=manager)))
        live = await stack.enter_async_context(live_pages())
        state = ServerState(manager, journal, host, {}, {}, keys, clock, str, folder)
        app = application(state, Access(folder, clock), live, ["127.0.0.1"])
        message = request("/v1/chat/completions", "tier/boss", keys.make("one", clock()), stream=stream)
        yield await stack.enter_async_context(asked(app, message))
