"""Which of the user's keys a file would send where: what must be allowed before anything is sent. Pure.

A folder that was cloned may hold a routing file and a `.env`. Either may name an address; neither may thereby have the
keys of the user's own environment sent there. See docs/guides/security.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
ANYWHERE = ""
"""The folder of a use that no file asks for: an address of the user's own environment, over plain http."""

IN_CATALOG = "the catalog"


@dataclass(frozen=True, slots=True)
class Source:
    """The file that says something: its path without links, and the name that people know it by."""

    path: str
    shown: str = field(default="", compare=False)
    named: bool = field(default=False, compare=False)
    """Whether the calling program gave its path. A `.env` is what is found in a folder."""

    @property
    def folder(self) -> str:
        return str(PurePath(self.path).parent)


class Sourced(Mapping[str, str]):
    """Variables of which some come from a file."""

    __slots__ = ()

    @abstractmethod
    def source(self, name: str) -> Source | None:
        """Return the file that says what a variable is; None: the user's own environment, or the calling program."""


class Layered(Sourced):
    """Variables below which others may be put."""

    __slots__ = ()

    @abstractmethod
    def over(self, found: Mapping[str, str]) -> Layered:
        """Return the same with variables below it that nobody set, `found` by looking for what they say."""


def source_of(environ: Mapping[str, str], name: str) -> Source | None:
    return environ.source(name) if isinstance(environ, Sourced) else None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A secret of the user's that would go to an address. What is allowed is the folder, the address, the variable."""

    folder: str
    """The folder whose files name the address."""
    address: str
    """Scheme, host and port."""
    variable: str
    """The environment variable that holds the secret; empty: nothing secret is sent."""
    provider: str = field(default="", compare=False)
    """The provider that the key is of."""
    file: str = field(default="", compare=False)
    """The file that names the address."""
    needed: bool = field(default=True, compare=False)
    """It must be allowed before the first request; else only where a file is read again and brings it."""
    plain: bool = field(default=False, compare=False)
    """It would go over plain http."""
    named: bool = field(default=False, compare=False)
    """No file has a say in it but those whose paths the calling program gave; a `.env` that was found has none."""

    def __str__(self) -> str:
        how = " over plain http, which anyone on the way can read" if self.plain else ""
        said = f", named by {self.file}" if self.file else ""
        return f"{self.variable or 'requests'} to {self.address}{how} ({self.provider}{said})"


class Whence(NamedTuple):
    """Where a candidate's address and its key come from, in words; "" where it has none."""

    address: str = ""
    key: str = ""


Consent = Callable[[KeyUse], bool]
"""Says whether a use is allowed."""


def of_the_program(use: KeyUse) -> bool:
    """Allow what the calling program says: by its objects and its environment, and by files that it gave the paths of.

    A `.env` that was found in a folder does not speak for the program.
    """
    return use.named


class NotTrusted(Exception):
    """A file would send the user's keys to an address that was not allowed. Nothing was sent."""

    def __init__(self, uses: Iterable[KeyUse]) -> None:
        self.uses = tuple(uses)
        """Each key and address that was not allowed."""
        lines = "\n".join(f"  {use}" for use in self.uses)
        super().__init__(f"files would send keys of yours where you have not allowed it:\n{lines}")


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address; the port is left out where it is the usual one."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}" + (f":{parts.port}" if parts.port not in (None, PORTS.get(parts.scheme)) else "")


def is_exposed(url: str) -> bool:
    """Whether what is sent to an address can be read on its way: plain http that leaves this machine.

    By the address alone: any name but `localhost` is what a name server makes of it.
    """
    parts = urlsplit(url)
    return parts.scheme != "https" and not _is_this_machine((parts.hostname or "").rstrip("."))


def _is_this_machine(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@dataclass(frozen=True, slots=True)
class Sending:
    """What one account of a provider would send, and who says so: `to` is its whole address, `key` the variable that
    holds its key, None where it has none. Each other value is the file that says it, None where that is no file."""

    provider: str
    to: str
    key: str | None
    address_from: Source | None
    key_from: Source | None
    steered_by: Source | None
    """The file that names the variable, or the headers."""
    foreign: bool
    """Whether the variable is none of those in which the provider's key is expected."""
    known: bool
    """Whether the packaged catalog itself sends this key there."""
    placeholders: Mapping[str, Source | None] = field(default_factory=dict)
    """The variables whose values a file puts into the address."""

    def uses(self) -> tuple[KeyUse, ...]:
        """Return what of this a file brings, and what must be allowed for another reason."""
        origin, file = origin_of(self.to), self.address_from or self.steered_by
        exposed = is_exposed(self.to)
        strange = not self.known and (
            self.key_from != self.address_from if self.address_from is not None else self.foreign
        )
        found = []
        if self.key is not None and (strange or exposed):
            found.append(self._use(file, origin, self.key, plain=exposed))
        elif file is not None:
            # A key that the file brings itself is none of the user's.
            own = self.address_from is not None and self.key_from == self.address_from
            found.append(self._use(file, origin, "" if own else self.key or "", needed=False))
        for name, said_by in self.placeholders.items():
            if said_by != self.address_from:
                found.append(self._use(file, origin, name, plain=exposed))
        return tuple(found)

    def whence(self, url_variable: str) -> Whence:
        """Return the words for where the address and the key come from; `url_variable` holds the address, if any."""
        file = self.address_from
        written = file.shown if file is not None else IN_CATALOG
        return Whence(
            _said(url_variable, file) if url_variable else written, _said(self.key, self.key_from) if self.key else ""
        )

    def _use(
        self, file: Source | None, origin: str, variable: str, *, needed: bool = True, plain: bool = False
    ) -> KeyUse:
        folder, shown, named = (ANYWHERE, "", True) if file is None else (file.folder, file.shown, file.named)
        return KeyUse(folder, origin, variable, self.provider, shown, needed, plain, named)


def _said(variable: str, file: Source | None) -> str:
    return f"{variable} in {file.shown if file is not None else 'the environment'}"


def refused(uses: Iterable[KeyUse], trust: Consent) -> list[KeyUse]:
    """Return those that must be allowed and are not, each once."""
    return [use for use in dict.fromkeys(use for use in uses if use.needed) if not trust(use)]


def file_source(file: Path, *, named: bool = False) -> Source:
    """Return the source that a file is: links in its folder's path are followed, so a folder has one name."""
    return Source(str(file.parent.resolve() / file.name), str(file), named)
