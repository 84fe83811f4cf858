"""A program's answers to who watches over it, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from orchestrator.observe.probes import MOST_BYTES, Probe, ProbeAnswer, ProbeAsked, ProbeListener, request_of, told
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening(**probes: Probe) -> AsyncIterator[tuple[int, list[str]]]:
    failed: list[str] = []
    listener = ProbeListener({f"/{name}": probe for name, probe in probes.items()}, lambda path, _: failed.append(path))
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(listener.serve, "127.0.0.1", 0)
        yield port, failed
        tasks.cancel_scope.cancel()


async def asked(port: int, request: bytes) -> bytes:
    with anyio.fail_after(PATIENCE_S):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(request)
            answer = b""
            try:
                while True:
                    answer += await stream.receive()
            except anyio.EndOfStream:
                return answer


async def seen(one: ProbeAsked) -> ProbeAnswer:
    return told(200, f"{one.method} {one.path} {one.accept} {one.is_local}")


async def broken(_: ProbeAsked) -> ProbeAnswer:
    raise OSError("the disk is full")


async def test_a_request_is_answered_by_the_function_of_its_path() -> None:
    async with listening(healthz=seen) as (port, _):
        answer = await asked(port, b"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"GET /healthz text/plain True\n"
        assert f"content-length: {len(body)}".encode() in head
        assert (await asked(port, b"HEAD /healthz HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_what_is_no_request_is_refused_and_harms_nobody() -> None:
    async with listening(healthz=seen, broken=broken) as (port, failed):
        for wrong in (b"\x16\x03\x01 hello\r\n\r\n", b"GET\r\n\r\n", b"GET http://x/ HTTP/1.1\r\n\r\n", b"\r\n\r\n"):
            assert (await asked(port, wrong)).startswith(b"HTTP/1.1 400 ")
        assert (await asked(port, b"GET /else HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert b"disk" not in (await asked(port, b"GET /broken HTTP/1.1\r\n\r\n"))
        assert failed == ["/broken"]
        assert (await asked(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_who_connects_and_goes_is_no_failure() -> None:
    async with listening(healthz=seen) as (port, failed):
        for said in (b"", b"GET /he"):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(said)
        assert (await asked(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert not failed


def test_a_head_that_is_too_long_is_read_as_far_as_it_goes() -> None:
    assert request_of(b"GET /" + b"a" * MOST_BYTES, True) is None
    assert request_of(b"GET / HTTP/1.1\r\nno colon\r\n:\r\naccept:  a:b ", False) == ("GET", "/", "a:b", False)
