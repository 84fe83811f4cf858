"""`spending`: what recorded runs have cost, by provider, model, agent, squad, run, task or day, and what keys have."""

from __future__ import annotations

import time
from datetime import tzinfo
from typing import Any

import click

from orchestrator.cli import app
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.cli.ui.arguments import Since, SinceOption, TimeZoneOption
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import count, print_json
from orchestrator.cli.ui.figures import usd
from orchestrator.journal.spent import Spending
from orchestrator.run.spending import asked_by, spending
from orchestrator.server.gateway.spent import spent_by
from orchestrator.server.gateway.store import spent_in
from providers.documents.unicode import printable

TITLES = ("TURNS", "LOST", "TOKENS IN", "OUT", "COST", "COST UNKNOWN")


@app.command("spending")
@click.option(
    "--by",
    type=click.Choice(["provider", "model", "agent", "squad", "run", "task", "day", "key", "tag"]),
    default="provider",
    help="What to add up by (provider).",
)
@click.option("--since", type=SinceOption(), metavar="WHEN", help="The start: 7d, 24h, 2026-11-21, yesterday.")
@click.option(
    "--timezone", "zone", type=TimeZoneOption(), default="UTC", metavar="NAME", help="Time zone of the days (UTC)."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@reads_runs
async def spending_command(records: RecordedRuns, by: Any, since: Since | None, zone: tzinfo, as_json: bool) -> None:
    """Show what recorded runs have cost. Turns of unknown price have their own column.

    LOST are attempts that gave no usable answer but were billed: rejected answers, broken streams,
    calls that were given up. Questions of `ask` are not recorded. By `key` and by `tag` it shows what clients of the
    gateway spent, whose turns are in no other table.
    """
    began = 0.0 if since is None else since.instant(time.time(), zone)
    if by in ("key", "tag"):
        kept = spent_in(records.settings.state_folder, began)
        rows, _ = spending(spent_by(kept, [by]), by, zone)
        _, total = spending(spent_by(kept, ["key"]), by, zone)  # what has several tags counts once
    else:
        rows, total = spending(await records.journal.spent([asked_by(by)], began), by, zone)
    if as_json:
        lines = [{by: name, **document(each)} for name, each in rows.items()]
        print_json({"schema_version": 1, "by": by, "rows": lines, "total": document(total)}, indent=2)
        return
    if not rows:
        records.console.say("nothing was spent" if since is None else f"nothing was spent since {since.told}")
        return
    table = [(by.upper(), *TITLES), *((printable(name), *_cells(each)) for name, each in rows.items())]
    click.echo(columns([*table, ("total", *_cells(total))] if len(rows) > 1 else table))
    if total.unknown:
        bills = count(total.unknown, "bill")
        records.console.say(f"the cost of {bills} is unknown: the model has no known price, or no usage was reported")


def _cells(spent: Spending) -> tuple[str, ...]:
    figures = (f"{figure:,}" for figure in (spent.turns, spent.lost, spent.input, spent.output))
    cost = usd(spent.cost / 1e6) if spent.is_known else "unknown"
    return (*figures, cost, f"{spent.unknown:,}" if spent.unknown else "")


def document(spent: Spending) -> dict[str, Any]:
    """Return it as JSON has it. `cost_usd` is of the bills whose cost is known; null: it is of none of them."""
    return {
        "turns": spent.turns,
        "lost_attempts": spent.lost,
        "embedding_requests": spent.embedded,
        "input_tokens": spent.input,
        "output_tokens": spent.output,
        "cached_tokens": spent.cached,
        "reasoning_tokens": spent.reasoning,
        "cost_usd": spent.cost / 1e6 if spent.is_known else None,
        "cost_unknown": spent.unknown,
    }
