"""What paused units of a run wait for: answers of people, and the time until which a question may be answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio

from orchestrator.events import (
    ElementEnded,
    Event,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RunEdited,
    TaskEnded,
    TaskParked,
    TaskReset,
    TaskRetried,
)
from orchestrator.execution import Run
from orchestrator.journal.protocols import SharedJournal
from orchestrator.run.approvals import answers_in, digest_of, granted_in
from orchestrator.run.history import Gate, history_of
from orchestrator.units import Unit

LOOK_S = 5.0
"""How often it is looked whether a unit has paused for what was answered meanwhile."""
OF_QUESTIONS = (
    ElementEnded,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RunEdited,
    TaskEnded,
    TaskParked,
    TaskReset,
    TaskRetried,
)
"""The events that open questions or close them."""


def awaited(gates: Iterable[Gate], signals: Iterable[tuple[str, Any]], now: float) -> tuple[list[Unit], float]:
    """Return the units that can go on, as their questions are answered or no longer can be; and in how many seconds
    the next question's time is up. Pure."""
    signals = list(signals)
    given, granted = answers_in(signals), granted_in(signals)
    units: dict[Unit, None] = {}
    left = math.inf
    for gate in gates:
        if gate.unit is None:
            continue
        if _is_answered(gate, given, granted) or deadline_of(gate) <= now:
            units[gate.unit] = None
        else:
            left = min(left, deadline_of(gate) - now)
    return list(units), left


def deadline_of(gate: Gate) -> float:
    """Return when a question's time is up: epoch seconds UTC; inf: never."""
    return math.inf if gate.opened.timeout is None else gate.at + gate.opened.timeout


def _is_answered(gate: Gate, given: Mapping[str, Any], granted: frozenset[str]) -> bool:
    return digest_of(gate.opened) in given or gate.opened.grant in granted


@dataclass(slots=True)
class AskedQuestions:
    """The questions of a run, read from its journal as they are asked and answered."""

    run: str
    journal: SharedJournal
    _events: list[Event] = field(default_factory=list)
    _seq: int = 0

    async def gates(self) -> list[Gate]:
        """Return those whose answer is not recorded yet."""
        for seq, event in await self.journal.events_of_kinds(self.run, OF_QUESTIONS, self._seq):
            self._seq = seq
            self._events.append(event)
        return list(history_of(self._events).gates.values())


async def resume_answered(run: Run, journal: SharedJournal, clock: Callable[[], float]) -> None:
    """Until cancelled, put units of a run to work again once they can go on. The run is driven here."""
    changed, asked = [anyio.Event()], AskedQuestions(run.run_id, journal)

    async def listen() -> None:
        async with aclosing(journal.watch_signals(run.run_id)) as signals:
            async for _ in signals:
                changed[0].set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        while True:
            changed[0] = anyio.Event()
            units, left = awaited(await asked.gates(), await journal.signals(run.run_id), clock())
            await run.resume_units(units)
            with anyio.move_on_after(min(max(left, 0.1), LOOK_S)):
                await changed[0].wait()
