"""How an MCP server is reached, and how much it may answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class McpLimits:
    """What a server may take of us. Times are seconds, sizes bytes."""

    connect_s: float = 30.0
    """From its start to the list of its tools."""
    message_bytes: int = 4 << 20
    """One message, on a pipe or as a body."""
    pages: int = 50
    """Pages of its list of tools."""
    tools: int = 200
    """Tools that it may have."""
    definition_bytes: int = 64 << 10
    """One tool's name, description and schema."""
    restarts: int = 5
    """Deaths in a row, without a call answered in between, after which it is not started again."""
    backoff_s: float = 0.5
    """Before its second start in a row; twice as long before each further one."""
    grace_s: float = 2.0
    """For it to end once its input is closed, and once more after SIGTERM."""


@dataclass(frozen=True, slots=True)
class McpStdioServer:
    """A program that is started, and spoken to over its stdin and stdout."""

    name: str
    """What its tools are called by: `name/tool`."""
    command: tuple[str, ...]
    """The program and its arguments."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that it gets beside those that programs need to run; the values are in no repr."""
    cwd: str | None = None
    """The folder that it runs in; None: this process's."""
    timeout_s: float = 60.0
    """Of one call."""
    limits: McpLimits = McpLimits()
    """How much it may answer, and how long it may take."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What is taken out of all that it says."""
    pinned: Mapping[str, str] = field(default_factory=dict, repr=False)
    """File -> SHA-256 of what it is made of and may not change: it is looked at before each start."""


@dataclass(frozen=True, slots=True)
class McpHttpServer:
    """A server at an address (streamable HTTP)."""

    name: str
    """What its tools are called by: `name/tool`."""
    url: str
    """Its address."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request; the values are in no repr."""
    timeout_s: float = 60.0
    """Of one call."""
    limits: McpLimits = McpLimits()
    """How much it may answer, and how long it may take."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What is taken out of all that it says."""


McpServer = McpStdioServer | McpHttpServer
