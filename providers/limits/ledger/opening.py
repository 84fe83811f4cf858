"""Which ledger a process counts in: one that machines share, by its address, else the one in its folder for state."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from providers.documents.addresses import VARIABLE, kind_of, wrong_address
from providers.documents.problems import Problem, variable_problem
from providers.emit import Emit, ignore
from providers.errors import CatalogError
from providers.limits.ledger import Ledger
from providers.limits.ledger.fallback import FallbackLedger

FILE = "limits.sqlite3"
_REDIS = ("Redis", "redis", "redis.asyncio")


def ledger_of(
    in_file: str | None, environ: Mapping[str, str], state: Path | None, emit: Emit = ignore
) -> Ledger | None:
    """Return the ledger that `environ` names, else the one `in_file`, else the one in the folder `state`, if any.

    It never raises `LedgerDown`: where it is down this process goes on alone with a share of every limit, and tells
    `emit`. Nothing is opened before the first call. Raise `CatalogError` for an address that cannot be used.
    """
    said = environ.get(VARIABLE, "").strip()
    address = said or in_file
    if not address:
        return None if state is None else kept_in(state, emit)
    kind = kind_of(address)
    if message := unusable(address):
        in_policy = Problem("", 0, 0, 0, "bad-address", message, path=("ledger",))
        raise CatalogError([variable_problem(VARIABLE, message) if said else in_policy])
    if kind == "split":
        return None if state is None else kept_in(state, emit)
    return FallbackLedger(ledger_at(address), emit=emit)


def ledger_at(address: str) -> Ledger:
    """Return the ledger at the sound address of a server. Unlike that of `ledger_of` it raises `LedgerDown`."""
    if kind_of(address) == "postgres":
        from providers.limits.ledger.postgres.ledger import PostgresLedger

        return PostgresLedger(address)
    from providers.limits.ledger.redis import RedisLedger

    return RedisLedger(address)


def kept_in(state: Path, emit: Emit = ignore) -> Ledger:
    """Return the ledger that the processes of one machine share in their folder for state."""
    from providers.limits.ledger.sqlite import SqliteLedger

    return FallbackLedger(SqliteLedger(state / FILE), emit=emit)


def unusable(address: str) -> str | None:
    """Return why nothing can be counted at an address from here, None where something can. Nothing of it is shown."""
    kind = kind_of(address)
    if wrong := wrong_address(address):
        return f"the value {wrong}"
    if kind == "split":
        return None
    import asyncio  # some milliseconds, for those few who share a ledger

    name, extra, client = ("PostgreSQL", "cluster", "psycopg") if kind == "postgres" else _REDIS
    try:
        import_module(client)
    except ImportError:
        return f"the ledger needs the client of {name}: pip install 'squad-orchestrator[{extra}]'"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return f"the client of {name} runs on asyncio alone"
    return None
