"""Recorded exchanges, read from beside the checkout, and a server that replays them byte by byte."""

from __future__ import annotations

import base64
import gzip
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "cassettes"
ABSENT = "the recordings are not beside this checkout"
ADAPTERS: dict[str, Adapter] = {
    "openai-chat": OpenAIChat(),
    "anthropic-messages": AnthropicMessages(),
    "gemini": Gemini(),
}
MODEL = Model("some-model", 8000, 1000)


@dataclass(frozen=True)
class Recording:
    name: str
    dialect: str
    status: int
    headers: dict[str, str]
    body: bytes
    streamed: bool

    @property
    def adapter(self) -> Adapter:
        return ADAPTERS[self.dialect]

    def candidate(self, base_url: str = "http://vendor.test") -> Candidate:
        provider = Provider(self.name.split("/")[0], self.dialect, base_url, None, {MODEL.name: MODEL})
        return Candidate(provider, MODEL)


def dialect_of(vendor: str, url: str | None, response: dict) -> str | None:
    """Return the dialect, None for one that is not ours: Responses, Ollama's own, Cloudflare's own."""
    if vendor in ("anthropic", "gemini"):
        return {"anthropic": "anthropic-messages", "gemini": "gemini"}[vendor]
    if url is not None:
        return "openai-chat" if url.split("?")[0].endswith("/chat/completions") else None
    foreign = "ndjson" in response["headers"].get("content-type", "") or '"result": {' in response["body"]
    return None if foreign else "openai-chat"


def recordings() -> Iterator[Recording]:
    for path in sorted(FOLDER.rglob("*.json")):
        recorded = json.loads(path.read_text("utf-8"))
        response, vendor = recorded["response"], path.parent.name
        dialect = dialect_of(vendor, (recorded.get("request") or {}).get("url"), response)
        if dialect is None:
            continue
        packed = response.get("body_base64")
        body = base64.b64decode(packed) if packed is not None else response["body"].encode()
        headers = {name.lower(): value for name, value in response["headers"].items()}
        yield Recording(f"{vendor}/{path.stem}", dialect, response["status"], headers, body, response["is_stream"])


# ---- the server


class Served(socketserver.ThreadingTCPServer):
    """Answers a request under `/KEY/` with the pieces that were put there, one write each, and hangs up."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, list[bytes]] = {}

    def put(self, pieces: list[bytes]) -> str:
        """Return the base URL under which `pieces` are served."""
        key = str(len(self.replies))
        self.replies[key] = pieces
        return f"http://127.0.0.1:{self.server_address[1]}/{key}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: a client that has heard enough leaves in the middle."""


class _Handler(socketserver.StreamRequestHandler):
    server: Served
    disable_nagle_algorithm = True

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        length = 0
        while (line := self.rfile.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        for piece in self.server.replies[path.split("/")[1]]:
            self.wfile.write(piece)


@contextmanager
def serving() -> Iterator[Served]:
    """Yield a server that listens until the block ends."""
    with Served() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def framed(recording: Recording, chunks: list[bytes], *, torn: bool = False) -> list[bytes]:
    """Return a reply of these chunks of a body in the recording's framing; `torn`: without the end that it promises."""
    dropped = {"transfer-encoding", "content-length", "content-encoding", "connection"}
    head = [f"{name}: {value}" for name, value in recording.headers.items() if name not in dropped]
    if recording.headers.get("content-encoding") == "gzip" and not recording.streamed:
        chunks, head = [gzip.compress(b"".join(chunks), mtime=0)], [*head, "content-encoding: gzip"]
    if recording.streamed or "transfer-encoding" in recording.headers:
        head.append("transfer-encoding: chunked")
        chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
        chunks += [b"40\r\n"] if torn else [b"0\r\n\r\n"]
    else:
        head.append(f"content-length: {sum(map(len, chunks)) + 64 * torn}")
    lines = [f"HTTP/1.1 {recording.status} Recorded", *head, "connection: close", "", ""]
    return ["\r\n".join(lines).encode("latin-1"), *chunks]


def events(body: bytes) -> list[bytes]:
    """Return a stream's events, each with the blank line behind it."""
    end = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    parts = body.split(end)
    return [part + end for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def rechunked(body: bytes, rng: Random) -> list[bytes]:
    cuts = sorted({0, len(body), *(rng.randrange(len(body)) for _ in range(min(len(body), 40)))})
    return [body[start:end] for start, end in pairwise(cuts)]
