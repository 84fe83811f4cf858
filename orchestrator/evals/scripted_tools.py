"""Tools that do no work in a case: they look to a model as ever, and answer what the case says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.mcp.definitions import Definition, tool_name
from agents.mcp.tools import StandIn
from agents.tools import Tool
from orchestrator.evals.errors import CaseUnusable
from orchestrator.evals.spec import ScriptedTool
from orchestrator.evals.spec_names import remote_tool
from orchestrator.mcp_pins import McpPins
from orchestrator.squad.load import Squad

Known = Mapping[str, Sequence[Definition]]
"""What MCP servers said of their tools, by server."""


def scripted_tool(tool: Tool, script: ScriptedTool) -> Tool:
    """Return a tool that looks the same to a model, and answers from the test file."""

    async def answer(**_: Any) -> Any:
        return _answer(script)

    return replace(tool, function=answer, parameters=tool.spec.parameters, blocking=False, approval="never")


def stand_ins(squad: Squad, scripts: Mapping[str, ScriptedTool], known: Sequence[Known]) -> dict[str, StandIn]:
    """Return what stands for the MCP servers of which a case scripts tools: they are not started.

    What a model is told of such a tool the case says itself, else the first of `known` that has it. Raise
    `CaseUnusable` where none does.
    """
    of_server: defaultdict[str, dict[str, ScriptedTool]] = defaultdict(dict)
    for name, script in scripts.items():
        if (remote := remote_tool(name, squad.mcp)) is not None:
            of_server[remote[0]][remote[1]] = script
    seen = {server: [one for some in known for one in some.get(server, ())] for server in of_server}
    return {server: _stand_in(server, own, seen[server]) for server, own in of_server.items()}


def accepted(squad: Squad, state: Path | None) -> dict[str, Sequence[Definition]]:
    """Return what is kept of what the squad's MCP servers said of their tools when it ran last."""
    if state is None:
        return {}
    kept = {name: McpPins(state).accepted(name, entry.spec) for name, entry in squad.mcp.items()}
    return {name: found for name, found in kept.items() if found is not None}


def _stand_in(server: str, scripts: Mapping[str, ScriptedTool], known: Sequence[Definition]) -> StandIn:
    made = [(_definition(server, tool, one, known), one) for tool, one in scripts.items()]
    by_name = {definition.name: script for definition, script in made}
    return StandIn([definition for definition, _ in made], lambda tool: _answer(by_name[tool]))


def _definition(server: str, tool: str, script: ScriptedTool, known: Sequence[Definition]) -> Definition:
    seen = next((one for one in known if tool in (one.name, tool_name(server, one.name).partition("__")[2])), None)
    if seen is None and script.parameters is None:
        raise CaseUnusable(
            f"what the server '{server}' says of its tool '{tool}' is not known here",
            "run the squad once, or write `parameters` (a JSON Schema) and `description` beside `returns`",
        )
    made = seen or Definition(tool, "", {})
    schema = made.schema if script.parameters is None else {"type": "object", "properties": {}, **script.parameters}
    return replace(
        made, description=made.description if script.description is None else script.description, schema=schema
    )


def _answer(script: ScriptedTool) -> Any:
    if script.fails is not None:
        raise RuntimeError(script.fails)
    return script.returns
