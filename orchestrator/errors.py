"""What can go wrong above the agents. Mistakes in files are `SpecError`s of `providers.documents.problems`.

OrchestratorError
├ PlanError            what a squad refers to: names, inputs, paths; a ProblemsFound too
├ TaskTimedOut
├ RepeatExhausted      `until` never held
├ NoProvider           nobody is configured to answer
├ CannotWrite          the run's folder, or a file in it
├ RunNotFound
├ RunOver             nothing of it is left to be done
├ RunChanged          its squad is another by now
├ UnknownTask
├ EditUnknown         what its squad's change touches cannot be told
├ JournalError        (journal) its record cannot be kept or read
└ RunCancelled
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from providers.documents.problems import ProblemsFound


class OrchestratorError(Exception):
    """The root of this package's errors."""


class PlanError(OrchestratorError, ProblemsFound):
    """The squad file refers to what is not there, or could run for ever."""


class TaskTimedOut(OrchestratorError):
    """A task or a step took longer than its `timeout`."""


class RepeatExhausted(OrchestratorError):
    """A task's `until` did not hold within its `max_attempts`."""


class RunNotFound(OrchestratorError):
    """No run has this id."""


class RunOver(OrchestratorError):
    """The run has ended: nothing of it is left to be done."""

    def __init__(self, run: str, status: str) -> None:
        super().__init__(f"the run {run} is over: {status}")
        self.hint = (
            f"`orchestrator runs fork {run} --from TASK` does a task again in a new run; "
            "after an edit of its squad, `runs resume --edited` goes on with it"
        )


class RunChanged(OrchestratorError):
    """The squad is no longer what the run began with. `parts` names what differs."""

    def __init__(self, run: str, parts: Sequence[str]) -> None:
        super().__init__(f"the run {run} cannot go on: changed since it began: {', '.join(parts)}")
        self.parts = tuple(parts)
        self.hint = (
            f"`orchestrator runs resume {run} --edited` does again what the change touches, and no more; "
            "with --dry-run it only says what that is"
        )


class UnknownTask(OrchestratorError):
    """The squad has no task of this name."""

    def __init__(self, task: str, known: Iterable[str]) -> None:
        super().__init__(f"the squad has no task {task}")
        self.hint = f"its tasks: {', '.join(known)}"


class EditUnknown(OrchestratorError):
    """The run was recorded by a release that did not keep what tells which tasks an edit touches."""

    hint = "undo the change to go on with it, or start a new run"

    def __init__(self, parts: Sequence[str]) -> None:
        super().__init__(f"an older release recorded this run: what a change of {', '.join(parts)} touches is unknown")


class RunCancelled(OrchestratorError):
    """The run was cancelled from elsewhere."""


class NoProvider(OrchestratorError):
    """Nobody is configured to answer. `reasons` says, for each provider, what it would take."""

    def __init__(self, reasons: Mapping[str, object]) -> None:
        ways = "\n".join(f"  {name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"no provider is configured. Any one of these is enough:\n{ways}\nor run with --offline")
        self.reasons = dict(reasons)


class CannotWrite(OrchestratorError):
    """A file, or the folder of the run, cannot be written. `path` says which."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}")
        self.path, self.reason = path, reason
