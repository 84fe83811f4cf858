"""What can go wrong above the agents. Mistakes in files are `SpecError`s of `providers.documents.problems`.

OrchestratorError
├ PlanError            what a squad refers to: names, inputs, paths; a ProblemsFound too
├ TaskTimedOut
├ RepeatExhausted      `until` never held
├ BadInputs            a sub-squad is given what it does not take
├ SquadFailed          a sub-squad did not end well
├ NotAChoice           an expression came to none of what it may choose
├ NoProvider           no provider is configured
├ ToolUnusable         a tool that a file declares cannot be loaded
├ NotATable            an output that a .csv or .tsv file cannot hold
├ CannotWrite          the run's folder, or a file in it
│ ├ FilesTaken         files stand where the run would write its own
│ └ FilesProtected     the run would write its own configuration
├ OutBusy              another run writes into the same folder
├ OutElsewhere         the record is another's: its folder is not written to unasked
├ RunNotFound
├ RunOver             the run has ended: nothing is left to do
├ RunChanged          its squad differs from the recorded one
├ NoQuestion           none of this name awaits an answer
├ NoConversation       the squad has none of this name
├ AnsweredAlready      another answer came first
├ UnknownTask
├ EditUnknown         which tasks an edit affects is not recorded
├ JournalError        (journal) its record cannot be kept or read
└ RunCancelled
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from providers.documents.problems import ProblemsFound
from providers.documents.unicode import cut

SHOWN_VALUE = 80
"""Characters of a value in a message."""


class OrchestratorError(Exception):
    """The root of this package's errors."""


class StubAnswers(UserWarning):
    """A warning, no error: a squad with `offline: auto` runs on the offline stub, as no provider is configured."""


class PlanError(OrchestratorError, ProblemsFound):
    """The squad file refers to what is not there, or could run for ever."""


class TaskTimedOut(OrchestratorError):
    """A task or a step took longer than its `timeout`."""


class RepeatExhausted(OrchestratorError):
    """A task's `until` did not hold within its `max_attempts`. `last` is the work of the last one (`UnitResult`), where
    the task goes on with it: with `continue_on_error`."""

    def __init__(self, message: str, last: Any = None) -> None:
        super().__init__(message)
        self.last = last


class UntrustedInstructions(OrchestratorError):
    """What others wrote would stand in `what`, which a model is told as the system. `sources` are theirs."""

    def __init__(self, what: str, sources: Iterable[str]) -> None:
        self.what, self.sources = what, tuple(sources)
        names = ", ".join(self.sources)
        super().__init__(f"{what} would contain text that others wrote ({names}): read it in the description of a task")


class NotAChoice(OrchestratorError):
    """An expression that chooses came to nothing that may be chosen. `field` is its field, `among` what may be."""

    def __init__(self, task: str, field: str, value: object, among: Iterable[str]) -> None:
        self.among = tuple(among)
        told = cut(repr(value), SHOWN_VALUE)
        super().__init__(f"`{field}` of {task} is {told}, which is not one of {', '.join(self.among) or 'nothing'}")
        self.task, self.field, self.value = task, field, value


class BadInputs(OrchestratorError):
    """A sub-squad is given what its inputs do not take, or not all that they need. `faults` says what."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class SquadFailed(OrchestratorError):
    """The sub-squad of a switch's case did not end well: `task` says why."""

    def __init__(self, task: str) -> None:
        super().__init__(f"the sub-squad {task} failed")
        self.task = task


class OutElsewhere(OrchestratorError):
    """The record of a run comes from elsewhere: the folder that it names is written to only if you say so."""

    def __init__(self, run: str, out: str, here: str | None = None) -> None:
        """`here`: the folder that may be what `out` has become, if everything was moved."""
        super().__init__(f"the record of {run} was made elsewhere, or moved: {out} is written to only if you say so")
        self.hint = "say where its files go: --out DIR"
        if here is not None:
            self.hint = f"if all of it was moved, its files are in {here}: --out {here}, else --out DIR"


class RunNotFound(OrchestratorError):
    """No run has this id."""

    hint = "`orchestrator runs ls` lists the recorded runs"


