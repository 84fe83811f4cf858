"""The tools of MCP servers as tools of ours. Loading this loads nothing that opens a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.mcp.definitions import Definition, tool_name
from agents.tools import Tool

if TYPE_CHECKING:
    from agents.mcp.owner import Owner

TIMEOUT_S = 60.0


def named_tools(server: str, definitions: tuple[Definition, ...] | list[Definition]) -> dict[str, Definition]:
    """Return the definitions by the names that a model reads, each its own."""
    named: dict[str, Definition] = {}
    for one in definitions:
        name = tool_name(server, one.name)
        # Two names can come to one, as `a.b` and `a_b` do.
        named[name if name not in named else tool_name(server, f"{one.name}_{one.digest[:8]}")] = one
    return named


class StandIn:
    """Stands for a server that is not started: what it says of its tools, and what answers their calls."""

    def __init__(self, definitions: Sequence[Definition], answer: Callable[[str], Any]) -> None:
        self.definitions = tuple(definitions)
        self._answer = answer

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return self._answer(tool)


def caller(owner: Owner | StandIn, tool: str) -> Callable[..., Awaitable[Any]]:
    """Return the function that calls a server's tool."""

    async def call(**arguments: object) -> Any:
        return await owner.call(tool, arguments)

    return call


def tool_of(
    name: str, definition: Definition, function: Callable[..., Any], timeout_s: float, *, is_believed: bool
) -> Tool:
    """Return a tool of a server that is called by `function`.

    What it says of itself counts only where it `is_believed`: else it is risky. What it returns is never trusted.
    """
    return Tool(
        name,
        definition.description,
        function,
        parameters=definition.schema,
        blocking=False,
        timeout_s=timeout_s,
        idempotent=is_believed and (definition.idempotent or definition.read_only),
        risk="read_only" if is_believed and definition.read_only else "risky",
        untrusted=True,
    )
