"""The tools of MCP servers, for agents of an embedding program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.mcp.owner import Owner, opened
from agents.mcp.servers import McpServer
from agents.mcp.tools import caller, named_tools, tool_of
from agents.tools import Tool


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
