"""The client of `benchmarks.gateway`: asks one address over kept connections, and tells how long each answer took.

    python -m benchmarks.gateway.load PORT PATH MODEL [--key KEY] [--requests N] [--at-once N] [--stream]

Prints one JSON object. It reads no more of an answer than where it ends, so that it takes little of the CPU that
the gateway and it share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from statistics import quantiles

SAID = "Say in one sentence what a load balancer does."


def request(path: str, model: str, key: str, *, stream: bool) -> bytes:
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": SAID}]
    body = json.dumps({"model": model, "messages": messages, "max_tokens": 64, "stream": stream}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """Asks again as soon as an answer ended, while `left` has requests."""

    def __init__(self, asked: bytes, left: list[int], took: list[float], done: asyncio.Future[None]) -> None:
        self.asked, self.left, self.took, self.done = asked, left, took, done
        self.heard = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if not self.left[0]:
            self.transport.close()
            return
        self.left[0] -= 1
        self.heard.clear()
        self.began = time.perf_counter()
        self.transport.write(self.asked)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if (end := self.heard.find(b"\r\n\r\n")) < 0 or not ended(self.heard, end):
            return
        self.took.append(time.perf_counter() - self.began)
        if not self.heard.startswith(b"HTTP/1.1 200"):
            self.fail(f"it answered {bytes(self.heard[:400])!r}")
            return
        self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if self.left[0]:
            self.fail("it closed a connection")
        else:
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))
        self.transport.abort()


def ended(heard: bytearray, end: int) -> bool:
    """Return whether an answer is whole. `end` is where its headers end."""
    head = bytes(heard[:end]).lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(heard) >= end + 4 + int(head[at + 15 :].partition(b"\r\n")[0])
    return heard.endswith(b"\r\n0\r\n\r\n")


async def load(port: int, asked: bytes, requests: int, at_once: int) -> dict[str, float]:
    loop, left, took = asyncio.get_running_loop(), [requests], list[float]()
    ends = [loop.create_future() for _ in range(min(at_once, requests))]
    began, cpu = time.perf_counter(), time.process_time()
    for done in ends:
        await loop.create_connection(lambda done=done: Connection(asked, left, took, done), "127.0.0.1", port)
    await asyncio.gather(*ends)
    wall = time.perf_counter() - began
    cuts = quantiles(took, n=100, method="inclusive")
    return {
        "requests": len(took),
        "rps": len(took) / wall,
        "p50_ms": cuts[49] * 1000,
        "p99_ms": cuts[98] * 1000,
        "client_cpu_ms": (time.process_time() - cpu) / len(took) * 1000,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("port", type=int)
    options.add_argument("path")
    options.add_argument("model")
    options.add_argument("--key", default="sk-none")
    options.add_argument("--requests", type=int, default=500)
    options.add_argument("--at-once", type=int, default=1)
    options.add_argument("--stream", action="store_true")
    given = options.parse_args()
    asked = request(given.path, given.model, given.key, stream=given.stream)
    print(json.dumps(asyncio.run(load(given.port, asked, given.requests, given.at_once))))


if __name__ == "__main__":
    main()
