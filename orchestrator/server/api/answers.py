"""What a run's agents say, as server-sent events: as they say it, or once it is recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from agents.events import TurnEnded
from orchestrator.execution import Run
from orchestrator.run.delta_stream import RecordedAnswer, answers_after
from orchestrator.run.deltas import CallsWhole, Position, RunDelta, delta_json
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.event_stream import EVENTS, EventStream
from orchestrator.server.state import ServerState

LONGEST = 100
"""Characters of a position."""


def answer_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # as all parts are made
    """Return the route; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.get("/{run}/answers", dependencies=[Depends(viewer)], response_class=Response, responses=EVENTS)
    async def follow_answers(
        http: HttpRequest, run: str, after: Annotated[str, Query(max_length=LONGEST)] = "0"
    ) -> Response:
        """Stream what agents say, from the run's beginning or after a `position`.

        Of a run that was begun here with `stream` it is told as they say it; of others each answer once it is recorded.
        `Last-Event-ID` goes on where a stream broke. An answer whose first piece is `anew` is told from its beginning.
        """
        await state.journal.manifest(run)
        try:
            position = Position.of(http.headers.get("last-event-id", "")[:LONGEST] or after)
        except ValueError as error:
            raise RequestRefused(422, str(error), code="invalid_request") from None
        return EventStream(_pieces(state, run, position))

    return router


async def _pieces(state: ServerState, run: str, position: Position) -> AsyncIterator[bytes]:
    calls = CallsWhole()
    async with aclosing(spoken(state, run, position)) as deltas:
        async for delta in deltas:
            for whole in calls.add(delta):
                document = state.mask(json.dumps(delta_json(whole), ensure_ascii=False))
                yield f"id: {whole.position}\nevent: delta\ndata: {document}\n\n".encode("utf-8", "replace")


async def spoken(state: ServerState, run: str, position: Position) -> AsyncGenerator[RunDelta, None]:
    """Yield what is said in a run after a position, for as long as somebody listens."""
    told: Run | None = None
    while True:
        if _streams(state, run, told):
            told = state.host.running[run]
            deltas = told.stream(str(position))
            async for delta in deltas:
                yield delta
            position = Position(deltas.log.ended)
        else:
            async with aclosing(_recorded(state, run, position.ended, told)) as answers:
                async for answer in answers:
                    for delta in answer.deltas():
                        yield delta
                    position = Position(answer.number)


def _streams(state: ServerState, run: str, told: Run | None) -> bool:
    """Return whether the run is driven here and tells what is said in it, and is another driving than the one told."""
    driven = state.host.running.get(run)
    return driven is not None and driven is not told and driven.is_streamed


async def _recorded(state: ServerState, run: str, ended: int, told: Run | None) -> AsyncGenerator[RecordedAnswer, None]:
    """Yield the answers after the first `ended` ones as they are recorded, until the run is driven here and tells of
    them itself."""
    seen = 0
    async with aclosing(state.journal.watch(run, 0)) as events:
        async for _, event in events:
            if _streams(state, run, told):
                return
            seen += isinstance(event.data, TurnEnded)
            if seen > ended:
                for answer in await answers_after(state.journal, run, ended):
                    yield answer
                    ended = answer.number
