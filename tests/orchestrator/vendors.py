"""One server that answers in three dialects and keeps each request's body as it came."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPLIES: dict[str, Any] = {
    "/chat/completions": {
        "id": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Said."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    },
    "/messages": {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Said."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 12, "output_tokens": 7},
    },
    ":generateContent": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Said."}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 7, "totalTokenCount": 19},
    },
}
TOOL_CALL = {
    "id": "x",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "read_file", "arguments": '{"path": "none.md"}'},
                    }
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
}


@dataclass
class Vendors:
    """`bodies` are (end of the path, body) as they came; `failing` says how many of the first get a 500 there."""

    failing: dict[str, int] = field(default_factory=dict)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    root: str = ""

    @contextmanager
    def serving(self) -> Iterator[Vendors]:
        vendors, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with lock:
                    end = next(end for end in REPLIES if self.path.partition("?")[0].endswith(end))
                    vendors.bodies.append((end, body))
                    failed = vendors.failing.get(end, 0) > 0
                    vendors.failing[end] = vendors.failing.get(end, 0) - 1
                data = json.dumps({"error": {"message": "broke"}} if failed else self._reply(end, body)).encode()
                self.send_response(500 if failed else 200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(data)

            def _reply(self, end: str, body: bytes) -> Any:
                asked = json.loads(body)
                calls = end == "/chat/completions" and asked.get("tools") and asked["messages"][-1]["role"] == "user"
                return TOOL_CALL if calls else REPLIES[end]

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
                """Say nothing on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.root = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
