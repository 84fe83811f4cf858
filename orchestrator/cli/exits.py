"""Exit codes, and the one table that says which failure ends in which.

The table names classes by their place, so that reading it imports nothing: the code that
raised a failure has loaded its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple


class Exit(IntEnum):
    """The exit code of a command. `docs/reference/exit-codes.md` is made from what stands below each."""

    DONE = 0
    """The command did all that it was asked to."""
    FAILED = 1
    """The run ended with failed tasks, or a person rejected it; validation found errors in a file; a test case or a
    claim of a simulation did not hold."""
    USAGE = 2
    """The command line, or something that it names, cannot be used: an unknown option, a file that is not there, a
    folder that cannot be written, a database that cannot be reached."""
    INTERNAL = 3
    """A defect of this program."""
    CREDENTIALS = 4
    """No provider has a key; each one that was asked refused its key; or a file sends keys or runs code that you have
    not allowed."""
    NOTHING = 5
    """Nothing was selected: no such run, question or record, or it is over already."""
    LIMIT = 6
    """A budget, a time limit or a limit of attempts was reached: the run was paused or stopped."""
    WAITING = 7
    """A person must answer before the run can go on. It is recorded, and costs nothing while it waits."""
    NO_ANSWER = 8
    """No provider could answer: each one was tried, or had no room, or the server that was asked is away."""
    INTERRUPTED = 130
    """Ctrl-C (SIGINT), `runs cancel`, or the reader of stdout closed it."""
    TERMINATED = 143
    """SIGTERM came. `serve` and `worker` end with 0 after a signal: to be stopped is how they end."""


class ExitAdvice(NamedTuple):
    """What a script should do about an exit code."""

    retry: str
    """Whether the same command may end in another way without any change, in a few words."""
    do: str
    shown_by: str = ""
    """A command that ends so; empty: no command does on its own."""


ADVICE: Mapping[Exit, ExitAdvice] = {
    Exit.DONE: ExitAdvice("no need", "Go on.", "orchestrator run squad.yaml --offline"),
    Exit.FAILED: ExitAdvice(
        "no",
        "Read stderr: it names the task or the line in the file. `orchestrator explain RUN` shows what was tried,"
        " `orchestrator runs fork RUN --from TASK` does a part again.",
        "orchestrator validate broken.yaml",
    ),
    Exit.USAGE: ExitAdvice("no", "Correct the command; stderr says how.", "orchestrator run squad.yaml --sooner"),
    Exit.INTERNAL: ExitAdvice("no", "Report it with what `--verbose` shows. The run so far is recorded."),
    Exit.CREDENTIALS: ExitAdvice(
        "no",
        "Ask a person for a key (`orchestrator providers ls` lists the variables), or to allow the file with"
        " `orchestrator trust`.",
        "orchestrator ask Hello --model openai/gpt-6-luna",
    ),
    Exit.NOTHING: ExitAdvice("no", "Look at the name: `orchestrator runs ls`.", "orchestrator runs show no-such-run"),
    Exit.LIMIT: ExitAdvice(
        "once there is room again",
        "`orchestrator runs resume RUN` continues a paused run where it stopped. Raise the limit, with"
        " `--max-cost` or `--timeout` too, for one that was stopped.",
        "orchestrator run squad.yaml --offline --timeout 1ms",
    ),
    Exit.WAITING: ExitAdvice(
        "no",
        "Ask a person: `orchestrator approvals`, then `orchestrator runs resume RUN`. In a script `--approve auto` or"
        " `--approve deny` answers.",
        "orchestrator run gated.yaml --offline < /dev/null",
    ),
    Exit.NO_ANSWER: ExitAdvice(
        "yes, later",
        "Wait until the time that stderr names, then `orchestrator runs resume RUN`: recorded answers are not paid for"
        " again.",
        "ORCHESTRATOR_SERVER_TOKEN=any orchestrator runs ls --server http://127.0.0.1:9",
    ),
    Exit.INTERRUPTED: ExitAdvice(
        "yes",
        "`orchestrator runs resume RUN` continues the run.",
        "sleep 9 | timeout --preserve-status -s INT 6 orchestrator chat squad.yaml --offline",
    ),
    Exit.TERMINATED: ExitAdvice(
        "yes",
        "`orchestrator runs resume RUN` continues the run.",
        "sleep 9 | timeout --preserve-status 6 orchestrator chat squad.yaml --offline",
    ),
}


FAILURES: Mapping[str, Exit] = {
    "providers.documents.problems.ProblemsFound": Exit.FAILED,
    "orchestrator.errors.TaskTimedOut": Exit.LIMIT,
    "orchestrator.errors.RepeatExhausted": Exit.LIMIT,
    "orchestrator.errors.RunNotFound": Exit.NOTHING,
    "orchestrator.errors.RunOver": Exit.NOTHING,
    "orchestrator.errors.IsAChat": Exit.NOTHING,
    "orchestrator.errors.NotAChat": Exit.NOTHING,
    "orchestrator.errors.AnothersChat": Exit.USAGE,
    "orchestrator.errors.NoSuchAgent": Exit.USAGE,
    "orchestrator.errors.AnswerSuspended": Exit.WAITING,
    "orchestrator.errors.NoQuestion": Exit.NOTHING,
    "orchestrator.errors.NoConversation": Exit.NOTHING,
    "orchestrator.errors.NotEndedOutside": Exit.NOTHING,
    "orchestrator.errors.AnsweredAlready": Exit.NOTHING,
    "orchestrator.errors.RunChanged": Exit.FAILED,
    "orchestrator.errors.EditUnknown": Exit.FAILED,
    "orchestrator.errors.UnknownTask": Exit.USAGE,
    "orchestrator.errors.RunCancelled": Exit.INTERRUPTED,
    "orchestrator.journal.protocols.Fenced": Exit.INTERRUPTED,
    "orchestrator.journal.protocols.StepChanged": Exit.FAILED,
    "orchestrator.rerun.replay.NotReplayable": Exit.FAILED,
    "orchestrator.journal.protocols.JournalError": Exit.USAGE,
    "orchestrator.dispatch.cluster.connections.JobQueueUnusable": Exit.USAGE,
    "orchestrator.dispatch.cluster.connections.JobQueueAway": Exit.USAGE,
    "orchestrator.evals.errors.CaseUnusable": Exit.USAGE,
    "agents.mcp.errors.McpFault": Exit.FAILED,
    "orchestrator.errors.NoProvider": Exit.CREDENTIALS,
    "orchestrator.errors.ToolUnusable": Exit.FAILED,
    "agents.memory.database.MemoryUnusable": Exit.USAGE,
    "agents.memory.store.MemoryFull": Exit.LIMIT,
    "orchestrator.errors.CannotWrite": Exit.USAGE,
    "orchestrator.errors.OutBusy": Exit.USAGE,
    "orchestrator.errors.OutElsewhere": Exit.USAGE,
    "orchestrator.cli.remote.api.NotLetIn": Exit.CREDENTIALS,
    "orchestrator.cli.remote.api.ServerAway": Exit.NO_ANSWER,
    "orchestrator.cli.exits.Unusable": Exit.USAGE,
    "orchestrator.cli.exits.NothingSelected": Exit.NOTHING,
    "orchestrator.cli.exits.Terminated": Exit.TERMINATED,
    "orchestrator.cli.exits.Interrupted": Exit.INTERRUPTED,
    "providers.catalog.trust.NotTrusted": Exit.CREDENTIALS,
    "providers.errors.CatalogError": Exit.FAILED,
    "providers.errors.BudgetSpent": Exit.LIMIT,
    "providers.errors.AuthFailed": Exit.CREDENTIALS,
    "providers.errors.ProviderError": Exit.NO_ANSWER,
    "providers.errors.RoutingError": Exit.NO_ANSWER,
    "personas.persona.PersonaError": Exit.FAILED,
    "personas.errors.TemplateError": Exit.FAILED,
    "click.exceptions.UsageError": Exit.USAGE,
    "click.exceptions.ClickException": Exit.USAGE,
    "click.exceptions.Abort": Exit.INTERRUPTED,
    # The reader of our stdout closed it: that is an interruption, whatever the command was doing.
    "builtins.BrokenPipeError": Exit.INTERRUPTED,
    "builtins.KeyboardInterrupt": Exit.INTERRUPTED,
}

STATUSES: Mapping[str, Exit] = {
    "done": Exit.DONE,
    "failed": Exit.FAILED,
    "rejected": Exit.FAILED,
    "waiting": Exit.WAITING,
    "paused": Exit.LIMIT,
    "stopped": Exit.LIMIT,
    "cancelled": Exit.INTERRUPTED,
}
"""How a run's status ends."""

