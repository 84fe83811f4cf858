"""The network, against real sockets on loopback: what it hands back, and that every failure is one of ours."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import struct
import sys
import tracemalloc
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSAttribute, TLSListener, TLSStream

from providers.adapters import HttpReply, HttpRequest
from providers.errors import AuthFailed, BadReply, ProviderError, StreamBroken, TimedOut, Unreachable
from providers.transport.over_httpx2 import HttpxTransport
from providers.transport.sockets import SocketTransport

pytestmark = pytest.mark.anyio

LIMITS = {"connect_s": 5.0, "first_byte_s": 5.0, "idle_s": 5.0, "total_s": 10.0}
SOON = 0.05
GRACE = 30.0
"""Seconds for what takes none on a machine that has nothing else to do."""
CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""For 127.0.0.1, signed by itself, with its key: `openssl req -x509 -addext subjectAltName=IP:127.0.0.1 ...`."""


class Vendor:
    """A server on loopback. `answer` is called with each connection once a request's head and body have come."""

    def __init__(self, answer, tls: ssl.SSLContext | None = None):
        self.answer = answer
        self.tls = tls
        self.heads: list[bytes] = []
        self.connections = 0
        self.gone = anyio.Event()
        self.port = 0

    def request(self, path: str = "/v1/chat/completions", **headers: str) -> HttpRequest:
        scheme = "http" if self.tls is None else "https"
        return HttpRequest("POST", f"{scheme}://127.0.0.1:{self.port}{path}", headers, b"{}")

    async def __aenter__(self) -> Self:
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = self._listener.extra(anyio.abc.SocketAttribute.local_port)
        if self.tls is not None:
            self._listener = TLSListener(self._listener, self.tls, standard_compatible=False)
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


