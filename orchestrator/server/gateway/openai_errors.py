"""Failures as OpenAI's clients read them. Pure."""

from __future__ import annotations

from typing import Any

from orchestrator.server.gateway.failures import GatewayFailure

_KINDS = {
    "invalid_request": "invalid_request_error",
    "not_found": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "rate_limit": "rate_limit_error",
    "quota": "insufficient_quota",
    "upstream": "upstream_error",
    "ours": "server_error",
}


def error_body(failure: GatewayFailure) -> dict[str, Any]:
    """Return a failure as OpenAI's clients read it."""
    said = {"message": failure.message, "type": _KINDS[failure.kind], "param": failure.param, "code": failure.code}
    return {"error": said}
