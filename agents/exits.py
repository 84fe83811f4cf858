"""Tools whose call ends an agent's work: the word goes on to somebody else. Which of a turn's calls did is pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.tool_names import meant
from agents.tools import Tool
from providers.messages import ToolCall, ToolResult


@dataclass(frozen=True, slots=True, eq=False)
class ExitTool(Tool):
    """A tool whose call ends the work, where it and every other call of the turn worked: what it returns is the last of
    what the agent says. A model that cannot call tools is asked without it."""


def is_exit(call: ToolCall, tools: Sequence[Tool]) -> bool:
    """Return whether a call means a tool that ends the work."""
    return _meant(call, tools) is not None


def exits_in(
    calls: Sequence[ToolCall], results: Sequence[ToolResult], tools: Sequence[Tool]
) -> list[tuple[str, ToolResult]]:
    """Return the tools of a turn that end the work, with their results, in the order of the calls.

    None where a call beside them failed: its agent is to read that before it leaves.
    """
    if any(result.is_error for result in results):
        return []
    found = ((_meant(call, tools), result) for call, result in zip(calls, results, strict=True))
    return [(name, result) for name, result in found if name is not None]


def _meant(call: ToolCall, tools: Sequence[Tool]) -> str | None:
    by_name = {one.name: one for one in tools}
    name = meant(call.name, by_name)
    return name if name is not None and isinstance(by_name[name], ExitTool) else None
