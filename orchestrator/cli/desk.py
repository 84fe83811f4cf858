"""What commands ask about runs, wherever these are: in the journal of this machine, or at a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.console import Console

if TYPE_CHECKING:  # a list of runs needs nothing of these
    from orchestrator.cli.ui.next_step import Question
    from orchestrator.cli.ui.reasons import Document
    from orchestrator.events import GateOpened
    from orchestrator.journal.protocols import RunLine
    from orchestrator.run.deltas import RunDelta
    from orchestrator.run.recorded import RecordedRun


class GivenToQuestion(NamedTuple):
    """A person's answer: to the question of a name, or to the only one (None)."""

    question: str | None
    choice: str
    comment: str = ""
    edited: str | None = None
    for_run: bool = False


class RunList(Protocol):
    """What a list of runs is made of, wherever these are."""

    async def latest(self, limit: int, states: Sequence[str], squad: str | None) -> Sequence[tuple[RunLine, str]]:
        """Return the latest runs with their states, newest first."""


class Desk(RunList, Protocol):
    """What commands ask about runs, wherever these are. An argument `run` is an id."""

    @property
    def settings(self) -> Settings: ...
    @property
    def console(self) -> Console: ...

    def command(self, *words: str) -> str:
        """Return the command `orchestrator WORDS` as the user may type it: it asks at the same place."""

    def goes_on_by(self, run: str, questions: Sequence[Question], *, is_chat: bool) -> str:
        """Return the commands that answer these questions and go on with a run."""

    async def run_named(self, word: str) -> str:
        """Return the id that `word` means: an id, the beginning of no other run's id, or `latest`.

        Raise `NothingSelected` where no run or several may be meant.
        """

    async def record(self, run: str) -> RecordedRun:
        """Return all that is recorded of a run."""

    def follow(self, run: str, after: int = 0) -> AsyncGenerator[tuple[int, Document], None]:
        """Yield (number, document) of each event after `after`, then of each new one, none twice, none left out.

        It never ends by itself: iterate inside `contextlib.aclosing`.
        """

    def answers(self, run: str, after: int) -> AsyncGenerator[tuple[int, Sequence[RunDelta]], None]:
        """Yield the recorded answers of models after so many, each with its number; ask only for what is recorded."""

    async def is_last(self, run: str, number: int) -> bool:
        """Return whether no event came after the one of this number."""

    async def cancel(self, run: str) -> bool:
        """End a run for good, and return whether a process was at work on it. Raise `NothingSelected` for one that is
        over."""

    async def questions(self) -> Sequence[tuple[str, GateOpened]]:
        """Return all questions that await an answer, each with its run, in the latest runs first."""

    async def question(self, run: str, name: str | None) -> GateOpened:
        """Return the open question of this name; None: the only one."""

    async def answer(self, run: str, given: GivenToQuestion) -> tuple[str, str]:
        """Answer a question; return its name, and what happens next. Raise `Unusable` for what is no choice."""


class FollowedDesk(Desk, Protocol):
    """A desk whose runs are at work elsewhere, and are followed here to their end."""

    @property
    def place(self) -> str:
        """Where the runs are at work, in words that follow `at`."""

    async def state(self, run: str) -> str:
        """Return the state of a run."""

    async def questions_of(self, run: str) -> Sequence[GateOpened]:
        """Return the open questions of one run."""

    def spoken(self, run: str, after: str) -> AsyncGenerator[RunDelta, None]:
        """Yield what agents say after a position, as it comes; it never ends by itself."""

    async def fetch(self, run: str, names: Collection[str], out: Path, *, overwrite: bool) -> None:
        """Write files that a run made below a folder. Raise `CannotWrite` for one that cannot be, or is there already
        and is not to be replaced."""
