"""One connection to a server, from its start to its end: its tools listed within bounds, calls made, faults named."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, assert_never

import anyio
from pydantic import ValidationError

from agents.errors import AgentError
from agents.mcp.definitions import Definition, defined
from agents.mcp.errors import McpFault
from agents.mcp.http import http_transport
from agents.mcp.results import text_of
from agents.mcp.servers import McpHttpServer, McpServer, McpStdioServer
from agents.mcp.stdio import LIST_CHANGED, Link, stdio_transport
from providers.documents.secrets import MASK, without_values
from providers.documents.unicode import clean, cut

INSTALL = 'install it: pip install "squad-orchestrator[mcp]"'
CONNECTION_CLOSED, REQUEST_TIMEOUT = -32000, -32001
MOST_QUOTED = 300
SHORTEST_SECRET = 6
"""Characters: what is shorter is a word that would be missed in a message."""
SESSION_GONE = "Session terminated"
OF_STATUS = frozenset({"Server returned an error response", "Not Found", SESSION_GONE})
"""The package's words for a reply of which it looked at the status alone."""


class McpToolFailed(AgentError):
    """The server says that the call failed; its words are the message."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(slots=True)
class Connection:
    """A server that answers. `unusable` are the tools that it defines so that they cannot be offered, and why."""

    server: McpServer
    client: Any
    link: Link
    definitions: tuple[Definition, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    _listing: anyio.Lock = field(default_factory=anyio.Lock)

    async def refresh(self) -> None:
        """List the tools again where they are stale. However often a server says so, a listing waits for a call."""
        async with self._listing:
            if self.link.stale:
                self.link.stale = False
                await self.list_tools()

    async def listen(self) -> None:
        """Hear of changes as servers of the modern protocol tell them: only those who listen are told."""
        from mcp import MCPError

        try:
            async with self.client.listen(tools_list_changed=True) as told:
                async for _ in told:
                    self.link.stale = True
        except (MCPError, RuntimeError, TimeoutError):  # RuntimeError: it does not, or the stream ended
            self.link.stale = True

    async def list_tools(self) -> None:
        """Read the server's tools, page by page and within the caps. Raise `McpFault` where there are too many."""
        limits, found, unusable = self.server.limits, dict[str, Definition](), dict[str, str]()
        cursor: str | None = None
        for _ in range(limits.pages):
            page = await self.client.list_tools(cursor=cursor)
            for tool in page.tools:
                said = without_values(tool.description or "", self.server.secrets)
                made = defined(tool.name, said, tool.input_schema, tool.annotations, limits.definition_bytes)
                if isinstance(made, str):
                    unusable[clean(tool.name)[:128]] = made
                else:
                    found[made.name] = made
                if len(found) + len(unusable) > limits.tools:
                    raise self._too_many(f"it lists more than {limits.tools} tools")
            cursor = page.next_cursor
            if cursor is None:
                self.definitions, self.unusable = tuple(found.values()), unusable
                return
        raise self._too_many(f"its list of tools has more than {limits.pages} pages")

    def _too_many(self, message: str) -> McpFault:
        return McpFault(self.server.name, "too_large", message)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Return the text of what the tool answered. Raise `McpToolFailed` where the server says that it failed."""
        result = await self.client.call_tool(tool, arguments)
        text = text_of(result.content, result.structured_content)
        text = without_values(text, self.server.secrets)
        if result.is_error:
            raise McpToolFailed(text or "the server says that it failed, and no more")
        return text


def package_fault() -> tuple[str, str] | None:
    """Return why the package `mcp` cannot be used and what to do about it, None where it can."""
    found = find_spec("mcp")
    if found is None:
        return "the package `mcp` is not installed", INSTALL
    if found.submodule_search_locations is None:
        return f"the file {found.origin} stands in the way of the package `mcp`", "give that file another name"
    return None if find_spec("mcp_types") else ("the package `mcp` that is installed is too old", INSTALL)


@asynccontextmanager
async def connected(server: McpServer) -> AsyncIterator[Connection]:
    """Yield a connection whose tools are listed, and end it with the block.

    What goes wrong is raised as it comes, mostly in groups: `fault_of` makes an `McpFault` of it.
    """
    if (wrong := package_fault()) is not None:
        raise McpFault(server.name, "not_installed", *wrong)
    from mcp import Client

    _quiet()
    made = Connection(server, None, Link())

    async def heard(message: Any) -> None:
        if getattr(message, "method", "") == LIST_CHANGED:
            made.link.stale = True

    transport = _transport(server, made.link)
    async with Client(transport, read_timeout_seconds=server.timeout_s, cache=None, message_handler=heard) as client:
        made.client = client
        await made.list_tools()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.listen)
            yield made
            tasks.cancel_scope.cancel()


def _transport(server: McpServer, link: Link) -> AbstractAsyncContextManager[Any]:
    match server:
        case McpStdioServer():
            return _noting(stdio_transport(server, link), server, link)
        case McpHttpServer():
            return _noting(http_transport(server, link), server, link)
        case _:
            assert_never(server)


@asynccontextmanager
async def _noting(transport: AbstractAsyncContextManager[Any], server: McpServer, link: Link) -> AsyncIterator[Any]:
    """Keep the reason for the end of a transport where the caller finds it: on its link, else on its error."""
    try:
        async with transport as streams:
            yield streams
    except Exception as error:
        raise fault_of(error, server, link) from error
    finally:
        link.end()


def fault_of(error: Exception, server: McpServer, link: Link | None = None) -> McpFault:
    """Return what went wrong as the one error that there is for it.

    Whatever the package raises is a fault: what a server sends can make any part of it fail.
    """
    if isinstance(error, ExceptionGroup):
        return fault_of(error.exceptions[0], server, link)
    if isinstance(error, McpFault):
        return error
    if link is not None and link.fault is not None:
        return link.fault
    return _without_secrets(_fault(error, server.name, link), server)


def why_ended(server: McpServer, link: Link) -> McpFault:
    """Return why a connection is of no use any more."""
    return link.fault or _without_secrets(McpFault(server.name, "died", f"it ended{_last_words(link)}"), server)


def _without_secrets(fault: McpFault, server: McpServer) -> McpFault:
    """Return the fault without what the server was given and may repeat."""
    given = server.env if isinstance(server, McpStdioServer) else server.headers
    words = {word for value in given.values() for word in (value, *value.split()) if len(word) >= SHORTEST_SECRET}
    words.update(filter(None, server.secrets))
    message = fault.message
    for word in sorted(words, key=len, reverse=True):
        message = message.replace(word, MASK)
    return McpFault(fault.server, fault.kind, message, fault.hint)


def _fault(error: Exception, name: str, link: Link | None) -> McpFault:
    status, code = None if link is None else link.status, getattr(error, "code", None)
    if status is not None and status >= 400 and _short(error) in OF_STATUS:
        return _of_status(name, status, _short(error))
    if isinstance(error, TimeoutError) or code == REQUEST_TIMEOUT:
        return McpFault(name, "timeout", "it did not answer in time")
    if code == CONNECTION_CLOSED or isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError):
        return McpFault(name, "died", f"it ended{_last_words(link)}")
    if type(error).__name__ in ("ConnectError", "ConnectTimeout"):
        return McpFault(
            name, "died", f"it cannot be reached: {_short(error)}", "is it running, and is `url` its address?"
        )
    if type(error).__module__.split(".")[0] in ("httpx2", "httpcore2"):
        return McpFault(name, "died", f"its connection broke: {type(error).__name__} {_short(error)}".rstrip())
    if code is not None:
        return McpFault(name, "protocol", f"it answers with error {code}: {_short(error)}")
    return McpFault(name, "protocol", f"it does not keep to the protocol: {type(error).__name__}: {_short(error)}")


def _of_status(name: str, status: int, message: str) -> McpFault:
    if status in (401, 403):
        told = f"it answers HTTP {status}: it does not take the credentials that it was sent"
        return McpFault(name, "unauthorized", told, "check the variable that `headers` names")
    if message == SESSION_GONE:
        return McpFault(name, "forgotten", "it was started anew, and the call was not made")
    hint = "is it the address of an MCP server? It mostly ends in /mcp" if status in (404, 405) else ""
    return McpFault(name, "http", f"it answers HTTP {status}", hint)


def _last_words(link: Link | None) -> str:
    """Return the last line that it wrote to stderr."""
    said = [] if link is None else link.said.decode(errors="replace").strip().splitlines()
    return f"; the last that it said: {cut(clean(said[-1]), MOST_QUOTED)}" if said else ""


def _short(error: BaseException) -> str:
    message = str(getattr(error, "message", "")) or str(error)
    if isinstance(error, ValidationError) and (first := error.errors(include_url=False)[:1]):
        message = f"{error.title}: {'.'.join(map(str, first[0]['loc']))}: {first[0]['msg']}"
    return cut(clean(message.partition("\n")[0]), MOST_QUOTED)


def _quiet() -> None:
    """Keep what the package logs off the terminal: without any handler, Python writes warnings to stderr."""
    logger = logging.getLogger("mcp")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
