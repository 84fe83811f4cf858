"""From a squad as it is written to a plan: every name bound, every default in place, every mistake reported at once.

Pure: the caller reads the files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agents.mcp.definitions import Definition
from agents.tools import Tool
from orchestrator.errors import PlanError
from orchestrator.squad.agents import PersonaLibrary, ReadPersona, ReadPrompt, Roster, WhyUnanswerable
from orchestrator.squad.conversation_spec import ConversationSpec, SelectorSpec, names_of
from orchestrator.squad.conversations import ends_by_itself
from orchestrator.squad.defaults_spec import HistorySpec
from orchestrator.squad.expressions import Expressions, NamesInScope
from orchestrator.squad.foreseen import foreseen_faults
from orchestrator.squad.graph import ancestry, cycles, order
from orchestrator.squad.guardrail_specs import judges_in, judges_of
from orchestrator.squad.helpers import asked_in, with_helpers
from orchestrator.squad.images import seers
from orchestrator.squad.inputs import ReadDefault, resolve_inputs
from orchestrator.squad.mcp_specs import McpTools, check_servers
from orchestrator.squad.parts import possible_agents, with_works, works_of
from orchestrator.squad.plan import (
    EDITION,
    FOR_EACH_CAP,
    AgentWork,
    ConversationPlan,
    ConversationWork,
    History,
    Plan,
    SingleWork,
    TaskPlan,
    WorkPath,
)
from orchestrator.squad.rendering import with_rendered
from orchestrator.squad.shared_spec import bounds, budget
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.subsquads import ReadSquad, SubSquads, with_squads
from orchestrator.squad.tasks import Tasks
from orchestrator.squad.termination import is_bounded
from orchestrator.squad.untrusted_specs import refuse_in_instructions, refuse_in_schemas
from personas.sandbox import Sandbox, TemplateLimits
from providers.documents.findings import Findings
from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem, in_order

VERSION = 1


@dataclass(frozen=True, slots=True)
class SquadLimits:
    """What squads may ask for where they state no bound of their own. `max_items`: elements of a `for_each`."""

    max_items: int = FOR_EACH_CAP


def resolve(
    spec: SquadSpec,
    node: Node,
    *,
    personas: PersonaLibrary,
    tools: Mapping[str, Tool],
    tiers: Collection[str],
    models: Collection[str] | None = None,
    inputs: Mapping[str, Any] | None = None,
    limits: SquadLimits = SquadLimits(),
    found: Sequence[Problem] = (),
    read_persona: ReadPersona | None = None,
    read_prompt: ReadPrompt | None = None,
    functions: Mapping[str, Callable[..., bool]] | None = None,
    why_unanswerable: WhyUnanswerable | None = None,
    edition: int = EDITION,
    definitions: Mapping[str, Sequence[Definition]] | None = None,
    read_squad: ReadSquad | None = None,
    own_personas: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Plan, list[Problem]]:
    """Return the plan and its warnings. Raise `PlanError` with all problems, `found` and the warnings among them.

    `spec`, `node` and `found` are what `load_spec` returned. `models` ("provider/model") None: any may be named.
    `inputs` None: the squad is checked, not run, so none is required. `read_persona` returns what a persona file says,
    `read_prompt` the text of a file of instructions.
    `functions` are the conditions that conversations may name. `why_unanswerable` says why no model could
    answer an agent. `edition` is that of the rules that the plan is made by. `definitions` are those of the tools of
    MCP servers, by server, as far as they are known. `read_squad` returns what the file of a sub-squad says.
    `own_personas` are those of the folder beside the squad, each with its files.
    """
    findings = Findings.after(node, found)
    known = functions or {}
    roster = Roster(
        spec, findings, personas, tools, tiers, models, read_persona, read_prompt, known, why_unanswerable, edition
    )
    roster.own_personas = own_personas or {}
    roster.mcp = McpTools(spec.mcp, definitions or {})
    check_servers(spec.mcp, findings)
    squads = SubSquads(spec, findings, read_squad)
    squads.read_all()
    plan = _plan(spec, findings, roster, inputs, limits, squads)
    problems = in_order(findings.found)
    if findings.errors:
        raise PlanError(problems)
    return with_squads(plan, squads.of), problems


def with_inputs(
    outline: Plan,
    inputs: Mapping[str, Any],
    spec: SquadSpec,
    node: Node,
    found: Sequence[Problem] = (),
    warnings: Sequence[Problem] = (),
    read_default: ReadDefault | None = None,
) -> Plan:
    """Return the plan of a run with these inputs, defaults filled in. Raise `PlanError` with each that does not fit.

    `outline` is the plan as `resolve` returned it without inputs, `warnings` what it returned beside it.
    `read_default` returns the file that stands in the squad as the default of an input.
    """
    findings = Findings.after(node, found)
    values = resolve_inputs(spec, inputs, findings, read_default)
    plan = replace(outline, inputs=values)
    plan = plan if findings.errors else with_rendered(plan, findings)
    if findings.errors:
        raise PlanError(in_order([*findings.found, *(one for one in warnings if one not in findings.found)]))
    return plan


def refuse_foreseen(plan: Plan, node: Node, *, is_checked: bool) -> None:
    """Raise `PlanError` with what is sure to fail in a run of this plan; of one that `is_checked`, with any inputs."""
    findings = Findings.after(node, ())
    for fault in foreseen_faults(plan, is_checked=is_checked):
        place: Path = ("tasks", fault.task, *fault.field)
        if plan.tasks[fault.task].squad:  # in another file
            place = ("tasks", fault.task.partition(".")[0], "squad")
        findings.error(place, fault.code, fault.message, fault.hint)
    if findings.errors:
        raise PlanError(in_order(findings.found))


def with_tools(plan: Plan, tools: Mapping[str, Tool]) -> Plan:
    """Return the plan with each tool that has a namesake in `tools` replaced by it; its approval stays."""
    return with_tools_of(plan, lambda _: tools)


def with_tools_of(plan: Plan, of: Callable[[str | None], Mapping[str, Tool]]) -> Plan:
    """Return the plan as `with_tools` does, with the tools `of` each sub-squad; of the squad: None."""

    def bound(scope: str | None, old: tuple[Tool, ...]) -> tuple[Tool, ...]:
        tools = of(scope)
        return tuple(
            tools[one.name].but(approval=one.approval, is_approval_said=one.is_approval_said)
            if one.name in tools and one.agent is None
            else one
            for one in old
        )

    def of_work(scope: str | None, _: WorkPath, work: SingleWork) -> SingleWork:
        return replace(work, tools=bound(scope, work.tools)) if isinstance(work, AgentWork) and work.tools else work

    agents = {name: replace(agent, tools=bound(agent.squad, agent.tools)) for name, agent in plan.agents.items()}
    tasks, templates = (
        {name: replace(task, work=with_works(task.work, partial(of_work, task.squad))) for name, task in some.items()}
        for some in (plan.tasks, plan.templates)
    )
    return replace(plan, agents=agents, tasks=tasks, templates=templates)


def tools_used(plan: Plan) -> list[Tool]:
    """Return the tools that agents and tasks of the plan have, one of each name."""
    tasks = (*plan.tasks.values(), *plan.templates.values())
    works = [work for task in tasks for work in works_of(task.work) if isinstance(work, AgentWork)]
    tools = [*(agent.tools for agent in plan.agents.values()), *(work.tools or () for work in works)]
    return list({tool.name: tool for some in tools for tool in some}.values())


def _plan(
    spec: SquadSpec,
    findings: Findings,
    roster: Roster,
    inputs: Mapping[str, Any] | None,
    limits: SquadLimits,
    squads: SubSquads,
) -> Plan:
    if spec.version != VERSION:
        message = f"this release reads version {VERSION} of the format, not {spec.version}"
        findings.error(("version",), "unsupported-version", message)
    if not spec.tasks and not findings.is_unsure((), "tasks"):
        findings.lacks(("tasks",), "no-tasks", "a squad needs at least one task")
    values = resolve_inputs(spec, inputs, findings)
    agents, conversations = roster.agents(), roster.conversations()
    tasks, texts = _tasks(spec, findings, roster, limits, squads)
    outputs = {name: texts.text(("outputs", name), source, NamesInScope()) for name, source in spec.outputs.items()}
    for name, agent in agents.items():
        texts.persona(name, agent.persona, roster.persona_trees.get(name))
        if agent.instructions is not None:
            texts.instructions(name, agent.instructions)
    untrusted = tuple(name for name, declared in spec.inputs.items() if declared.untrusted)
    refuse_in_instructions(agents, untrusted, findings)
    refuse_in_schemas(tasks, untrusted, findings)
    agents |= roster.pickers
    images = {name for name, declared in spec.inputs.items() if declared.type == "image"}
    for name in seers(tasks, conversations, images) & agents.keys() if images else ():
        agents[name] = replace(agents[name], sees=True)
        roster.answerable(("agents", name), name, agents[name].tools, sees=True)
    texts.check_the_rest()
    _check_ends(spec, findings, conversations, tasks)
    _warn_of_unused(spec, findings, texts, tasks)
    squads.check_names()
    squads.check_files(tasks)
    squads.check_size()
    plan = Plan(
        spec.name,
        tasks,
        agents,
        conversations,
        values,
        outputs,
        budget(spec.budget),
        _history(spec.defaults.history, findings),
        fail_fast=spec.fail_fast,
        offline=spec.offline,
        description=spec.description,
        edition=roster.edition,
        untrusted=untrusted,
        output_schemas={name: texts.schema_read(text, NamesInScope()) for name, text in outputs.items()},
    )
    return plan if spec.max_parallel is None else replace(plan, max_parallel=spec.max_parallel)


def _tasks(
    spec: SquadSpec, findings: Findings, roster: Roster, limits: SquadLimits, squads: SubSquads
) -> tuple[dict[str, TaskPlan], Expressions]:
    sandbox = _sandbox(spec.limits.max_chars)
    texts = Expressions(spec, findings, ancestry({}, ()), sandbox, edition=roster.edition)
    texts.of_squads = squads.schemas()
    most = spec.limits.max_items or limits.max_items
    planner = Tasks(spec, findings, roster, texts, texts.ancestry, most, squads)
    needs = {name: planner.needs(name) for name in spec.tasks}
    ordered = order(needs)
    for cycle in cycles(needs, ordered):
        after = cycle[1] if len(cycle) > 1 else cycle[0]
        index = (spec.tasks[cycle[0]].needs or []).index(after)
        shown = " -> ".join([*cycle, cycle[0]])
        findings.error(("tasks", cycle[0], "needs", index), "cycle", f"these tasks wait for each other: {shown}")
    texts.ancestry = planner.ancestry = ancestry(needs, ordered, [name for name in spec.tasks if planner.is_torn(name)])
    plans = {name: planner.plan(name) for name in spec.tasks}  # in the file's order, so that of two the first is right
    return {name: plans[name] for name in ordered} | plans, texts  # on a cycle, which is told, there is no order


def _sandbox(max_chars: int | None) -> Sandbox:
    """Return the sandbox of the squad's texts. One that may write more may also make more on its way."""
    usual = TemplateLimits()
    if max_chars is None:
        return Sandbox()
    return Sandbox(replace(usual, output_chars=max_chars, room=max(usual.room, 2 * max_chars)))


