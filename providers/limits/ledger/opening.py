"""Which ledger a process counts in: one that machines share, by its address, else the one in its folder for state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from providers.documents.addresses import VARIABLE, wrong_address
from providers.documents.problems import Problem, variable_problem
from providers.emit import Emit, ignore
from providers.errors import CatalogError
from providers.limits.ledger import Ledger
from providers.limits.ledger.fallback import FallbackLedger

FILE = "limits.sqlite3"


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
    wrong = wrong_address(address)
    if message := f"the value {wrong}" if wrong else _unusable():
        in_policy = Problem("", 0, 0, 0, "bad-address", message, path=("ledger",))
        raise CatalogError([variable_problem(VARIABLE, message) if said else in_policy])
    from providers.limits.ledger.redis import RedisLedger

    return FallbackLedger(RedisLedger(address), emit=emit)


def kept_in(state: Path, emit: Emit = ignore) -> Ledger:
    """Return the ledger that the processes of one machine share in their folder for state."""
    from providers.limits.ledger.sqlite import SqliteLedger

    return FallbackLedger(SqliteLedger(state / FILE), emit=emit)


def _unusable() -> str | None:
    """Return why no Redis can be asked from here."""
    import asyncio

    try:
        import redis.asyncio  # noqa: F401  # whether it is there
    except ImportError:
        return "the ledger needs the client of Redis: pip install 'squad-orchestrator[redis]'"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "the client of Redis runs on asyncio alone"
    return None
