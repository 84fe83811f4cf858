"""How tests start MCP servers, real ones and such that lie, and how they are asked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from agents.mcp.errors import McpFault
from agents.mcp.owner import Owner, opened
from agents.mcp.servers import McpLimits, McpServer, McpStdioServer
from tests.patience import PATIENCE_S

SERVER = Path(__file__).with_name("tools_server.py")
LIAR = Path(__file__).with_name("liar.py")
QUICK = McpLimits(connect_s=PATIENCE_S, backoff_s=0.01, grace_s=0.5)


def stdio(**env: str) -> McpStdioServer:
    return McpStdioServer("t", (sys.executable, str(SERVER), "stdio"), env, timeout_s=PATIENCE_S, limits=QUICK)


def liar(how: str, limits: McpLimits = QUICK, timeout_s: float = PATIENCE_S, **env: str) -> McpStdioServer:
    return McpStdioServer("t", (sys.executable, str(LIAR), how), env, timeout_s=timeout_s, limits=limits)


@asynccontextmanager
async def owned(server: McpServer) -> AsyncIterator[Owner]:
    with anyio.fail_after(PATIENCE_S):
        async with opened([server]) as owners:
            yield owners[server.name]


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # other processes tell nobody
            await anyio.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


async def fault_of_call(owner: Owner, tool: str, **arguments: Any) -> McpFault:
    with pytest.raises(McpFault) as caught:
        await owner.call(tool, arguments)
    return caught.value


class OverHttp:
    """A real server over HTTP in a process of its own, which can be killed and started again at the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(SERVER), "http", str(self.port)])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def is_up(self) -> None:
        with anyio.fail_after(PATIENCE_S):
            while True:
                try:
                    stream = await anyio.connect_tcp("127.0.0.1", self.port)
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    await stream.aclose()
                    return