class Tunnel(Vendor):
    """A proxy that opens a tunnel to one port of this machine."""

    def __init__(self, to: int, tls: ssl.SSLContext | None = None):
        super().__init__(silent, tls)
        self.to = to

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        async with stream, await anyio.connect_tcp("127.0.0.1", self.to) as far, anyio.create_task_group() as tasks:
            self.heads.append(await stream.receive())
            await stream.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            tasks.start_soon(self.pass_on, stream, far)
            await self.pass_on(far, stream)
            tasks.cancel_scope.cancel()

    @staticmethod
    async def pass_on(source: SocketStream, target: SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await target.send(await source.receive())


def head_of(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)


def replying(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def answer(server: Vendor, stream: SocketStream) -> None:
        await stream.send(head + body)

    return answer


@pytest.fixture(params=[HttpxTransport, SocketTransport], ids=["httpx2", "sockets"])
def open_net(request):
    return request.param


@pytest.fixture
def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def trusted(monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


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
    async with (
        Vendor(replying(b'{"ok":1}', "X-Request-ID: 7", status="429 Slow")) as server,
        open_net() as net,
    ):
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


@pytest.mark.parametrize("behind", [b"", b"\0\0", b"\r\n"], ids=["nothing", "zeros", "line"])
async def test_a_reply_of_several_gzip_members_is_unpacked_whole(open_net, behind):
    members = b"".join(gzip.compress(piece) for piece in (b"he", b"", b"llo")) + behind
    async with Vendor(replying(members, "content-encoding: gzip")) as server, open_net() as net:
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


def dripping(begin: bytes, piece: bytes, every: float = 0.01):
    """Say this again and again, as fast as the other side reads where `every` is 0."""

    async def answer(server: Vendor, stream: SocketStream) -> None:
        await stream.send(begin)
        while True:
            await stream.send(piece)
            await anyio.sleep(every)

    return answer


PACKED = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
EMPTY = gzip.compress(b"")


@pytest.mark.parametrize(
    ("answer", "limit", "phase"),
    [
        (dripping(b"HTTP/1.1 200 OK\r\nx-a: ", b"a"), "first_byte_s", "first_token"),
        (dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), "first_byte_s", "first_token"),
        (dripping(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), "total_s", "total"),
        (dripping(CHUNKED, b"1\r\nx\r\n"), "total_s", "total"),
        pytest.param(dripping(CHUNKED, b"1\r\nx\r\n" * 100, every=0.0), "total_s", "total", marks=pytest.mark.long),
        pytest.param(dripping(CHUNKED + b"1;", b"a"), "total_s", "total", marks=pytest.mark.long),
        (dripping(PACKED, b"%x\r\n%b\r\n" % (len(EMPTY), EMPTY)), "total_s", "total"),
        (dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x"), "total_s", "total"),
    ],
    ids=["head", "interim", "interim total", "body", "flood", "extension", "packed", "length"],
)
@pytest.mark.few(8)
async def test_what_comes_drop_by_drop_puts_off_no_deadline(open_net, answer, limit, phase):
    async with Vendor(answer) as server, open_net() as net:
        with pytest.raises(TimedOut) as failed:
            await net.send(server.request(), **{**LIMITS, "total_s": 60.0, limit: 0.2})
    assert failed.value.phase == phase


async def test_interim_replies_without_a_pause_end_as_well(open_net):
    async with Vendor(dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100, every=0.0)) as server, open_net() as net:
        with pytest.raises((TimedOut, Unreachable)):
            await net.send(server.request(), **{**LIMITS, "first_byte_s": 0.2})


async def test_a_handshake_that_is_not_answered_is_no_connection(open_net, trusted):
    async with Vendor(silent) as server, open_net() as net:
        request = HttpRequest("POST", f"https://127.0.0.1:{server.port}/", {}, b"{}")
        with pytest.raises(TimedOut) as failed:
            await net.send(request, **{**LIMITS, "connect_s": 0.2})
    assert failed.value.phase == "connect"


async def test_a_refusal_whose_body_never_ends_is_handed_back_with_what_came(open_net):
    answer = stalling(b"HTTP/1.1 429 Slow\r\nretry-after: 9\r\ncontent-length: 99\r\n\r\nslow down")
    async with Vendor(answer) as server, open_net() as net:
        reply = await net.send(server.request(), **{**LIMITS, "idle_s": SOON})
    assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "9", b"slow down")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/v1",
        "ftp://127.0.0.1/",
        "no address",
        "http:///v1",
        "http://[::bad/",
        "http://127.0.0.1:99999/",
        "http://a\x00b/",
        "http://127.0.0.1:{port}/v1 HTTP/1.1",
        "http://127.0.0.1:{port}/v1\r\nx: y",
    ],
)
async def test_what_cannot_be_reached(open_net, url):
    async with open_net() as net:
        with pytest.raises(Unreachable):
            await net.send(HttpRequest("POST", url.format(port=closed_port()), {}, b""), **LIMITS)


async def test_hanging_up_before_the_answer_and_in_its_middle_are_two_things(open_net):
    async with Vendor(hanging_up) as server, open_net() as net:
        with pytest.raises(Unreachable):
            await net.send(server.request(), **LIMITS)
    assert len(server.heads) == 1

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
        (replying(gzip.compress(b"x") + gzip.compress(b"y")[:-1], "content-encoding: gzip"), BadReply),
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
        with pytest.raises(AuthFailed) as failed:
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


@pytest.mark.few(1)
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
        with anyio.fail_after(GRACE):
            await server.gone.wait()


