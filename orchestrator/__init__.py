"""Squads of agents: defined in YAML, run over many model providers.

from orchestrator import Squad, run_squad
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator._version import __version__ as __version__
    from orchestrator.environment import environment_of
    from orchestrator.errors import NoProvider, OrchestratorError, PlanError, SpecError
    from orchestrator.events import Event, GateAnswered, GateOpened, to_json
    from orchestrator.fork import edit_of_run, fork_run
    from orchestrator.journal.sqlite import SqliteJournal
    from orchestrator.plan import Plan
    from orchestrator.run import RunResult
    from orchestrator.runtime import Run, open_run, resume_run, run_squad, run_sync
    from orchestrator.squad import Squad

_HOMES = {
    "__version__": "_version",
    "environment_of": "environment",
    "edit_of_run": "fork",
    "Event": "events",
    "fork_run": "fork",
    "GateAnswered": "events",
    "GateOpened": "events",
    "NoProvider": "errors",
    "open_run": "runtime",
    "OrchestratorError": "errors",
    "Plan": "plan",
    "PlanError": "errors",
    "Run": "runtime",
    "run_squad": "runtime",
    "run_sync": "runtime",
    "RunResult": "run",
    "SpecError": "errors",
    "resume_run": "runtime",
    "Squad": "squad",
    "SqliteJournal": "journal.sqlite",
    "to_json": "events",
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
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
