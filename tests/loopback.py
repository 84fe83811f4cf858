"""A provider on 127.0.0.1 that speaks Chat Completions and misbehaves as its path says.

`loopback.url("500", "ok")` is the base URL of an endpoint whose first request gets a 500 and every later one a sound
answer; `loopback.by(rule)` that of one where a function says it of each call. It runs in threads of its own, so tests
on any event loop may ask it.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.patience import PATIENCE_S

WORDS = ("Hello ", "from ", "loopback ", "🛒 ", "é.")
ANSWER = "".join(WORDS)
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
POLL_S = 0.02


@dataclass
class Seen:
    """One request, which came at the instant `at` of `time.monotonic`.

    `left` is set, and `left_at` is when, once the client closed its socket before the answer was over.
    """

    base: str
    mode: str
    headers: dict[str, str]
    body: Any
    raw: bytes = b""
    at: float = field(default_factory=time.monotonic)
    left: threading.Event = field(default_factory=threading.Event)
    left_at: float = math.inf


@dataclass(frozen=True)
class Served:
    """A whole reply as it is: for what a provider said once, and no mode says."""

    status: int
    body: Any
    """Bytes or text as they are, anything else as JSON."""
    headers: dict[str, str] = field(default_factory=dict)


Rule = Callable[[Seen], str | Served]
"""Says which mode meets a call, or with what it is served."""


class Loopback:
    """The server and what it saw. `requests` are in order of arrival."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.literal = b'"Hello."'
        """What the mode `literal` says: a JSON string as it stands on the wire, escapes and all."""
        self._turns: Counter[str] = Counter()
        self._rules: dict[str, Rule] = {}
        self._served: dict[int, Served] = {}
        self._came = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url(self, *modes: str) -> str:
        """Return a base URL. The n-th request to it is met by the n-th mode (see `MODES`), later ones by the last."""
        unknown = [mode for mode in modes if mode.partition("=")[0] not in MODES]
        assert not unknown, f"no such mode: {unknown}"
        return f"{self.root}/{','.join(modes)}/v1"

    def by(self, rule: Rule) -> str:
        """Return a base URL of its own, where `rule` says of each call which mode meets it."""
        name = f"rule{len(self._rules)}"
        self._rules[name] = rule
        return f"{self.root}/{name}/v1"

    def to(self, base: str) -> list[Seen]:
        """Return the requests that came to the base URL."""
        return [seen for seen in self.requests if seen.base == base]

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> Seen:
        modes = path.split("/")[1]
        with self._came:
            turn = self._turns[modes]
            self._turns[modes] += 1
            options = modes.split(",")
            base = f"{self.root}{path.removesuffix('/chat/completions')}"
            seen = Seen(base, options[min(turn, len(options) - 1)], headers, json.loads(raw), raw)
            if modes in self._rules:
                said = self._rules[modes](seen)
                if isinstance(said, Served):
                    seen.mode = f"served={id(seen)}"
                    self._served[id(seen)] = said
                else:
                    seen.mode = said
            self.requests.append(seen)
            self._came.notify_all()
        return seen

    def served(self, seen: Seen) -> Served:
        """Return with what a rule serves this call."""
        return self._served.pop(id(seen))

    def wait_for(self, count: int) -> None:
        """Wait until so many requests have come in all."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.requests) >= count, PATIENCE_S), f"{len(self.requests)} came"

    @contextmanager
    def serving(self) -> Iterator[Loopback]:
        thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="loopback")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.hang_up()
            self._server.server_close()  # waits for the threads that still answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 2048

    def __init__(self, address: tuple[str, int], loopback: Loopback) -> None:
        super().__init__(address, _Handler)
        self.loopback = loopback
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections: who waits on one, for a request or for its client to leave, waits no more."""
        for connection in self._open.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients of a misbehaving server leave in the middle."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer on a kept connection waits 40 ms for an acknowledgement
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.loopback = self.server.loopback

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = self.loopback.take(self.path, headers, data)
        self.streamed = bool(self.seen.body.get("stream"))
        kind, _, argument = self.seen.mode.partition("=")
        try:
            MODES[kind](self, argument)
        except ConnectionError:  # it left before the answer, or the part of it that the mode sends
            self.gone()

    def gone(self) -> None:
        """Note that the client closed its socket before the answer was over."""
        self.seen.left_at = time.monotonic()
        self.seen.left.set()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
        """Say nothing on stderr."""

    # -- pieces of an answer

    def whole(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        self.whole(status, json.dumps(_error(message, code)).encode(), **headers)

    def open_events(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def delta(self, **delta: Any) -> None:
        self.chunk(_event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))

    def end_events(self, finish: str = "stop") -> None:
        self.chunk(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        if (self.seen.body.get("stream_options") or {}).get("include_usage"):
            self.chunk(_event({"choices": [], "usage": USAGE}))
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def answer(self, words: tuple[str, ...] = WORDS, content_type: str = "application/json") -> None:
        if not self.streamed:
            self.whole(200, _completion("".join(words)), content_type)
            return
        self.open_events()
        self.delta(role="assistant", content="")
        for word in words:
            self.delta(content=word)
        self.end_events()

    def half(self) -> None:
        """Begin a whole answer, of which more is promised."""
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "500")
        self.end_headers()
        self.wfile.write(_completion(ANSWER)[:30])

    def hold(self, seconds: float) -> None:
        """Send nothing for `seconds`, or until the client leaves or the test is over."""
        waiting = select.poll()  # a select would end at the 1024th socket
        waiting.register(self.connection, select.POLLIN)
        if waiting.poll(seconds * 1000) and not self._peek():
            self.gone()

    def _peek(self) -> bytes:
        with suppress(ConnectionError):
            return self.connection.recv(1, socket.MSG_PEEK)
        return b""


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": code}}


def _completion(content: str, finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return json.dumps({"id": "x", "choices": [choice], "usage": USAGE}, ensure_ascii=False).encode()


# ---- what may go wrong


def _serve(handler: _Handler, _: str) -> None:
    reply = handler.loopback.served(handler.seen)
    body = reply.body if isinstance(reply.body, bytes | str) else json.dumps(reply.body)
    kind = reply.headers.get("content-type", "application/json")
    others = {name: value for name, value in reply.headers.items() if name != "content-type"}
    handler.whole(reply.status, body if isinstance(body, bytes) else body.encode(), kind, **others)


def _reset(handler: _Handler, _: str) -> None:
    # Linger for no time: the kernel answers with RST instead of FIN.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def _slow(handler: _Handler, seconds: str) -> None:
    handler.hold(float(seconds))
    if not handler.seen.left.is_set():
        handler.answer()


def _hang(handler: _Handler, _: str) -> None:
    handler.hold(60)
    handler.close_connection = True


def _stall(handler: _Handler, _: str) -> None:
    """Go silent after the first word."""
    if handler.streamed:
        handler.open_events()
        handler.delta(content=WORDS[0])
    else:
        handler.half()
    handler.hold(60)
    handler.close_connection = True


def _endless(handler: _Handler, word: str) -> None:
    """Stream one word for ever, whatever cap was asked for."""
    handler.open_events()
    while True:
        handler.chunk(_event({"choices": [{"index": 0, "delta": {"content": word or "more "}}]}) * 16)


def _malformed(handler: _Handler, _: str) -> None:
    if not handler.streamed:
        handler.whole(200, _completion(ANSWER)[:-20])
        return
    handler.open_events()
    handler.chunk(b'data: {"choices": [{"delta"\n\n')
    handler.end_events()


def _html(handler: _Handler, _: str) -> None:
    handler.whole(200, b"<!doctype html><title>Sign in</title>", "text/html")


def _cut(handler: _Handler, words: str) -> None:
    """End the reply properly, but after only so many words: no finish reason, no terminator."""
    if not handler.streamed:
        handler.whole(200, _completion(ANSWER)[: 40 * int(words)])
        return
    handler.open_events()
    handler.delta(role="assistant", content="")
    for word in WORDS[: int(words)]:
        handler.delta(content=word)
    handler.chunk(b"")


def _torn(handler: _Handler, words: str) -> None:
    """Drop the connection in the middle of the body."""
    if handler.streamed:
        handler.open_events()
        for word in WORDS[: int(words)]:
            handler.delta(content=word)
        handler.wfile.write(b"40\r\ndata: {")
    else:
        handler.half()
    handler.close_connection = True


def _unended(handler: _Handler, _: str) -> None:
    """Say all there is to say, and end neither the stream nor the body: where was it cut?"""
    if handler.streamed:
        handler.open_events()
        for word in WORDS:
            handler.delta(content=word)
        handler.chunk(b"")
    else:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.chunk(_completion(ANSWER))
        handler.close_connection = True


def _error_inside(handler: _Handler, words: str) -> None:
    """Break after some words, and say so under the status 200 that was sent long ago."""
    if not handler.streamed:
        handler.whole(200, json.dumps(_error("the upstream broke")).encode())
        return
    handler.open_events()
    for word in WORDS[: int(words or 0)]:
        handler.delta(content=word)
    handler.chunk(_event(_error("the upstream broke")))
    handler.chunk(b"")


def _withheld(handler: _Handler, _: str) -> None:
    """Answer with nothing but the word of a content filter."""
    if handler.streamed:
        handler.open_events()
        handler.end_events("content_filter")
    else:
        handler.whole(200, _completion("", "content_filter"))


def _literal(handler: _Handler, _: str) -> None:
    if not handler.streamed:
        handler.whole(200, _completion("#").replace(b'"#"', handler.loopback.literal))
        return
    handler.open_events()
    handler.chunk(_event({"choices": [{"delta": {"content": "#"}}]}).replace(b'"#"', handler.loopback.literal))
    handler.end_events()


def _echo(handler: _Handler, status: str) -> None:
    """Repeat the key, as some vendors' error messages do; with 200 on a page of HTML, as some proxies do."""
    words = f"Incorrect API key provided: {handler.seen.headers.get('authorization')}. Request headers: ..."
    if status == "200":
        handler.whole(200, f"<html>{words}</html>".encode(), "text/html")
    else:
        handler.refuse(int(status), words, x_request_id=words)


def _latin1(handler: _Handler, _: str) -> None:
    """Words that are not UTF-8, as a careless proxy sends them."""
    if not handler.streamed:
        handler.whole(200, _completion("caf#").replace(b"#", b"\xe9"))
        return
    handler.open_events()
    handler.chunk(_event({"choices": [{"delta": {"content": "caf#"}}]}).replace(b"#", b"\xe9"))
    handler.end_events()


MODES: dict[str, Callable[[_Handler, str], None]] = {
    "served": _serve,
    "ok": lambda handler, words: handler.answer(WORDS[int(words or 0) :]),
    "500": lambda handler, _: handler.refuse(500, "something broke"),
    "503": lambda handler, _: handler.refuse(503, "no capacity"),
    "401": lambda handler, _: handler.refuse(401, "wrong key"),
    "429": lambda handler, seconds: handler.refuse(429, "slow down", retry_after=seconds or "1"),
    "429-bare": lambda handler, _: handler.refuse(429, "slow down"),
    "day-spent": lambda handler, wait: handler.refuse(429, f"Limit of requests per day reached. Try again in {wait}."),
    "unpaid": lambda handler, _: handler.refuse(429, "You exceeded your current quota", "insufficient_quota"),
    "400": lambda handler, _: handler.refuse(400, "messages: at least one is required", "invalid_request_error"),
    "declined": lambda handler, _: handler.refuse(400, "The prompt was filtered", "content_filter"),
    "withheld": _withheld,
    "too-long": lambda handler, _: handler.refuse(400, "too many tokens", "context_length_exceeded"),
    "reset": _reset,
    "slow": _slow,
    "hang": _hang,
    "stall": _stall,
    "endless": _endless,
    "empty": lambda handler, _: handler.answer(()),
    "malformed": _malformed,
    "html": _html,
    "cut": _cut,
    "torn": _torn,
    "unended": _unended,
    "error-inside": _error_inside,
    "wrong-type": lambda handler, _: handler.answer(content_type="application/octet-stream"),
    "latin1": _latin1,
    "literal": _literal,
    "echo": _echo,
}
"""By name; an argument follows `=`: `429=7` (Retry-After), `day-spent=2h`, `slow=0.2` (seconds), `cut=0`, `torn=2`,
`error-inside=1` (words before), `ok=2` (words that are left out)."""


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A misbehaving provider, fresh for each test."""
    with Loopback().serving() as server:
        yield server
