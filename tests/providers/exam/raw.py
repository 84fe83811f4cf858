"""A server on 127.0.0.1 that says byte for byte what a test tells it to: what no HTTP library would send.

It runs in threads of its own, so tests on any event loop may ask it.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from tests.patience import PATIENCE_S

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Line:
    """The connection of one request. `left` is set once the client was seen to have closed it."""

    def __init__(self, connection: socket.socket, name: str, body: Any, *, first: bool) -> None:
        self.connection, self.name, self.body = connection, name, body
        self.first = first
        """Whether it is the first request of its connection."""
        self.left = threading.Event()

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    def say(self, *pieces: bytes) -> None:
        with suppress(OSError):  # the client may have left
            self.connection.sendall(b"".join(pieces))

    def chunk(self, *pieces: bytes) -> None:
        data = b"".join(pieces)
        self.say(b"%x\r\n%b\r\n" % (len(data), data))

    def events(self, *pieces: bytes) -> None:
        """Begin a stream with these."""
        self.say(HEAD)
        self.chunk(*pieces)

    def whole(self, body: bytes) -> None:
        self.say(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body)

    def hold(self) -> None:
        """Say nothing until the client leaves, or the test is over."""
        self._is_left_within(None)

    def drip(self, piece: bytes, every: float = 0.02) -> None:
        """Say this again and again until the client leaves."""
        while not self._is_left_within(every):
            try:
                self.connection.sendall(piece)
            except OSError:
                self.left.set()

    def _is_left_within(self, seconds: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        if not self.left.is_set() and waiting.poll(None if seconds is None else seconds * 1000):
            with suppress(OSError):
                if self.connection.recv(1, socket.MSG_PEEK):
                    raise AssertionError("a request came before the reply to the one before had ended")
            self.left.set()
        return self.left.is_set()


Script = Callable[[Line], None]
"""What is said on one request. The connection serves another one after it."""


class RawServer:
    """`requests` are in order of arrival."""

    def __init__(self) -> None:
        self.requests: list[Line] = []
        self._scripts: dict[str, list[Script]] = {}
        self._server = _Server(("127.0.0.1", 0), self)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, name: str, *scripts: Script) -> str:
        """Return a base URL whose n-th request meets the n-th script, later ones the last."""
        self._scripts[name] = list(scripts)
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    @property
    def calls(self) -> list[str]:
        return [line.name for line in self.requests]

    def serve(self, connection: socket.socket) -> None:
        data, first = b"", True
        while True:
            while b"\r\n\r\n" not in data:
                if not (piece := connection.recv(65536)):
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
            while len(data) < length:
                if not (piece := connection.recv(65536)):
                    return
                data += piece
            name = head.split(b"/", 2)[1].decode()
            body = json.loads(data[:length]) | ({"stream": True} if b":streamGenerateContent" in head else {})
            data = data[length:]
            line = Line(connection, name, body, first=first)
            scripts, at = self._scripts[name], self.calls.count(name)
            self.requests.append(line)
            scripts[min(at, len(scripts) - 1)](line)
            first = False
            if line.left.is_set():
                return

    @contextmanager
    def serving(self) -> Iterator[RawServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="raw server")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join(PATIENCE_S)
            self._server.hang_up()
            self._server.server_close()


class _Server(ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], raw: RawServer) -> None:
        super().__init__(address, _Handler)
        self.raw = raw
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in self._open.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            self.server.raw.serve(self.request)
