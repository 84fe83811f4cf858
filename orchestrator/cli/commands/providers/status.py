"""`providers status`: how the providers of a running server are, and why some are not asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.remote.api import server_api, server_here
from orchestrator.cli.ui.arguments import server_option
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.figures import duration
from providers.documents.unicode import printable

NOTHING = "-"


@click.command("status", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@server_option
@click.pass_context
def status_command(context: click.Context, as_json: bool, server: str | None) -> None:
    """Show the providers of a running server: which may be used, or why not; success and speed of the last hour.

    Without --server, those of the one that runs here.
    """
    settings = settings_of(context)
    anyio.run(_show, settings, server or server_here(settings), as_json)


async def _show(settings: Settings, server: str, as_json: bool) -> None:
    async with server_api(settings, server) as api:
        status = await api.get("providers", "status")
    if as_json:
        print_json(status)
        return
    click.echo(printable("\n".join(status_lines(status))))


def status_lines(status: Mapping[str, Any]) -> Sequence[str]:
    """Return the state of all providers in lines. Pure."""
    rows: list[tuple[str, ...]] = [("MODEL", "NOW", "IN FLIGHT", "1 H", "OK", "P50", "P95")]
    for provider in status["providers"]:
        for one in provider["endpoints"]:
            hour = one["hour"]
            rows.append(
                (
                    one["name"],
                    "asked" if not one["why_not"] else "not asked",
                    str(one["in_flight"]),
                    str(hour["calls"]),
                    NOTHING if hour["success"] is None else f"{hour['success']:.0%}",
                    *(NOTHING if at is None else f"{at:.1f} s" for at in (hour["p50_s"], hour["p95_s"])),
                )
            )
    lines = [columns(rows), f"\nstrategy: {status['strategy']}; control version {status['control']['version']}"]
    lines += [f"weight: {name}: {weight:g}" for name, weight in status["control"]["weights"].items()]
    for provider in status["providers"]:
        for one in provider["endpoints"]:
            if one["why_not"]:
                until = one["until"]
                ends = "" if until is None else f"; for {duration(max(0.0, until - status['at']))} more"
                lines.append(f"not asked: {one['name']}: {one['why_not']}{ends}")
            if (error := one["last_error"]) is not None:
                ago = duration(max(0.0, status["at"] - error["at"]))
                lines.append(f"last error: {one['name']}: {error['words']} ({error['detail']}), {ago} ago")
    lines += [f"not set up: {one['name']}: {one['why']}" for one in status["not_set_up"]]
    return lines
