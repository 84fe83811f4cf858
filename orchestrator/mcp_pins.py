"""The definitions of MCP tools that were accepted, in the folder of state: what a server changes is seen, not used.

The first listing of a server is taken as it is. From then on each run compares.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.mcp.definitions import Definition, definition_of
from orchestrator.kept_file import held, put
from orchestrator.squad.mcp_specs import McpSpec

FILE = "mcp-tools.json"
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class McpPins:
    """The accepted definitions, by server: one of another command or address is another server."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def accepted(self, name: str, spec: McpSpec) -> tuple[Definition, ...] | None:
        """Return what was accepted of a server, None where nothing was."""
        found = self._rows().get(_key(name, spec))
        return None if found is None else tuple(map(definition_of, found))

    def accept(self, name: str, spec: McpSpec, definitions: Sequence[Definition]) -> None:
        """Remember these. Raise `OSError` where the file cannot be written."""
        with held(self.file):
            rows = self._rows()
            rows[_key(name, spec)] = [one.document() for one in definitions]
            put(self.file, {"version": 1, "servers": rows})

    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the file holds; a damaged one holds nothing, so that all is seen as new."""
        try:
            with self.file.open("rb") as stream:
                document = json.loads(stream.read(MAX_BYTES))
            rows = {str(key): list(value) for key, value in document["servers"].items()}
            for definitions in rows.values():
                _ = [definition_of(one).digest for one in definitions]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}
        return rows


def _key(name: str, spec: McpSpec) -> str:
    return f"{name} {spec.sha256}"
