"""Approvals: what awaits a person, and a person's answer."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from orchestrator import errors
from orchestrator.events import GateOpened
from orchestrator.run.approvals import MOST_EDITED, digest_of, questions_of
from orchestrator.server import taking_up
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.state import ServerState

MOST_RUNS = 1000
UNDECIDED = ("waiting", "running", "paused", "cancelled")


class ApprovalShown(BaseModel):
    """A question that awaits a person. `shown` are the texts to decide on, by title; `digest` tells the question.

    `editable`: what of it may be replaced where it is approved, `arguments` (JSON, of this `json_schema`) or `text`;
    `for_run`: whether it may be allowed for the rest of the run.
    """

    run_id: str
    question: str
    prompt: str
    choices: list[str]
    shown: dict[str, str]
    attempt: int
    digest: str
    editable: str
    json_schema: dict[str, Any] | None
    for_run: bool


class ApprovalsListed(BaseModel):
    approvals: list[ApprovalShown]


class GivenAnswer(BaseModel):
    """A person's answer. `question` may be left out where the run awaits only one.

    `comment` is what the agents read: with `say`, the person's words. `edited` counts instead of what is asked about
    (a text, or a call's arguments as an object or its JSON), `for_run` allows all such calls of the run. With `digest`
    the answer counts for the question that was shown, and for no other that goes by its name now.
    """

    model_config = ConfigDict(extra="forbid")
    choice: str
    comment: str = Field(default="", max_length=100_000)
    question: str | None = None
    edited: str | dict[str, Any] | list[Any] | None = Field(default=None)
    for_run: bool = False
    digest: str | None = None
    by: str = Field(default="api", min_length=1, max_length=100)


class AnswerTaken(BaseModel):
    """The answer counts. `goes_on`: the run is at work, or was taken up here, with it; else `note` says why not."""

    question: str
    choice: str
    goes_on: bool
    note: str = ""


def approval_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:
    """Return the routes; `viewer` and `operator` let a request through, or refuse it."""
    router = APIRouter(prefix="/api/approvals", tags=["approvals"])

    @router.get("", dependencies=[Depends(viewer)])
    async def list_approvals() -> ApprovalsListed:
        """List all that awaits a person, in the latest runs first."""
        lines = await state.journal.runs(MOST_RUNS, statuses=UNDECIDED, asking=True)
        found = [
            _shown(state, line.run, gate)
            for line in lines
            for gate in (await questions_of(state.journal, line.run)).open
        ]
        return ApprovalsListed(approvals=found)

    @router.post("/{run}", dependencies=[Depends(operator)])
    async def answer(run: str, given: GivenAnswer) -> AnswerTaken:
        """Answer a question: the first answer counts, and who comes second hears `already_answered` (409).

        A run that nobody drives is taken up here.
        """
        edited = given.edited if given.edited is None or isinstance(given.edited, str) else json.dumps(given.edited)
        if len(edited or "") > MOST_EDITED:
            raise RequestRefused(422, f"`edited` may have {MOST_EDITED:,} characters", code="too_long")
        try:
            gate, note = await taking_up.answer(
                state,
                run,
                given.question,
                given.choice,
                given.comment,
                by=given.by,
                edited=edited,
                for_run=given.for_run,
                digest=given.digest,
            )
        except errors.AnsweredAlready as error:
            raise RequestRefused(409, str(error), "the answer that came first counts", "already_answered") from None
        except errors.QuestionChanged as error:
            raise RequestRefused(409, str(error), error.hint, "question_changed") from None
        except errors.CommentMissing as error:
            raise RequestRefused(422, str(error), error.hint, "comment_missing") from None
        except ValueError as error:
            raise RequestRefused(422, str(error), code="no_choice") from None
        return AnswerTaken(question=gate.name, choice=given.choice, goes_on=not note, note=state.mask(note))

    return router


def _shown(state: ServerState, run: str, gate: GateOpened) -> ApprovalShown:
    return ApprovalShown(
        run_id=run,
        question=gate.name,
        prompt=state.mask(gate.prompt),
        choices=list(gate.choices),
        shown={title: state.mask(str(text)) for title, text in gate.shown.items()},
        attempt=gate.attempt,
        digest=digest_of(gate),
        editable=gate.editable,
        json_schema=None if gate.schema is None else dict(gate.schema),
        for_run=bool(gate.grant),
    )
