"""A server at an address: the HTTP client that the package's transport is given, with caps that it does not have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents.mcp.errors import McpFault
from agents.mcp.servers import McpHttpServer
from agents.mcp.stdio import Link

CONNECT_S = 10.0


@asynccontextmanager
async def http_transport(server: McpHttpServer, link: Link) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the streams that the package's client reads and writes.

    No proxy or credentials of the environment are used, no body is unpacked, and none is read beyond the cap.
    """
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    most = server.limits.message_bytes

    async def heard(response: httpx2.Response) -> None:
        if response.request.method == "POST":  # servers without a stream of their own answer GET with 405
            link.status = response.status_code
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            link.end(McpFault(server.name, "protocol", f"it packed its reply as {encoding}, unasked"))
            raise httpx2.ReadError("a packed reply")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _capped(response.stream)

    def _capped(stream: Any) -> Any:
        class Capped(httpx2.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                size = 0
                async for chunk in stream:
                    size += len(chunk)
                    if size > most:
                        link.end(McpFault(server.name, "too_large", f"it sent a reply of more than {most:,} bytes"))
                        raise httpx2.ReadError("a reply that is too large")
                    yield chunk

            async def aclose(self) -> None:
                await stream.aclose()

        return Capped()

    headers = {"accept-encoding": "identity", **server.headers}
    # How long an answer may take is the caller's: a stream that a server listens on is silent for hours.
    timeout = httpx2.Timeout(None, connect=CONNECT_S, write=CONNECT_S, pool=CONNECT_S)
    async with (
        httpx2.AsyncClient(
            timeout=timeout, trust_env=False, headers=headers, event_hooks={"response": [heard]}
        ) as http,
        streamable_http_client(server.url, http_client=http, max_sse_event_size=most) as streams,
    ):
        yield streams
