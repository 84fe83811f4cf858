"""One persona at work: agents, their tools, and the turn loop that joins them to a provider manager."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.context import History
    from agents.errors import (
        AgentError,
        AnswerCut,
        CallDenied,
        HookFailed,
        OutputInvalid,
        PathEscapes,
        ToolFault,
        TurnLimit,
    )
    from agents.events import (
        RepeatStopped,
        RiskyCallHeld,
        ToolEnded,
        ToolProgress,
        ToolStarted,
        TurnEnded,
        TurnStarted,
    )
    from agents.hooks import Deny, Hooks
    from agents.loop import WorkResult
    from agents.mcp.errors import McpFault
    from agents.mcp.opened_tools import mcp_tools
    from agents.mcp.servers import McpHttpServer, McpLimits, McpStdioServer
    from agents.memory.database import MemoryUnusable
    from agents.memory.embedders import Embedder, LocalEmbedder
    from agents.memory.records import MemoryRecord
    from agents.memory.store import MemoryFull, MemoryStore
    from agents.pool import AgentPool, create_balanced_agent_pool
    from agents.run_context import Complete, RunContext
    from agents.stream import WorkStream
    from agents.tool_context import CallPlace, ToolContext
    from agents.tools import Registry, Tool, tool
    from agents.untrusted import Untrusted

__distribution__ = "squad-orchestrator"
"""Another distribution installs a package `agents` too: by this constant the orchestrator knows its own."""

__all__ = [
    "Agent",
    "AgentError",
    "AgentPool",
    "AnswerCut",
    "CallDenied",
    "CallPlace",
    "Complete",
    "Deny",
    "Embedder",
    "History",
    "HookFailed",
    "Hooks",
    "LocalEmbedder",
    "McpFault",
    "McpHttpServer",
    "McpLimits",
    "McpStdioServer",
    "MemoryFull",
    "MemoryRecord",
    "MemoryStore",
    "MemoryUnusable",
    "OutputInvalid",
    "PathEscapes",
    "Registry",
    "RepeatStopped",
    "RiskyCallHeld",
    "RunContext",
    "Tool",
    "ToolContext",
    "ToolEnded",
    "ToolFault",
    "ToolProgress",
    "ToolStarted",
    "TurnEnded",
    "TurnLimit",
    "TurnStarted",
    "Untrusted",
    "WorkResult",
    "WorkStream",
    "create_balanced_agent_pool",
    "mcp_tools",
    "tool",
]

_HOMES = {
    "agents.agent": ("Agent",),
    "agents.context": ("History",),
    "agents.errors": (
        *("AgentError", "AnswerCut", "CallDenied", "HookFailed", "OutputInvalid", "PathEscapes", "ToolFault"),
        "TurnLimit",
    ),
    "agents.events": (
        "RepeatStopped",
        "RiskyCallHeld",
        "ToolEnded",
        "ToolProgress",
        "ToolStarted",
        "TurnEnded",
        "TurnStarted",
    ),
    "agents.hooks": ("Deny", "Hooks"),
    "agents.loop": ("WorkResult",),
    "agents.memory.database": ("MemoryUnusable",),
    "agents.memory.embedders": ("Embedder", "LocalEmbedder"),
    "agents.memory.records": ("MemoryRecord",),
    "agents.memory.store": ("MemoryFull", "MemoryStore"),
    "agents.mcp.errors": ("McpFault",),
    "agents.mcp.servers": ("McpHttpServer", "McpLimits", "McpStdioServer"),
    "agents.mcp.opened_tools": ("mcp_tools",),
    "agents.pool": ("AgentPool", "create_balanced_agent_pool"),
    "agents.stream": ("WorkStream",),
    "agents.tool_context": ("CallPlace", "ToolContext"),
    "agents.tools": ("Registry", "Tool", "tool"),
    "agents.run_context": ("Complete", "RunContext"),
    "agents.untrusted": ("Untrusted",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # to a type checker any name would be one of ours

    def __getattr__(name: str) -> Any:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module 'agents' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(home), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
