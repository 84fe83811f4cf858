"""What must be allowed before an MCP server of a squad is started or asked."""

from __future__ import annotations

from orchestrator.squad.mcp_specs import McpSpec
from orchestrator.squad.tool_source import ToolReading, digest_of
from orchestrator.trust import CodeUse


def server_use(reading: ToolReading, name: str, spec: McpSpec) -> CodeUse:
    """Return what a run starts or asks, and which variables it hands on.

    What stands beside the squad and is run or read by its name belongs to what is allowed: where it changes, it is
    asked for anew.
    """
    given = f", given {', '.join(spec.reads)}" if spec.reads else ""
    what = "requests to" if spec.url else "the command"
    sha256 = digest_of([spec.sha256, reading.digests(spec.words)])
    return CodeUse.of(reading.folder, f"{what} {spec.target} (MCP server '{name}'{given})", sha256, reading.file)
