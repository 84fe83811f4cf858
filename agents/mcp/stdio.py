"""A server's process: its pipes as streams of messages, its death noticed, its end sure.

The package's own transport reads lines in quadratic time and without a cap, and does not notice a process that ended
while a child of it holds the pipe open. This one does, with a process group of the server's own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from agents.mcp.errors import McpFault
from agents.mcp.servers import McpStdioServer
from agents.pinned import refuse_changed
from agents.threads import in_thread

NEEDED = (
    ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
    if sys.platform != "win32"
    else ("APPDATA", "LOCALAPPDATA", "PATH", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE")
)
"""The variables that programs need to run. No others of our own environment reach a server."""
LOOKS_S = 0.25
"""How often it is looked whether the process is still there; a pipe that ends is noticed at once."""
REAP_S = 2.0
"""For a process that was killed to be gone."""
MOST_SAID = 2000
"""Bytes of the end of what a server wrote to stderr that are kept for a message."""
LIST_CHANGED = "notifications/tools/list_changed"
LISTENING = "notifications/subscriptions/acknowledged"
"""How a server of the modern protocol says that it will tell of changes; the package waits for it."""
CLOSED = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@dataclass(slots=True)
class Link:
    """What is known of a connection: why it broke, the last status of an HTTP reply, what the program wrote to stderr.

    `closed` is set once nothing can be asked any more.
    """

    closed: anyio.Event = field(default_factory=anyio.Event)
    fault: McpFault | None = None
    status: int | None = None
    said: bytes = b""
    said_all: anyio.Event = field(default_factory=anyio.Event)
    stale: bool = False
    """It said that its tools changed, and they were not listed since."""

    def end(self, fault: McpFault | None = None) -> None:
        """Note that the connection is of no use any more, and why: the first reason stays."""
        self.fault = self.fault or fault
        self.closed.set()


@asynccontextmanager
async def stdio_transport(server: McpStdioServer, link: Link) -> AsyncIterator[tuple[Any, Any]]:
    """Start the server, and yield the streams that the package's client reads and writes.

    However the block ends, the process and its whole group are gone then, within twice `grace_s`. Raise `McpFault`
    where it cannot be started.
    """
    process = await _started(server)
    from_server, to_client = anyio.create_memory_object_stream[Any](0)
    from_client, to_server = _reversed(anyio.create_memory_object_stream[Any](0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, server, link, from_server)
        tasks.start_soon(_write, process, link, from_client)
        tasks.start_soon(_listen, process, link)
        tasks.start_soon(_watch, process, link, from_server)
        try:
            yield to_client, to_server
        finally:
            with anyio.CancelScope(shield=True):
                to_server.close()
                to_client.close()
                await _ended(process, server.limits.grace_s if link.fault is None else 0.0)
            tasks.cancel_scope.cancel()
    from_server.close()
    from_client.close()


def _reversed(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair[1], pair[0]


async def _started(server: McpStdioServer) -> Process:
    env = {name: os.environ[name] for name in NEEDED if name in os.environ} | dict(server.env)
    try:
        await in_thread(partial(refuse_changed, server.pinned))
    except (OSError, ValueError) as error:
        raise McpFault(server.name, "changed", f"it is not started: {error}") from error
    try:
        return await anyio.open_process(
            list(server.command), env=env, cwd=server.cwd, stderr=subprocess.PIPE, start_new_session=True
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = server.cwd if error.filename == server.cwd and server.cwd else server.command[0]
        message, hint = f"there is no {missing}", "install it, or correct `command` or `cwd`"
        raise McpFault(server.name, "not_found", message, hint) from error
    except (OSError, ValueError) as error:
        raise McpFault(server.name, "not_started", f"{server.command[0]} does not start: {error}") from error


async def _read(process: Process, server: McpStdioServer, link: Link, messages: MemoryObjectSendStream[Any]) -> None:
    """Hand each line on as a message. What is no message is left out: programs print all kinds of things."""
    from mcp.shared.message import SessionMessage

    assert process.stdout is not None
    most = server.limits.message_bytes
    async with messages, aclosing(lines(process.stdout, most)) as found:
        with suppress(*CLOSED):
            async for line in found:
                if line is None:
                    link.end(McpFault(server.name, "too_large", f"it sent a message of more than {most:,} bytes"))
                    break
                if (message := _message(line, link)) is not None:
                    await messages.send(SessionMessage(message))
        with anyio.move_on_after(LOOKS_S):  # its last words are on their way
            await link.said_all.wait()
    link.end()


def _message(line: bytes, link: Link) -> Any:
    """Return a line as a message; None for what is none, and for notes, of which one alone concerns us.

    Notes are told apart before the package reads them, which takes fifty times as long: a server may send any number.
    """
    from mcp_types import jsonrpc_message_adapter

    if not line.lstrip().startswith(b"{"):
        return None
    try:
        document = json.loads(line.decode(errors="replace"))
        if "id" not in document and document.get("method") != LISTENING:
            link.stale = link.stale or document.get("method") == LIST_CHANGED
            return None
        return jsonrpc_message_adapter.validate_python(document, by_name=False)
    except (ValueError, RecursionError):
        return None


async def lines(stream: Any, most_bytes: int) -> AsyncGenerator[bytes | None]:
    """Yield each line, in time that grows with its length; None, and no more, for one of more than `most_bytes`."""
    pieces, size = list[bytes](), 0
    async for chunk in stream:
        *ends, rest = chunk.split(b"\n")
        for piece in ends:
            size += len(piece)
            if size > most_bytes:
                yield None
                return
            yield b"".join([*pieces, piece])
            pieces, size = [], 0
        pieces.append(rest)
        size += len(rest)
        if size > most_bytes:
            yield None
            return


async def _write(process: Process, link: Link, messages: MemoryObjectReceiveStream[Any]) -> None:
    assert process.stdin is not None
    with suppress(*CLOSED):
        async with messages:
            async for sent in messages:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(f"{text}\n".encode())
    link.end()


async def _listen(process: Process, link: Link) -> None:
    """Keep the end of what it writes to stderr, and never let it wait for a reader."""
    assert process.stderr is not None
    with suppress(*CLOSED):
        async for chunk in process.stderr:
            link.said = (link.said + chunk)[-MOST_SAID:]
    link.said_all.set()


async def _watch(process: Process, link: Link, messages: MemoryObjectSendStream[Any]) -> None:
    """Notice that the process ended, also where a child of it holds its pipes open.

    `process.wait()` would not on asyncio: it waits for the ends of the pipes, too.
    """
    while process.returncode is None:  # noqa: ASYNC110  # nothing tells it
        await anyio.sleep(LOOKS_S)
    with anyio.move_on_after(LOOKS_S):  # what it still said is read first
        await link.closed.wait()
    link.end()
    messages.close()


async def _ended(process: Process, grace_s: float) -> None:
    """End the process: close its input, wait, SIGTERM to its group, wait, SIGKILL; then close its pipes."""
    with suppress(*CLOSED):
        assert process.stdin is not None
        await process.stdin.aclose()
    if not await _gone(process, grace_s):
        _signal(process, signal.SIGTERM)
        await _gone(process, grace_s)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))  # also to children that outlived it
    await _gone(process, REAP_S)
    for pipe in (process.stdout, process.stderr):
        with suppress(*CLOSED):
            assert pipe is not None
            await pipe.aclose()
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if transport is not None:  # asyncio's would warn where a child still holds a pipe; nothing public closes it
        with suppress(PermissionError):
            transport.close()


async def _gone(process: Process, within_s: float) -> bool:
    with anyio.move_on_after(within_s):
        while process.returncode is None:  # noqa: ASYNC110  # as above
            await anyio.sleep(0.01)
    return process.returncode is not None


def _signal(process: Process, number: int) -> None:
    """Send a signal to the process's group, where there are such; else to the process."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, number)
