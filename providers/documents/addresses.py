"""Addresses of shared ledgers, as an environment or a routing file names them."""

from __future__ import annotations

from urllib.parse import urlsplit

VARIABLE = "ORCHESTRATOR_LEDGER"
"""Holds the address of a shared ledger; it goes before a routing file's `ledger`."""
NO_ADDRESS = "is not the address of a ledger: redis://HOST:PORT/DB, rediss://HOST:PORT/DB (over TLS) or unix:///PATH"


def wrong_address(address: str, *, in_file: bool = False) -> str | None:
    """Return what is wrong with a ledger's address, in words that show nothing of it; None: nothing is."""
    try:
        parts = urlsplit(address)
        place, secret = (parts.path if parts.scheme == "unix" else parts.hostname), parts.password
        number = parts.port is None or parts.port > 0
    except ValueError:
        return NO_ADDRESS
    if parts.scheme not in ("redis", "rediss", "unix") or not place or not number:
        return NO_ADDRESS
    if in_file and (secret or "password=" in parts.query):
        return f"holds a password, which belongs in no file: set {VARIABLE} to the whole address"
    return None
