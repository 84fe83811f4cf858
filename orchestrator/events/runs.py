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
    """The first event of a run. `stub`: the offline stub answers everything, no model is asked."""

    squad: str
    tasks: tuple[str, ...]
    stub: bool
    out: str | None
    """The folder of its files; None: it writes none here."""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """The run goes on from its record. `in_flight` are the steps that were begun and have no result."""

    done: tuple[str, ...]
    """Tasks that ended before: they are not done again."""
    in_flight: tuple[str, ...]
    by_workers: bool = False
    """Other processes do its units' work, and went on with it meanwhile."""


@dataclass(frozen=True, slots=True)
class RunEdited:
    """The squad is another from here on. What happened before to tasks in `again` and `gone` no longer counts, but as
    money that was spent.

    `tasks` are all tasks from now on, `parts` what differs; `renamed` leads from a task's former name to that under
    which it keeps its record. Units of a task in `attempts` count on from that number.
    """

    tasks: tuple[str, ...]
    parts: tuple[str, ...]
    again: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    in_flight: tuple[str, ...] = ()
    """Steps of these tasks that were begun and have no result: they may have been paid for, and are not made again."""


@dataclass(frozen=True, slots=True)
class RunForked:
    """All before it was taken over from the run `source`, which paid for it: `usage` and `cost` (micro-USD)."""

    source: str
    kept: tuple[str, ...]
    """Tasks whose results were taken over."""
    again: tuple[str, ...]
    """Tasks that are done here."""
    parts: tuple[str, ...]
    """What of the squad differs from that of `source`."""
    usage: Usage
    cost: int | None


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
    """The routing file changed. `error` says why what was read before still holds; None: the new one does.

    `text` is the routing file's, for the journal alone: what was sent from then on can be made again.
    """

    file: str
    """The path of the routing file."""
    error: str | None
    text: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """A cap left no room for a call. `action` is what follows: pause, stop or downgrade_tier.

    `used` of `limit` was spent then: USD of `max_cost`, tokens, seconds or turns; None: an earlier release recorded it.
    """

    which: str
    """Whose budget it is: `squad`, `task draft`, `agent ann`, `day` and so on."""
    kind: str
    """Which of its caps: `max_cost`, `max_tokens`, `max_time`, `max_turns`."""
    action: str
    used: float | None = field(default=None, compare=False)
    limit: float | None = field(default=None, compare=False)

    @classmethod
    def by(cls, spent: BudgetSpent, action: str) -> Self:
        """Return the event of a call that a spent budget refused."""
        unit = 1e6 if spent.kind == "max_cost" else 1
        return cls(str(spent.budget), spent.kind, action, spent.spent / unit, spent.cap / unit)


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event. `cost` is micro-USD; None where any price was unknown. `truncated`: by task, what is cut off.

    No task in `tasks` is at work any more: one that was when the run ended is `interrupted` (`running` in what earlier
    releases recorded). `output_errors` says of each output that could not be told, and so is None, why: a run that is
    otherwise done has failed by it.
    `cut_short` (micro-USD) is what calls whose end is not known may have cost besides: the run's caps count it.
    """

    run_id: str
    status: RunStatus
    outputs: Mapping[str, Any]
    """What the squad's `outputs` came to, by name."""
    artifacts: Mapping[str, str]
    """Path below the run's folder -> the SHA-256 of what was written there."""
    usage: Usage
    cost: int | None
    tasks: Mapping[str, str]
    stub: bool
    truncated: Mapping[str, tuple[CutText, ...]] = field(default_factory=dict)
    output_errors: Mapping[str, str] = field(default_factory=dict)
    cut_short: int = 0
