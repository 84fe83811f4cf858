"""Where a tool's request may not go, however the address is written; and that it goes where was looked."""

from __future__ import annotations

import gzip
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from providers.adapters import HttpRequest
from providers.errors import BadReply, TimedOut, Unreachable
from providers.transport.guard import address_fault
from providers.transport.guarded import AddressRefused, fetch
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
INSIDE = (
    "127.0.0.1 127.9.9.9 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 169.254.169.254 192.0.0.1 "
    "169.254.170.2 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 100.100.100.200 "
    ":: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 "
    "::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:c0a8:101::1 ::7f00:1 100::1 "
    "2001:0:7f00:1:: nonsense"
)
BOMB = gzip.compress(b"0" * 5_000_000)
OUTSIDE = "1.1.1.1 8.8.8.8 93.184.216.34 172.32.0.1 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"


@pytest.mark.parametrize("address", INSIDE.split())
def test_inside_addresses_are_refused_in_each_of_their_forms(address):
    assert address_fault(address)


@pytest.mark.parametrize("address", OUTSIDE.split())
def test_addresses_of_the_public_internet_are_not(address):
    assert not address_fault(address)
    assert not address_fault(address, allow_private=True)


def test_own_services_may_be_allowed_and_a_clouds_metadata_never():
    for address in ("127.0.0.1", "10.0.0.1", "::1", "fd12::1", "::ffff:127.0.0.1"):
        assert not address_fault(address, allow_private=True), address
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0", "224.0.0.1", "fe80::1"):
        assert address_fault(address, allow_private=True), address


@pytest.fixture
def server():
    """A server on this machine; the path says what it answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            kind = self.path.strip("/")
            body = {"big": b"x" * 500_000, "gzip": gzip.compress(b"hello"), "bomb": BOMB}
            data = body.get(kind, f"{kind} {self.headers['host']}".encode())
            if kind == "hang":
                self.connection.recv(1)
                return
            self.send_response(302 if kind == "move" else 200)
            if kind in ("gzip", "bomb"):
                self.send_header("content-encoding", "gzip")
            self.send_header("location", "http://169.254.169.254/")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join()


async def get(url: str, max_bytes: int = 1000, timeout_s: float = PATIENCE_S, **more):
    return await fetch(HttpRequest("GET", url, {}, b""), timeout_s=timeout_s, max_bytes=max_bytes, **more)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]"])
async def test_this_machine_is_not_asked_however_it_is_written(server, host):
    port = server.rpartition(":")[2]
    with pytest.raises((AddressRefused, Unreachable)) as refused:
        await get(f"http://{host}:{port}/x")
    assert "127.0.0.1" not in str(refused.value) or isinstance(refused.value, AddressRefused)


async def test_a_name_is_looked_up_once_and_that_address_is_called(server):
    port, asked = server.rpartition(":")[2], []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    got = await get(f"http://api.example:{port}/x", allow_private=True, resolve=rebinding)
    assert (got.status, got.body) == (200, f"x api.example:{port}".encode())
    assert asked == ["api.example"]
    asked.clear()
    with pytest.raises(AddressRefused, match=r"api\.example may not be asked: 127\.0\.0\.1 is this machine"):
        await get(f"http://api.example:{port}/x", resolve=rebinding)


async def test_one_inside_address_among_others_is_enough(server):
    async def mixed(host: str, port: int) -> list[str]:
        return ["1.1.1.1", "10.0.0.1"]

    with pytest.raises(AddressRefused):
        await get("http://api.example/x", resolve=mixed)


async def test_a_long_body_is_cut_a_packed_one_bounded_and_no_redirect_followed(server):
    big = await get(f"{server}/big", allow_private=True)
    assert (len(big.body), big.is_cut) == (1000, True)
    assert (await get(f"{server}/gzip", allow_private=True)).body == b"hello"
    with pytest.raises(BadReply, match="larger than 100000 bytes"):
        await get(f"{server}/bomb", max_bytes=100_000, allow_private=True)
    moved = await get(f"{server}/move", allow_private=True)
    assert (moved.status, moved.headers["location"]) == (302, "http://169.254.169.254/")


async def test_a_server_that_says_nothing_is_left(server):
    with pytest.raises(TimedOut):
        await get(f"{server}/hang", allow_private=True, timeout_s=0.2)


async def test_the_certificate_is_that_of_the_name_wherever_the_name_leads(monkeypatch):
    certificate = Path(__file__).with_name("loopback.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"safe")

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that hangs up over the certificate is no error here."""

    served = Server(("127.0.0.1", 0), Handler)
    served.socket = context.wrap_socket(served.socket, server_side=True)
    thread = Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{served.server_port}/"
        assert (await get(url, allow_private=True)).body == b"safe"
        with pytest.raises(Unreachable, match=r"cannot reach api\.example"):
            await get(url.replace("127.0.0.1", "api.example"), allow_private=True, resolve=here)
    finally:
        served.shutdown()
        served.server_close()
        thread.join()
