"""What people are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class GateOpened:
    """A person must answer a question. `task` is its name: the approval's task, or the place of the tool's call or of
    the turn that asks. `shown` is what to decide on; of an approval the text of each task in `show`.
    """

    task: str
    """The question's name: the approval's task, or the place of the call or turn that asks."""
    prompt: str
    """What the person is asked."""
    choices: tuple[str, ...]
    """The answers that count."""
    shown: Mapping[str, str]
    """What to decide on, by name: of an approval the text of each task in `show`."""
    attempt: int
    """Counts from 1 how often there is such a question: of an approval after `revise`, of a call that was cut short."""
    again: bool = False
    """A call was cut short: whether it took effect is unknown, and it would be made again."""
    first_asked_as: str = ""
    """What the question was called where its task was renamed since; empty: as now. An answer to it still counts."""
    editable: Literal["", "arguments", "text"] = ""
    """The part of `shown` that may be replaced where it is approved; empty: none."""
    schema: Mapping[str, Any] | None = field(default=None, repr=False)
    """The JSON Schema of what replaces it; None: it is any text."""
    tool: str = ""
    """Of a call: the digest of the tool as it was when it was asked, which an answer is bound to."""
    grant: str = ""
    """What approval of all such calls of the run would be bound to: the agent, and the tool as it is. Empty: each call
    is asked for."""
    timeout: float | None = None
    """Seconds from the question on; then `on_timeout` is the answer. None: there is no end, or the plan has it."""
    on_timeout: str = ""
    """The choice that is taken then."""
    revised: int = 0
    """Of an approval: how often `revise` was answered before."""

    @property
    def name(self) -> str:
        """What people call the question."""
        return question_name(self.task, self.shown)

    @property
    def is_used_up(self) -> str:
        """Why `revise` is no choice any more, where it was one; empty: it is, or never was."""
        if not self.revised or "revise" in self.choices:
            return ""
        times = "once" if self.revised == 1 else f"{self.revised} times"
        return f"`revise` was answered {times}, as often as `max_attempts` of its `on_revise` allows"


def question_name(task: str, shown: Mapping[str, str]) -> str:
    """Return the name of a question. Earlier releases recorded a call's unit as its task, and its place as shown."""
    call = shown.get("call", "")
    return call if call.startswith(f"{task}/") else task


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """A question was answered.

    `by` is "terminal", "--approve", "cli" (another process), "api" (an embedding program), "timeout", or "approval for
    the run" where an earlier answer covers it. `edited` replaces the part of the question that may be; None: nothing.
    """

    task: str
    """The question that is answered: `task` of its `GateOpened`."""
    choice: str
    """One of the question's `choices`."""
    comment: str
    """What the person wrote with it; empty: nothing."""
    by: str
    """`terminal`, `--approve`, `cli` (another process), `api` (an embedding program), `timeout`, or `approval for the
    run`."""
    edited: str | None = None
    """What replaces the part of the question that may be edited; None: nothing was."""
    grant: str = ""
    """Approval of further calls of the run that is given with it: the question's `grant`; empty: none."""
    tool: str = ""
    """As in the question."""


@dataclass(frozen=True, slots=True)
class AnswerOverruled:
    """An answer that was given at this process does not count: another came first, and counts. It is not recorded."""

    task: str
    choice: str
    """Empty: a person was still asked, and the question is withdrawn."""
    stands: str
    """The choice that counts."""
    by: str
    """Where that came from, as in `GateAnswered`."""
