"""Squads of agents: defined in YAML, run over many model providers.

from orchestrator import Squad, run_squad
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator._version import __version__ as __version__
    from orchestrator.environment import environment_of
    from orchestrator.errors import (
        CannotWrite,
        NoProvider,
        OrchestratorError,
        PlanError,
        RunCancelled,
        RunChanged,
        RunNotFound,
        RunOver,
        StubAnswers,
        ToolUnusable,
    )
    from orchestrator.events import Event, GateAnswered, GateOpened, to_json
    from orchestrator.execution import Run
    from orchestrator.fork import edit_of_run, fork_run
    from orchestrator.journal.opening import open_journal
    from orchestrator.journal.protocols import Journal, JournalError, RunBusy
    from orchestrator.journal.sqlite.journal import SqliteJournal
    from orchestrator.run.deltas import AnswerEnded, RunDelta
    from orchestrator.run.ended_outside import end_conversation
    from orchestrator.run.exchanges import Exchange
    from orchestrator.run.result import RunResult
    from orchestrator.runtime import open_run, resume_run, run_squad, run_sync
    from orchestrator.session import Session
    from orchestrator.squad.load import Squad
    from orchestrator.squad.plan import Plan
    from orchestrator.subscribers import Subject, Subscriber
    from orchestrator.trust import CodeNotTrusted, CodeUse, trust_file
    from providers.catalog.trust import KeyUse, NotTrusted
    from providers.documents.problems import Problem, ProblemsFound, SpecError

__all__ = [
    "AnswerEnded",
    "CannotWrite",
    "CodeNotTrusted",
    "CodeUse",
    "Event",
    "Exchange",
    "GateAnswered",
    "GateOpened",
    "Journal",
    "JournalError",
    "KeyUse",
    "NoProvider",
    "NotTrusted",
    "OrchestratorError",
    "Plan",
    "PlanError",
    "Problem",
    "ProblemsFound",
    "Run",
    "RunBusy",
    "RunCancelled",
    "RunChanged",
    "RunDelta",
    "RunNotFound",
    "RunOver",
    "RunResult",
    "Session",
    "SpecError",
    "SqliteJournal",
    "Squad",
    "StubAnswers",
    "Subject",
    "Subscriber",
    "ToolUnusable",
    "edit_of_run",
    "end_conversation",
    "environment_of",
    "fork_run",
    "open_journal",
    "open_run",
    "resume_run",
    "run_squad",
    "run_sync",
    "to_json",
    "trust_file",
]

_HOMES = {
    "orchestrator._version": ("__version__",),
    "orchestrator.environment": ("environment_of",),
    "orchestrator.errors": (
        "CannotWrite",
        "NoProvider",
        "OrchestratorError",
        "PlanError",
        "RunCancelled",
        "RunChanged",
        "RunNotFound",
        "RunOver",
        "StubAnswers",
        "ToolUnusable",
    ),
    "orchestrator.events": ("Event", "GateAnswered", "GateOpened", "to_json"),
    "orchestrator.execution": ("Run",),
    "orchestrator.fork": ("edit_of_run", "fork_run"),
    "orchestrator.journal.opening": ("open_journal",),
    "orchestrator.journal.protocols": ("Journal", "JournalError", "RunBusy"),
    "orchestrator.journal.sqlite.journal": ("SqliteJournal",),
    "orchestrator.run.deltas": ("AnswerEnded", "RunDelta"),
    "orchestrator.run.ended_outside": ("end_conversation",),
    "orchestrator.run.exchanges": ("Exchange",),
    "orchestrator.run.result": ("RunResult",),
    "orchestrator.runtime": ("open_run", "resume_run", "run_squad", "run_sync"),
    "orchestrator.session": ("Session",),
    "orchestrator.squad.load": ("Squad",),
    "orchestrator.squad.plan": ("Plan",),
    "orchestrator.subscribers": ("Subject", "Subscriber"),
    "orchestrator.trust": ("CodeNotTrusted", "CodeUse", "trust_file"),
    "providers.catalog.trust": ("KeyUse", "NotTrusted"),
    "providers.documents.problems": ("Problem", "ProblemsFound", "SpecError"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # to a type checker any name would be one of ours

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first asked for: importing the package loads nothing else."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
