"""Runs: begin one, list them, follow one, cancel it, go on with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from orchestrator.events import to_json
from orchestrator.journal.protocols import RunLine
from orchestrator.options import MOST_PRIORITY
from orchestrator.run.history import history_of
from orchestrator.run.standing import OVER, RECORDED_AS, STATES, state_in
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.event_stream import EVENTS, EventStream
from orchestrator.server.run_view import RunView
from orchestrator.server.state import ServerState
from orchestrator.server.taking_up import resume
from orchestrator.server.views.money import SpentSoFar
from orchestrator.server.views.tasks import TaskView
from providers.documents.problems import nearest

MOST_LISTED = 500
RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
MOST_EVENTS = 2**53
"""No run has so many."""


class RunShown(BaseModel):
    """A run in a list. `cost_usd` None: unknown. `created_at` is in epoch seconds."""

    run_id: str
    squad: str
    state: str
    created_at: float
    cost_usd: float | None


class RunsListed(BaseModel):
    runs: list[RunShown]


class RunAsked(BaseModel):
    """A run to begin: a squad that the server offers, and its inputs. It stops before it costs more, or takes longer.

    `stream`: models are asked for streams, and `/answers` tells what they say as they say it. `priority`: the workers
    of a cluster begin what is of a higher one first; a server that does its runs itself takes none but 0.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    squad: str
    inputs: dict[str, Any] = Field(default_factory=dict)
    run_id: str | None = Field(default=None, pattern=RUN_ID)
    max_cost_usd: float | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)
    stream: bool = False
    priority: int = Field(default=0, ge=-MOST_PRIORITY, le=MOST_PRIORITY)


