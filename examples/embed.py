"""A squad inside your own program: your tool, your persona, no disk, on the offline stub."""

import anyio

from agents import tool
from orchestrator import Squad, run_squad


@tool
async def open_tickets(area: str) -> list[str]:
    """List the titles of open tickets in an area."""
    return [f"{area}: crash on an emoji", f"{area}: slow start"]


squad = Squad.from_mapping({
    "version": 1, "name": "triage", "agents": {"kim": {"persona": "triager", "tools": ["open_tickets"]}},
    "tasks": {"sort": {"agent": "kim", "description": "Rank the open tickets of the editor."}},
}, tools=[open_tickets], personas={"triager": {"name": "triager", "role": "Support engineer", "tier": "worker"}})
print(anyio.run(lambda: run_squad(squad, offline=True)).outputs)
