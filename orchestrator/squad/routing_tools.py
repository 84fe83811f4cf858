"""`tools:` of a routing file: tools that every squad under that routing may name. What routes knows nothing of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from orchestrator.squad.declared_tools import declared_tools
from orchestrator.squad.tool_source import ToolSource
from orchestrator.squad.tool_specs import ToolEntry
from providers.documents.file_schema import file_schema
from providers.documents.findings import Findings
from providers.documents.models import StrictModel, validated
from providers.documents.nodes import Node, tree_of
from providers.documents.problems import Problem
from providers.documents.yaml import mapping_in
from providers.policy.shapes import described_policy

SECTION = "tools"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a routing file, for editors: with the tools that it may declare."""
    return file_schema(described_policy(tools=dict[str, ToolEntry] | None), "routing")


class ToolSection(StrictModel):
    """The one section of a routing file that is read here."""

    noun: ClassVar[str] = "a routing file"
    tools: dict[str, ToolEntry] = Field(default_factory=dict)


def tools_of_routing(
    root: Node, file: str, known: Collection[str] = ()
) -> tuple[tuple[ToolSource, ...], list[Problem]]:
    """Return the tools that a routing file declares, but for those in `known`, and what is wrong with them.

    Their files stand beside the routing file.
    """
    section = root.child(SECTION)
    if section is None or section.value is None:
        return (), []
    spec, found = validated(ToolSection, root, (), {SECTION: section.plain()})
    findings = Findings.after(root, found)
    return declared_tools(spec.tools, findings, file, known=known), findings.found


def tree_of_routing(routing: Path | Mapping[str, Any] | None, texts: Mapping[str, str]) -> Node | None:
    """Return the tree of a routing file, its text among `texts`, or of objects; None where it declares no tools."""
    if routing is None:
        return None
    if isinstance(routing, Mapping):
        return tree_of(dict(routing)) if SECTION in routing else None
    text = texts.get(str(routing), "")
    return mapping_in(text, str(routing), []) if SECTION in text else None