class RunOver(OrchestratorError):
    """The run has ended: nothing is left to do."""

    def __init__(self, run: str, status: str) -> None:
        super().__init__(f"the run {run} is over: {status}")
        self.hint = (
            f"`orchestrator runs fork {run} --from TASK` runs a task again, in a new run; "
            f"after an edit of its squad, `orchestrator runs resume {run} --edited` runs what the edit affects"
        )
        """What to do about it."""


class RunChanged(OrchestratorError):
    """The squad differs from the one that the run began with."""

    def __init__(self, run: str, parts: Sequence[str]) -> None:
        super().__init__(f"the run {run} cannot go on: changed since it began: {', '.join(parts)}")
        self.parts = tuple(parts)
        """What differs."""
        self.hint = (
            f"`orchestrator runs resume {run} --edited` runs again what the change affects, and nothing else; "
            "with --dry-run it only shows what that is"
        )
        """What to do about it."""


class UnknownTask(OrchestratorError):
    """The squad has no task of this name."""

    def __init__(self, task: str, known: Iterable[str]) -> None:
        super().__init__(f"the squad has no task {task}")
        self.hint = f"its tasks: {', '.join(known)}"


class EditUnknown(OrchestratorError):
    """The run was recorded by an older release, which did not record what each task is made of."""

    hint = "undo the change to resume this run, or start a new run"

    def __init__(self, parts: Sequence[str]) -> None:
        super().__init__(
            f"an older release recorded this run: which tasks a change of {', '.join(parts)} affects is unknown"
        )


class RunCancelled(OrchestratorError):
    """The run was cancelled for good: `runs cancel` ended it."""

    def __init__(self, run: str) -> None:
        super().__init__(f"the run {run} was cancelled for good: it cannot be resumed, and takes no answer")
        self.hint = f"`orchestrator runs fork {run}` begins a new run that takes over what it did"
        """What to do about it."""


class NotAChat(OrchestratorError):
    """The id is that of a run of tasks: nobody can be talked to there."""

    def __init__(self, run: str) -> None:
        super().__init__(f"{run} is a run of tasks, not a chat")
        self.hint = "give the chat another name; `orchestrator chat --list` lists the known ones"


class NoReply(OrchestratorError):
    """A person who takes part in a conversation did not speak in time. `ends`: it is over by that, and did not fail."""

    def __init__(self, conversation: str, waited_s: float, *, ends: bool) -> None:
        super().__init__(f"no person replied in {conversation} within {waited_s:g} s")
        self.conversation, self.ends = conversation, ends


class AnothersChat(OrchestratorError):
    """A chat is with others than those that were asked for: their words are not put into it."""

    def __init__(self, run: str, others: str, wanted: str) -> None:
        super().__init__(f"the chat {run} is with {others}, not with {wanted}")
        self.hint = f"`orchestrator chat --session {run}` continues it, and /agent there says who answers; \
another name begins another chat"


class IsAChat(OrchestratorError):
    """The id is that of a chat: it has no tasks."""

    def __init__(self, run: str) -> None:
        super().__init__(f"{run} is a chat, and has no tasks to run")
        self.hint = f"go on with it: `orchestrator chat --session {run}`"


class AnswerSuspended(OrchestratorError):
    """An answer of a chat waits for a person: what is recorded of it stands, and it goes on once that is given."""

    def __init__(self, session: str, reason: str) -> None:
        super().__init__(f"the answer waits for {reason}")
        self.hint = f"`orchestrator approvals ls` shows it; then `orchestrator chat --session {session}` goes on"


class NoSuchAgent(OrchestratorError):
    """There is no agent of this name to talk to."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no agent {name!r}")
        self.hint = f"those who answer: {', '.join(known)}"


class NoQuestion(OrchestratorError):
    """No question of this name awaits an answer, or several do. `matching` are those, `waiting` all of the run."""

    def __init__(self, run: str, name: str | None, matching: Sequence[str], waiting: Sequence[str]) -> None:
        if matching:
            what = f"{run} awaits several approvals: name the task"
            what = what if name is None else f"several questions of {run} may be meant by {name}: name one of them"
        else:
            what = f"{run} awaits no approval" if name is None else f"the task {name} of {run} does not await approval"
        super().__init__(what)
        self.hint = f"awaiting approval in this run: {', '.join(matching or waiting) or 'nothing'}"


class CommentMissing(OrchestratorError, ValueError):
    """Changes are asked for, and not which: the tasks that run again would have nothing new to read."""

    hint = "say what to change, as in: Shorter, please."

    def __init__(self, question: str) -> None:
        super().__init__(f"{question}: `revise` needs a comment, which the tasks that run again read")


class NoConversation(OrchestratorError):
    """The squad of a run has no conversation of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"the squad of the run has no conversation '{name}'")
        self.hint = f"its conversations: {', '.join(known) or 'none'}"


