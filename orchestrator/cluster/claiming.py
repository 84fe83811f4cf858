"""Taking a unit over: from then on its former process writes nothing, and what its calls may have cost counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from orchestrator.errors import RunNotFound
from orchestrator.events import CallsCutShort, Event
from orchestrator.journal.protocols import Fence, SharedJournal
from orchestrator.run.history import RunHistory, history_of
from orchestrator.run.recorder import Recorder
from orchestrator.units import Unit, step_of


async def taken_over(
    journal: SharedJournal,
    run: str,
    unit: Unit,
    fence: Fence,
    clock: Callable[[], float],
    listen: Callable[[Event], None] | None = None,
    *,
    is_new: bool = False,
    recorded: Callable[[Unit], Awaitable[Sequence[Event]]] | None = None,
) -> tuple[RunHistory, Recorder]:
    """Return what is recorded of the work of a unit that was claimed under `fence`, and what records the rest of it.

    Where calls of its former owner are open, that they are cut short is recorded. `listen` is told of each event of its
    work from here on. `is_new`: nothing is recorded of the unit's work, unless it was claimed before. `recorded`
    returns what is; None: what is under its name.
    """
    recorded = recorded or partial(journal.events_of_unit, run)
    past = RunHistory() if is_new and fence == 1 else history_of(await recorded(unit))
    recorder = Recorder(run, listen, clock, past)
    if past.was_cut_short:
        # At a place of this claim's own: the process that drives the run numbers what it records of the unit itself.
        # Tries count from 1.
        recorder.record(CallsCutShort(), unit, step_of(f"try-0/claim-{fence}"))
        await journal.record(run, unit, fence, recorder.take())
    return past, recorder


async def disown(journal: SharedJournal, run: str, unit: Unit, clock: Callable[[], float]) -> None:
    """Take a unit from a process that is gone, before it is given to others: at once other calls may have the room
    that its calls held, also where all workers wait for it and none is free to go on with the unit."""
    try:
        await journal.manifest(run)
    except RunNotFound:
        return
    if (fence := await journal.claim(run, unit, "")) is not None:
        await taken_over(journal, run, unit, fence, clock)
