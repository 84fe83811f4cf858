"""In which state a recorded run is: the record alone does not tell one at work from one that was killed."""

from __future__ import annotations

from typing import Protocol

from orchestrator.journal.protocols import Runs, Signals


class Standing(Runs, Signals, Protocol):
    """The parts of a journal that tell it."""


UNFINISHED = "unfinished"
"""A run that no process drives and that never ended: it was killed, or the machine went down."""
INTERRUPTED = "interrupted"
"""A run that Ctrl-C or a program stopped: it can be resumed, as one that was `cancelled` for good cannot."""
STATES = ("running", UNFINISHED, "waiting", "paused", INTERRUPTED, "cancelled", "done", "failed", "rejected", "stopped")

OVER = ("done", "failed", "rejected", "stopped")
"""States of runs of which nothing is left to be done."""
UNDECIDED = ("waiting", "running", "paused", "cancelled")
"""Statuses of a run whose questions can be answered: it may go on."""
RECORDED_AS = {
    UNFINISHED: ("running",),
    INTERRUPTED: ("cancelled",),
    "cancelled": ("cancelled", "running", "waiting", "paused"),
}
"""As what a run in such a state may be recorded; any other state is recorded as itself."""


def state_of(status: str, *, is_driven: bool, is_cancelled: bool) -> str:
    """Return the run's state from its recorded `status`. `is_cancelled`: `runs cancel` ended it, or asked it to end.

    The record alone does not tell a run at work from one that was killed, nor what stopped one.
    """
    if is_driven or status in OVER:
        return status
    if is_cancelled:
        return "cancelled"
    return {"running": UNFINISHED, "cancelled": INTERRUPTED}.get(status, status)


async def state_in(journal: Standing, run: str, status: str) -> str:
    """Return the state of a run whose recorded status is this."""
    if status in OVER:
        return status
    is_driven, is_cancelled = await journal.is_driven(run), await journal.cancel_requested(run)
    return state_of(status, is_driven=is_driven, is_cancelled=is_cancelled)
