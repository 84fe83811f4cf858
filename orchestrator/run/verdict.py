"""What a run came to: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.events import RunFinished
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import RunState
from orchestrator.squad.plan import Plan
from personas.errors import TemplateError


def outputs_of(plan: Plan, state: RunState) -> dict[str, Any]:
    """Return the plan's outputs as far as they can be told: an output whose task did not end well is None."""
    outputs: dict[str, Any] = {}
    for name, expression in plan.outputs.items():
        try:
            outputs[name] = expression.render(state.values)
        except TemplateError:
            outputs[name] = None
    return outputs


def finish_of(state: RunState, recorder: Recorder, artifacts: Mapping[str, str], *, stub: bool) -> RunFinished:
    """Return the last event of a run in this state. `artifacts` are path -> SHA-256. Pure."""
    return RunFinished(
        recorder.run_id,
        state.verdict(),
        outputs_of(state.plan, state),
        dict(artifacts),
        recorder.usage,
        recorder.cost,
        {name: "interrupted" if task.status == "running" else task.status for name, task in state.tasks.items()},
        stub,
        state.truncated,
    )
