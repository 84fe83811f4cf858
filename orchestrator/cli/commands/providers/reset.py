"""`providers reset`: forget what was counted of limits."""

from __future__ import annotations

import anyio
import click

from orchestrator.cli.app import Command, argument, settings_of
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import configured
from orchestrator.cli.ledgers import kept_limits, open_ledger
from orchestrator.cli.ui.console import Console, count
from providers.catalog.model import of_all_accounts
from providers.limits.ledger import LedgerDown


@click.command("reset", cls=Command)
@argument("provider", required=False, help="The provider's name. Without one: all of them.")
@click.pass_context
def reset_command(context: click.Context, provider: str | None) -> None:
    """Set the counts of all limits and budgets to zero, or those of PROVIDER only."""
    settings = settings_of(context)
    policy, catalog, environ = configured(settings)
    kept = kept_limits(policy, catalog, environ)
    meters = [meter for who, meter in kept if provider in (None, of_all_accounts(who).partition("/")[0])]
    if not meters:
        what = f"no limit of {provider} is counted" if provider else "no limit is counted"
        raise Unusable(what, "`orchestrator providers limits` shows the limits that are")

    async def forget() -> None:
        async with open_ledger(settings, policy, environ) as ledger:
            try:
                await ledger.forget(meters)
            except LedgerDown as error:
                raise Unusable(f"the ledger of limits is down: {error}", "nothing was forgotten") from error

    anyio.run(forget)
    Console(settings).say(f"forgot the counts of {count(len(meters), 'limit')}")
