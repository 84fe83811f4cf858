"""The limits that are kept here, and the ledger that counts them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio

from orchestrator.cli.app import Settings
from orchestrator.cli.files import environment, load_policy
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.notices import telling
from orchestrator.environment import Environment
from providers.catalog.model import Catalog, numbered
from providers.documents.addresses import VARIABLE, split_of
from providers.limits.counter import LimitKey
from providers.limits.ledger import Ledger, LedgerDown
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.opening import FILE, ledger_at, ledger_of, unusable
from providers.limits.rules import allowance, caps_of
from providers.policy.model import Policy
from providers.windows import Fixed

_PROBE = LimitKey("doctor", 1.0, Fixed(60.0))


def kept_limits(policy: Policy, catalog: Catalog, environ: Environment) -> list[tuple[str, LimitKey]]:
    """Return each limit that is kept, with what it applies to: `provider`, `provider/model`, or our own budget."""
    found = {cap.meter.key: (cap.budget.name or "all", cap.meter) for cap in caps_of(policy.budget)}
    for candidate in catalog.candidates(environ):
        bound = allowance(candidate)
        if bound is not None:
            name = candidate.provider.name
            for limit, meter in bound.limits:
                scope = limit.model or "+".join(limit.pool)
                found[meter.key] = (numbered(f"{name}/{scope}" if scope else name, candidate.account), meter)
            found[bound.hold.key] = (candidate.name, bound.hold)
    return list(found.values())


@asynccontextmanager
async def open_ledger(settings: Settings, policy: Policy, environ: Environment) -> AsyncIterator[Ledger]:
    """Yield the ledger that runs here count in. Looking makes no file: where there is none yet, it is an empty one."""
    folder = settings.state_folder
    state = folder if (folder / FILE).exists() else None
    console = Console(settings)
    ledger = ledger_of(policy.ledger, environ, state, telling(console.warn, console.write)) or MemoryLedger()
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def ask_once(ledger: Ledger) -> None:
    """Have a ledger make what it needs on its server, and tell whether it is down, before a call depends on it."""
    await ledger.usage([_PROBE], time.time())


def check_ledger(settings: Settings) -> Iterator[tuple[Literal["ok", "warn", "fail"], str, str]]:
    """Yield whether the ledger that is named here can be used: its state, in words, and what to do. Nothing: none is.

    A server is asked, once.
    """
    environ = environment(settings)
    said = environ.get(VARIABLE, "").strip()
    address = said or load_policy(settings)[0].ledger
    where = VARIABLE if said else "'ledger' of the routing file"
    if address:
        yield anyio.run(_checked, address, where)


async def _checked(address: str, where: str) -> tuple[Literal["ok", "warn", "fail"], str, str]:
    if wrong := unusable(address):
        return "fail", f"{where}: {wrong}", "see `orchestrator docs limits`"
    if (shared := split_of(address)) is not None:
        who = "one" if shared[0] is None else f"number {shared[0]}"
        return "ok", f"{where}: {who} of {shared[1]} workers, with its share of each limit and budget", ""
    ledger, began = ledger_at(address), anyio.current_time()
    try:
        await ledger.usage([_PROBE], time.time())
        await ledger.usage([_PROBE], time.time())
    except LedgerDown as error:
        advice = "until it can be reached each process goes on alone with a quarter of each limit"
        return "fail", f"{where}: {error}", advice
    finally:
        await ledger.aclose()
    return (
        "ok",
        f"{where}: answers, {(anyio.current_time() - began) * 1000:.0f} ms for a connection and two questions",
        "",
    )
