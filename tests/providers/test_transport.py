"""The network, against real sockets on loopback: what it hands back, and that every failure is one of ours."""

from __future__ import annotations

import gzip
import os
import socket
import tracemalloc
from typing import Self

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream

from providers.adapters import HttpReply, HttpRequest
from providers.errors import BadReply, BadRequest, ProviderError, StreamBroken, TimedOut, Unreachable
from providers.transport.over_httpx2 import HttpxTransport

pytestmark = pytest.mark.anyio

LIMITS = {"connect_s": 5.0, "first_byte_s": 5.0, "idle_s": 5.0, "total_s": 10.0}
SOON = 0.05


try:
    from providers.transport.over_aiohttp import AiohttpTransport
except ImportError:
    AiohttpTransport = None

MISSING = "needs aiohttp: pip install squad-orchestrator[fast]"


@pytest.fixture(params=["httpx2-asyncio", "httpx2-trio", "aiohttp-asyncio"])
def row(request) -> str:
    """Each client on each event loop that it runs on."""
    if request.param.startswith("aiohttp") and AiohttpTransport is None:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)
    return request.param


@pytest.fixture
def anyio_backend(row) -> str:
    return row.partition("-")[2]


@pytest.fixture
def open_net(row):
    return AiohttpTransport if row.startswith("aiohttp") else HttpxTransport


class Vendor:
    """A server on loopback. `answer` is called with each connection once a request's head and body have come."""

    def __init__(self, answer):
        self.answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.gone = anyio.Event()
        self.port = 0

    def request(self, path: str = "/v1/chat/completions", **headers: str) -> HttpRequest:
        return HttpRequest("POST", f"http://127.0.0.1:{self.port}{path}", headers, b"{}")

    async def __aenter__(self) -> Self:
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = self._listener.extra(anyio.abc.SocketAttribute.local_port)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._listener.serve, self.serve)
        return self

    async def __aexit__(self, *error) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            await self._tasks.__aexit__(*error)
        finally:
            with anyio.CancelScope(shield=True):
                await self._listener.aclose()

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                while head := await self._request(stream):
                    self.heads.append(head)
                    await self.answer(self, stream)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            self.gone.set()

    @staticmethod
    async def _request(stream: SocketStream) -> bytes:
        got = b""
        while not got.endswith(b"\r\n\r\n{}"):
            got += await stream.receive()
        return got


def replying(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def answer(server: Vendor, stream: SocketStream) -> None:
        await stream.send(head + body)

    return answer


async def silent(server: Vendor, stream: SocketStream) -> None:
    await stream.receive()


async def hanging_up(server: Vendor, stream: SocketStream) -> None:
    await stream.aclose()


def stalling(after: bytes):
    async def answer(server: Vendor, stream: SocketStream) -> None:
        await stream.send(after)
        await stream.receive()  # until the other side leaves

    return answer


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_reply_comes_back_whole_whatever_its_status(open_net):
    async with Vendor(replying(b'{"ok":1}', "X-Request-ID: 7", status="429 Slow")) as server, open_net() as net:
        reply = await net.send(server.request(authorization="Bearer k"), **LIMITS)
    assert reply == HttpReply(429, {"content-length": "8", "x-request-id": "7"}, b'{"ok":1}')
    [head] = server.heads
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nauthorization: Bearer k\r\n" in head
    assert b"\r\nuser-agent: squad-orchestrator\r\n" in head
    assert b"\r\ncontent-length: 2\r\n" in head.lower()


async def test_a_connection_is_kept_and_cookies_are_not(open_net):
    async with Vendor(replying(b"x", "set-cookie: spy=1; path=/")) as server, open_net() as net:
        for _ in range(3):
            await net.send(server.request(), **LIMITS)
    assert (server.connections, len(server.heads)) == (1, 3)
    assert not any(b"cookie" in head.lower() for head in server.heads)


async def test_a_redirect_is_handed_back_not_followed(open_net):
    async with Vendor(replying(b"", "location: /elsewhere", status="307 Moved")) as server, open_net() as net:
        assert (await net.send(server.request(), **LIMITS)).status == 307
    assert len(server.heads) == 1


async def test_a_compressed_reply_is_unpacked(open_net):
    answer = replying(gzip.compress(b"hello"), "content-encoding: gzip")
    async with Vendor(answer) as server, open_net() as net:
        assert (await net.send(server.request(), **LIMITS)).body == b"hello"


async def test_an_empty_reply_is_whole_however_it_says_it_is_packed(open_net):
    answer = replying(b"", "content-encoding: gzip", status="503 Busy")
    async with Vendor(answer) as server, open_net() as net:
        assert (await net.send(server.request(), **LIMITS)).status == 503


async def test_a_stream_is_read_piece_by_piece_and_its_connection_reused(open_net):
    async def answer(server: Vendor, stream: SocketStream) -> None:
        await stream.send(CHUNKED + b"3\r\none\r\n")
        await turn.wait()
        await stream.send(b"3\r\ntwo\r\n0\r\n\r\n")

    turn = anyio.Event()
    async with Vendor(answer) as server, open_net() as net:
        stream = await net.open_stream(server.request(), **LIMITS)
        assert (stream.status, stream.headers) == (200, {"transfer-encoding": "chunked"})
        assert await stream.read() == b"one"
        turn.set()
        assert [await stream.read() for _ in range(3)] == [b"two", b"", b""]
        await stream.aclose()
        await stream.aclose()
        await net.send(server.request(), **LIMITS)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "limits", "phase"),
    [
        (silent, {"first_byte_s": SOON}, "first_token"),
        (stalling(CHUNKED + b"1\r\nx\r\n"), {"idle_s": SOON}, "between_chunks"),
        (silent, {"total_s": SOON}, "total"),
        (stalling(CHUNKED + b"1\r\nx\r\n"), {"total_s": SOON}, "total"),
    ],
)
async def test_each_phase_has_its_own_deadline(open_net, answer, limits, phase):
    async with Vendor(answer) as server, open_net() as net:
        with pytest.raises(TimedOut) as failed:
            await net.send(server.request(), **{**LIMITS, **limits})
    assert failed.value.phase == phase


