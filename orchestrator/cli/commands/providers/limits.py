"""`providers limits`: what providers, and our own budgets, still allow."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import anyio
import click

from orchestrator.cli.app import Command, settings_of
from orchestrator.cli.files import configured
from orchestrator.cli.ledgers import kept_limits, open_ledger
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from providers.limits.counter import LimitKey, Used


@click.command("limits", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def limits_command(context: click.Context, as_json: bool) -> None:
    """Show how much of each limit and budget is used, and when all of it is free again.

    Limits are counted if the routing file states them, or says `plan: free` for a provider.
    """
    settings = settings_of(context)
    policy, catalog, environ = configured(settings)
    kept, now = kept_limits(policy, catalog, environ), time.time()

    async def usage() -> list[Used]:
        async with open_ledger(settings, policy, environ) as ledger:
            return await ledger.usage([meter for _, meter in kept], now)

    used = anyio.run(usage)
    # A hold is not a limit: it is shown only while a provider refuses all calls.
    rows = [(who, each) for (who, _), each in zip(kept, used, strict=True) if each.meter.amount or each.used]
    if as_json:
        print_json([_document(who, each, now) for who, each in rows], indent=2)
    elif not rows:
        Console(settings).say(
            "no limits and no budgets are counted: state them in a routing file, or say `plan: free` of a provider"
        )
    else:
        click.echo(columns([("FOR", "LIMIT", "USED", "LEFT", "ALL FREE AT"), *(_row(*row, now) for row in rows)]))


def _unit(meter: LimitKey) -> float:
    """Return the factor of a figure that is shown: our own caps count micro-USD, and are shown in USD."""
    return 1.0 if meter.budget is None else 1e-6


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
