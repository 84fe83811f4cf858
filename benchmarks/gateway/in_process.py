"""The server in this process, with a client beside it: for counting instructions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from benchmarks.gateway.load import request
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions, steady
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.listening import listen
from orchestrator.server.serving import ServerSettings, configured, serve
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
async def asking(address: str, message: bytes) -> AsyncIterator[Asking]:
    """Yield what asks there once, over one kept connection."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

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


@asynccontextmanager
async def bare_turn() -> AsyncIterator[Asking]:
    server = uvicorn.Server(configured(bare))
    with listen("127.0.0.1", 0) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with asking(address, request("/", "m", "k", stream=False)) as ask:
            yield ask
        server.should_exit = True
        await serving


@asynccontextmanager
async def gateway_turn(base_url: str, *, stream: bool = False) -> AsyncIterator[Asking]:
    """A tier of one model behind the server, asked with a key."""
    model = {"context": 128_000, "max_output": 4096, "price": {"input": 0.15, "output": 0.6}}
    row = {"dialect": "openai-chat", "base_url": base_url, "models": {"gpt-4o-mini": model}}
    tiers = {name: ["up/gpt-4o-mini"] for name in ("boss", "worker")}
    policy, catalog = parse_policy({"version": 1, "tiers": tiers, "providers": {"up": row}}, load_catalog())
    with tempfile.TemporaryDirectory() as folder, listen("127.0.0.1", 0) as listening:
        journal, keys, ready = MemoryJournal(), ClientKeys(Path(folder)), asyncio.get_running_loop().create_future()
        settings = ServerSettings(
            policy=policy,
            catalog=catalog,
            squads={},
            personas={},
            journal=journal,
            options=RunOptions(environ={}, clock=steady(), journal=journal, state=Path(folder)),
            keys=keys,
            mask=str,
            listening=listening,
        )
        message = request("/v1/chat/completions", "tier/boss", keys.make("one", 0.0), stream=stream)
        serving = asyncio.create_task(serve(settings, lambda _, __: ready.set_result(None)))
        await ready
        async with asking(f"http://127.0.0.1:{listening.getsockname()[1]}", message) as ask:
            yield ask
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
