"""The questions of a run that await a person, from its events: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator.cli.ui.reasons import Document
from orchestrator.events import question_name
from orchestrator.squad.plan import HUMAN


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question that awaits a person. `row` names the task or element that waits for it; `task` is as recorded."""

    name: str
    task: str
    choices: tuple[str, ...]
    row: str


@dataclass(slots=True)
class OpenQuestions:
    """What awaits a person, oldest first. What closes questions returns the rows that wait for none any more."""

    _open: dict[str, OpenQuestion] = field(default_factory=dict)

    def __iter__(self) -> Iterator[OpenQuestion]:
        return iter(self._open.values())

    def of(self, row: str) -> bool:
        """Return whether a task or element waits for one."""
        return any(question.row == row for question in self)

    def opened(self, event: Document, row: str) -> None:
        name = question_name(event["task"], event["shown"])
        self._open[name] = OpenQuestion(name, event["task"], tuple(event["choices"]), row)

    def answered(self, event: Document) -> set[str]:
        names = [one.name for one in self if event["task"] in (one.name, one.task)]
        return self.close(lambda question: question.name in names[-1:])

    def spoken(self, event: Document) -> set[str]:
        """Take that somebody spoke: of a person that is all that earlier releases recorded of an answer."""
        of_it = f"{event['unit']}/"
        return self.close(lambda question: event["speaker"] == HUMAN and question.name.startswith(of_it))

    def ended(self, row: str) -> set[str]:
        return self.close(lambda question: question.row == row)

    def close(self, is_closed: Callable[[OpenQuestion], bool]) -> set[str]:
        closed = [question for question in self if is_closed(question)]
        for question in closed:
            del self._open[question.name]
        return {question.row for question in closed} - {question.row for question in self}
