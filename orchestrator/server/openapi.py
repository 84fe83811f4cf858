"""The OpenAPI document: what the routes say of themselves, and what holds for all of them.

A route of the API shows up by itself once its router is included with `ERRORS`. The gateway's routes read bodies that
others define, so `GATEWAY` says in words what each is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from orchestrator.server.access import COOKIE
from orchestrator.server.api.errors import CODES, ErrorBody

PATH = "/api/openapi.json"
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be done as it is: `error.code` says why."},
    "5XX": {"model": ErrorBody, "description": "The server cannot do it now: its log says more."},
}
"""Responses that any route of the API may give."""
DESCRIPTION = """Runs of squads, the approvals that they await, providers, spend and memory, as the dashboard and the
command line's `--server` use them. Send `Authorization: Bearer` with the token in the state folder's `server-token`.

Every error has one shape, `ErrorBody`. Its `code` is one of these, or the name of an error of the Python API
(`RunNotFound`, `AnsweredAlready`, ...), which stays the same while the words change:

"""
OPENAI = "https://platform.openai.com/docs/api-reference"
ANTHROPIC = "https://docs.anthropic.com/en/api"
GATEWAY: Mapping[str, tuple[str, str, str]] = {
    "/v1/models": ("list_models", "List what may be asked as a model.", f"{OPENAI}/models/list"),
    "/v1/models/{model}": ("show_model", "Show one model.", f"{OPENAI}/models/retrieve"),
    "/v1/chat/completions": ("complete_chat", "Answer a chat, whole or as a stream.", f"{OPENAI}/chat/create"),
    "/v1/responses": ("respond", "Answer a response request; none is kept.", f"{OPENAI}/responses/create"),
    "/v1/embeddings": ("embed", "Make vectors of texts.", f"{OPENAI}/embeddings/create"),
    "/v1/messages": ("create_message", "Answer in Anthropic's dialect.", f"{ANTHROPIC}/messages"),
    "/v1/messages/count_tokens": (
        "count_tokens",
        "Estimate the tokens of a request.",
        f"{ANTHROPIC}/messages-count-tokens",
    ),
}
"""Path -> (operation id, what it does, who defines its bodies)."""
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "begin_run": {"squad": "sprint", "inputs": {"idea": "A bike-repair diary"}, "max_cost_usd": 0.5},
    "resume_run": {"max_cost_usd": 2},
    "fork_run": {"start": "draft", "inputs": {"idea": "A bike shop"}, "preview": True},
    "answer": {"question": "review", "choice": "approve", "comment": "Good, and shorter."},
    "rebalance_load": {
        "expected_version": 3,
        "reason": "the new contract",
        "strategy": "weighted",
        "weights": {"groq": 1},
    },
    "make_login_link": {"role": "viewer"},
}
"""Operation id -> a body of its requests."""
LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The number of the last event that was heard: the stream goes on after it.",
}
_OBJECT = {"application/json": {"schema": {"type": "object", "additionalProperties": True}}}


def described(title: str, version: str) -> FastAPI:
    """Return an application without routes, whose routes are named after their functions."""
    return FastAPI(
        title=title,
        version=version,
        description=DESCRIPTION + "\n".join(f"- `{code}`: {text}" for code, text in CODES.items()),
        generate_unique_id_function=_operation_id,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )


def openapi_routes(app: FastAPI, viewer: Any, cookie: str) -> APIRouter:
    """Return the route that gives the document of an application; `cookie` is the name of its sessions' cookies."""
    made: Callable[[], dict[str, Any]] = cache(lambda: document(app, cookie))
    router = APIRouter(include_in_schema=False)

    @router.get(PATH, dependencies=[Depends(viewer)])
    async def show_openapi() -> Response:
        return JSONResponse(made())

    return router


def document(app: FastAPI, cookie: str = COOKIE) -> dict[str, Any]:
    """Return the OpenAPI document of an application's routes as they are now."""
    app.openapi_schema = None
    made = app.openapi()
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's: our errors have one shape
        made.get("components", {}).get("schemas", {}).pop(unused, None)
    schemes = made.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["token"] = {"type": "http", "scheme": "bearer", "description": "The token of the state folder."}
    schemes["session"] = {"type": "apiKey", "in": "cookie", "name": cookie, "description": "A logged-in browser."}
    schemes["key"] = {"type": "http", "scheme": "bearer", "description": "A key of the gateway."}
    for path, method, operation in operations(made):
        if path.startswith("/api/"):
            operation["security"] = [{"token": []}, {"session": []}]
            _show_more(operation)
        elif path.startswith("/v1/"):
            _tell_gateway(operation, method, path)
    return made


def operations(made: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, method and description of each operation of a document."""
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _show_more(operation: dict[str, Any]) -> None:
    """Add what a route's function does not say: an example, and how a stream goes on."""
    if (example := EXAMPLES.get(operation["operationId"])) is not None:
        for content in operation["requestBody"]["content"].values():
            content["example"] = example
    if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}):
        operation.setdefault("parameters", []).append(LAST_EVENT)


def _tell_gateway(operation: dict[str, Any], method: str, path: str) -> None:
    ident, summary, link = GATEWAY.get(path, (operation["operationId"], operation["summary"], OPENAI))
    operation |= {"operationId": ident, "summary": summary, "tags": ["gateway"], "security": [{"key": []}]}
    operation["externalDocs"] = {"url": link}
    operation["description"] = (
        "Bodies and errors are the vendor's API's; `orchestrator docs gateway` says what differs."
    )
    if method == "post":
        operation["requestBody"] = {"required": True, "content": _OBJECT}
    answer: dict[str, Any] = {"description": "As the vendor's API answers.", "content": dict(_OBJECT)}
    refused = {"description": "An error in the vendor's shape.", "content": _OBJECT}
    operation["responses"] = {"200": answer, "4XX": refused, "5XX": refused}
    if ident in ("complete_chat", "respond", "create_message"):
        answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}


def _operation_id(route: APIRoute) -> str:
    return route.name
