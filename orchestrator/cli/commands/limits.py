"""`providers limits` and `providers reset`: what providers still allow, and how to forget what was counted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli.app import Command, settings_of
from orchestrator.cli.arguments import environment, load_policy
from orchestrator.cli.exits import Unusable
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.notices import telling

if TYPE_CHECKING:
    from orchestrator.cli.app import Settings
    from providers.limits.ledger import Ledger
    from providers.limits.reserve import LimitKey, Used


@click.command("limits", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def limits_command(context: click.Context, as_json: bool) -> None:
    """Show what is used of each limit that is kept, and of our own budget, and when all of it is free again.

    Kept are the limits that a routing file states, and a plan's published ones where it says `plan: free`.
    """
    settings = settings_of(context)
    kept, now = kept_limits(settings), time.time()
    used = anyio.run(_usage, settings, [meter for _, meter in kept], now)
    # A hold is no limit: it is told only while a provider has shut the door.
    rows = [(who, each) for (who, _), each in zip(kept, used, strict=True) if each.meter.amount or each.used]
    if as_json:
        print_json([_document(who, each, now) for who, each in rows], indent=2)
    elif not rows:
        Console(settings).say(
            "no limit is kept, and no budget: a routing file states them, or says `plan: free` of a provider"
        )
    else:
        click.echo(columns([("FOR", "LIMIT", "USED", "LEFT", "ALL FREE AT"), *(_row(*row, now) for row in rows)]))


@click.command("reset", cls=Command)
@click.argument("provider", required=False)
@click.pass_context
def reset_command(context: click.Context, provider: str | None) -> None:
    """Forget what was counted of all limits that are kept, or of one PROVIDER's."""
    settings = settings_of(context)
    kept = kept_limits(settings)
    from providers.catalog.model import of_all_accounts

    meters = [meter for who, meter in kept if provider in (None, of_all_accounts(who).partition("/")[0])]
    if not meters:
        raise Unusable(f"no limit is kept for {provider}" if provider else "no limit is kept", "nothing to forget")
    anyio.run(_forget, settings, meters)
    Console(settings).say(f"forgot what was counted of {len(meters)} limits")


def kept_limits(settings: Settings) -> list[tuple[str, LimitKey]]:
    """Return whom each limit that is kept binds, `provider` or `provider/model`, and its meter; first our own caps."""
    from providers.catalog.model import numbered
    from providers.limits.rules import allowance, caps_of
    from providers.policy.model import with_environment

    policy, catalog = load_policy(settings)
    environ = environment(settings)
    _, catalog = with_environment(policy, catalog, environ)
    found = {cap.meter.key: (cap.budget.name or "all", cap.meter) for cap in caps_of(policy.budget)}
    for candidate in catalog.candidates(environ):
        bound = allowance(candidate)
        if bound is not None:
            name = candidate.provider.name
            for limit, meter in bound.limits:
                whom = limit.model or "+".join(limit.pool)
                found[meter.key] = (numbered(f"{name}/{whom}" if whom else name, candidate.account), meter)
            found[bound.hold.key] = (candidate.name, bound.hold)
    return list(found.values())


async def _usage(settings: Settings, meters: Sequence[LimitKey], now: float) -> list[Used]:
    async with _ledger_here(settings) as ledger:
        return await ledger.usage(meters, now)


async def _forget(settings: Settings, meters: Iterable[LimitKey]) -> None:
    from providers.limits.ledger import LedgerDown

    async with _ledger_here(settings) as ledger:
        try:
            await ledger.forget(list(meters))
        except LedgerDown as error:
            raise Unusable(f"the ledger of limits is down: {error}", "nothing was forgotten") from error


@asynccontextmanager
async def _ledger_here(settings: Settings) -> AsyncIterator[Ledger]:
    """Yield the ledger that runs here count in. Looking makes no file: without one it is an empty one."""
    from providers.limits.ledger.memory import MemoryLedger
    from providers.limits.ledger.opening import FILE, ledger_of

    folder = settings.state_folder
    state = folder if (folder / FILE).exists() else None
    address = load_policy(settings)[0].ledger
    ledger = ledger_of(address, environment(settings), state, telling(Console(settings).warn)) or MemoryLedger()
    try:
        yield ledger
    finally:
        await ledger.aclose()


def _unit(meter: LimitKey) -> float:
    """Return what one of a figure is: our own caps count micro-USD, which people read as USD."""
    from providers.limits.rules import is_own

    return 1e-6 if is_own(meter) else 1.0


def _document(who: str, used: Used, now: float) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "for": who,
        "limit": used.meter.label,
        "amount": used.meter.amount * _unit(used.meter),
        "used": used.used * _unit(used.meter),
        "left": used.left,
        "all_free_at": _instant(used.resets_at) if used.resets_at > now else None,
    }


def _row(who: str, used: Used, now: float) -> tuple[str, ...]:
    free = _instant(used.resets_at) if used.resets_at > now else "now"
    return who, used.meter.label, f"{used.used * _unit(used.meter):,.6g}", f"{used.left:.0%}", free


def _instant(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
