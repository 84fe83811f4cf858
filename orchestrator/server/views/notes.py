"""What went otherwise than meant in a run, in words: texts that are cut off, caps that were reached, files. Pure."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from agents.errors import REMEDY, cut_off
from agents.events import GuardrailChecked, KnowledgeRead, MemoryByWords, RepeatStopped
from orchestrator.events import (
    BudgetReached,
    CallRepeated,
    ControlUnread,
    ElementEnded,
    Event,
    FileKept,
    FileUnwritten,
    RoutingReread,
    RunFinished,
    TaskEnded,
    TaskReset,
)
from orchestrator.server.views.part import PartOfRun

MOST_PLACES = 5


class Warned(NamedTuple):
    """One warning. `task` empty: it is of the run."""

    at: float
    task: str
    text: str


class WarningsView(PartOfRun):
    """All warnings, oldest first."""

    __slots__ = ("all",)
    TAKES: ClassVar = {
        TaskEnded: "_ended",
        ElementEnded: "_ended",
        TaskReset: "_reset",
        BudgetReached: "_budget",
        CallRepeated: "_repeated",
        ControlUnread: "_unread",
        FileKept: "_kept",
        FileUnwritten: "_unwritten",
        RoutingReread: "_reread",
        RunFinished: "_finished",
        GuardrailChecked: "_checked",
        KnowledgeRead: "_knowledge",
        MemoryByWords: "_by_words",
        RepeatStopped: "_stopped",
    }

    def __init__(self) -> None:
        self.all: list[Warned] = []

    def _warn(self, event: Event, text: str, task: str | None = None) -> None:
        of = task if task is not None else event.unit.task if event.unit else ""
        self.all.append(Warned(event.at, of, text))

    def _ended(self, event: Event) -> None:
        cuts = event.data.truncated
        if not cuts or (isinstance(event.data, TaskEnded) and any(cut.place for cut in cuts) and self._told(event)):
            return
        first = cuts[0]
        if len(cuts) == 1:
            text = cut_off(f"the text of {first.place}" if first.place else "its text", first.cause, first.tokens)
        else:
            places = ", ".join(cut.place for cut in cuts[:MOST_PLACES] if cut.place)
            text = f"{len(cuts)} texts were cut off: {places}{' and more' if len(cuts) > MOST_PLACES else ''}"
        self._warn(event, f"{text}: {REMEDY[first.cause]}", event.data.task)

    def _told(self, event: Event) -> bool:
        """Return whether an element of the task told of its own."""
        return any(one.task == event.data.task and "cut off" in one.text for one in self.all)

    def _reset(self, event: Event) -> None:
        self.all = [one for one in self.all if one.task != event.data.task]

    def _budget(self, event: Event) -> None:
        reached: BudgetReached = event.data
        what = {"max_cost": "cost", "max_tokens": "tokens", "max_time": "time", "max_turns": "turns"}
        unit = "$" if reached.kind == "max_cost" else ""
        of = "" if reached.limit is None else f" ({unit}{reached.used or 0:,.6g} of {unit}{reached.limit:,.6g})"
        follows = {"pause": "the run pauses", "stop": "it stops", "downgrade_tier": "it goes on with a cheaper tier"}
        kind = what.get(reached.kind, reached.kind)
        text = f"the budget of {reached.which} leaves no room: {kind}{of}"
        self._warn(event, "; ".join(filter(None, (text, follows.get(reached.action)))))

    def _repeated(self, event: Event) -> None:
        self._warn(
            event, f"{event.data.step} was in flight when the run was cut short: it may have been paid for twice"
        )

    def _unread(self, event: Event) -> None:
        unread: ControlUnread = event.data
        self._warn(event, f"{unread.speaker}'s line “{unread.line}” could not be followed: {unread.why}")

    def _kept(self, event: Event) -> None:
        done = "it was left as it is" if event.data.aside is None else f"it is kept as {event.data.aside}"
        self._warn(event, f"{event.data.path} was changed since this run wrote it: {done}")

    def _unwritten(self, event: Event) -> None:
        self._warn(event, event.data.reason, event.data.task)

    def _reread(self, event: Event) -> None:
        if event.data.error:
            self._warn(event, f"the changed routing file {event.data.file} does not hold: {event.data.error}")

    def _finished(self, event: Event) -> None:
        for name, why in event.data.output_errors.items():
            self._warn(event, f"the output {name} could not be computed: {why}", "")

    def _checked(self, event: Event) -> None:
        if not event.data.passed:
            self._warn(event, f"a guardrail ({event.data.check}) let an {event.data.side} not pass: {event.data.why}")

    def _knowledge(self, event: Event) -> None:
        if event.data.unread:
            more = event.data.unread_count - len(event.data.unread)
            told = "; ".join(event.data.unread) + (f"; and {more} more" if more > 0 else "")
            self._warn(event, f"not read in {event.data.folder}: {told}")

    def _by_words(self, event: Event) -> None:
        self._warn(event, f"{event.data.agent} remembers by words alone: {event.data.reason}")

    def _stopped(self, event: Event) -> None:
        self._warn(event, f"{event.data.name} was called {event.data.times} times with the same result: it was stopped")
