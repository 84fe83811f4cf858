"""Which proxy the environment names for an address."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    tls: bool
    headers: tuple[tuple[str, str], ...]
    """What it asks for: its password."""


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that the environment (or the system, where it has such a setting) names.

    Raise `ValueError` for one that is not spoken to: SOCKS.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host) or _excepted(host, port, proxies.get("no", "")):
        return None
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if url.scheme not in PORTS or not url.hostname:
        raise ValueError("no proxy that is spoken to")
    password = basic_auth(url)
    headers = (("proxy-authorization", password),) if password else ()
    return Proxy(url.hostname, url.port or PORTS[url.scheme], url.scheme == "https", headers)


def basic_auth(url: SplitResult) -> str | None:
    """Return the header that says the user and password which stand in an address, if any do."""
    if url.username is None:
        return None
    said = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return f"Basic {b64encode(said.encode()).decode()}"


def _excepted(host: str, port: int, exceptions: str) -> bool:
    """Return whether NO_PROXY names `host`: as it is, by a parent domain, with its port, by network, or by `*`."""
    for entry in filter(None, map(str.strip, exceptions.lower().split(","))):
        name = entry.lstrip("*").lstrip(".")
        if not name or name in (host, f"{host}:{port}") or host.endswith(f".{name}"):
            return True
        try:
            if "/" in entry and ip_address(host) in ip_network(entry, strict=False):
                return True
        except ValueError:
            continue  # a name, not an address
    return False
