"""Approvals: what awaits a person, and a person's answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.events import GateOpened
from orchestrator.run.approvals import answer_question, goes_on, questions_of
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad

MOST_RUNS = 1000
UNDECIDED = ("waiting", "running", "paused", "cancelled")


class ApprovalShown(BaseModel):
    """A question that awaits a person. `shown` are the texts to decide on, by title."""

    run_id: str
    question: str
    prompt: str
    choices: list[str]
    shown: dict[str, str]
    attempt: int


class ApprovalsListed(BaseModel):
    approvals: list[ApprovalShown]


class GivenAnswer(BaseModel):
    """A person's answer. `question` may be left out where the run awaits only one."""

    model_config = ConfigDict(extra="forbid")
    choice: str
    comment: str = Field(default="", max_length=100_000)
    question: str | None = None


class AnswerTaken(BaseModel):
    """`goes_on`: the run is at work, or was taken up here, with the answer."""

    question: str
    choice: str
    goes_on: bool


def approval_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:
    """Return the routes; `viewer` and `operator` let a request through, or refuse it."""
    router = APIRouter(prefix="/api/approvals", tags=["approvals"])

    def shown(run: str, gate: GateOpened) -> ApprovalShown:
        texts = {title: state.mask(str(text)) for title, text in gate.shown.items()}
        prompt = state.mask(gate.prompt)
        return ApprovalShown(
            run_id=run,
            question=gate.name,
            prompt=prompt,
            choices=list(gate.choices),
            shown=texts,
            attempt=gate.attempt,
        )

    @router.get("", dependencies=[Depends(viewer)])
    async def list_approvals() -> ApprovalsListed:
        """List all that awaits a person, in the latest runs first."""
        lines = await state.journal.runs(MOST_RUNS, statuses=UNDECIDED)
        found = [shown(line.run, gate) for line in lines for gate in (await questions_of(state.journal, line.run)).open]
        return ApprovalsListed(approvals=found)

    @router.post("/{run}", dependencies=[Depends(operator)])
    async def answer(run: str, given: GivenAnswer) -> AnswerTaken:
        """GivenAnswer a question: the first answer counts. A run that nobody drives is taken up here."""
        try:
            gate = await answer_question(
                state.journal, run, given.question, given.choice, given.comment, by="dashboard"
            )
        except ValueError as error:
            raise RequestRefused(422, str(error), code="no_choice") from None
        is_at_work = await goes_on(state.journal, run)
        if not is_at_work:
            manifest = await state.journal.manifest(run)
            squad = state.squads.get(manifest.squad)
            squad = squad or Squad.from_text(manifest.text, manifest.file, where_gone=manifest.sources)
            await state.host.resume(squad, run)
            is_at_work = True
        return AnswerTaken(question=gate.name, choice=given.choice, goes_on=is_at_work)

    return router
