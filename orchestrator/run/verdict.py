"""What a run came to: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.events import RunFinished, RunStatus, TaskStatus
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import RunState
from orchestrator.squad.plan import Plan
from personas.errors import TemplateError

OVER: frozenset[RunStatus] = frozenset({"done", "failed", "rejected", "stopped"})
"""How a run ends of which nothing is left to be done."""


def outputs_of(plan: Plan, state: RunState) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the plan's outputs as far as they can be told, and why the others, which are None, cannot.

    A task that was skipped, or that failed, has the output None.
    """
    outputs: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, expression in plan.outputs.items():
        outputs[name] = None
        try:
            outputs[name] = expression.render(state.values)
        except TemplateError as error:
            errors[name] = str(error)
    return outputs, errors


def finish_of(state: RunState, recorder: Recorder, artifacts: Mapping[str, str], *, stub: bool) -> RunFinished:
    """Return the last event of a run in this state. `artifacts` are path -> SHA-256. Pure.

    A run that did all its work has failed all the same where one of its outputs cannot be told.
    """
    status = state.verdict()
    outputs, errors = outputs_of(state.plan, state)
    if status != "done":
        # What a task did not make cannot be told, and is no mistake of its own.
        errors = {name: why for name, why in errors.items() if status in OVER and _is_ready(state, name)}
    return RunFinished(
        recorder.run_id,
        "failed" if status == "done" and errors else status,
        outputs,
        dict(artifacts),
        recorder.usage,
        recorder.cost,
        {name: left_as(task.status, status) for name, task in state.tasks.items()},
        stub,
        state.truncated,
        errors,
        recorder.cut_short,
    )


def left_as(task: TaskStatus, run: RunStatus) -> TaskStatus:
    """Return how a run that ends leaves a task: none is at work, and where the run is over nobody is asked any more."""
    if task == "gate":
        return "cancelled" if run in OVER else task
    return "interrupted" if task == "running" else task


def _is_ready(state: RunState, output: str) -> bool:
    """Return whether each task that the output reads ended well."""
    read = {path[1] for path in state.plan.outputs[output].names if path[0] == "tasks" and len(path) > 1}
    return all(state.tasks[task].status in ("ok", "skipped") for task in read if task in state.tasks)
