"""The limits that are kept here, and the ledger that counts them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.notices import telling
from orchestrator.environment import Environment
from providers.catalog.model import Catalog, numbered
from providers.limits.counter import LimitKey
from providers.limits.ledger import Ledger
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.opening import FILE, ledger_of
from providers.limits.rules import allowance, caps_of
from providers.policy.model import Policy


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
