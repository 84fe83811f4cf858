"""Who is asked before a tool's call, by what its calls may do, in a squad file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from agents.tools import ApprovalMode, Risk, Tool
from providers.documents.models import StrictModel

AskedFor = Literal["ask", "allow", "deny"]
MODES: Mapping[AskedFor, ApprovalMode] = {"ask": "ask", "allow": "never", "deny": "deny"}
CLASSES: tuple[Risk, ...] = ("read_only", "writes", "risky")
Approvals = Mapping[Risk, ApprovalMode]


class ApprovalsSpec(StrictModel):
    """Which tool calls a person is asked for, by what they may do. What a tool or an agent says itself comes first."""

    noun: ClassVar[str] = "approvals"
    other_names: ClassVar[Mapping[str, str]] = {
        "read": "read_only",
        "reads": "read_only",
        "readonly": "read_only",
        "write": "writes",
        "risk": "risky",
        "dangerous": "risky",
        "destructive": "risky",
    }
    read_only: AskedFor | None = Field(
        default=None,
        description="Calls that change nothing: `ask` a person, `allow` them, or `deny` them. Default: as each tool "
        "says.",
        examples=["allow"],
    )
    writes: AskedFor | None = Field(
        default=None,
        description="Calls that change what belongs to the run or the squad. Default: as each tool says.",
        examples=["ask"],
    )
    risky: AskedFor | None = Field(
        default=None,
        description="Calls that reach beyond it, or cannot be taken back. Default: as each tool says.",
        examples=["ask"],
    )


def approvals_of(squad: ApprovalsSpec | None, agent: ApprovalsSpec | None) -> Approvals | None:
    """Return what holds for an agent's tools by their class: its own word, then the squad's; None: nothing is said."""
    said: dict[Risk, ApprovalMode] = {}
    for spec in (squad, agent):
        for risk in CLASSES if spec is not None else ():
            if (asked := getattr(spec, risk)) is not None:
                said[risk] = MODES[asked]
    return said or None


def with_approvals(tools: tuple[Tool, ...], approvals: Approvals | None) -> tuple[Tool, ...]:
    """Return tools as an agent has them: the squad's word on one tool goes before that on its class."""
    if approvals is None:
        return tools
    return tuple(
        one if one.is_approval_said or one.risk not in approvals else one.but(approval=approvals[one.risk])
        for one in tools
    )
