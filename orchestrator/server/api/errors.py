"""What a client of the API is told of an error: a status, words, and what to do."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from orchestrator import errors
from orchestrator.journal.protocols import JournalBusy, JournalDamaged, JournalUnusable, RunBusy, RunExists
from orchestrator.server.hosting import HostStopping
from orchestrator.server.json_answers import ToldJson
from providers.documents.problems import ProblemsFound

STATUS: dict[type[Exception], int] = {
    errors.RunNotFound: 404,
    errors.NoQuestion: 404,
    errors.UnknownTask: 404,
    errors.AnsweredAlready: 409,
    errors.RunOver: 409,
    errors.RunCancelled: 409,
    errors.RunChanged: 409,
    errors.OutBusy: 409,
    RunBusy: 409,
    RunExists: 409,
    JournalBusy: 503,
    JournalUnusable: 503,
    HostStopping: 503,
    JournalDamaged: 500,
    ProblemsFound: 422,
    errors.BadInputs: 422,
    errors.OrchestratorError: 422,
}


CODES = {
    "no_access": "log in, or send the server's token; or a viewer asked for what only an operator may do",
    "invalid_request": "a field of the request is missing, unknown or wrong; the message names each",
    "not_found": "there is nothing at this path",
    "method_not_allowed": "the path is not asked with this method",
    "other_host": "the request names another host than this server's",
    "other_site": "a browser sent the request for a page of another site",
    "too_large": "the request, or its head, is larger than the server takes",
    "too_slow": "the request did not come in time",
    "too_many": "too many requests, logins or streams at once: try again later",
    "busy": "the server has no room for the request now, or is stopping",
    "bad_change": "a change of providers names something unknown, or a wrong weight; the message has each mistake",
    "no_change": "there is no such change of providers to undo",
    "stale_version": "another change came first; `present` shows the settings now",
    "no_provider_left": "a tier or an agent would have no provider to ask; `force` does it all the same",
    "control_damaged": "the file of what operators changed cannot be read",
    "memory_unusable": "what agents remember cannot be read; the message says why",
    "internal_error": "an error of the server's own; its log says which",
    "refused": "what is asked for cannot be; the message says why",
    "no_squad": "the server was given no squad of this name",
    "no_cluster": "the server does its runs itself",
    "no_choice": "the answer is not one of the choices, or cannot be given in this way",
    "comment_missing": "what is sent back needs a comment that says what to change",
    "too_long": "a text is longer than the server takes",
    "already_answered": "another answer came first, and counts",
    "question_changed": "the question was asked again since it was shown: look at it again",
    "no_artifact": "the run made no such file, or it is not there any more",
    "artifact_changed": "the file was changed since the run wrote it",
}
"""Codes of errors that no class of the Python API has -> what is wrong, and what to do."""
BY_STATUS = {
    400: "invalid_request",
    401: "no_access",
    403: "other_site",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    421: "other_host",
    429: "too_many",
    431: "too_large",
    503: "busy",
}
"""What refuses a request before it reached its route."""


class ErrorWords(BaseModel):
    """What is wrong: its class, in words, and what to do about it."""

    code: str
    message: str
    hint: str = ""


class ErrorBody(BaseModel):
    error: ErrorWords


class RequestRefused(Exception):  # as `GatewayFailure`
    """A request that may not be, or cannot be read."""

    def __init__(self, status: int, message: str, hint: str = "", code: str = "refused") -> None:
        super().__init__(message)
        self.status, self.told = status, ErrorWords(code=code, message=message, hint=hint)


def refusal_body(status: int, message: str) -> dict[str, Any]:
    """Return the body of a refusal that no route made."""
    code = BY_STATUS.get(status, "invalid_request" if status < 500 else "internal_error")
    return ErrorBody(error=ErrorWords(code=code, message=message)).model_dump()


async def unreadable(request: HttpRequest, error: Exception) -> Response:
    """Return the response to a request whose fields are wrong: each of them, with its place."""
    assert isinstance(error, RequestValidationError), "it is registered for these alone"
    lines = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
    is_meant = request.method == "GET" or "json" in request.headers.get("content-type", "")
    hint = "" if is_meant else "send the body as JSON, with the header Content-Type: application/json"
    said = ErrorWords(code="invalid_request", message="; ".join(lines), hint=hint)
    return ToldJson(ErrorBody(error=said).model_dump(), 422)


async def told(_: HttpRequest, error: Exception) -> Response:
    """Return the response to an error that has words for people."""
    if isinstance(error, RequestRefused):
        return ToldJson(ErrorBody(error=error.told).model_dump(), error.status)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    said = ErrorWords(code=type(error).__name__, message=str(error), hint=getattr(error, "hint", ""))
    return ToldJson(ErrorBody(error=said).model_dump(), status)
