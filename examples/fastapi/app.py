"""A squad behind an API of your own: start a run, follow it as server-sent events, answer its approval, restart safely.

pip install "squad-orchestrator[server]"      # brings FastAPI and uvicorn
python examples/fastapi/app.py                # http://127.0.0.1:8000; without a key the offline stub answers

curl -X POST localhost:8000/runs -H 'content-type: application/json' -d '{"inputs": {"change": "Faster search."}}'
curl -N localhost:8000/runs/RUN/events
curl -X POST localhost:8000/runs/RUN/answers -H 'content-type: application/json' -d '{"choice": "approve"}'
curl localhost:8000/runs/RUN
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import anyio
import uvicorn
from anyio.abc import TaskGroup, TaskStatus
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from orchestrator import (
    GateAnswered,
    GateOpened,
    Journal,
    OrchestratorError,
    ProblemsFound,
    Run,
    Squad,
    open_journal,
    open_run,
    resume_run,
    to_json,
)
from providers import TextDelta

SQUAD = Squad.from_file(Path(__file__).parent / "squad.yaml")
UNFINISHED = ("running", "cancelled")
"""States of runs that a process before this one left: it was killed, or it was stopped."""


class Question:
    """An approval that is open until `answered` is set."""

    def __init__(self, gate: GateOpened) -> None:
        self.gate = gate
        self.answered = anyio.Event()
        self.answer: GateAnswered | None = None


class LiveRun:
    """A run that this process drives: what it has told so far, and its open questions by task."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.run: Run | None = None
        self.messages: list[dict[str, Any]] = []
        self.questions: dict[str, Question] = {}
        self.state: dict[str, Any] = {"run": run_id, "status": "running"}
        self.over = False
        self._changed = anyio.Event()

    def tell(self, kind: str, **data: Any) -> None:
        self.messages.append({"kind": kind, **data})
        self._changed.set()
        self._changed = anyio.Event()

    def end(self, **state: Any) -> None:
        self.state.update(state)
        self.over = True
        self.tell("end", **self.state)

    async def ask(self, gate: GateOpened) -> GateAnswered | None:
        """Wait for the answer to a question. `None` leaves it open: the run then ends as `waiting`."""
        question = self.questions[gate.name] = Question(gate)
        self.tell("question", task=gate.name, prompt=gate.prompt, choices=gate.choices, shown=dict(gate.shown))
        await question.answered.wait()
        return question.answer

    def close(self, task: str, answer: GateAnswered | None) -> None:
        """Close a question; the first answer counts."""
        question = self.questions.pop(task)
        question.answer = answer
        question.answered.set()

    def stop(self) -> None:
        """Let calls in flight end and be recorded, and start nothing more. Open questions stay open in the record."""
        if self.run is not None:
            self.run.stop()
        for task in list(self.questions):
            self.close(task, None)

    async def stream(self, after: int) -> AsyncIterator[str]:
        """Yield what was told after message number `after`, then what is told from now on, as server-sent events."""
        while True:
            changed = self._changed
            for number in range(after, len(self.messages)):
                yield f"id: {number + 1}\ndata: {json.dumps(self.messages[number])}\n\n"
            after = max(after, len(self.messages))
            if self.over and after == len(self.messages):
                return
            await changed.wait()


