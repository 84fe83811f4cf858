"""The tools that agents may call: what is built in, what a squad declares, what its MCP servers are known to have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agents.toolbox import builtin
from agents.toolbox.workspace import Workspace
from agents.tools import Registry, Tool
from orchestrator.options import RunOptions
from orchestrator.out_folder import builtin_tools
from orchestrator.squad.load import Squad
from orchestrator.squad.resolve import tools_used
from orchestrator.squad.tool_source import ToolSource

BUILT_IN = "built in"
SERVED = "MCP server"


def known_tools(squad: Squad | None, declared: Iterable[ToolSource]) -> Iterator[tuple[Tool, str]]:
    """Yield each tool and where it is from, by name; those of the squad stand in the place of others of their names.

    None of their code runs, and no server is started.
    """
    found = {name: (tool, BUILT_IN) for name, tool in _registry(squad).items()}
    found |= {one.name: (one.tool, one.origin) for one in declared}
    if squad is not None:
        found |= {tool.name: (tool, SERVED) for tool in tools_used(squad.outline()) if "/" in tool.name}
    yield from (found[name] for name in sorted(found))


def _registry(squad: Squad | None) -> Registry:
    """Return the built-in tools: at work in the squad's workspace, else reading in the working folder."""
    if squad is not None and squad.workspace is not None:
        return builtin_tools(squad, None, RunOptions()).own
    return builtin(None, Workspace(Path.cwd(), name="the working folder"))


def tool_document(tool: Tool, origin: str) -> dict[str, Any]:
    """Return what is told of a tool."""
    return {
        "name": tool.name,
        "from": origin,
        "risk": tool.risk,
        "approval": tool.approval,
        "idempotent": tool.idempotent,
        "untrusted": tool.untrusted,
        "timeout_s": tool.timeout_s,
        "description": tool.description,
    }
