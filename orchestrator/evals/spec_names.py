"""Whether the names in a test file are those of its squad: tasks, agents, tools, approvals. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import regex

from agents.mcp.definitions import tool_name as name_for_models
from agents.memory.records import NotStorable, made_record
from agents.memory.tools import tools_of as memory_tools
from agents.tools import Tool
from orchestrator.evals.expect import AnyOrder, Exactly, Expect, ToolExpect
from orchestrator.evals.spec import SuiteSpec, With, answers_of
from orchestrator.squad.elements import template_of, whole
from orchestrator.squad.parts import everyone
from orchestrator.squad.plan import HUMAN, Approval, Plan, TaskPlan
from orchestrator.squad.resolve import tools_used
from providers.documents.findings import Findings, Thing
from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem

FAULTS = ("ok", "timeout", "reset", "429", "500", "503")


def checked_against(
    spec: SuiteSpec, node: Node, found: Sequence[Problem], plan: Plan, providers: Collection[str]
) -> list[Problem]:
    """Return `found`, and each name in the test file that the squad's plan, or the catalog, does not have."""
    findings = Findings.after(node, found)
    names: set[str] = set()
    if spec.judge is not None and (spec.judge.agree or 0) > spec.judge.votes:
        told = f"{spec.judge.agree} votes cannot agree where there are {spec.judge.votes}"
        findings.error(("judge", "agree"), "out-of-range", told)
    for index, case in enumerate(spec.cases):
        at: Path = ("cases", index)
        if (slug := slug_of(case.name)) in names:
            findings.error((*at, "name"), "duplicate-name", f"another case has the name '{case.name}'")
        names.add(slug)
        _Case(findings, plan, (*at, "expect")).check(case.expect)
        if case.expect.judge and spec.judge is None:
            findings.error((*at, "expect", "judge"), "missing-field", "the test file names no judge", "add judge: {}")
        if case.with_ is not None:
            _check_surroundings(findings, plan, (*at, "with"), case.with_, providers)
    return findings.found


def slug_of(name: str) -> str:
    """Return the name of a case as a file's name: `plans a bike shop` is `plans-a-bike-shop`."""
    slug = regex.sub(r"[^\p{L}\p{N}_.-]+", "-", name).strip("-.").casefold()[:80]
    return slug or f"case-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def called_as(name: str) -> str:
    """Return the name by which a model calls a tool: `git__log` of an MCP server's `git/log`, `git__*` of `git/*`."""
    server, slash, tool = name.partition("/")
    if not slash:
        return name
    return name_for_models(server, "t")[:-1] + "*" if tool == "*" else name_for_models(server, tool)


def remote_tool(name: str, servers: Collection[str]) -> tuple[str, str] | None:
    """Return the server and the tool that `git/log` or `git__log` means; None: it is no tool of a server."""
    server, slash, tool = name.partition("/")
    if slash:
        return (server, tool) if server in servers else None
    begins = {one: name_for_models(one, "t")[:-1] for one in servers}
    return next(
        ((one, name.removeprefix(text)) for one, text in begins.items() if name.startswith(text) and name != text), None
    )


def tasks_of(plan: Plan) -> Mapping[str, TaskPlan]:
    """Return the tasks of a squad; those of the sub-squads of elements as templates."""
    return {**plan.tasks, **plan.templates}


def tools_of(plan: Plan) -> dict[str, Tool]:
    """Return the tools of a squad's agents and tasks, those of memory and documents too."""
    remembering = [tool for agent in plan.agents.values() for tool in memory_tools(agent.memory, agent.knowledge)]
    return {tool.name: tool for tool in (*tools_used(plan), *remembering)}


def is_a_tool(name: str, known: Collection[str]) -> bool:
    """Return whether a squad has the tool. Which tools an MCP server has is told by the server alone."""
    return any(fnmatchcase(called_as(name), called_as(one)) for one in known)


def _check_surroundings(findings: Findings, plan: Plan, at: Path, given: With, providers: Collection[str]) -> None:
    _check_people(findings, plan, at, given)
    _check_memory(findings, plan, at, given)
    tools = tools_of(plan)
    _check_scripts(findings, tools, at, given)
    for provider, faults in (given.faults or {}).items():
        if provider not in providers:
            findings.unknown((*at, "faults", provider), "provider", provider, providers, key=True)
        for index, fault in enumerate(faults):
            if fault not in FAULTS:
                findings.unknown((*at, "faults", provider, index), "fault", fault, FAULTS)


def _check_scripts(findings: Findings, tools: Collection[str], at: Path, given: With) -> None:
    """Report scripts of tools that nobody has, and tools of MCP servers that are left without one."""
    servers = {name.partition("/")[0] for name in tools if "/" in name}
    scripted: dict[str, set[str]] = {}
    for name, script in (given.tools or {}).items():
        here, remote = (*at, "tools", name), remote_tool(name, servers)
        if not (name in tools if remote is None else is_a_tool(name, tools)):
            findings.unknown(here, "tool", name, tools, key=True)
        elif remote is not None:
            scripted.setdefault(remote[0], set()).add(called_as("/".join(remote)))
        elif script.description is not None or script.parameters is not None:
            field = "description" if script.description is not None else "parameters"
            findings.error((*here, field), "no-effect", "a model is told of this tool what its code says", key=True)
        if script.fails is not None and "returns" in script.model_fields_set:
            findings.error(here, "one-of", "a scripted tool has one of returns and fails", key=True)
    for name in tools:
        server, slash, tool = name.partition("/")
        if slash and tool != "*" and server in scripted and called_as(name) not in scripted[server]:
            told = f"the server '{server}' is not started where a case scripts its tools, and '{name}' is not scripted"
            findings.error((*at, "tools"), "missing-field", told, f"{name}: {{returns: ...}}", key=True)


