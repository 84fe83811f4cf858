"""The application: the routes of the server's parts behind one guard, and errors in each part's own shape."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from orchestrator._version import __version__
from orchestrator.server.gateway.failures import Failure, Kind
from orchestrator.server.gateway.openai_chat import error_body
from orchestrator.server.gateway.routes import Gateway, routes
from orchestrator.server.guard import Guard
from orchestrator.server.state import ServerState
from providers.errors import ProviderError, RoutingError

_KINDS: dict[int, Kind] = {401: "authentication", 403: "permission", 404: "not_found"}


def application(state: ServerState, hosts: Iterable[str]) -> ASGIApp:
    """Return the server's application, which answers to these host names alone."""
    app = FastAPI(title="squad-orchestrator", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    gateway = Gateway(state)
    app.include_router(routes(gateway))

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/health/ready")
    async def ready() -> Response:
        is_ready = bool(state.manager.configured)
        return JSONResponse({"status": "ok" if is_ready else "no provider is configured"}, 200 if is_ready else 503)

    async def failed(_: HttpRequest, error: Exception) -> Response:
        return _told(gateway.told(error))

    async def refused(http: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "it is registered for these alone"
        if error.status_code == 404:
            text = f"there is no {http.method} {http.url.path[:120]} here"
        elif error.status_code == 405:
            text = f"{http.url.path[:120]} is not asked with {http.method}"
        else:
            text = str(error.detail)
        return _told(Failure(error.status_code, _KINDS.get(error.status_code, "invalid_request"), text))

    for kind in (Failure, RoutingError, ProviderError, Exception):
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(HTTPException, refused)
    return Guard(app, hosts)


def _told(failure: Failure) -> Response:
    headers = {} if failure.may_retry else {"x-should-retry": "false"}
    if failure.retry_after is not None:
        headers["retry-after"] = str(ceil(failure.retry_after))
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_body(failure), failure.status, headers)