def _history(spec: HistorySpec | None, findings: Findings) -> History:
    """Return how much of a transcript goes along. Numbers that say the same go to the findings."""
    if spec is None:
        return History()
    if spec.summarise_over_tokens is not None and spec.compact_at is not None:
        message = "summarise_over_tokens and compact_at mean the same"
        findings.error(("defaults", "history", "compact_at"), "one-of", message, "leave one of them out")
        return History(spec.keep_last, spec.summarise_over_tokens)
    return History(spec.keep_last, spec.summarise_over_tokens, spec.compact_at)


def _check_ends(
    spec: SquadSpec, findings: Findings, conversations: Mapping[str, ConversationPlan], tasks: Mapping[str, TaskPlan]
) -> None:
    """Report conversations that nothing is sure to end: neither their terminate nor a budget around them."""
    if bounds(budget(spec.budget)):
        return
    uses = _conversation_uses(tasks)
    for name, plan in conversations.items():
        if is_bounded(plan.terminate) or ends_by_itself(plan) or bounds(plan.budget):
            continue
        around = [spec.tasks[task].budget for task, used in uses if used == name]
        if around and all(bounds(budget(caps)) for caps in around):
            continue
        hint = (
            "add max_turns, tokens or time, under any where there are several; max_cost alone does not end what is free"
        )
        path: Path = ("conversations", name, "terminate")
        if not any(broken[:3] == path for broken in findings.broken):
            findings.error(path, "unbounded", f"the conversation '{name}' could go on forever", hint, key=True)