class TestACallerThatLeavesClosesTheSocket:
    """The server says how far an exchange has come, so that a busy machine changes nothing but how long it takes."""

    @pytest.mark.parametrize("sent", [b"", CHUNKED, CHUNKED + b"1\r\nx\r\n"])
    async def test_whatever_has_come(self, open_net, sent):
        async def answer(server: Vendor, stream: SocketStream) -> None:
            if sent:
                await stream.send(sent)
            asked.set()
            await stream.receive()  # until the other side leaves

        asked = anyio.Event()
        async with Vendor(answer) as server, open_net() as net, anyio.create_task_group() as caller:
            caller.start_soon(partial(net.send, server.request(), **LIMITS))
            await asked.wait()
            await anyio.wait_all_tasks_blocked()
            caller.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(GRACE):
                await server.gone.wait()

    @pytest.mark.parametrize("sent", [b"", b"1\r\nx\r\n"])
    async def test_while_a_stream_is_awaited(self, open_net, sent):
        async def read() -> None:
            stream = await net.open_stream(server.request(), **LIMITS)
            try:
                assert not sent or await stream.read() == b"x"
                reading.set()
                await stream.read()
            finally:
                await stream.aclose()

        reading = anyio.Event()
        async with (
            Vendor(stalling(CHUNKED + sent)) as server,
            open_net() as net,
            anyio.create_task_group() as caller,
        ):
            caller.start_soon(read)
            await reading.wait()
            await anyio.wait_all_tasks_blocked()
            caller.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(GRACE):
                await server.gone.wait()

    async def test_by_closing_a_stream_half_way(self, open_net):
        async with Vendor(stalling(CHUNKED + b"1\r\nx\r\n")) as server, open_net() as net:
            stream = await net.open_stream(server.request(), **LIMITS)
            assert await stream.read() == b"x"
            await stream.aclose()
            with anyio.fail_after(GRACE):
                await server.gone.wait()


@pytest.mark.few(1)
async def test_many_at_once_share_nothing_but_the_pool(open_net):
    async def echo(server: Vendor, stream: SocketStream) -> None:
        name = re.search(rb"\r\nn: (\d+)\r\n", server.heads[-1])[1]
        await anyio.lowlevel.checkpoint()
        await replying(name)(server, stream)

    async with Vendor(echo) as server, open_net() as net, anyio.create_task_group() as tasks:

        async def one(n: int) -> None:
            for _ in range(2):
                assert (await net.send(server.request(n=str(n)), **LIMITS)).body == str(n).encode()

        for n in range(100):
            tasks.start_soon(one, n)


async def resetting(server: Vendor, stream: SocketStream) -> None:
    """Close with RST instead of FIN: linger for no time."""
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


def in_turn(*answers):
    """Meet the n-th request with the n-th answer."""

    async def answer(server: Vendor, stream: SocketStream) -> None:
        await answers[len(server.heads) - 1](server, stream)

    return answer


class TestAKeptConnectionThatTheServerLetGo:
    """A server closes an idle connection at the moment at which the next request goes out on it."""

    @pytest.mark.parametrize("ending", [hanging_up, resetting])
    async def test_is_asked_again_on_a_fresh_one(self, open_net, ending):
        async with Vendor(in_turn(replying(b"1"), ending, replying(b"2"))) as server, open_net() as net:
            assert [(await net.send(server.request(), **LIMITS)).body for _ in range(2)] == [b"1", b"2"]
        assert (server.connections, len(server.heads)) == (2, 3)

    async def test_is_asked_again_once(self, open_net):
        async with Vendor(in_turn(replying(b"1"), hanging_up, hanging_up)) as server, open_net() as net:
            await net.send(server.request(), **LIMITS)
            with pytest.raises(Unreachable):
                await net.send(server.request(), **LIMITS)
        assert len(server.heads) == 3

    async def test_is_not_asked_again_where_its_answer_had_begun(self, open_net):
        async def half(server: Vendor, stream: SocketStream) -> None:
            await stream.send(CHUNKED + b"5\r\nhal")
            await stream.aclose()

        async with Vendor(in_turn(replying(b"1"), half)) as server, open_net() as net:
            await net.send(server.request(), **LIMITS)
            with pytest.raises(StreamBroken):
                await net.send(server.request(), **LIMITS)
        assert len(server.heads) == 2


