"""Runs as a table, and the states that a run can be in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from orchestrator.cli.exits import Unusable
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.figures import usd
from orchestrator.journal.protocols import RunLine
from orchestrator.run.standing import STATES
from providers.documents.unicode import printable


def states_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option that takes states, commas between them."""
    return click.option("--status", "states", metavar="STATE,...", default="", callback=_states, help=help_text)


def _states(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    states = tuple(filter(None, (part.strip() for part in value.split(","))))
    if unknown := [state for state in states if state not in STATES]:
        raise Unusable(f"--status {','.join(unknown)}: there is no such state", f"the states are: {', '.join(STATES)}")
    return states


def table_of(found: Sequence[tuple[RunLine, str]]) -> str:
    """Return runs, each with its state, as a table."""
    rows = [(line.run, line.squad, state, usd(cost_of(line)), when(line.created_at)) for line, state in found]
    return columns([("RUN", "SQUAD", "STATE", "COST", "BEGAN"), *(tuple(map(printable, row)) for row in rows)])


def cost_of(line: RunLine) -> float | None:
    """Return what a run cost in USD, None where it is unknown."""
    return None if line.cost is None else line.cost / 1e6


def when(at: float) -> str:
    """Return a moment (epoch seconds UTC) as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
