"""One row of the table of a run: a task or an element of its fan-out, and what its state is called."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.cli.ui.reasons import Document

ENDED = frozenset({"ok", "failed", "skipped", "cancelled"})

STATE_WORDS = {"gate": "awaiting approval", "parked": "paused"}
"""States of a task whose names are ours, in words."""


def in_words(state: str) -> str:
    """Return a task's state as people read it."""
    return STATE_WORDS.get(state, state)


@dataclass(slots=True)
class TaskRow:
    """One task, or one element of a fan-out. Times are epoch seconds; `cost` is USD, None once any was unknown."""

    name: str
    who: str = ""
    state: str = "waiting"
    model: str = ""
    tokens: int = 0
    cost: float | None = 0.0
    attempt: int = 1
    began: float | None = None
    ended: float | None = None
    detail: str = ""
    is_approval: bool = False
    truncated: list[Document] = field(default_factory=list)
    """The texts in its output that are cut off."""

    @property
    def is_element(self) -> bool:
        return "[" in self.name

    def seconds(self, now: float) -> float | None:
        """Return how long it has worked, None where it has not begun."""
        return None if self.began is None else (self.ended or now) - self.began
