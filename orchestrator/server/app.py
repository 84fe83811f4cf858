"""The application: the routes of the server's parts behind one guard, and errors in each part's own shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import ceil

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

from orchestrator._version import __version__
from orchestrator.errors import OrchestratorError
from orchestrator.server.access import Access, AccessRole
from orchestrator.server.api.answers import answer_routes
from orchestrator.server.api.approvals import approval_routes
from orchestrator.server.api.artifacts import artifact_routes
from orchestrator.server.api.cluster import cluster_routes
from orchestrator.server.api.copies import copy_routes
from orchestrator.server.api.costs import cost_routes
from orchestrator.server.api.decisions import decision_routes
from orchestrator.server.api.errors import RequestRefused, refusal_body, told, unreadable
from orchestrator.server.api.health import health_routes
from orchestrator.server.api.login_links import login_link_routes
from orchestrator.server.api.memory import memory_routes
from orchestrator.server.api.providers import provider_routes
from orchestrator.server.api.records import record_routes
from orchestrator.server.api.runs import run_routes
from orchestrator.server.api.settings import settings_routes
from orchestrator.server.api.tools import tool_routes
from orchestrator.server.gateway.anthropic_messages import messages_error
from orchestrator.server.gateway.failures import FailureKind, GatewayFailure
from orchestrator.server.gateway.openai_errors import error_body
from orchestrator.server.gateway.routes import Gateway, base_url_hint, is_asked, routes, speaks_anthropic
from orchestrator.server.guard import LIMITS, Guard, RequestLimits
from orchestrator.server.json_answers import ToldJson
from orchestrator.server.metrics import metric_routes
from orchestrator.server.observation import RequestScope
from orchestrator.server.openapi import ERRORS, described, openapi_routes
from orchestrator.server.pages.live import LivePages
from orchestrator.server.pages.routes import Dashboard
from orchestrator.server.plain_paths import plain_paths_first
from orchestrator.server.state import ServerState
from providers.documents.problems import ProblemsFound
from providers.errors import ProviderError, RoutingError

_KINDS: dict[int, FailureKind] = {
    401: "authentication",
    403: "permission",
    404: "not_found",
    429: "rate_limit",
    503: "ours",
}

API_PARTS = (
    run_routes,
    record_routes,
    answer_routes,
    copy_routes,
    approval_routes,
    artifact_routes,
    provider_routes,
    cost_routes,
    decision_routes,
    memory_routes,
    cluster_routes,
    tool_routes,
    settings_routes,
)
"""What makes the routes of each part of the API; all show up in its OpenAPI document."""


def application(
    state: ServerState,
    access: Access,
    live: LivePages,
    hosts: Iterable[str],
    limits: RequestLimits = LIMITS,
) -> Guard:
    """Return the server's application, which answers to these host names alone."""
    app, asked_most = routed(state, access, live)
    observed = RequestScope(plain_paths_first(app, asked_most), state.watch.requests)
    return Guard(observed, hosts, _refusal, limits)


def routed(state: ServerState, access: Access, live: LivePages) -> tuple[FastAPI, APIRouter]:
    """Return the routes of all parts, without the guard before them, and the gateway's among them, which are asked
    most."""
    app, gateway = described("squad-orchestrator", __version__), Gateway(state)
    asked_most = routes(gateway)
    app.include_router(asked_most)
    viewer, operator = partial(_let_in, access, ("viewer", "operator")), partial(_let_in, access, ("operator",))
    for part in API_PARTS:
        app.include_router(part(state, viewer, operator), responses=ERRORS)
    app.include_router(login_link_routes(access, state.clock, operator), responses=ERRORS)
    app.include_router(openapi_routes(app, viewer, access.cookie_name))
    pages = Dashboard(state, access, live)
    app.include_router(pages.routes())
    app.include_router(health_routes(state))
    app.include_router(metric_routes(state, viewer))

    async def failed(http: HttpRequest, error: Exception) -> Response:
        failure = gateway.told(error)
        if http.url.path.startswith("/api/"):
            return ToldJson(refusal_body(failure.status, failure.message), failure.status)
        if _wants_page(http):
            return pages.broken(http)
        return _told(http.scope, failure)

    async def refused(http: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "it is registered for these alone"
        if error.status_code == 404 and _wants_page(http):
            return pages.missing(http)
        if error.status_code == 404:
            text = f"there is no {http.method} {http.url.path[:120]} here{base_url_hint(http.url.path)}"
        elif error.status_code == 405:
            text = f"{http.url.path[:120]} is not asked with {http.method}"
        else:
            text = str(error.detail)
        return _refusal(http.scope, error.status_code, text, error.headers)

    for known in (RequestRefused, OrchestratorError, ProblemsFound):
        app.add_exception_handler(known, told)
    app.add_exception_handler(RequestValidationError, unreadable)
    for kind in (GatewayFailure, RoutingError, ProviderError, Exception):
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(HTTPException, refused)
    return app, asked_most


def _wants_page(http: HttpRequest) -> bool:
    """Return whether a browser asks for a page."""
    is_program = http.url.path.startswith("/api/") or is_asked(http.scope)
    return not is_program and "text/html" in http.headers.get("accept", "")


async def _let_in(access: Access, roles: Sequence[AccessRole], http: HttpRequest) -> None:
    """Refuse a request whose sender has none of these roles."""
    role = access.role_of(http)
    if role is None:
        raise RequestRefused(
            401, "log in by the link that `orchestrator serve` printed, or give its token", code="no_access"
        )
    if role not in roles:
        raise RequestRefused(403, f"a {role} may look, and change nothing", code="no_access")


def _refusal(scope: Scope, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal in the shape of the part that was asked; in plain words where a browser asks for a page."""
    if scope["path"].startswith("/api/"):
        return ToldJson(refusal_body(status, text), status, headers)
    if not is_asked(scope):
        return PlainTextResponse(f"{text}\n", status, headers)
    may_retry = status in (408, 429, 503)
    return _told(
        scope, GatewayFailure(status, _KINDS.get(status, "invalid_request"), text, may_retry=may_retry), headers
    )


def _told(scope: Scope, failure: GatewayFailure, more: Mapping[str, str] | None = None) -> Response:
    headers = {**(more or {}), **failure.headers, "x-should-retry": str(failure.may_retry).lower()}
    if failure.retry_after is not None:
        headers["retry-after"] = str(ceil(failure.retry_after))
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    body = messages_error(failure) if speaks_anthropic(scope) else error_body(failure)
    return ToldJson(body, failure.status, headers)
