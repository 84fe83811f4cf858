"""What a unit is given to do, and what it makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.run_context import Suspended
from orchestrator.events import CutText, GateAnswered, GateOpened
from orchestrator.run.taint import CLEAN, Sources, Taint
from orchestrator.run.task_state import NO_REVIEW, Review
from orchestrator.run.work_clock import UnitClock
from orchestrator.units import StepPath, Unit

AskWithin = Callable[[GateOpened, StepPath, str], Awaitable[GateAnswered]]
"""Asks a person at a place in a unit's work, and records both. The text says what a unit waits for that is suspended
where no answer can be had now: `Suspended` is raised then."""


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What a unit made: `output` for other tasks, `text` for its file, the path of that file in the run's folder.

    `truncated` are the texts that it is made of and that are cut off. `transcript` is what was said, of a conversation.
    """

    output: Any
    text: str
    output_file: str | None = None
    truncated: tuple[CutText, ...] = ()
    transcript: tuple[str, ...] | None = None
    untrusted: Sources = ()
    """The sources of what was read for it that others wrote."""


async def _ask_nobody(gate: GateOpened, step: StepPath, what: str) -> GateAnswered:  # noqa: ARG001
    raise Suspended(what)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a unit is to do: what its expressions see, the review that it must heed, and the tries that failed before.
    `ask` asks a person, and `clock` tells how long people were waited for."""

    unit: Unit
    values: Mapping[str, Any]
    review: Review = NO_REVIEW
    tried: int = 0
    ask: AskWithin = _ask_nobody
    clock: UnitClock = field(default_factory=UnitClock)
    taint: Taint = CLEAN
    """What of `values` others wrote."""
    time_limits: tuple[tuple[str, float, float], ...] = ()
    """Of the sub-squads around it that may take only so long: which, the seconds that it may take, and those left."""
