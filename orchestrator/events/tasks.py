"""What happens to a task, and to each element of one that is done for each; and the statuses of tasks and runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class CutText:
    """A text that its model did not finish: at a limit of `tokens` ("length"), or at a provider's filter.

    `place` is where in the task: a step, `round-1/mary` in a conversation, first the key of an element; empty: all of
    it. `tokens` are those of the answer, 0 where they are not known.
    """

    place: str
    cause: Literal["length", "content_filter"]
    tokens: int = 0


TaskStatus = Literal["waiting", "running", "gate", "ok", "failed", "skipped", "cancelled", "interrupted"]
RunStatus = Literal["done", "failed", "rejected", "waiting", "paused", "stopped", "cancelled"]
"""done; tasks failed; a person rejected it; waits for a person; paused or stopped by a limit; interrupted."""


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A task begins."""

    task: str
    attempt: int
    """From 1; a reviewer's `revise` begins another one."""
    who: str
    """The agent, the conversation, or the agents of the steps."""


@dataclass(frozen=True, slots=True)
class TaskExpanded:
    """A `for_each` found its elements."""

    task: str
    keys: tuple[str, ...]
    """In the order of the list."""
    items: tuple[Any, ...]
    """The elements themselves."""


@dataclass(frozen=True, slots=True)
class ElementStarted:
    """Work on an element of a `for_each` begins."""

    task: str
    key: str


@dataclass(frozen=True, slots=True)
class ElementEnded:
    """Work on an element of a `for_each` is over."""

    task: str
    key: str
    status: TaskStatus
    output: Any = None
    """As in `TaskEnded`."""
    error: str | None = None
    error_kind: str | None = None
    truncated: tuple[CutText, ...] = ()
    """As in `TaskEnded`."""
    transcript: tuple[str, ...] | None = field(default=None, repr=False)
    """For the journal alone: not shown."""
    untrusted: tuple[str, ...] = ()
    """As in `TaskEnded`."""


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task is over."""

    task: str
    status: TaskStatus
    output: Any = None
    """A text, what `output_schema` asked for, or the list of a `for_each`."""
    output_file: str | None = None
    """The path of the file that it wrote, below the run's folder."""
    error: str | None = None
    """What went wrong, in words; of a skipped task why it was skipped."""
    error_kind: str | None = None
    """The class of the error."""
    failed: tuple[str, ...] = ()
    """Keys of the elements of a `for_each` that failed."""
    truncated: tuple[CutText, ...] = ()
    """Texts in the output that are cut off."""
    transcript: tuple[str, ...] | None = field(default=None, repr=False)
    """All that was said in a conversation, as paragraphs (of a `for_each`: with its elements); for the journal alone,
    since what was said are events of their own."""
    untrusted: tuple[str, ...] = ()
    """The sources of what was read for it that others wrote; what it made may be theirs."""


@dataclass(frozen=True, slots=True)
class TaskRetried:
    """An attempt failed, and `retry` allows another."""

    task: str
    attempt: int
    """The number of the attempt that failed, from 1."""
    error: str


@dataclass(frozen=True, slots=True)
class TaskRepeated:
    """`until` did not hold after an attempt."""

    task: str
    attempt: int
    """The number of that attempt, from 1."""


@dataclass(frozen=True, slots=True)
class AgentChosen:
    """The `agent` of a task was chosen by an expression."""

    task: str
    agent: str
    """The agent that was chosen."""
    among: tuple[str, ...]
    """The agents that could be chosen."""


@dataclass(frozen=True, slots=True)
class CaseChosen:
    """A switch chose a case."""

    task: str
    case: str
    """The value of `on`, or `default`."""
    cases: tuple[str, ...]
    """All cases that there are."""


@dataclass(frozen=True, slots=True)
class TaskReset:
    """A reviewer asked for changes: the task will run again."""

    task: str


@dataclass(frozen=True, slots=True)
class TaskResumed:
    """A unit that had stopped without an end is at work again, while its run went on: what it waited for is there."""

    task: str
    key: str | None


@dataclass(frozen=True, slots=True)
class TaskParked:
    """A unit stopped without an end: it goes on when the run is resumed."""

    task: str
    key: str | None
    """The key of an element of a `for_each`."""
    reason: str
    ends_run_as: RunStatus | None
    """The status that the run has if nothing else goes on; None: it does not end by it."""
    cause: Literal["file"] | None = None
    """`file`: its file cannot be written now, and nothing else is missing."""
