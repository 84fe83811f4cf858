"""`tools`: what a squad's agents may call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from agents.toolbox import builtin
from agents.tools import Tool
from orchestrator.cli.app import Group, Settings, settings_of
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.squad.load import Squad

BUILT_IN = "built in"


@click.group("tools", cls=Group)
def tools_command() -> None:
    """List the tools that a squad's agents may call, show one, or call one yourself."""


@tools_command.command("ls")
@click.argument("file", metavar="[SQUAD]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def ls_command(context: click.Context, file: str | None, as_json: bool) -> None:
    """List the tools that are built in, and those that SQUAD declares. Runs none of their code."""
    rows = list(_rows(_squad(file, settings_of(context))))
    if as_json:
        print_json([{"schema_version": 1, **row} for row in rows], indent=2)
        return
    shown = [(row["name"], row["kind"], row["risk"], row["approval"], _first_line(row["description"])) for row in rows]
    click.echo(columns([("TOOL", "FROM", "RISK", "APPROVAL", "WHAT IT DOES"), *shown]))


def _squad(file: str | None, settings: Settings) -> Squad | None:
    return None if file is None else load_squad(file, settings)


def _rows(squad: Squad | None) -> Iterator[dict[str, Any]]:
    """Yield what is known of each tool; those of the squad stand in the place of others of their names."""
    declared: Mapping[str, tuple[Tool, str]] = (
        {} if squad is None else {one.name: (one.tool, one.origin) for one in squad.declared}
    )
    found = {name: (tool, BUILT_IN) for name, tool in builtin(None).items()} | dict(declared)
    for name, (tool, kind) in sorted(found.items()):
        yield {
            "name": name,
            "kind": kind,
            "risk": tool.risk,
            "approval": tool.approval,
            "idempotent": tool.idempotent,
            "untrusted": tool.untrusted,
            "description": tool.description,
        }


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
