"""The one error of MCP servers: whatever goes wrong with one ends as an `McpFault`, with what to do about it."""

from __future__ import annotations

from typing import Literal

from agents.errors import AgentError

FaultKind = Literal[
    "not_installed",
    "no_variable",
    "not_found",
    "not_started",
    "unauthorized",
    "http",
    "timeout",
    "died",
    "forgotten",
    "given_up",
    "too_large",
    "protocol",
    "changed",
]
"""not_started: it was started and did not come to speak MCP. died: it ended, or its connection did. forgotten: it was
started anew and does not know us, so a call was not made. given_up: it died
so often that it is not started again in this run. changed: a definition is not the one that was accepted,
or its script is not."""


class McpFault(AgentError):
    """The MCP server `server` did not do what it should. `hint` says what to do; "" where there is nothing to say."""

    def __init__(self, server: str, kind: FaultKind, message: str, hint: str = "") -> None:
        super().__init__(f"MCP server '{server}': {message}")
        self.server, self.kind, self.message, self.hint = server, kind, message, hint