class TestWhatNobodyAskedFor:
    """Bytes that come on a kept connection without a request, or beside a reply, answer nothing: it is closed."""

    SURPLUS = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"garbage",
        b"\0",
    )

    @staticmethod
    async def two_turns(open_net, server: Vendor, pause=None) -> None:
        """Ask twice: each request gets its own answer, goes out once, and the second one on a connection of its own."""
        async with server, open_net() as net:
            assert (await net.send(server.request(), **LIMITS)).body == b"1"
            if pause is not None:
                await pause()
            assert (await net.send(server.request(), **LIMITS)).body == b"2"
        assert (server.connections, len(server.heads)) == (2, 2)

    @pytest.mark.parametrize("surplus", SURPLUS)
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
    async def test_beside_a_reply(self, open_net, surplus, secure, trusted, server_context):
        async def first(server: Vendor, stream: SocketStream) -> None:
            await stream.send(head_of(b"1") + b"1" + surplus)

        await self.two_turns(open_net, Vendor(in_turn(first, replying(b"2")), server_context if secure else None))

    async def test_beside_a_reply_in_a_record_of_its_own(self, open_net, trusted, server_context):
        async def first(server: Vendor, stream: TLSStream) -> None:
            # Both records go out in one segment.
            tls, bio = stream.extra(TLSAttribute.ssl_object), stream._write_bio
            tls.write(head_of(b"1") + b"1")
            tls.write(self.SURPLUS[0])
            await stream.transport_stream.send(bio.read())

        await self.two_turns(open_net, Vendor(in_turn(first, replying(b"2")), server_context))

    @pytest.mark.parametrize("surplus", SURPLUS)
    async def test_behind_a_chunked_body(self, open_net, surplus):
        async def first(server: Vendor, stream: SocketStream) -> None:
            await stream.send(CHUNKED + b"1\r\n1\r\n0\r\n\r\n" + surplus)

        await self.two_turns(open_net, Vendor(in_turn(first, replying(b"2"))))

    async def test_beside_a_reply_without_a_body(self, open_net):
        async def first(server: Vendor, stream: SocketStream) -> None:
            await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n" + self.SURPLUS[0])

        async with Vendor(in_turn(first, replying(b"2"))) as server, open_net() as net:
            assert (await net.send(server.request(), **LIMITS)).status == 204
            assert (await net.send(server.request(), **LIMITS)).body == b"2"

    @pytest.mark.few(15)
    @pytest.mark.parametrize("surplus", SURPLUS)
    @pytest.mark.parametrize("ending", ["open", "half", "closed"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
    async def test_while_nothing_was_asked(self, open_net, surplus, ending, secure, trusted, server_context):
        async def first(server: Vendor, stream: SocketStream) -> None:
            await replying(b"1")(server, stream)
            await answered.wait()
            await stream.send(surplus)
            await end(stream, ending)
            said.set()

        async def pause() -> None:
            answered.set()
            await said.wait()

        answered, said = anyio.Event(), anyio.Event()
        await self.two_turns(
            open_net, Vendor(in_turn(first, replying(b"2")), server_context if secure else None), pause
        )

    @pytest.mark.parametrize("ending", ["half", "closed"])
    async def test_not_even_the_end(self, open_net, ending):
        async def first(server: Vendor, stream: SocketStream) -> None:
            await replying(b"1")(server, stream)
            await answered.wait()
            await end(stream, ending)
            said.set()

        async def pause() -> None:
            answered.set()
            await said.wait()

        answered, said = anyio.Event(), anyio.Event()
        await self.two_turns(open_net, Vendor(in_turn(first, replying(b"2"))), pause)

    async def test_behind_a_stream(self, open_net):
        async def first(server: Vendor, stream: SocketStream) -> None:
            await stream.send(CHUNKED + b"1\r\n1\r\n0\r\n\r\n" + self.SURPLUS[0])

        async with Vendor(in_turn(first, replying(b"2"))) as server, open_net() as net:
            stream = await net.open_stream(server.request(), **LIMITS)
            assert [await stream.read() for _ in range(2)] == [b"1", b""]
            await stream.aclose()
            assert (await net.send(server.request(), **LIMITS)).body == b"2"
        assert (server.connections, len(server.heads)) == (2, 2)

    async def test_in_the_place_of_a_reply_that_was_cut_short(self, open_net):
        """Who claims fewer bytes than it sends: the rest is no reply to the next request."""
        await self.two_turns(open_net, Vendor(in_turn(replying(b"1" + self.SURPLUS[0], length=1), replying(b"2"))))


async def end(stream: SocketStream, how: str) -> None:
    if how == "closed":
        await stream.aclose()
    elif how == "half":
        stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("path", ["/v1/models/a%2Fb:generate?alt=sse", "/v1//x", "/a+b?c=d%20e"])
async def test_an_address_is_sent_as_it_is_written(open_net, path):
    async with Vendor(replying(b"x")) as server, open_net() as net:
        await net.send(server.request(path), **LIMITS)
    assert server.heads[0].startswith(f"POST {path} HTTP/1.1\r\n".encode())


async def test_a_password_in_an_address_is_said_in_a_header(open_net):
    async with Vendor(replying(b"x")) as server, open_net() as net:
        await net.send(HttpRequest("POST", f"http://me:s%40fe@127.0.0.1:{server.port}?a=b#c", {}, b"{}"), **LIMITS)
    [head] = server.heads
    assert head.startswith(b"POST /?a=b HTTP/1.1\r\n")
    assert f"\r\nhost: 127.0.0.1:{server.port}\r\n".encode() in head
    assert b"\r\nauthorization: Basic bWU6c0BmZQ==\r\n" in head


async def test_an_interim_reply_is_not_the_reply(open_net):
    async def answer(server: Vendor, stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        await replying(b"x")(server, stream)

    async with Vendor(answer) as server, open_net() as net:
        assert await net.send(server.request(), **LIMITS) == HttpReply(200, {"content-length": "1"}, b"x")


async def test_a_server_that_refuses_a_body_halfway_is_heard(open_net):
    """It answers before it has read all, and hangs up: what it said arrived before the connection broke."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 413 Too large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
            await stream.send_eof()
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, open_net() as net, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
        reply = await net.send(HttpRequest("POST", url, {}, b"x" * 8 * 2**20), **LIMITS)
        tasks.cancel_scope.cancel()
    assert (reply.status, reply.body) == (413, b"big")


async def test_a_large_body_is_sent_whole(open_net):
    body = b"x" * 3 * 2**20 + b"\r\n\r\n{}"
    async with Vendor(in_turn(replying(b"1"), hanging_up, replying(b"2"))) as server, open_net() as net:
        await net.send(server.request(), **LIMITS)
        request = HttpRequest("POST", server.request().url, {}, body)
        assert (await net.send(request, **LIMITS)).body == b"2"
    assert all(head.endswith(body) for head in server.heads[1:])
    assert f"\r\ncontent-length: {len(body)}\r\n".encode() in server.heads[2].lower()


async def test_a_long_header_is_no_error(open_net):
    async with (
        Vendor(replying(b"x", "content-security-policy: " + "x" * 20_000)) as server,
        open_net() as net,
    ):
        assert (await net.send(server.request(), **LIMITS)).body == b"x"


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip"])
async def test_what_was_not_asked_for_is_not_unpacked(open_net, coding):
    async with Vendor(replying(b"\0" * 99, f"content-encoding: {coding}")) as server, open_net() as net:
        with pytest.raises(BadReply, match="not asked for"):
            await net.send(server.request(), **LIMITS)


async def test_an_error_says_what_it_can_however_its_body_is_packed(open_net):
    answer = replying(b"\0" * 99, "content-encoding: br", status="401 No")
    async with Vendor(answer) as server, open_net() as net:
        assert (await net.send(server.request(), **LIMITS)).status == 401


class TestTheEnvironment:
    @pytest.fixture(autouse=True)
    def bare(self, monkeypatch):
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    async def test_a_proxy_is_asked_with_its_password(self, open_net, monkeypatch):
        async with Vendor(replying(b"x")) as proxy, open_net() as net:
            monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
            await net.send(HttpRequest("POST", "http://vendor.test/v1", {}, b"{}"), **LIMITS)
        assert proxy.heads[0].startswith(b"POST http://vendor.test/v1 HTTP/1.1\r\n")
        assert b"\r\nproxy-authorization: basic bwu6c2vjcmv0\r\n" in proxy.heads[0].lower()
        assert b"\r\nhost: vendor.test\r\n" in proxy.heads[0].lower()

    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
    async def test_a_proxy_opens_a_tunnel_to_what_is_encrypted(
        self, open_net, monkeypatch, trusted, server_context, secure
    ):
        async with Vendor(replying(b"x"), server_context) as server:
            tunnel = Tunnel(server.port, server_context if secure else None)
            async with tunnel as proxy, open_net() as net:
                scheme = "https" if secure else "http"
                monkeypatch.setenv("https_proxy", f"{scheme}://me:secret@127.0.0.1:{proxy.port}")
                for _ in range(2):
                    assert (await net.send(server.request(), **LIMITS)).body == b"x"
        assert server.connections == proxy.connections == 1
        assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
        assert b"\r\nproxy-authorization: basic bwu6c2vjcmv0\r\n" in proxy.heads[0].lower()
        assert b"proxy" not in server.heads[0].lower()

    @pytest.mark.parametrize("said", [b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", b"SMTP\r\n\r\n", b""])
    async def test_a_proxy_that_opens_no_tunnel(self, open_net, monkeypatch, said):
        async def refuse(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(said or b" ")

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)
        async with listener, open_net() as net, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, refuse)
            monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{port}")
            with pytest.raises(Unreachable, match=r"cannot reach vendor\.test") as failed:
                await net.send(HttpRequest("POST", "https://vendor.test/v1", {}, b"{}"), **LIMITS)
            tasks.cancel_scope.cancel()
        assert ("407" in str(failed.value)) == (b"407" in said)
        assert "secret" not in str(failed.value)

    @pytest.mark.parametrize("exceptions", ["127.0.0.1", "localhost, 127.0.0.1", "*", "127.0.0.0/8"])
    async def test_no_proxy_is_asked_for_what_is_excepted(self, open_net, monkeypatch, exceptions):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv("no_proxy", exceptions)
        async with Vendor(replying(b"x")) as server, open_net() as net:
            assert (await net.send(server.request(), **LIMITS)).body == b"x"

    @pytest.mark.parametrize(
        "proxy", ["http://me:secret@127.0.0.1:{port}", "gopher://me:secret@x", "http://me:secret@["]
    )
    async def test_a_proxy_that_does_not_do_is_told_without_its_password(self, open_net, monkeypatch, proxy):
        monkeypatch.setenv("http_proxy", proxy.format(port=closed_port()))
        async with open_net() as net:
            with pytest.raises(Unreachable) as failed:
                await net.send(HttpRequest("POST", "http://vendor.test/v1", {}, b""), **LIMITS)
        assert "secret" not in str(failed.value)

    async def test_who_is_trusted_comes_from_ssl_cert_file(self, open_net, monkeypatch, server_context):
        async with Vendor(replying(b"x"), server_context) as server:
            request = server.request()
            async with open_net() as net:
                with pytest.raises(Unreachable, match=r"(?i)certificate"):
                    await net.send(request, **LIMITS)
            monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
            async with open_net() as net:
                assert (await net.send(request, **LIMITS)).body == b"x"
            monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
            async with open_net() as net:
                with pytest.raises(Unreachable, match="SSL_CERT_FILE"):
                    await net.send(request, **LIMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not drop what a full queue cannot take")
async def test_a_server_that_takes_no_connection_is_a_timeout_to_connect(open_net):
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for taker in (first, second):
            taker.setblocking(False)
            taker.connect_ex(full.getsockname())
        async with open_net() as net:
            request = HttpRequest("POST", f"http://127.0.0.1:{full.getsockname()[1]}/", {}, b"")
            with pytest.raises(TimedOut) as failed:
                await net.send(request, **{**LIMITS, "connect_s": SOON})
    assert failed.value.phase == "connect"
