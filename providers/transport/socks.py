"""What a client and a SOCKS5 proxy say to each other before a connection is open: RFC 1928, passwords RFC 1929. Pure.

Names are sent as they are: it is the proxy that looks them up, be it called socks5 or socks5h.
"""

from __future__ import annotations

from collections.abc import Generator
from ipaddress import ip_address

from providers.transport.proxies import Proxy, ProxyRefused

_VERSION, _CONNECT, _PASSWORD, _NAME = 5, 1, 2, 3
_LENGTHS = {1: 4, 4: 16}
_REFUSALS = {
    1: "SOCKS: it failed",
    2: "SOCKS: its rules do not allow this",
    3: "SOCKS: the network cannot be reached",
    4: "SOCKS: the host cannot be reached",
    5: "SOCKS: the host refused the connection",
    6: "SOCKS: no answer in time",
    7: "SOCKS: it makes no connections",
    8: "SOCKS: it does not know this kind of address",
}

Handshake = Generator[tuple[bytes, int], bytes, None]
"""Yields what to send, and how many bytes to read then; is sent exactly these."""


def handshake(proxy: Proxy, host: str, port: int) -> Handshake:
    """Ask a proxy for a connection. Raise `ProxyRefused` where it gives none, and for a host that cannot be said."""
    methods = b"\x05\x01\x00" if proxy.auth is None else b"\x05\x02\x00\x02"
    version, method = yield methods, 2
    if version != _VERSION:
        raise ProxyRefused("no SOCKS 5")
    if method == _PASSWORD and proxy.auth is not None:
        user, password = (word.encode() for word in proxy.auth)
        if not (0 < len(user) < 256 and len(password) < 256):
            raise ProxyRefused("SOCKS: a user or password that is too long")
        _, refused = yield b"".join((b"\x01", bytes([len(user)]), user, bytes([len(password)]), password)), 2
        if refused:
            raise ProxyRefused("SOCKS: its password was refused")
    elif method:
        raise ProxyRefused("SOCKS: it wants a user and a password")
    version, refused, _, kind = yield bytes([_VERSION, _CONNECT, 0]) + _address(host) + port.to_bytes(2, "big"), 4
    if version != _VERSION or refused:
        raise ProxyRefused(_REFUSALS.get(refused, "SOCKS: it failed"))
    length = _LENGTHS.get(kind)
    if length is None:
        length = (yield b"", 1)[0]
    yield b"", length + 2


def _address(host: str) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        if len(name) > 255:
            raise ProxyRefused("SOCKS: the host's name is too long") from None
        return bytes([_NAME, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed
