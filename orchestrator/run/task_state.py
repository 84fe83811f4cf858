"""What the state of a run keeps of one task, of the elements of a list, and of their sub-squads. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestrator.events import ElementEnded, TaskEnded, TaskStatus
from orchestrator.squad.parts import works_of
from orchestrator.squad.plan import ConversationWork, Switch, TaskBody


@dataclass(slots=True)
class Elements:
    """The fan-out of one `for_each`, in the order of its list."""

    items: dict[str, Any]
    pending: deque[str]
    running: int = 0
    ended: dict[str, ElementEnded] = field(default_factory=dict)
    parked: set[str] = field(default_factory=set)


class Review(NamedTuple):
    """What a unit is to heed that runs again: the reviewers' comments, oldest first, and what it had made when the last
    one was given, with the sources of what others wrote in it. `output` None: it had made nothing."""

    comments: tuple[str, ...] = ()
    output: Any = None
    untrusted: tuple[str, ...] = ()


NO_REVIEW = Review()


@dataclass(slots=True)
class TaskState:
    """The state of one task. `unmet` counts its needs that are not satisfied; `attempt` and `revisions` its reruns."""

    unmet: int
    status: TaskStatus = "waiting"
    attempt: int = 1
    output: Any = None
    elements: Elements | None = None
    revisions: int = 0
    comments: tuple[str, ...] = ()
    sent_back: dict[str | None, Review] = field(default_factory=dict)
    """By the key of an element, None for the task: the comments so far, and what they were given on."""
    retried: int = 0
    """Of a sub-squad: how often it was done once more, as it had failed."""
    repeated: int = 0
    """And how often since then, as its `until` did not hold."""

    def review_of(self, key: str | None) -> Review:
        """Return what a unit of the task is to heed: an element that there was not before has the comments alone."""
        return self.sent_back.get(key, Review(self.comments))


@dataclass(slots=True)
class FanOut:
    """The sub-squads of a list's elements, by name: those that have begun and not ended, and those that wait for it."""

    items: dict[str, Any]
    limit: int | None
    at_work: set[str] = field(default_factory=set)
    pending: dict[str, None] = field(default_factory=dict)

    def begin(self, element: str) -> bool:
        """Return whether one more may be at work, as it is then; else it waits for the end of another one."""
        if self.limit is not None and len(self.at_work) >= self.limit:
            self.pending[element] = None
            return False
        self.at_work.add(element)
        return True

    def leave(self, element: str) -> str | None:
        """Let one that has ended, or waits again, be at work no longer. Return the next that may begin."""
        self.at_work.discard(element)
        self.pending.pop(element, None)
        if not self.pending or (self.limit is not None and len(self.at_work) >= self.limit):
            return None
        following = next(iter(self.pending))
        del self.pending[following]
        return following


def paragraphs(parts: Iterable[str] | None) -> str | None:
    """Return the Markdown text that the parts are the paragraphs of, None where there are none."""
    return None if parts is None else "\n\n".join(parts)


def transcript_of(event: TaskEnded, elements: Elements | None, work: TaskBody, edition: int) -> Any:
    """Return what `tasks.ID.transcript` reads: a text, of a `for_each` the list of its elements' texts."""
    if elements is None:
        return paragraphs(event.transcript)
    has_any = isinstance(work, ConversationWork | Switch) and edition > 1
    has_any = has_any and any(isinstance(one, ConversationWork) for one in works_of(work))
    return [paragraphs(elements.ended[key].transcript) for key in elements.items] if has_any else None
