"""Where `serve` listens, by which names it may be asked, and who may log in: decided before anything is opened."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.exits import Unusable
from orchestrator.kept_file import put
from orchestrator.server.listening import listen

TOKEN_VARIABLE = "ORCHESTRATOR_SERVER_TOKEN"  # noqa: S105  # the name of a variable
LEAST_TOKEN, MOST_TOKEN = 16, 512
"""Characters of a token that others might guess at."""
ADDRESS_FILE = "server-address.json"
HERE = ("127.0.0.1", "localhost", "::1")
ADDRESS_FILE = "server-address.json"
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with, and bound to only where it is asked for


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a server listens. `token` None: what the state folder keeps."""

    host: str
    port: int
    hosts: tuple[str, ...]
    token: str | None
    proxies: tuple[str, ...]

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return _is_loopback(self.host)

    def listen(self) -> socket.socket:
        """Return the socket. Raise `Unusable` where it cannot be had."""
        try:
            return listen(self.host, self.port)
        except OSError as error:
            why = f"cannot listen at {self.host}:{self.port}: {error.strerror or error}"
            raise Unusable(why, "give another --port; 0 is any") from error

    def address(self, port: int) -> str:
        """Return the address that a browser on this machine, or by the first name allowed, finds it at."""
        host = self.host if self.host not in ANYWHERE else "127.0.0.1"
        named = next((name for name in self.hosts if name not in HERE), None)
        if not self.is_local and named is not None:
            return f"{'https' if self.proxies else 'http'}://{named}{'' if self.proxies else f':{port}'}"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def announced(folder: Path, address: str) -> Iterator[None]:
    """Keep in a file of the state folder where the server is found, as long as it runs."""
    file = folder / ADDRESS_FILE
    put(file, {"url": address, "pid": os.getpid()})
    try:
        yield
    finally:
        if address_in(folder) == address:
            file.unlink(missing_ok=True)


def address_in(folder: Path) -> str | None:
    """Return where the server of a state folder was found last; None where there is none."""
    try:
        return str(json.loads((folder / ADDRESS_FILE).read_text("utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def binding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `binding_of` takes."""
    for option in reversed(
        (
            click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Listen there (127.0.0.1)."),
            click.option(
                "--port", type=click.IntRange(0, 65535), default=8700, metavar="PORT", help="8700 if not given."
            ),
            click.option(
                "--token-file", metavar="FILE", help=f"The server's token ({TOKEN_VARIABLE}, or one that is made)."
            ),
            click.option(
                "--allowed-host",
                "allowed",
                multiple=True,
                metavar="NAME",
                help="Another name by which clients reach the server.",
            ),
            click.option(
                "--trusted-proxy",
                "proxies",
                multiple=True,
                metavar="ADDRESS",
                help="A proxy whose X-Forwarded-* headers are believed.",
            ),
        )
    ):
        command = option(command)
    return command


def binding_of(
    host: str,
    port: int,
    token_file: str | None,
    allowed: Sequence[str],
    proxies: Sequence[str],
    environ: Mapping[str, str],
) -> Binding:
    """Return where to listen. Raise `Unusable`: others may reach no server without a token of its owner's choice."""
    for name in allowed:
        if not name or (any(sign in name for sign in "/:*@ ") and not _is_address(name.strip("[]"))):
            raise Unusable(
                f"--allowed-host {name}: it is a name alone, without a port", "--allowed-host runs.example.org"
            )
    for proxy in proxies:
        try:
            ip_network(proxy)
        except ValueError:
            hint = "--trusted-proxy 10.0.0.1, or a network: 10.0.0.0/24"
            raise Unusable(f"--trusted-proxy {proxy}: it is not an address", hint) from None
    token = _token(token_file, environ)
    if token is None and not _is_loopback(host):
        raise Unusable(
            f"--host {host} lets others reach this server, and it has no token that you chose",
            f"set {TOKEN_VARIABLE}, or write one to a file and give --token-file: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    own = () if host in ANYWHERE else (host,)
    return Binding(host, port, tuple(dict.fromkeys((*HERE, *own, *allowed))), token, tuple(proxies))


def _token(file: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the token that was chosen, None where none was. Raise `Unusable` for one that is none."""
    where = TOKEN_VARIABLE if file is None else f"--token-file {file}"
    if file is None:
        token = environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return None
    else:
        try:
            token = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{where}: it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not LEAST_TOKEN <= len(token) <= MOST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        wanted = f"a token is {LEAST_TOKEN} to {MOST_TOKEN} letters, digits and signs, without spaces"
        raise Unusable(f"{where}: {wanted}", "python -c 'import secrets; print(secrets.token_urlsafe(32))'")
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
