"""The MCP servers of a squad and its sub-squads: whose file names one, what must be allowed before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from orchestrator.squad.mcp_specs import McpSpec
from orchestrator.squad.named_files import named_files
from orchestrator.squad.tool_source import ToolReading, digest_of
from orchestrator.trust import CodeUse
from providers.documents.findings import Findings
from providers.documents.nodes import Node


class McpEntry(NamedTuple):
    """A server, and the squad's file that names it."""

    spec: McpSpec
    file: str

    @property
    def beside(self) -> Path:
        """The folder where its program runs, and from which its paths are meant."""
        return Path(self.file).parent

    @property
    def code(self) -> tuple[str, ...]:
        """The files beside the squad that are run with it, without links in their paths."""
        return tuple(named_files(self.spec.words, self.beside.resolve(), self.spec.cwd or ".").code)

    @property
    def identity(self) -> tuple[str, Path]:
        """What makes it the same server in two files."""
        return self.spec.sha256, self.beside.resolve()


def server_use(node: Node, name: str, entry: McpEntry) -> CodeUse:
    """Return what a run starts or asks, and which variables it hands on.

    What stands beside the squad and is run or read by its name belongs to what is allowed: where it changes, it is
    asked for anew.
    """
    spec, reading = entry.spec, ToolReading(Findings.after(node, ()), entry.beside, entry.file)
    given = f", given {', '.join(spec.reads)}" if spec.reads else ""
    what = "requests to" if spec.url else "the command"
    sha256 = digest_of([spec.sha256, named_files(spec.words, reading.folder, spec.cwd or ".").digests, *spec.vouched])
    vouched = f", believed: {', '.join(spec.vouched)}" if spec.vouched else ""
    told = f"{what} {spec.target} (MCP server '{name}'{given}{vouched})"
    return CodeUse.of(reading.folder, told, sha256, reading.file)
