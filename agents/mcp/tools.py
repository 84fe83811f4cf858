"""The tools of MCP servers as tools of ours: for agents of an embedding program, and for squads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from agents.mcp.definitions import Definition, tool_name
from agents.mcp.owner import Owner, opened
from agents.mcp.servers import McpServer
from agents.tools import Tool

TIMEOUT_S = 60.0


@asynccontextmanager
async def mcp_tools(*servers: McpServer, trust_annotations: bool = False) -> AsyncIterator[tuple[Tool, ...]]:
    """Start MCP servers, yield their tools, named as a model reads them (`git__log`), and end them with the block.

    A server that dies is started again by the next call; what it answers is capped, and counts as written by others.
    Its tools are risky, unless `trust_annotations` says to believe what they say of themselves. Needs the extra `mcp`.
    Raises `McpFault` where a server does not start.
    """
    async with opened(servers) as owners:
        yield tuple(tool for server in servers for tool in _tools(owners[server.name], trust_annotations))


def _tools(owner: Owner, is_believed: bool) -> list[Tool]:
    named = named_tools(owner.server.name, owner.definitions)
    return [
        tool_of(name, one, caller(owner, one.name), owner.server.timeout_s, is_believed=is_believed)
        for name, one in named.items()
    ]


def named_tools(server: str, definitions: tuple[Definition, ...] | list[Definition]) -> dict[str, Definition]:
    """Return the definitions by the names that a model reads, each its own."""
    named: dict[str, Definition] = {}
    for one in definitions:
        name = tool_name(server, one.name)
        # Two names can come to one, as `a.b` and `a_b` do.
        named[name if name not in named else tool_name(server, f"{one.name}_{one.digest[:8]}")] = one
    return named


def caller(owner: Owner, tool: str) -> Callable[..., Awaitable[str]]:
    """Return the function that calls a server's tool."""

    async def call(**arguments: object) -> str:
        return await owner.call(tool, arguments)

    return call


def tool_of(
    name: str, definition: Definition, function: Callable[..., Any], timeout_s: float, *, is_believed: bool
) -> Tool:
    """Return a tool of a server that is called by `function`.

    What it says of itself counts only where it `is_believed`: else it is risky. What it returns is never trusted.
    """
    return Tool(
        name,
        definition.description,
        function,
        parameters=definition.schema,
        blocking=False,
        timeout_s=timeout_s,
        idempotent=is_believed and (definition.idempotent or definition.read_only),
        risk="read_only" if is_believed and definition.read_only else "risky",
        untrusted=True,
    )