class NotEndedOutside(OrchestratorError):
    """A conversation whose `terminate` has no `external: true` does not end by a word from outside."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the conversation '{name}' cannot be ended from outside: its terminate has no external: true")
        self.hint = "write `external: true` next to its other conditions, below `any`"


class AnsweredAlready(OrchestratorError):
    """Another answer to the question came first, and it stands."""

    def __init__(self, question: str, choice: str, by: str) -> None:
        super().__init__(f"{question} is answered already: {choice} by {by}; the first answer counts")
        self.choice, self.by = choice, by


class QuestionChanged(OrchestratorError):
    """The question is asked anew, with other words or other texts than the person was shown who answers."""

    hint = "look at it again: the question has changed"

    def __init__(self, question: str) -> None:
        super().__init__(f"{question} is a different question now; this answer does not count")


MOST_WAYS = 4
OTHER_WAYS = "or run with --offline (in Python offline=True, or local_servers=True where a model server runs here)"


class NoProvider(OrchestratorError):
    """No provider is configured."""

    def __init__(self, reasons: Mapping[str, object]) -> None:
        lines = [f"  {name}: {reason}" for name, reason in reasons.items()]
        if len(lines) > MOST_WAYS:
            left = len(lines) - MOST_WAYS
            lines = [*lines[:MOST_WAYS], f"  and {left} others: `orchestrator providers ls` lists them"]
        ways = "\n".join(lines)
        super().__init__(f"no provider is configured. Any one of these is enough:\n{ways}\n{OTHER_WAYS}")
        self.reasons = dict(reasons)
        """What is missing, by provider; the message has the first few."""


class ToolUnusable(OrchestratorError):
    """The tool `tool` that a file declares cannot be loaded; nothing was spent. The message has the file and line."""

    def __init__(self, tool: str, why: str) -> None:
        super().__init__(f"the tool '{tool}' cannot be loaded: {why}")
        self.tool, self.why = tool, why
        self.hint = "correct it, or remove the tool from `tools:`"
        """What to do about it."""


class CannotWrite(OrchestratorError):
    """A file, or the folder of the run, cannot be written. `path` says which."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}")
        self.path, self.reason = path, reason


class NotATable(OrchestratorError):
    """The output of a task is neither text nor a list of flat mappings, and its file `path` ends in .csv or .tsv."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} is a file for a table, and the output is not a table: {why}")
        self.path = path


TOLD_FILES = 12
"""Files that a message names."""


class FilesTaken(CannotWrite):
    """Files of others stand where the run would write its own. `paths` names them, in the folder `out`."""

    def __init__(self, out: str, paths: Sequence[str]) -> None:
        told = ", ".join(paths[:TOLD_FILES])
        more = f" and {len(paths) - TOLD_FILES} more" if len(paths) > TOLD_FILES else ""
        super().__init__(out, f"these exist, and this run would replace them: {told}{more}")
        self.out, self.paths = out, tuple(paths)
        self.hint = "give --overwrite to replace them, or another folder: --out DIR"


class FilesProtected(CannotWrite):
    """The run would write what it, or a later run, is configured by. `faults` says of each path why it may not."""

    def __init__(self, out: str, faults: Mapping[str, str]) -> None:
        super().__init__(out, "; ".join(f"{path}: {why}" for path, why in list(faults.items())[:TOLD_FILES]))
        self.out, self.faults = out, dict(faults)
        self.hint = "give another folder: --out DIR, or the output_file another name"


class OutBusy(OrchestratorError):
    """The run `run` (empty: its name is not known) writes into the folder `out`."""

    def __init__(self, out: str, run: str) -> None:
        super().__init__(f"the run {run} is at work in {out}" if run else f"another run is at work in {out}")
        self.out, self.run = out, run
        self.hint = "wait for its end, or give another folder: --out DIR"
