"""Addresses: what of a URL goes where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from providers.transport import no_address, no_set_up
from providers.transport.proxies import PORTS, Proxy, basic_auth, proxy_for


class Destination(NamedTuple):
    """Where a connection leads. The connections of one destination serve each other's requests."""

    host: str
    port: int
    tls: bool
    proxy: Proxy | None


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and what to ask for there. `authority` is the host as the URL writes it, with its port."""

    destination: Destination
    authority: str
    target: str
    headers: dict[str, str]


def address_of(url: str) -> Address:
    """Read an address. It is sent as it is written; `Unreachable` for what is none, or whose proxy is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise no_address(url) from None
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        raise no_address(url)
    try:
        proxy = proxy_for(parts.scheme, host, port)
    except ValueError as error:
        raise no_set_up(error) from None
    authority, target = parts.netloc.rpartition("@")[2], parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    headers = {"host": authority}
    if (password := basic_auth(parts)) is not None:
        headers["authorization"] = password
    return Address(Destination(host, port, parts.scheme == "https", proxy), authority, target, headers)
