"""What happens to a run as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from orchestrator.events.tasks import CutText, RunStatus
from providers.errors import BudgetSpent
from providers.messages import Usage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event of a run."""

    squad: str
    tasks: tuple[str, ...]
    stub: bool
    out: str | None
    """The folder of its files; None: it writes none here."""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """The run goes on from its record."""

    done: tuple[str, ...]
    """Tasks that ended before: they are not done again."""
    in_flight: tuple[str, ...]
    """Steps that were begun and have no result."""
    by_workers: bool = False
    """Other processes do its units' work, and went on with it meanwhile."""


@dataclass(frozen=True, slots=True)
class RunEdited:
    """The squad is another one from here on."""

    tasks: tuple[str, ...]
    """Ids of all tasks from now on."""
    parts: tuple[str, ...]
    """What differs."""
    again: tuple[str, ...] = ()
    """Tasks that run again: what happened to them before no longer counts, except for money that was spent."""
    gone: tuple[str, ...] = ()
    """Tasks that no longer exist."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """From a task's former id to the one under which it keeps its record."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """By task, the number from which its attempts are counted on."""
    in_flight: tuple[str, ...] = ()
    """Steps of these tasks that were begun and have no result: they may have been paid for, and are not made again."""


@dataclass(frozen=True, slots=True)
class RunForked:
    """All before was taken over from another run."""

    source: str
    """The run that the record was taken from, and that paid for it."""
    kept: tuple[str, ...]
    """Tasks whose results were taken over."""
    again: tuple[str, ...]
    """Tasks that are done here."""
    parts: tuple[str, ...]
    """What of the squad differs from that of `source`."""
    usage: Usage
    """Tokens that were spent there."""
    cost: int | None
    """What was spent there, in micro-USD."""


@dataclass(frozen=True, slots=True)
class CallsCutShort:
    """The process that worked on a unit is gone, and its calls in flight with it: they may have been billed."""


@dataclass(frozen=True, slots=True)
class CallRepeated:
    """A call that was in flight when the run was cut short is made again: it may have been paid for twice."""

    step: str
    """Its place in the run, as text."""


@dataclass(frozen=True, slots=True)
class RoutingReread:
    """The routing file changed."""

    file: str
    """The path of the routing file."""
    error: str | None
    """Why what was read before still holds; None: the new one does."""
    text: str = field(default="", repr=False, compare=False)
    """The text of the routing file, for the journal alone: what was sent from then on can be made again."""


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """A cap left no room for a call."""

    which: str
    """Whose budget it is: `squad`, `task draft`, `agent ann`, `day` and so on."""
    kind: str
    """Which of its caps: `max_cost`, `max_tokens`, `max_time`, `max_turns`."""
    action: str
    """What follows: `pause`, `stop` or `downgrade_tier`."""
    used: float | None = field(default=None, compare=False)
    """How much of `limit` was spent then; None: an earlier release recorded it."""
    limit: float | None = field(default=None, compare=False)
    """The cap: USD of `max_cost`, tokens, seconds or turns."""

    @classmethod
    def by(cls, spent: BudgetSpent, action: str) -> Self:
        """Return the event of a call that a spent budget refused."""
        unit = 1e6 if spent.kind == "max_cost" else 1
        return cls(str(spent.budget), spent.kind, action, spent.spent / unit, spent.cap / unit)


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event."""

    run_id: str
    status: RunStatus
    outputs: Mapping[str, Any]
    """The values of the squad's `outputs`, by name."""
    artifacts: Mapping[str, str]
    """Path below the run's folder -> the SHA-256 of what was written there."""
    usage: Usage
    cost: int | None
    """What all of it cost, in micro-USD; None: the price of some call is unknown."""
    tasks: Mapping[str, str]
    """The status of each task. One that was at work when the run ended is `interrupted` (`running` in what earlier
    releases recorded)."""
    stub: bool
    truncated: Mapping[str, tuple[CutText, ...]] = field(default_factory=dict)
    """By task, the texts that are cut off."""
    output_errors: Mapping[str, str] = field(default_factory=dict)
    """By output, why it could not be computed, so that it is None: a run that is otherwise done has failed because of
    it."""
    cut_short: int = 0
    """What calls whose end is unknown may have cost in addition, in micro-USD: the run's caps count it."""
