"""The tools that a squad's file and its routing file declare, and the digests of what runs where one is called."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from agents.toolbox import builtin
from agents.tools import Tool
from orchestrator.squad.beside import Beside
from orchestrator.squad.declared_tools import declared_tools, is_gone
from orchestrator.squad.routing_tools import tools_of_routing, tree_of_routing
from orchestrator.squad.sources import digests_in, tools_in
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.tool_source import ToolSource
from providers.documents.findings import Findings


def tools_beside(
    spec: SquadSpec,
    file: str,
    routing_file: Path | None,
    own: tuple[Tool, ...],
    given: Beside,
    findings: Findings,
) -> tuple[tuple[Tool, ...], tuple[ToolSource, ...], dict[str, str]]:
    """Return the tools that the caller gave, and those that files declare with all their digests.

    One whose file is gone is what a record shows of it: a call of it fails. A squad's own win over those of the routing
    file.
    """
    entries = {} if given.sources is not None else spec.tools
    gone = {name for name, entry in entries.items() if is_gone(entry, Path(file).parent)}
    recorded = tools_in(given.where_gone)
    shown = [one for one in recorded if gone and (one.name in gone or one.name not in entries)]
    tools = (*shown, *own)
    known = {tool.name for tool in tools} | (gone if shown else set())
    declared = declared_tools(entries, findings, file, known=known)
    if given.sources is None and (root := tree_of_routing(given.routing or routing_file, given.texts)) is not None:
        found, problems = tools_of_routing(root, str(routing_file or "<routing>"), known | entries.keys())
        findings.found += [problem.under(("routing",)) for problem in problems]
        declared += found
    names = {tool.name for tool in tools}
    digests = {name: sha for name, sha in digests_in(given.sources or given.where_gone).items() if name in names}
    return tools, declared, digests | {one.name: one.sha256 for one in declared}


def builtin_used(spec: SquadSpec, given: Collection[Tool], declared: Collection[str]) -> set[str]:
    """Return the built-in tools that a squad's file names: those that are neither `given` nor `declared`."""
    tasks = spec.tasks.values()
    cases = [case for task in tasks if task.switch is not None for case in task.switch.cases.values()]
    steps = [
        step for listed in (*(task.steps for task in tasks), *(case.steps for case in cases)) for step in listed or ()
    ]
    lists = [*(agent.tools for agent in spec.agents.values()), *(task.tools for task in tasks)]
    lists += [*(case.tools for case in cases), *(step.tools for step in steps)]
    named = {use if isinstance(use, str) else use.name for uses in lists for use in uses or ()}
    return {name for name in builtin(None) if name in named} - {tool.name for tool in given} - {*declared}
