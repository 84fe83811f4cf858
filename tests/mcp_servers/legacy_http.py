"""A server over HTTP of the older protocol, with sessions that it can forget; of no library."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOL = {"name": "t", "description": "d", "inputSchema": {"type": "object", "properties": {}}}
VERSIONS = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "l", "version": "1"}}


class LegacyHttp(ThreadingHTTPServer):
    daemon_threads = True
    sessions = 1
    calls = 0
    forgets_always = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"

    def answer(self, request: Any, session: str | None) -> tuple[int, Any]:
        match request["method"]:
            case "initialize":
                return 200, VERSIONS
            case _ if session is None:
                return 400, None
            case _ if session != str(self.sessions):
                return 404, None
            case "tools/list":
                self.sessions += self.forgets_always
                return 200, {"tools": [TOOL]}
            case "tools/call":
                self.calls += 1
                return 200, {"content": [{"type": "text", "text": "well"}]}
        return 202, None


class _Handler(BaseHTTPRequestHandler):
    server: LegacyHttp

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, result = self.server.answer(request, self.headers.get("mcp-session-id"))
        body = b"" if result is None else json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("mcp-session-id", str(self.server.sessions))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(405)

    def do_DELETE(self) -> None:
        self.send_error(405)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
        """Say nothing on stderr."""


@contextmanager
def legacy_http() -> Iterator[LegacyHttp]:
    with LegacyHttp(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
