"""Requests to plain paths, without what the framework does for others: they are most of a gateway's."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Receive, Scope, Send


def plain_paths_first(app: FastAPI, router: APIRouter) -> ASGIApp:
    """Return the application, with the POST routes of one of its routers called directly.

    Their paths have no parameters, and their functions take the request alone. What they raise is told as the
    application tells it.
    """
    posts = [route for route in router.routes if isinstance(route, APIRoute) and route.methods == {"POST"}]
    assert not any(route.param_convertors or route.dependencies for route in posts), "they would get no arguments"
    endpoints = {route.path: route.endpoint for route in posts}

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoints[scope["path"]](HttpRequest(scope, receive))
        await response(scope, receive, send)

    known = {kind: handler for kind, handler in app.exception_handlers.items() if kind is not Exception}
    direct = ServerErrorMiddleware(ExceptionMiddleware(call, known), handler=app.exception_handlers[Exception])

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        is_plain = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in endpoints
        await (direct if is_plain else app)(scope, receive, send)

    return chosen
