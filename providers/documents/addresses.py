"""Where limits are counted, as an environment or a routing file says it: a server's address, or a share of a worker."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

VARIABLE = "ORCHESTRATOR_LEDGER"
"""Holds the address of a shared ledger; it goes before a routing file's `ledger`."""
NO_ADDRESS = (
    "is not the address of a ledger: redis://HOST:PORT/DB, rediss://HOST:PORT/DB (over TLS), unix:///PATH, "
    "postgresql://HOST:PORT/DB, or split:INDEX/N for the share of one of N workers (INDEX from 0)"
)
MOST_WORKERS = 100_000
LedgerKind = Literal["redis", "postgres", "split"]
_KINDS: dict[str, LedgerKind] = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "postgresql": "postgres",
    "postgres": "postgres",
    "split": "split",
}
_SPLIT = re.compile(r"split:(?:([0-9]{1,6})/)?([0-9]{1,6})", re.ASCII)


def wrong_address(address: str, *, in_file: bool = False) -> str | None:
    """Return what is wrong with a ledger's address, in words that show nothing of it; None: nothing is."""
    try:
        parts = urlsplit(address)
        secret, number = parts.password, parts.port is None or parts.port > 0
    except ValueError:
        return NO_ADDRESS
    kind = kind_of(address)
    if kind == "split":
        return None if split_of(address) is not None else NO_ADDRESS
    place = parts.path if parts.scheme == "unix" else parts.hostname
    if kind == "postgres":  # a socket of this machine is named in the query, or is the usual one
        place = place or parts.path.strip("/") or parts.query
    if kind is None or not place or not number:
        return NO_ADDRESS
    if in_file and (secret or "password=" in parts.query):
        return f"holds a password, which belongs in no file: set {VARIABLE} to the whole address"
    return None


def kind_of(address: str) -> LedgerKind | None:
    """Return what an address leads to, by its beginning; None: to nothing that is known."""
    return _KINDS.get(address.partition(":")[0].lower())


def split_of(address: str) -> tuple[int | None, int] | None:
    """Return the index of a worker (None: it is not said) and the number of workers; None where it says neither."""
    found = _SPLIT.fullmatch(address)
    if found is None:
        return None
    index, workers = None if found[1] is None else int(found[1]), int(found[2])
    return (index, workers) if (index or 0) < workers <= MOST_WORKERS else None
