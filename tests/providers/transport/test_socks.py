"""SOCKS proxies, named as others are: spoken to by both clients, without a further package."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpRequest
from providers.errors import TimedOut, Unreachable
from providers.transport import open_transport
from providers.transport.over_httpx2 import HttpxTransport
from providers.transport.proxies import Proxy, ProxyRefused
from providers.transport.sockets import SocketTransport
from providers.transport.socks import handshake
from tests.local_servers import Said
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
LIMITS = {"connect_s": PATIENCE_S, "first_byte_s": PATIENCE_S, "idle_s": PATIENCE_S, "total_s": PATIENCE_S}
CERTIFICATE = Path(__file__).with_name("loopback.pem")
URL = "http://vendor.test/v1/models"


class SocksProxy:
    """A SOCKS5 proxy that leads every name to one port of this machine. `asked` are the names and ports."""

    def __init__(self, to: int, user: bytes = b"", password: bytes = b"", code: int = 0, greeting: bytes = b"") -> None:
        self.to, self.user, self.password, self.code, self.greeting = to, user, password, code, greeting
        self.asked: list[tuple[str, int]] = []

    @contextmanager
    def serving(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            yield listener.getsockname()[1]

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, IndexError):
            if self._talk(client):
                with socket.create_connection(("127.0.0.1", self.to)) as far:
                    there = threading.Thread(target=_pipe, args=(client, far), daemon=True)
                    there.start()
                    _pipe(far, client)

    def _talk(self, client: socket.socket) -> bool:
        """Hold the talk byte by byte, as a network may deliver it; return whether the way is open."""
        methods = client.recv(2)
        client.recv(methods[1])
        if self.greeting:
            client.sendall(self.greeting)
            return False
        client.sendall(b"\x05\x02" if self.user else b"\x05\x00")
        if self.user:
            user = client.recv(2)
            name, password = client.recv(user[1]), client.recv(client.recv(1)[0])
            client.sendall(b"\x01\x00" if (name, password) == (self.user, self.password) else b"\x01\x01")
            if (name, password) != (self.user, self.password):
                return False
        kind = client.recv(4)[3]
        length = client.recv(1)[0] if kind == 3 else {1: 4, 4: 16}[kind]
        host = client.recv(length)
        self.asked.append((host.decode() if kind == 3 else socket.inet_ntoa(host), int.from_bytes(client.recv(2))))
        for byte in bytes([5, self.code, 0, 3, 4]) + b"here" + b"\x00\x50":
            client.sendall(bytes([byte]))
        return self.code == 0


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def open_proxy(monkeypatch) -> Iterator[Callable[..., SocksProxy]]:
    """Return a function that starts a proxy and names it in the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with ExitStack() as stack:

        def start(proxy: SocksProxy, variable: str = "ALL_PROXY", scheme: str = "socks5", who: str = "") -> SocksProxy:
            port = stack.enter_context(proxy.serving())
            monkeypatch.setenv(variable, f"{scheme}://{who}127.0.0.1:{port}")
            return proxy

        yield start


@pytest.fixture(params=[HttpxTransport, SocketTransport, open_transport], ids=["httpx2", "sockets", "opened"])
def open_net(request):
    return request.param


@pytest.mark.parametrize(
    ("variable", "scheme"),
    [
        ("ALL_PROXY", "socks5"),
        ("all_proxy", "socks5h"),
        ("ALL_PROXY", "socks"),
        ("HTTP_PROXY", "socks5"),
    ],
)
@pytest.mark.few(12)
async def test_a_socks_proxy_is_gone_through(open_net, serve, open_proxy, variable, scheme):
    server = serve({"GET /v1/models": Said(200, {"data": []})})
    proxy = open_proxy(SocksProxy(server.port), variable, scheme)
    async with open_net() as net:
        for _ in range(2):
            assert (await net.send(HttpRequest("GET", URL, {}, b""), **LIMITS)).status == 200
    assert set(proxy.asked) == {("vendor.test", 80)}
    assert [each.path for each in server.asked] == ["/v1/models"] * 2
    assert {each.headers["host"] for each in server.asked} == {"vendor.test"}


async def test_its_password_is_said_to_it_and_to_nobody_else(open_net, serve, open_proxy):
    server = serve({"GET /v1/models": Said(200, {})})
    open_proxy(SocksProxy(server.port, b"me@home", b"ge:heim"), who="me%40home:ge%3Aheim@")
    async with open_net() as net:
        assert (await net.send(HttpRequest("GET", URL, {}, b""), **LIMITS)).status == 200
    assert "geheim" not in str(server.asked)


async def test_what_is_encrypted_stays_so(open_net, open_proxy, monkeypatch):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as stream:
                stream.recv(65536)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        proxy = open_proxy(SocksProxy(port), "HTTPS_PROXY")
        async with open_net() as net:
            reply = await net.send(HttpRequest("GET", f"https://127.0.0.1:{port}/v1", {}, b""), **LIMITS)
    assert reply.body == b"x"
    assert proxy.asked == [("127.0.0.1", port)]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"code": 2}, "its rules do not allow this"),
        ({"code": 5}, "the host refused the connection"),
        ({"code": 99}, "it failed"),
        ({"greeting": b"\x05\xff"}, "wants a user and a password"),
        ({"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "no SOCKS 5"),
        ({"user": b"me", "password": b"other"}, "password was refused"),
        ({"greeting": b"\x05"}, "the end of the connection"),
    ],
)
async def test_what_a_proxy_refuses_is_told(open_net, open_proxy, how, said):
    open_proxy(SocksProxy(9, **how), who="me:geheim@")
    async with open_net() as net:
        with pytest.raises(Unreachable, match=r"cannot reach vendor\.test: the proxy answered with") as failed:
            await net.send(HttpRequest("GET", URL, {}, b""), **LIMITS)
    assert said in str(failed.value)
    assert "geheim" not in str(failed.value)


async def test_a_proxy_that_says_nothing_is_no_connection(open_net, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with open_net() as net:
            with pytest.raises(TimedOut, match=r"no connection to vendor\.test in time"):
                await net.send(HttpRequest("GET", URL, {}, b""), **{**LIMITS, "connect_s": 0.1})


@pytest.mark.parametrize("exceptions", ["vendor.test", ".test", "*"])
async def test_no_proxy_excepts_from_it(open_net, open_proxy, monkeypatch, exceptions):
    proxy = open_proxy(SocksProxy(9))
    monkeypatch.setenv("NO_PROXY", exceptions)
    async with open_net() as net:
        with pytest.raises(Unreachable):
            await net.send(HttpRequest("GET", URL, {}, b""), **LIMITS)
    assert proxy.asked == []


async def test_other_kinds_are_told_by_name(open_net, open_proxy):
    open_proxy(SocksProxy(9), scheme="socks4", who="me:geheim@")
    async with open_net() as net:
        with pytest.raises(Unreachable, match="names a proxy of socks4: http, https, socks5 and socks5h are known"):
            await net.send(HttpRequest("GET", URL, {}, b""), **LIMITS)


@given(st.lists(st.binary(max_size=20)), st.text(min_size=1), st.integers(0, 65535))
def test_no_bytes_break_the_talk(said: list[bytes], host: str, port: int):
    talk = handshake(Proxy("socks5", "p", 1, ("me", "x")), host, port)
    with suppress(StopIteration, ProxyRefused, UnicodeError):
        _, wanted = next(talk)
        for each in said:
            _, wanted = talk.send(each[:wanted].ljust(wanted, b"\0"))
