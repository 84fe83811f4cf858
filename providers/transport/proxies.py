"""Which proxy the environment names for an address."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from providers.catalog.base_url import is_loopback

PORTS = {"http": 80, "https": 443}
SOCKS = ("socks", "socks5", "socks5h")
"""`socks` is how desktops write it."""
PROXY_PORTS = {**PORTS, **dict.fromkeys(SOCKS, 1080)}


class ProxyRefused(Exception):
    """A proxy did not open the way. The argument is what it answered with."""


class UnknownProxy(ValueError):
    """A kind of proxy that no client here speaks to; the argument is its scheme, which holds no secret."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """`scheme` is http, https, socks, socks5 or socks5h; `auth` its user and password."""

    scheme: str
    host: str
    port: int
    auth: tuple[str, str] | None

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def is_socks(self) -> bool:
        return self.scheme in SOCKS

    @property
    def headers(self) -> dict[str, str]:
        """What an HTTP proxy asks for: its password."""
        return {} if self.auth is None else {"proxy-authorization": _basic(*self.auth)}


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that the environment (or the system, where it has such a setting) names.

    Raise `UnknownProxy` for one that no client here speaks to.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    # What is not encrypted and for this machine is nobody else's, and no proxy leads back here.
    if scheme == "http" and is_loopback(host):
        return None
    if not proxy or proxy_bypass(host) or _excepted(host, port, proxies.get("no", "")):
        return None
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if url.scheme not in PROXY_PORTS:
        raise UnknownProxy(url.scheme)
    if not url.hostname:
        raise ValueError("no host")
    auth = None if url.username is None else (unquote(url.username), unquote(url.password or ""))
    return Proxy(url.scheme, url.hostname, url.port or PROXY_PORTS[url.scheme], auth)


def basic_auth(url: SplitResult) -> str | None:
    """Return the header that says the user and password which stand in an address, if any do."""
    if url.username is None:
        return None
    return _basic(unquote(url.username), unquote(url.password or ""))


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


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
