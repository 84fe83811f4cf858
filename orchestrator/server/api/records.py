"""All that is recorded of a run, and what a server is: what the command line's `--server` asks for besides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from orchestrator._version import __version__
from orchestrator.run.recorded import RecordedRun, recorded_run
from orchestrator.server.state import ServerState


class RecordedQuestion(BaseModel):
    """A question that awaits an answer; `GET /api/approvals` has all of it."""

    question: str
    prompt: str
    choices: list[str]


class ToolCallRecorded(BaseModel):
    """A call of a tool: where in the run, and in which turn. `result` None: the record has none yet."""

    place: str
    turn: int
    name: str
    arguments: str
    result: str | None
    is_error: bool
    note: str


class RunRecord(BaseModel):
    """All that is recorded of a run. `events` are those of its stream, from the first.

    `in_flight` are the steps that were at work when the run was cut short; `cut_short_usd` is what calls may have cost
    besides whose end is not known.
    """

    run_id: str
    squad: str
    file: str
    is_chat: bool
    state: str
    events: list[dict[str, Any]]
    in_flight: list[str]
    cut_short_usd: float
    questions: list[RecordedQuestion]
    calls: list[ToolCallRecorded]
    priority: int


class InputOffered(BaseModel):
    """An input of a squad. One without a default must be given."""

    type: str
    description: str
    has_default: bool
    enum: list[Any] | None


class SquadOffered(BaseModel):
    """A squad that the server was given, and that it runs."""

    name: str
    description: str
    inputs: dict[str, InputOffered]


class ServerShown(BaseModel):
    """What a server is. `offline`: it asks no model."""

    version: str
    offline: bool
    squads: list[SquadOffered]


def record_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # as all parts are made
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(prefix="/api")

    @router.get("/server", dependencies=[Depends(viewer)], tags=["server"])
    async def show_server() -> ServerShown:
        """Show which release the server is of, and the squads that it offers, with their inputs."""
        squads = [
            SquadOffered(
                name=name,
                description=squad.spec.description,
                inputs={
                    called: InputOffered(
                        type=one.type, description=one.description, has_default=one.default is not None, enum=one.enum
                    )
                    for called, one in squad.spec.inputs.items()
                },
            )
            for name, squad in state.squads.items()
        ]
        return ServerShown(version=__version__, offline=state.offline, squads=squads)

    @router.get("/runs/{run}/record", dependencies=[Depends(viewer)], tags=["runs"])
    async def show_record(run: str) -> RunRecord:
        """Show all that is recorded of a run: its events, its calls of tools, what it waits for."""
        found = await recorded_run(state.journal, run)
        return await anyio.to_thread.run_sync(_told, found, state.mask)  # of a long run it takes a while

    return router


def _told(found: RecordedRun, mask: Callable[[str], str]) -> RunRecord:
    """Return a record without secrets in its texts."""

    def told(document: Mapping[str, Any]) -> Any:
        return json.loads(mask(json.dumps(document, ensure_ascii=False)))

    return RunRecord(
        run_id=found.run,
        squad=found.squad,
        file=found.file,
        is_chat=found.is_chat,
        state=found.state,
        events=[told(event) for event in found.events],
        in_flight=list(found.in_flight),
        cut_short_usd=found.cut_short / 1e6,
        questions=[
            RecordedQuestion(question=one.name, prompt=mask(one.prompt), choices=list(one.choices))
            for one in found.questions
        ],
        calls=[ToolCallRecorded(**told(call._asdict())) for call in found.calls],
        priority=found.priority,
    )
