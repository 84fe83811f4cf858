"""Copies of recorded runs: a fork, which goes on otherwise, and a file for another machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from orchestrator.fork import edit_of_run
from orchestrator.rerun.edit import Edit
from orchestrator.rerun.export import export_run
from orchestrator.server.api.artifacts import FILE, attached
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.api.runs import RUN_ID, refuse_where_full
from orchestrator.server.state import ServerState
from orchestrator.server.taking_up import recorded_squad


class ForkAsked(BaseModel):
    """A run to begin that takes over what another did. `start`: this task runs again, and all that needs it; `inputs`
    replace those of the other run. With `preview` nothing begins."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    start: str | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    run_id: str | None = Field(default=None, pattern=RUN_ID)
    max_cost_usd: float | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)
    stream: bool = False
    preview: bool = False


class ForkedTask(BaseModel):
    """What becomes of a task: it is `kept`, `continues`, `runs again` (and `why`), or `runs`, which it never did."""

    task: str
    before: str
    now: str
    why: str


class ForkShown(BaseModel):
    """`run_id` null: it was a preview. `edited` names what differs from what the other run was made of."""

    run_id: str | None
    edited: list[str]
    tasks: list[ForkedTask]


PREVIEW: dict[int | str, dict[str, Any]] = {200: {"model": ForkShown, "description": "A preview: nothing began."}}


def copy_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # as all parts are made
    """Return the routes; `operator` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.post("/{run}/fork", status_code=201, dependencies=[Depends(operator)], responses=PREVIEW)
    async def fork_run(run: str, asked: ForkAsked, answer: Response) -> ForkShown:
        """Begin a new run that takes over the results of this one, but for a task, what was edited or given anew, and
        all that needs these."""
        manifest = await state.journal.manifest(run)
        squad = state.squads.get(manifest.squad) or await recorded_squad(state, manifest)
        edit = await edit_of_run(squad, run, journal=state.journal, start=asked.start, inputs=asked.inputs)
        if not edit.is_more:
            raise RequestRefused(422, f"nothing of {run} would run again", "name a task: `start`")
        begun: str | None = None
        if asked.preview:
            answer.status_code = 200
        else:
            refuse_where_full(state)
            caps = {"max_cost_usd": asked.max_cost_usd, "timeout_s": asked.timeout_s}
            begun = await state.host.fork(
                squad, run, asked.inputs, asked.start, run_id=asked.run_id, stream=asked.stream, **caps
            )
        return ForkShown(run_id=begun, edited=list(edit.parts), tasks=_tasks(edit))

    @router.get("/{run}/export", dependencies=[Depends(operator)], response_class=Response, responses=FILE)
    async def send_export(run: str) -> Response:
        """Send the run and everything that it used as a file that another machine can show, explain and replay.

        Nothing is masked in it.
        """
        await state.journal.manifest(run)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{run}.run.db"
            await export_run(state.journal, run, file)
            return attached(file.name, await anyio.to_thread.run_sync(file.read_bytes))

    return router


def _tasks(edit: Edit) -> list[ForkedTask]:
    former = {new: old for old, new in edit.kept.items()}
    found = []
    for task in edit.plan.tasks:
        stand = edit.stood.get(former.get(task, task))
        before = "" if stand is None else stand.status
        if task in former:
            now = "continues" if stand is not None and stand.at_work else "kept"
        else:
            now = "runs again" if task in edit.again else "runs"
        found.append(ForkedTask(task=task, before=before, now=now, why=edit.again.get(task, "")))
    return found
