"""Handing over by a tool call: a tool for each whom a speaker may hand over to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agents.exits import ExitTool
from orchestrator.run import prompts
from orchestrator.squad.plan import ConversationPlan

PREFIX = "transfer_to_"
MOST_CHARS = 64
"""Of a tool's name, as providers take it."""
_REASON: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": "What the other needs to know. All who take part hear it."}
    },
    "additionalProperties": False,
}


async def _transfer(reason: str = "") -> str:
    return reason


def transfer_tools(to: Sequence[str], plan: ConversationPlan, taken: Collection[str]) -> dict[str, ExitTool]:
    """Return by participant the tool that hands over to it, of those in `to`.

    One whose name the speaker's own tools have `taken` is handed over to in words alone.
    """
    names = tool_names(plan.participants)
    return {name: _tool(names[name], name, plan) for name in to if names[name] not in taken}


def tool_names(participants: Sequence[str]) -> dict[str, str]:
    """Return what the tool is called that hands over to each participant: letters that every provider takes."""
    found: dict[str, str] = {}
    for number, name in enumerate(participants, 1):
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_") if name.isascii() else f"{plain}_{number}"
        short = re.sub(r"[^A-Za-z0-9_]+", "_", plain).strip("_")[: MOST_CHARS - len(PREFIX)]
        made = f"{PREFIX}{short or number}"
        if made.casefold() in {one.casefold() for one in found.values()}:
            made = f"{made[: MOST_CHARS - 4]}_{number}"
        found[name] = made
    return found


def _tool(called: str, name: str, plan: ConversationPlan) -> ExitTool:
    return ExitTool(
        called,
        f"Hand the conversation over to {prompts.described(name, plan)}. It ends your turn.",
        _transfer,
        parameters=_REASON,
        blocking=False,
        idempotent=True,
        risk="read_only",
    )
