"""`spending`: what recorded runs have cost, by provider, model, agent, run, task or day."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli import app
from orchestrator.cli.app import settings_of
from orchestrator.cli.commands.approvals import db_option
from orchestrator.cli.journals import open_record
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, count, print_json
from orchestrator.cli.ui.progress import usd
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.app import Settings
    from orchestrator.events import Event
    from orchestrator.run.spending import Spending

TITLES = ("TURNS", "LOST", "TOKENS IN", "OUT", "COST", "COST UNKNOWN")


class Zone(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """An IANA time zone."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        if value == "UTC":
            return UTC
        from zoneinfo import ZoneInfo

        try:
            return ZoneInfo(value)
        except (ValueError, KeyError, OSError):
            self.fail(f"{value!r} is no time zone: write one as Europe/Berlin", param, ctx)


@app.command("spending")
@click.option(
    "--by",
    type=click.Choice(["provider", "model", "agent", "run", "task", "day"]),
    default="provider",
    help="What to add up by (provider).",
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="From this day on: 2026-11-21.")
@click.option("--timezone", "zone", type=Zone(), default="UTC", metavar="NAME", help="Whose days these are (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@db_option
@click.pass_context
def spending_command(
    context: click.Context, by: Any, since: datetime | None, zone: tzinfo, as_json: bool, db: str | None
) -> None:
    """Show what recorded runs have cost. What nobody knows the price of is counted apart, never as nothing.

    LOST are attempts that answered nobody and were billed all the same: answers that would not do, streams that broke,
    calls that were given up. Questions of `ask` are not recorded.
    """
    from orchestrator.run.spending import spending

    began = 0.0 if since is None else since.replace(tzinfo=zone).timestamp()
    rows, total = spending(anyio.run(_bills, settings_of(context), db, began), by, zone)
    if as_json:
        said = {name: document(each) for name, each in rows.items()}
        lines = [{by: name, **figures} for name, figures in said.items()]
        print_json({"schema_version": 1, "by": by, "rows": lines, "total": document(total)}, indent=2)
        return
    if not rows:
        Console(settings_of(context)).say(
            "nothing was spent" if since is None else f"nothing was spent since {since:%F}"
        )
        return
    table = [(by.upper(), *TITLES), *((printable(name), *_cells(each)) for name, each in rows.items())]
    click.echo(columns([*table, ("in all", *_cells(total))] if len(rows) > 1 else table))
    if total.unknown:
        bills = count(total.unknown, "bill")
        Console(settings_of(context)).say(f"nobody knows what {bills} came to: no price is known, or no usage was said")


async def _bills(settings: Settings, db: str | None, since: float) -> Sequence[Event]:
    async with open_record(settings, db) as journal:
        return await journal.bills(since)


def _cells(spent: Spending) -> tuple[str, ...]:
    figures = (f"{figure:,}" for figure in (spent.turns, spent.lost, spent.input, spent.output))
    cost = usd(spent.cost / 1e6) if spent.is_known else "unknown"
    return (*figures, cost, f"{spent.unknown:,}" if spent.unknown else "")


def document(spent: Spending) -> dict[str, Any]:
    """Return it as JSON has it. `cost_usd` is of the bills whose cost is known; null: it is of none of them."""
    return {
        "turns": spent.turns,
        "lost_attempts": spent.lost,
        "input_tokens": spent.input,
        "output_tokens": spent.output,
        "cached_tokens": spent.cached,
        "reasoning_tokens": spent.reasoning,
        "cost_usd": spent.cost / 1e6 if spent.is_known else None,
        "cost_unknown": spent.unknown,
    }
