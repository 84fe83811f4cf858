"""Squads of agents: defined in YAML, run over many model providers.

from orchestrator import Squad, run_squad
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator._version import __version__ as __version__
    from orchestrator.environment import environment_of
    from orchestrator.errors import NoProvider, OrchestratorError, PlanError
    from orchestrator.events import Event, GateAnswered, GateOpened, to_json
    from orchestrator.execution import Run
    from orchestrator.fork import edit_of_run, fork_run
    from orchestrator.journal.sqlite.journal import SqliteJournal
    from orchestrator.run.driver import RunResult
    from orchestrator.runtime import open_run, resume_run, run_squad, run_sync
    from orchestrator.squad.load import Squad
    from orchestrator.squad.plan import Plan
    from providers.documents.problems import SpecError

_HOMES = {
    "__version__": "orchestrator._version",
    "environment_of": "orchestrator.environment",
    "edit_of_run": "orchestrator.fork",
    "Event": "orchestrator.events",
    "fork_run": "orchestrator.fork",
    "GateAnswered": "orchestrator.events",
    "GateOpened": "orchestrator.events",
    "NoProvider": "orchestrator.errors",
    "open_run": "orchestrator.runtime",
    "OrchestratorError": "orchestrator.errors",
    "Plan": "orchestrator.squad.plan",
    "PlanError": "orchestrator.errors",
    "Run": "orchestrator.execution",
    "run_squad": "orchestrator.runtime",
    "run_sync": "orchestrator.runtime",
    "RunResult": "orchestrator.run.driver",
    "SpecError": "providers.documents.problems",
    "resume_run": "orchestrator.runtime",
    "Squad": "orchestrator.squad.load",
    "SqliteJournal": "orchestrator.journal.sqlite.journal",
    "to_json": "orchestrator.events",
}

__all__ = [
    "Event",
    "GateAnswered",
    "GateOpened",
    "NoProvider",
    "OrchestratorError",
    "Plan",
    "PlanError",
    "Run",
    "RunResult",
    "SpecError",
    "SqliteJournal",
    "Squad",
    "edit_of_run",
    "environment_of",
    "fork_run",
    "open_run",
    "resume_run",
    "run_squad",
    "run_sync",
    "to_json",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: importing the package loads nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
