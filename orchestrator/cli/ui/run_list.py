"""Runs as a table, and the states that a run can be in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from orchestrator.cli.exits import Unusable
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.figures import usd
from orchestrator.journal.protocols import Journal, RunLine
from providers.documents.unicode import printable

UNFINISHED = "unfinished"
"""A run that no process drives and that never ended: it was killed, or the machine went down."""
INTERRUPTED = "interrupted"
"""A run that Ctrl-C or a program stopped: it can be resumed, as one that was `cancelled` for good cannot."""
STATES = ("running", UNFINISHED, "waiting", "paused", INTERRUPTED, "cancelled", "done", "failed", "rejected", "stopped")

OVER = ("done", "failed", "rejected", "stopped")
"""States of runs of which nothing is left to be done."""
RECORDED_AS = {
    UNFINISHED: ("running",),
    INTERRUPTED: ("cancelled",),
    "cancelled": ("cancelled", "running", "waiting", "paused"),
}
"""As what a run in such a state may be recorded; any other state is recorded as itself."""


def states_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option that takes states, commas between them."""
    return click.option("--status", "states", metavar="STATE,...", default="", callback=_states, help=help_text)


def _states(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    states = tuple(filter(None, (part.strip() for part in value.split(","))))
    if unknown := [state for state in states if state not in STATES]:
        raise Unusable(f"--status {','.join(unknown)}: there is no such state", f"the states are: {', '.join(STATES)}")
    return states


def state_of(status: str, *, is_driven: bool, is_cancelled: bool) -> str:
    """Return the run's state from its recorded `status`. `is_cancelled`: `runs cancel` ended it, or asked it to end.

    The record alone does not tell a run at work from one that was killed, nor what stopped one.
    """
    if is_driven or status in OVER:
        return status
    if is_cancelled:
        return "cancelled"
    return {"running": UNFINISHED, "cancelled": INTERRUPTED}.get(status, status)


async def state_in(journal: Journal, run: str, status: str) -> str:
    """Return the state of a run whose recorded status is this."""
    if status in OVER:
        return status
    is_driven, is_cancelled = await journal.is_driven(run), await journal.cancel_requested(run)
    return state_of(status, is_driven=is_driven, is_cancelled=is_cancelled)


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
