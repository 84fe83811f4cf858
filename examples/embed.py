"""A squad inside your own program: your tool, no disk, on the offline stub."""

from agents import tool
from orchestrator import Squad, run_sync


@tool
async def open_tickets(area: str) -> list[str]:
    """List the titles of open tickets in an area."""
    return [f"{area}: crash on an emoji", f"{area}: slow start"]


kim = {"persona": {"extends": "pm", "name": "Kim"}, "tools": ["open_tickets"]}
sort = {"agent": "kim", "description": "Rank the open tickets of the editor."}
out = {"order": "${{ tasks.sort.output }}"}
squad = {"version": 1, "name": "triage", "agents": {"kim": kim}, "tasks": {"sort": sort}, "outputs": out}
print(run_sync(Squad.from_mapping(squad, tools=[open_tickets]), offline=True).outputs["order"])