async def test_a_pool_without_a_free_connection_is_a_timeout_to_connect(open_net):
    def no_room(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.PoolTimeout("none free")

    async with HttpxTransport(httpx2.MockTransport(no_room)) as net:
        with pytest.raises(TimedOut) as failed:
            await net.send(Vendor(silent).request(), **LIMITS)
    assert failed.value.phase == "connect"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/v1", "ftp://127.0.0.1/", "no address", "http://[::bad/", "http://a\x00b/"]
)
async def test_what_cannot_be_reached(open_net, url):
    async with open_net() as net:
        with pytest.raises(Unreachable):
            await net.send(HttpRequest("POST", url.format(port=closed_port()), {}, b""), **LIMITS)


async def test_hanging_up_before_the_answer_and_in_its_middle_are_two_things(open_net):
    async with Vendor(hanging_up) as server, open_net() as net:
        with pytest.raises(Unreachable):
            await net.send(server.request(), **LIMITS)

    async def half(server: Vendor, stream: SocketStream) -> None:
        await stream.send(CHUNKED + b"5\r\nhal")
        await stream.aclose()

    async with Vendor(half) as server, open_net() as net:
        with pytest.raises(StreamBroken):
            await net.send(server.request(), **LIMITS)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (stalling(b"SMTP ready\r\n\r\n"), Unreachable),
        (replying(b"not gzip at all", "content-encoding: gzip"), BadReply),
        (replying(gzip.compress(b"x" * 1000)[:-9], "content-encoding: gzip"), BadReply),
        # Where both come at once, a client may see the broken chunk before it has handed the head on.
        (stalling(CHUNKED + b"zz\r\n"), (StreamBroken, Unreachable)),
    ],
)
async def test_broken_replies(open_net, answer, error):
    async with Vendor(answer) as server, open_net() as net:
        with pytest.raises(error):
            await net.send(server.request(), **LIMITS)


@pytest.mark.parametrize("header", ["k\nevil: 1", "k\x00", "k\ud83d", "ключ"])
async def test_a_header_that_cannot_be_sent_is_not_shown(open_net, header):
    async with Vendor(replying(b"")) as server, open_net() as net:
        with pytest.raises(BadRequest) as failed:
            await net.send(server.request(authorization=header), **LIMITS)
    assert header not in str(failed.value)


async def test_no_error_shows_what_an_address_may_hide(open_net):
    async with open_net() as net:
        url = f"http://user:secret@127.0.0.1:{closed_port()}/v1?key=secret"
        with pytest.raises(ProviderError) as failed:
            await net.send(HttpRequest("POST", url, {}, b""), **LIMITS)
    assert "secret" not in str(failed.value)


async def test_a_reply_that_claims_too_much_is_not_read(open_net):
    async with Vendor(replying(b"x", length=10**9)) as server, open_net() as net:
        with pytest.raises(BadReply, match="claims"):
            await net.send(server.request(), **LIMITS)


async def test_a_small_bomb_is_stopped_before_it_fills_the_memory(open_net):
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=1)
    async with Vendor(replying(bomb, "content-encoding: gzip")) as server, open_net(max_bytes=2**20) as net:
        tracemalloc.start()
        try:
            with pytest.raises(BadReply, match="larger"):
                await net.send(server.request(), **LIMITS)
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()


async def test_an_endless_stream_is_stopped(open_net):
    async def endless(server: Vendor, stream: SocketStream) -> None:
        await stream.send(CHUNKED)
        while True:
            await stream.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with Vendor(endless) as server, open_net(max_bytes=2**20) as net:
        with pytest.raises(BadReply):
            await net.send(server.request(), **LIMITS)
        with anyio.fail_after(1):
            await server.gone.wait()


@pytest.mark.parametrize("answer", [silent, stalling(CHUNKED), stalling(CHUNKED + b"1\r\nx\r\n")])
async def test_a_caller_that_leaves_closes_the_socket(open_net, answer):
    async with Vendor(answer) as server, open_net() as net:
        with anyio.move_on_after(SOON) as scope:
            await net.send(server.request(), **LIMITS)
        assert scope.cancelled_caught
        with anyio.fail_after(1):
            await server.gone.wait()


async def test_a_stream_closed_half_way_closes_its_socket(open_net):
    async with Vendor(stalling(CHUNKED + b"1\r\nx\r\n")) as server, open_net() as net:
        stream = await net.open_stream(server.request(), **LIMITS)
        assert await stream.read() == b"x"
        await stream.aclose()
        with anyio.fail_after(1):
            await server.gone.wait()


async def test_many_at_once_share_nothing_but_the_pool(open_net):
    async def echo(request: httpx2.Request) -> httpx2.Response:
        await anyio.lowlevel.checkpoint()
        return httpx2.Response(200, content=request.headers["n"].encode())

    async with HttpxTransport(httpx2.MockTransport(echo)) as net, anyio.create_task_group() as tasks:

        async def one(n: int) -> None:
            reply = await net.send(HttpRequest("POST", "http://vendor.test/", {"n": str(n)}, b""), **LIMITS)
            assert reply.body == str(n).encode()

        for n in range(300):
            tasks.start_soon(one, n)
