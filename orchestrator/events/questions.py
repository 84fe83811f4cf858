"""What people are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateOpened:
    """A person must answer a question. `task` is its name: the approval's task, or the place of the tool's call or of
    the turn that asks. `shown` is what to decide on; of an approval the text of each task in `show`.
    """

    task: str
    prompt: str
    choices: tuple[str, ...]
    shown: Mapping[str, str]
    attempt: int
    """Counts from 1 how often there is such a question: of an approval after `revise`, of a call that was cut short."""
    again: bool = False
    """A call was cut short: whether it took effect is unknown, and it would be made again."""
    first_asked_as: str = ""
    """What the question was called where its task was renamed since; empty: as now. An answer to it still counts."""

    @property
    def name(self) -> str:
        """What people call the question."""
        return question_name(self.task, self.shown)


def question_name(task: str, shown: Mapping[str, str]) -> str:
    """Return the name of a question. Earlier releases recorded a call's unit as its task, and its place as shown."""
    call = shown.get("call", "")
    return call if call.startswith(f"{task}/") else task


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """`by` is "terminal", "--approve", "cli" (another process), "api" (an embedding program) or "timeout"."""

    task: str
    choice: str
    comment: str
    by: str


@dataclass(frozen=True, slots=True)
class AnswerOverruled:
    """An answer that was given at this process does not count: another came first, and stands. It is not recorded.

    `choice` is empty where a person was still asked, and the question is withdrawn.
    """

    task: str
    choice: str
    stands: str
    by: str