class Desk:
    """All runs of this process, and the journal that keeps their record."""

    def __init__(self, journal: Journal, tasks: TaskGroup) -> None:
        self.journal = journal
        self.live: dict[str, LiveRun] = {}
        self._tasks = tasks

    async def start(self, inputs: dict[str, Any]) -> LiveRun:
        """Start a run, and return once it goes on by itself. Raises `ProblemsFound` for inputs that do not fit."""
        live = LiveRun(f"announcement-{uuid4().hex[:8]}")
        opened = open_run(SQUAD, inputs=inputs, run_id=live.run_id, journal=self.journal, stream=True, ask=live.ask)
        await self._tasks.start(self._drive, live, opened)
        return live

    async def take_up(self) -> None:
        """Resume the runs that an earlier process left. What they have paid for is not paid for again."""
        for line in await self.journal.runs(statuses=UNFINISHED, squad=SQUAD.outline().name):
            live = LiveRun(line.run)
            opened = resume_run(SQUAD, line.run, journal=self.journal, stream=True, ask=live.ask)
            try:
                await self._tasks.start(self._drive, live, opened)
            except OrchestratorError as error:  # the squad's file has changed since, for example
                live.end(status="failed", error=str(error))
                self.live[live.run_id] = live

    async def _drive(
        self, live: LiveRun, opened: AbstractAsyncContextManager[Run], task_status: TaskStatus[None]
    ) -> None:
        async with opened as run, anyio.create_task_group() as both:
            live.run = run
            self.live[live.run_id] = live
            both.start_soon(self._speak, live, run)
            task_status.started()
            async for event in run:
                live.tell("event", event=to_json(event))
        result = run.result
        live.end(status=result.status, outputs=dict(result.outputs), errors=dict(result.errors))

    @staticmethod
    async def _speak(live: LiveRun, run: Run) -> None:
        async for delta in run.stream():
            if isinstance(delta.delta, TextDelta):
                live.tell("text", agent=delta.agent, text=delta.delta.text)

    def stop(self) -> None:
        for live in self.live.values():
            live.stop()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the journal, resume what was left, and on shutdown let every run come to a state that can be resumed."""
    url = os.environ.get("RUNS_DB", "sqlite:///runs.db")
    async with open_journal(url) as journal, anyio.create_task_group() as tasks:
        app.state.desk = Desk(journal, tasks)
        await app.state.desk.take_up()
        yield
        app.state.desk.stop()  # leaving the task group waits for the runs


app = FastAPI(lifespan=lifespan)


def desk_of(request: Request) -> Desk:
    return request.app.state.desk


def run_of(run: str, desk: Annotated[Desk, Depends(desk_of)]) -> LiveRun:
    if run not in desk.live:
        raise HTTPException(404, f"no run {run} in this process")
    return desk.live[run]


class NewRun(BaseModel):
    inputs: dict[str, Any] = {}


class Answer(BaseModel):
    choice: str
    comment: str = ""
    task: str | None = None


@app.post("/runs", status_code=202)
async def start(new: NewRun, desk: Annotated[Desk, Depends(desk_of)]) -> dict[str, str]:
    try:
        live = await desk.start(new.inputs)
    except ProblemsFound as error:
        raise HTTPException(422, [problem.message for problem in error.problems]) from error
    return {"run": live.run_id}


@app.get("/runs/{run}")
async def show(live: Annotated[LiveRun, Depends(run_of)]) -> dict[str, Any]:
    return {**live.state, "questions": [question.gate.name for question in live.questions.values()]}


@app.get("/runs/{run}/events")
async def events(
    live: Annotated[LiveRun, Depends(run_of)], last_event_id: Annotated[int, Header()] = 0
) -> StreamingResponse:
    """A client that reconnects sends `Last-Event-ID`, as browsers do, and gets what it has missed."""
    return StreamingResponse(live.stream(last_event_id), media_type="text/event-stream")


@app.post("/runs/{run}/answers", status_code=204)
async def answer(live: Annotated[LiveRun, Depends(run_of)], given: Answer) -> None:
    open_ones = [one for one in live.questions.values() if given.task in (None, one.gate.name)]
    if not open_ones:
        raise HTTPException(409, "no such question is open")
    gate = open_ones[0].gate
    if given.choice not in gate.choices:
        raise HTTPException(422, f"choose one of {', '.join(gate.choices)}")
    live.close(gate.name, GateAnswered(gate.name, given.choice, given.comment, "api"))


if __name__ == "__main__":
    # Streams of clients end after a second, and the clients reconnect; then the lifespan stops the runs.
    uvicorn.run(app, host="127.0.0.1", port=8000, timeout_graceful_shutdown=1)
