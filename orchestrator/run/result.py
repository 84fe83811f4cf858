"""What a run came to, as the program that ran it gets it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.events import CutText, RunStatus
from orchestrator.run.artifacts import Artifacts
from orchestrator.run.driver import Driver
from orchestrator.run.recorder import Recorder
from orchestrator.run.verdict import OVER, finish_of
from providers.messages import Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `cost` is micro-USD, None where any price was unknown; `artifacts` path -> SHA-256.

    `texts` holds the artifacts themselves where the run had no folder (`out` is None). `truncated` names, by task, the
    texts that their models did not finish; `output_errors` says why an output could not be told: it is None in
    `outputs`, and the run has failed.

    `cut_short` is micro-USD that calls may have cost besides whose end is not known: they were in flight when a process
    was killed, or were given up.
    """

    run_id: str
    """The id that `resume_run` takes."""
    status: RunStatus
    """`done`, `failed`, `rejected` by a person, `waiting` for one, `paused` or `stopped` by a limit, `cancelled`."""
    outputs: Mapping[str, Any]
    """The squad's `outputs` by name, with the types of their expressions; None: see `output_errors`."""
    artifacts: Mapping[str, str]
    """The files that were written: path below `out` -> SHA-256."""
    usage: Usage
    """Tokens of all model calls."""
    cost: int | None
    """Micro-USD of all model calls; None where any price was unknown."""
    tasks: Mapping[str, str]
    """The status of each task by name."""
    errors: Mapping[str, str]
    """What the failed tasks failed with, by name."""
    error_kinds: Mapping[str, str]
    """The class of each of these errors, by task."""
    waiting: Mapping[str, str]
    """What each paused task waits for, by name."""
    stub: bool
    """True where the offline stub answered: no model was asked."""
    out: Path | None = None
    """The folder of the artifacts; None: there is none, and `texts` holds them."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The artifacts themselves by path, where `out` is None."""
    truncated: Mapping[str, tuple[CutText, ...]] = field(default_factory=dict)
    """By task, the texts that their models did not finish."""
    output_errors: Mapping[str, str] = field(default_factory=dict)
    """Why an output could not be told, by name; the run has then failed."""
    cut_short: int = 0
    """Micro-USD that calls may have cost besides, whose end is not known."""

    def output(self, name: str, as_type: type[T]) -> T:
        """Return an output as a value of a type: a pydantic model, a dataclass, `list[...]` of them.

        Raises `KeyError` for an output that is not there, and pydantic's `ValidationError` for one of another shape.
        """
        from pydantic import TypeAdapter

        if name not in self.outputs:
            raise KeyError(f"the run has no output {name!r}; it has: {', '.join(self.outputs) or 'none'}")
        return TypeAdapter(as_type).validate_json(json.dumps(self.outputs[name]))


def result_of(driver: Driver, recorder: Recorder, *, stub: bool, files: Artifacts) -> RunResult:
    """Return the result of a driven run, and record its last event."""
    state = driver.state
    finished = finish_of(state, recorder, files.written, stub=stub)
    recorder.record(finished)
    return RunResult(
        run_id=finished.run_id,
        status=finished.status,
        outputs=finished.outputs,
        artifacts=finished.artifacts,
        usage=finished.usage,
        cost=finished.cost,
        tasks=finished.tasks,
        errors={name: event.error or "" for name, event in state.errors.items()},
        error_kinds={name: event.error_kind or "" for name, event in state.errors.items()},
        waiting={} if finished.status in OVER else dict(state.waiting),
        stub=stub,
        out=None if files.folder is None else files.folder.root,
        texts=dict(files.texts),
        output_errors=finished.output_errors,
        truncated=finished.truncated,
        cut_short=finished.cut_short,
    )