def _asked(talk: ConversationSpec) -> tuple[str | None, ...]:
    """Return who is asked for turns in a conversation."""
    picks = talk.selector.agent if isinstance(talk.selector, SelectorSpec) else talk.selector
    return (*names_of(talk), talk.moderator, talk.judge, talk.manager, picks)


def _conversation_uses(tasks: Mapping[str, TaskPlan]) -> list[tuple[str, str]]:
    """Return (task, conversation) for each piece of work of a task that holds one."""
    works = ((name, work) for name, task in tasks.items() for work in works_of(task.work))
    return [(name, work.conversation) for name, work in works if isinstance(work, ConversationWork)]


def _warn_of_unused(spec: SquadSpec, findings: Findings, texts: Expressions, tasks: Mapping[str, TaskPlan]) -> None:
    """Warn of what nothing uses, unless it is what an unknown name was meant to be, or stands in what is wrong."""
    meant = {problem.hint for problem in findings.found}
    if any(len(path) == 1 or path[0] in ("tasks", "conversations", "outputs") for path in findings.broken):
        return
    held = {used for _, used in _conversation_uses(tasks)}
    held |= {name for talk in spec.conversations.values() for name in names_of(talk)}  # inside another
    works = {agent for task in tasks.values() for agent in possible_agents(task.work)}
    talks = {name for talk in spec.conversations.values() for name in _asked(talk) if name is not None}
    asked = with_helpers(spec, works | talks | asked_in(tasks.values()))
    done = [work for task in tasks.values() for work in works_of(task.work) if isinstance(work, AgentWork)]
    asked |= {judge for work in done for judge in judges_in(work.guardrails)}
    asked |= {judge for name in asked & spec.agents.keys() for judge in judges_of(spec.agents[name].guardrails)}
    for group, names, used in (
        ("agent", spec.agents, asked),
        ("conversation", spec.conversations, held),
        ("input", spec.inputs, texts.read_inputs),
    ):
        for name in names:
            written = findings.node.at((f"{group}s", name))
            if written is not None and written.source is not findings.node.source:
                continue  # a file that several squads include holds more than each of them uses
            if name not in used and f"did you mean '{name}'?" not in meant:
                findings.warn((f"{group}s", name), f"unused-{group}", f"the {group} '{name}' is not used")