NO_ANSWER_KINDS = frozenset({"NoRoute", "AllAttemptsFailed"})


class Unusable(Exception):
    """What was given on the command line cannot be used. `hint` says what can."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NothingSelected(Unusable):
    """There is nothing to do it with."""


class Interrupted(Exception):
    """A person pressed Ctrl-C until it stopped."""


class Terminated(Exception):
    """SIGTERM came. `serve` and `worker` end with 0 after a signal: to be stopped is how they end."""


def exit_of(error: BaseException) -> Exit:
    """Return the exit code of a failure; what the table does not know is our own fault, `Exit.INTERNAL`."""
    if is_about_keys(error):
        return Exit.CREDENTIALS
    if getattr(error, "over_budget", False):  # of `NoRoute`
        return Exit.LIMIT
    for cls in type(error).__mro__:
        found = FAILURES.get(f"{cls.__module__}.{cls.__qualname__}")
        if found is not None:
            return found
    return Exit.INTERNAL


def is_about_keys(error: BaseException) -> bool:
    """Return whether keys are the problem: each attempt was refused for its key, or no provider has one."""
    match type(error).__name__:
        case "AllAttemptsFailed":
            return all(type(cause).__name__ == "AuthFailed" for cause in error.exceptions)  # type: ignore[attr-defined]  # a group
        case "NoRoute":
            reasons = error.reasons.values()  # type: ignore[attr-defined]  # its own
            codes = {reason.code for reason in reasons}
            return bool(codes & ABOUT_A_KEY) and codes <= FOR_AN_OPERATOR
        case "McpFault":
            return error.kind in ("no_variable", "unauthorized")  # type: ignore[attr-defined]  # its own
        case "CatalogError":
            return any(problem.path[:1] == ("environment",) for problem in error.problems)  # type: ignore[attr-defined]  # its own
    return False


ABOUT_A_KEY = frozenset({"no_key", "key_refused"})
FOR_AN_OPERATOR = ABOUT_A_KEY | {"no_money", "not_configured"}
"""Codes of `providers.errors.Reason` that only an operator can fix; importing them here would slow every command."""


def exit_of_run(status: str, error_kinds: Iterable[str], attempt_errors: Iterable[str | None]) -> Exit:
    """Return the exit code of a run: one of its own where every failure was that no provider answered."""
    kinds, errors = set(error_kinds), set(attempt_errors)
    if status != "failed" or not kinds or not kinds <= NO_ANSWER_KINDS:
        return STATUSES[status]
    return Exit.CREDENTIALS if errors == {"AuthFailed"} else Exit.NO_ANSWER


def cause_of(error: BaseException) -> BaseException:
    """Return the failure itself: a task group wraps even a single one, and Python an interrupt of `__set_name__`.

    Several that are closed pipes are one: whoever reads what we write is gone, for each of those who write.
    """
    while isinstance(error, BaseExceptionGroup) and type(error) in (ExceptionGroup, BaseExceptionGroup):
        inner = [cause_of(one) for one in error.exceptions]
        if len(inner) > 1 and not all(isinstance(one, BrokenPipeError) for one in inner):
            break
        error = inner[0]
    if type(error) is RuntimeError and isinstance(error.__cause__, KeyboardInterrupt):
        return error.__cause__
    return error
