"""What the recorded events of a run say to whoever goes on with it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.events import TurnEnded
from orchestrator.budget import Paid
from orchestrator.events import (
    ArtifactWritten,
    ConversationEnded,
    Event,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStatus,
    TaskRepeated,
    TaskReset,
    TaskRetried,
)

TOLD_AGAIN = (ArtifactWritten, ConversationEnded, MessageSpoken, TaskRepeated)
"""What code that runs again says again, though nothing happened: it is recorded already, and is told once."""


class Gate(NamedTuple):
    opened: GateOpened
    at: float
    """Epoch seconds UTC."""


@dataclass(slots=True)
class Past:
    """The fold of a run's events, so far as its state does not hold it. `worked_s` is the time that was spent at work.

    `tried` is the number of failed tries by unit; `artifacts` the events by path, with the unit that wrote each.
    """

    events: Sequence[Event] = ()
    started: RunStarted | None = None
    status: RunStatus | None = None
    """How the run ended last, None where it never did: its process was killed, or is at work."""
    worked_s: float = 0.0
    paid: list[Paid] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    artifacts: dict[str, tuple[str, ArtifactWritten]] = field(default_factory=dict)
    told: Counter[tuple[str, Any]] = field(default_factory=Counter)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done."""
        return self.status in ("done", "failed", "rejected", "stopped")


def past_of(events: Sequence[Event]) -> Past:
    """Return the fold of the events, oldest first."""
    past, before = Past(events), 0.0
    for event in events:
        if not isinstance(event.data, RunStarted | RunResumed):
            past.worked_s += max(event.at - before, 0.0)
        before = event.at
        _fold(past, event)
    return past


def _fold(past: Past, event: Event) -> None:
    data = event.data
    match data:
        case RunStarted():
            past.started = data
        case RunResumed():
            past.status = None
        case RunFinished(status=status):
            past.status = status
        case TurnEnded(agent=agent, usage=usage, cost=cost):
            past.paid.append(Paid(event.task, agent, cost, usage.total))
        case TaskRetried(attempt=attempt):
            past.tried[event.task] = attempt
        case GateOpened(task=task):
            past.gates[task] = Gate(data, event.at)
        case GateAnswered(task=task) | TaskReset(task=task):
            past.gates.pop(task, None)
        case ArtifactWritten(path=path):
            past.artifacts[path] = (event.task, data)
    if isinstance(data, TOLD_AGAIN):
        past.told[event.task, data] += 1