class ResumeAsked(BaseModel):
    """How a run goes on: with caps in place of those that it began with, and as a stream, as when it is begun."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    max_cost_usd: float | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)
    stream: bool = False


class RunBegun(BaseModel):
    run_id: str


class TaskShown(BaseModel):
    """A task of a run: what it is at, who does it, and what it has cost so far."""

    id: str
    status: str
    who: str
    began_at: float | None
    ended_at: float | None
    turns: int
    tokens: int
    cost_usd: float
    error: str


class RunDetail(RunShown):
    """A run with what is known of it now. `last_event` numbers its events: ask for those after it.

    The cost is that of calls whose price is known; `unknown_prices` counts the others.
    """

    ended_at: float | None
    tokens: int
    unknown_prices: int
    tasks: list[TaskShown]
    last_event: int


def run_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:
    """Return the routes; `viewer` and `operator` let a request through, or refuse it."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    async def shown(line: RunLine) -> RunShown:
        cost = None if line.cost is None else line.cost / 1e6
        standing = await state_in(state.journal, line.run, line.status)
        return RunShown(run_id=line.run, squad=line.squad, state=standing, created_at=line.created_at, cost_usd=cost)

    @router.get("", dependencies=[Depends(viewer)])
    async def list_runs(
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
        squad: str | None = None,
        status: Annotated[list[str] | None, Query()] = None,
    ) -> RunsListed:
        """List the latest runs, newest first."""
        if wrong := set(status or ()) - set(STATES):
            raise RequestRefused(422, f"there is no state '{min(wrong)}'", f"the states are: {', '.join(STATES)}")
        recorded = {one for word in status or () for one in RECORDED_AS.get(word, (word,))}
        is_exact = recorded <= {*OVER}
        found: list[RunShown] = []
        for line in await state.journal.runs(limit if is_exact else None, statuses=recorded, squad=squad):
            one = await shown(line)
            if not status or one.state in status:
                found.append(one)
            if len(found) == limit:
                break
        return RunsListed(runs=found)

    @router.post("", status_code=201, dependencies=[Depends(operator)])
    async def begin_run(asked: RunAsked) -> RunBegun:
        """Begin a run of a squad that this server offers; 503 where as many are at work as may be at once."""
        refuse_where_full(state)
        if (squad := state.squads.get(asked.squad)) is None:
            hint = nearest(asked.squad, state.squads) or "give their files to `orchestrator serve`"
            raise RequestRefused(404, f"this server offers no squad '{asked.squad[:80]}'", hint, "no_squad")
        if asked.priority and state.cluster is None:
            hint = "it orders the runs of a cluster: `orchestrator serve --db postgresql://...`"
            raise RequestRefused(422, "priority: this server does its runs itself", hint, "no_cluster")
        how = asked.model_dump(include={"run_id", "stream", "max_cost_usd", "timeout_s", "priority"})
        run = await state.host.start(squad, asked.inputs, **how)
        return RunBegun(run_id=run)

    @router.get("/{run}", dependencies=[Depends(viewer)])
    async def show_run(run: str) -> RunDetail:
        """Show one run: its tasks, and how far each is."""
        watched = await state.views.of(state.journal, run)
        view, manifest = watched.view, watched.manifest
        return RunDetail(
            run_id=run,
            squad=manifest.squad,
            state=await state_in(state.journal, run, view.status),
            created_at=manifest.created_at,
            cost_usd=view.spent.cost / 1e6,
            ended_at=view.ended,
            tokens=view.spent.tokens,
            unknown_prices=view.spent.unknown,
            tasks=[_task(one, view, state) for one in view.tasks.values()],
            last_event=view.last,
        )

    @router.get("/{run}/events", dependencies=[Depends(viewer)], response_class=Response, responses=EVENTS)
    async def follow_run(
        http: HttpRequest, run: str, after: Annotated[int, Query(ge=0, le=MOST_EVENTS)] = 0
    ) -> Response:
        """Stream the events of a run, from its first or after one: `Last-Event-ID` goes on where a stream broke."""
        await state.journal.manifest(run)
        last = http.headers.get("last-event-id", "")
        return EventStream(_events(state, run, min(int(last[:20]), MOST_EVENTS) if last.isdecimal() else after))

    @router.post("/{run}/cancel", status_code=202, dependencies=[Depends(operator)])
    async def cancel_run(run: str) -> RunBegun:
        """End a run for good: calls in flight may end, no new ones start."""
        await state.journal.manifest(run)
        past = history_of(await state.journal.events(run))
        if past.is_over:
            raise RequestRefused(409, f"the run {run} is over: {past.status}", code="RunOver")
        await state.journal.request_cancel(run)
        return RunBegun(run_id=run)

    @router.post("/{run}/resume", status_code=202, dependencies=[Depends(operator)])
    async def resume_run(run: str, asked: ResumeAsked | None = None) -> RunBegun:
        """Go on with a run that was killed, interrupted or paused, in this process; 503 as where one begins."""
        refuse_where_full(state)
        await resume(state, run, **({} if asked is None else asked.model_dump(exclude_unset=True)))
        return RunBegun(run_id=run)

    return router


def refuse_where_full(state: ServerState) -> None:
    """Raise `RequestRefused` where a run would wait until others have ended, however long that takes."""
    if state.host.is_full:
        why = "as many runs are at work here as may be at once"
        raise RequestRefused(503, why, "ask again once one has ended", "busy")


def _task(task: TaskView, view: RunView, state: ServerState) -> TaskShown:
    spent = view.money.by_task.get(task.id, SpentSoFar())
    return TaskShown(
        id=task.id,
        status=task.status,
        who=task.who,
        began_at=task.began,
        ended_at=task.ended,
        turns=task.turns,
        tokens=spent.tokens,
        cost_usd=spent.cost / 1e6,
        error=state.mask(task.error),
    )


async def _events(state: ServerState, run: str, after: int) -> AsyncIterator[bytes]:
    async with aclosing(state.journal.watch(run, after)) as events:
        async for number, event in events:
            document = state.mask(json.dumps(to_json(event), ensure_ascii=False))
            yield f"id: {number}\nevent: {event.type}\ndata: {document}\n\n".encode("utf-8", "replace")
