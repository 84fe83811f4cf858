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
    """A task begins. `attempt` counts reruns after a reviewer's `revise`, from 1.

    `who` is the agent, conversation or step agents.
    """

    task: str
    attempt: int
    who: str


@dataclass(frozen=True, slots=True)
class TaskExpanded:
    """A `for_each` found its elements. `keys` are in the order of the list."""

    task: str
    keys: tuple[str, ...]
    items: tuple[Any, ...]
    """The elements themselves."""


@dataclass(frozen=True, slots=True)
class ElementStarted:
    """Work on an element of a `for_each` begins."""

    task: str
    key: str


@dataclass(frozen=True, slots=True)
class ElementEnded:
    """Work on an element of a `for_each` is over. `output`, `truncated` and the others are as in `TaskEnded`."""

    task: str
    key: str
    status: TaskStatus
    output: Any = None
    error: str | None = None
    error_kind: str | None = None
    truncated: tuple[CutText, ...] = ()
    transcript: tuple[str, ...] | None = field(default=None, repr=False)
    """For the journal alone: not shown."""
    untrusted: tuple[str, ...] = ()
    """As in `TaskEnded`."""


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task is over. `output` is text, or what `output_schema` asked for, or the list of a `for_each`; `failed`
    its failed keys.

    `error_kind` is the exception's class name. A skipped task says why in `error`. `truncated` are the texts in it that
    are cut off. `transcript` are the paragraphs of all that was said in a conversation (those of a `for_each` are with
    its elements); it is for the journal alone, for what was said are events of their own.
    """

    task: str
    status: TaskStatus
    output: Any = None
    output_file: str | None = None
    """The path of the file that it wrote, below the run's folder."""
    error: str | None = None
    error_kind: str | None = None
    failed: tuple[str, ...] = ()
    truncated: tuple[CutText, ...] = ()
    transcript: tuple[str, ...] | None = field(default=None, repr=False)
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
    """`until` did not hold after attempt number `attempt`."""

    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AgentChosen:
    """An `agent` in `${{ }}` came to `agent`, one of `among`."""

    task: str
    agent: str
    among: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaseChosen:
    """The `on` of a switch came to `case`, or to what `default` stands for; `cases` are all that there are."""

    task: str
    case: str
    cases: tuple[str, ...]


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
    """A unit stopped without an end: it goes on when the run is resumed. `key` names the element of a `for_each`.

    `cause` "file": its file cannot be written now, and nothing else is missing.
    """

    task: str
    key: str | None
    reason: str
    ends_run_as: RunStatus | None
    """The status that the run has if nothing else goes on; None: it does not end by it."""
    cause: Literal["file"] | None = None
