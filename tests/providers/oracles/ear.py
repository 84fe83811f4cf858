"""A server that hears what a vendor's own client sends, and one conversation to be said by it and by us."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from providers.adapters import HttpRequest
from providers.messages import (
    Image,
    Message,
    OutputSchema,
    Request,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    assistant,
    system,
    tool,
    user,
)

PIXEL = b"\x89PNG\r\n\x1a\n pixel"
PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
SUM = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}
ADD = ToolSpec("add", "Adds two numbers.", PARAMETERS)
TALK = (
    system("Be brief. 🛒"),
    Message("user", (Text("What is on it?"), Image("image/png", PIXEL))),
    assistant(
        "Two numbers.", ToolCall("call_0000a", "add", '{"a":1,"b":2}'), ToolCall("call_0000b", "add", '{"a":3,"b":4}')
    ),
    tool(ToolResult("call_0000a", "add", "3"), ToolResult("call_0000b", "add", "7")),
    assistant("3 and 7."),
    user("Grüße: sum of all?"),
)
WHOLE = Request(
    TALK,
    tools=(ADD,),
    tool_choice="required",
    output_schema=OutputSchema(SUM, "total"),
    max_output_tokens=100,
    temperature=0.5,
    stop=("END", "STOP"),
    seed=7,
)


@dataclass(frozen=True)
class Sent:
    """A request: its path with the query, its headers in lower case, its body."""

    path: str
    headers: dict[str, str]
    body: Any

    @classmethod
    def ours(cls, request: HttpRequest) -> Sent:
        path = "/" + request.url.partition("://")[2].partition("/")[2]
        return cls(path, dict(request.headers), json.loads(request.body))


@dataclass
class Ear:
    """Answers everything with a 400, and keeps it."""

    url: str = ""
    heard: list[Sent] = field(default_factory=list)


@pytest.fixture(scope="module")
def ear() -> Iterator[Ear]:
    """A listening server. Its `heard` grows by one a request."""
    kept = Ear()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.heard.append(Sent(self.path, headers, json.loads(body)))
            self.send_response(400)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"error":{"message":"heard","type":"invalid_request_error","code":400}}')

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
            """Say nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield kept
        server.shutdown()
        thread.join()
