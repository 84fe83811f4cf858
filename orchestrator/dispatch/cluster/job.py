"""What is placed in the queue, and the texts by which the queue knows it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from orchestrator.units import Unit

RUNS = "runs"
"""The queue of runs to be driven: few jobs, each of which waits most of the time."""
TASKS = "tasks"
"""The queue of units to be worked on."""

LONGEST_LOCK = 400
"""Characters of a lock's text. PostgreSQL indexes it, and an entry of an index ends at some 2,700 bytes."""
LONGEST_DELAY_S = 60.0


class Job(NamedTuple):
    """A unit of a run that is to be worked on; without a unit, the run itself is to be driven.

    `generation` counts how often it was woken: two jobs that differ in it alone may both wait, and run one after the
    other.
    """

    run: str
    unit: Unit | None = None
    generation: int = 1

    @property
    def queue(self) -> str:
        return RUNS if self.unit is None else TASKS


JobHandler = Callable[[Job], Awaitable[None]]
"""Does a job. It is cancelled where its run was cancelled, or where a stopping worker's grace period is over."""


class JobPutOff(Exception):
    """Raised by a handler that gives its job back: nothing failed, and it runs again in `after_s` seconds, here or
    elsewhere."""

    def __init__(self, after_s: float = 0.0) -> None:
        super().__init__(after_s)
        self.after_s = after_s


def lock_of(job: Job) -> str:
    """Return the text that at most one running job has: that of its unit, or of its run."""
    return _short(json.dumps([job.run] if job.unit is None else [job.run, *job.unit]))


def queueing_lock_of(job: Job) -> str:
    """Return the text that at most one waiting job has."""
    return _short(json.dumps([job.run, *(job.unit or ()), job.generation]))


def arguments_of(job: Job) -> dict[str, Any]:
    """Return the job as PostgreSQL's `jsonb` takes it. A key of an element may hold any character, also those that
    `jsonb` refuses (NUL, lone surrogates): they stand in JSON inside the JSON."""
    unit = None if job.unit is None else json.dumps(job.unit)
    return {"run": run_argument(job.run), "unit": unit, "generation": job.generation}


def run_argument(run: str) -> str:
    """Return what stands in a job's arguments for the run's id."""
    return json.dumps(run)


def job_of(arguments: Mapping[str, Any]) -> Job:
    """Return the job that `arguments_of` made arguments of."""
    unit = None if arguments["unit"] is None else Unit(*json.loads(arguments["unit"]))
    return Job(json.loads(arguments["run"]), unit, arguments["generation"])


def delay_s(attempts: int) -> float:
    """Return after how many seconds a job whose handler failed runs again; `attempts` were made before this one."""
    return float(min(2 ** min(attempts, 30), LONGEST_DELAY_S))


def _short(text: str) -> str:
    if len(text) <= LONGEST_LOCK:
        return text
    return f"{text[: LONGEST_LOCK - 64]}{hashlib.sha256(text.encode('ascii')).hexdigest()}"