def _check_memory(findings: Findings, plan: Plan, at: Path, given: With) -> None:
    """Report records that nobody can remember."""
    remembering = {name for name, agent in plan.agents.items() if agent.memory is not None}
    for index, record in enumerate(given.memory or ()):
        here = (*at, "memory", index)
        if record.agent is not None and record.agent not in remembering:
            findings.unknown((*here, "agent"), "agent", record.agent, remembering)
        if not remembering:
            findings.error(here, "no-effect", "no agent of the squad has a memory", "memory: true")
        try:
            made_record(record.text, "squad", record.trust, 0.0)
        except NotStorable as error:
            findings.error((*here, "text"), "invalid-value", str(error))


def _check_people(findings: Findings, plan: Plan, at: Path, given: With) -> None:
    """Report answers to what nobody asks, and words in a conversation that no person takes part in."""
    gates = {name: task.work.choices for name, task in whole(plan).tasks.items() if isinstance(task.work, Approval)}
    rails = {name: agent.guardrails for name, agent in plan.agents.items() if agent.guardrails is not None}
    guarded = {
        name for name, own in rails.items() if any(one.on_fail == "escalate" for one in (*own.input, *own.output))
    }
    tools = tools_of(plan)
    for name, answers in (given.approvals or {}).items():
        here, said = (*at, "approvals", name), answers_of(answers)
        is_tools = is_a_tool(name, tools) or any(fnmatchcase(called_as(one), called_as(name)) for one in tools)
        gate = template_of(name)
        if gate not in gates and name not in guarded and not is_tools:
            asking = {one for one, tool in tools.items() if tool.approval != "never"}
            findings.unknown(here, "approval", name, {*gates, *guarded, *asking}, key=True)
            continue
        choices = gates.get(gate, ("approve", "reject"))
        if any(one not in choices for one, _ in said):
            findings.error(here, "invalid-value", f"'{name}' may be answered by: {', '.join(choices)}")
        elif any(not comment.strip() for choice, comment in said if choice == "revise"):
            hint = "{choice: revise, comment: Shorter.}"
            findings.error(here, "missing-field", "`revise` needs a comment that says what to change", hint)
    peopled = {name for name, talk in plan.conversations.items() if HUMAN in everyone(talk)}
    for name in given.people or {}:
        if name not in plan.conversations:
            findings.unknown((*at, "people", name), "conversation", name, peopled, key=True)
        elif name not in peopled:
            findings.error((*at, "people", name), "no-effect", f"no person takes part in '{name}'", key=True)


class _Case:
    """Checks the names in one case's expectations."""

    def __init__(self, findings: Findings, plan: Plan, at: Path) -> None:
        self.findings, self.plan, self.at = findings, whole(plan), at
        self.tools = tools_of(plan)

    def check(self, expect: Expect) -> None:
        self._all(("tasks",), "task", expect.tasks or {}, tasks_of(self.plan))
        self._all(("outputs",), "output", expect.outputs or {}, self.plan.outputs)
        self._all(("conversations",), "conversation", expect.conversations or {}, self.plan.conversations)
        for name, talk in (expect.conversations or {}).items():
            if (held := self.plan.conversations.get(name)) is not None:
                for field in ("speakers", "order"):
                    self._listed(("conversations", name, field), "agent", getattr(talk, field) or (), everyone(held))
        for index, judged in enumerate(expect.judge or ()):
            self._one(("judge", index, "of"), "task", judged.of, tasks_of(self.plan))
        match expect.turns:
            case Exactly(exactly=named):
                self._listed(("turns", "exactly"), "agent", named, self.plan.agents)
            case list(turns):
                for index, turn in enumerate(turns):
                    if isinstance(turn, AnyOrder):
                        self._listed(("turns", index, "any_order"), "agent", turn.any_order, self.plan.agents)
                    else:
                        self._one(("turns", index), "agent", turn, self.plan.agents)
        for index, tool in enumerate(expect.tools or ()):
            self._tool(("tools", index), tool)

    def _tool(self, at: Path, expect: ToolExpect) -> None:
        if expect.agent is not None:
            self._one((*at, "agent"), "agent", expect.agent, self.plan.agents)
        if (expect.tool is None) == (expect.never is None):
            self.findings.error((*self.at, *at), "one-of", "an expectation of tools has exactly one of tool and never")
        for field, name in (("tool", expect.tool), ("before", expect.before)):
            if name is not None and not is_a_tool(name, self.tools):
                self.findings.unknown((*self.at, *at, field), "tool", name, self.tools)

    def _all(self, at: Path, what: Thing, names: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        for name in names:
            if template_of(name) not in known:  # `review@S-1.check` of an element's sub-squad
                self.findings.unknown((*self.at, *at, name), what, name, known, key=True)

    def _listed(self, at: Path, what: Thing, names: Sequence[str], known: Any) -> None:
        for index, name in enumerate(names):
            self._one((*at, index), what, name, known)

    def _one(self, at: Path, what: Thing, name: str, known: Any) -> None:
        if template_of(name) not in known:
            self.findings.unknown((*self.at, *at), what, name, known)
