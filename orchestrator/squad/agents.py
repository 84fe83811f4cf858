"""Who takes part: agents with their personas and tools, and the conversations that they hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from agents.memory.tools import tools_of
from agents.tools import Tool
from orchestrator.squad.agent_spec import AgentSpec
from orchestrator.squad.approval_specs import approvals_of, with_approvals
from orchestrator.squad.conversations import Conversations
from orchestrator.squad.graph import order
from orchestrator.squad.guardrail_specs import guardrails_of
from orchestrator.squad.helpers import circles, helper_tool, helpers_in
from orchestrator.squad.mcp_specs import McpTools, references
from orchestrator.squad.memory_specs import knowledge_use, memory_use
from orchestrator.squad.plan import EDITION, HUMAN, AgentPlan, ConversationPlan
from orchestrator.squad.shared_spec import budget
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.templates import PERSONA_TEXTS
from orchestrator.squad.tool_specs import SWITCHED_OFF, ToolUse
from orchestrator.squad.untrusted_specs import risky_tools, warn_of_both
from orchestrator.squad.who import FOLDER, WHO, is_file, is_prompt_file, overrides_the_library, says_who, stem
from personas.other_formats import TOOLS_ELSEWHERE
from personas.persona import UNNAMED, Persona, PersonaError
from providers.catalog.model import of_all_accounts
from providers.documents.findings import Findings
from providers.documents.nodes import Node, tree_of
from providers.documents.problems import Path, Problem, SpecError, nearest
from providers.documents.unicode import clean

ReadPersona = Callable[[str, list[Problem]], Node]
"""Returns the tree of a persona file; mistakes that leave the rest readable go to the list.

Raises `SpecError` or `OSError`."""
ReadPrompt = Callable[[str], str]
"""Returns the text of a file of instructions. Raises `SpecError` or `OSError`."""
WhyUnanswerable = Callable[[AgentPlan], str]
"""Returns why no model there is could ever answer an agent, empty where one could."""

_ANY_MODEL = "write PROVIDER/MODEL; `orchestrator providers ls` lists them"

PICKER: Mapping[str, str] = {
    "name": "Selector",
    "title": "Selector of speakers",
    "role": "Reads a conversation and picks who speaks next. Takes no part in it.",
    "identity": "Weighs what was asked, what is still open, and who of those listed can add most to it.",
    "style": "Answers with one name and no other word.",
}
"""The persona of who picks the next speaker where no agent does."""
ROLE_CHARS = 200


class PersonaLibrary(Protocol):
    def names(self) -> Iterable[str]: ...
    def build(
        self,
        written: Mapping[str, Any] | Node,
        name: str | None = None,
        over: Node | None = None,
        read: Sequence[Problem] = (),
        unnamed: str = ...,
        may_be_blank: bool = ...,
        of_its_own: bool = ...,
        /,
    ) -> Persona: ...


@dataclass(slots=True)
class Roster:
    """Binds the squad's agents and conversations; `tools`, `tiers` and `models` are what there is to name.

    `models` None: which models there are is not known, so any may be named; `why_unanswerable` None: so may any answer.
    """

    spec: SquadSpec
    findings: Findings
    personas: PersonaLibrary
    tools: Mapping[str, Tool]
    tiers: Collection[str]
    models: Collection[str] | None
    read_persona: ReadPersona | None = None
    read_prompt: ReadPrompt | None = None
    functions: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    why_unanswerable: WhyUnanswerable | None = None
    edition: int = EDITION
    mcp: McpTools = field(default_factory=McpTools)
    own_personas: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The personas of the folder beside the squad, each with the names of its files."""
    persona_trees: dict[str, Node] = field(default_factory=dict)
    """What the files of agents' personas say, by agent."""
    _sound: dict[str, AgentPlan] = field(default_factory=dict)
    """The agents that some model could answer, as far as is known."""
    _called: dict[str, str] = field(default_factory=dict)
    """What the agents' personas are called."""
    _roles: dict[str, str] = field(default_factory=dict)
    """What the agents are there for."""
    _made: dict[str, AgentPlan] = field(default_factory=dict)
    """The agents whose tools are known."""
    pickers: dict[str, AgentPlan] = field(default_factory=dict)
    """Agents that conversations bring along: they pick who speaks next."""

    def agents(self) -> dict[str, AgentPlan]:
        """Return the agents whose personas could be made."""
        plans = {name: self._agent(name, spec) for name, spec in self.spec.agents.items()}
        return self._with_helpers({name: plan for name, plan in plans.items() if plan is not None})

    def _agent(self, name: str, spec: AgentSpec) -> AgentPlan | None:
        path = ("agents", name)
        if name.casefold() == HUMAN or not name.strip() or any(c.isspace() for c in name):
            reason = "means a person" if name.casefold() == HUMAN else "must be one word"
            self.findings.error(path, "invalid-name", f"the name '{name}' {reason}", key=True)
        named = self._models((*path, "model"), spec)
        if spec.tier is not None:
            self._tier((*path, "tier"), spec.tier)
        own_places = set(range(len(spec.tools or ()))) - helpers_in(spec.tools or ()).keys()
        own = (
            *self.bind((*path, "tools"), spec.tools or (), only=own_places),
            *self._of_servers((*path, "mcp"), spec.mcp or ()),
        )
        if not says_who(spec):
            self.findings.lacks(path, "missing-field", f"the agent '{name}' does not say who it is", WHO)
        persona = self._persona(path, spec) if says_who(spec) else None
        if persona is None:
            return None
        self._called[name] = persona.display_name
        self._roles[name] = _role(persona)
        if spec.persona is None:
            persona = replace(persona, tier=None)  # it names no class of models, so the policy's default holds
        elif spec.tier is None and spec.model is None and persona.tier is not None:
            self._tier((*path, "persona"), persona.tier)
        inherited = self.bind((*path, "persona"), persona.tools)
        bound = {tool.name: tool for tool in (*inherited, *own)}
        memory = memory_use(self.spec.memory, spec.memory, (self.spec.name, name))
        knowledge = knowledge_use(self.spec.knowledge, spec.knowledge)
        for tool in tools_of(memory, knowledge):
            if tool.name in bound:
                message = f"the agent '{name}' has the tool '{tool.name}' by its memory or knowledge already"
                self.findings.error((*path, "tools"), "duplicate-name", message, "give the other one another name")
            bound[tool.name] = tool
        plan = AgentPlan(name, persona, tuple(bound.values()), spec.tier, budget=budget(spec.budget))
        chained = isinstance(spec.model, list)
        plan = replace(plan, chain=spec.models) if chained else replace(plan, model=next(iter(spec.models), None))
        if named:
            self._sound[name] = plan
            said = [field for field in ("model", "tools", "tier") if getattr(spec, field)]
            said += [] if spec.persona is None else ["persona"]
            self.answerable((*path, *said[:1]), name, plan.tools)
        plan = replace(
            plan,
            max_output_tokens=spec.max_output_tokens,
            instructions=self._instructions((*path, "instructions"), spec.instructions),
            temperature=spec.temperature,
            effort=spec.effort,
            memory=memory,
            knowledge=knowledge,
            risky_tools=risky_tools(self.spec.untrusted, spec.untrusted),
            approvals=approvals_of(self.spec.approvals, spec.approvals),
            guardrails=guardrails_of((*path, "guardrails"), name, spec.guardrails, self.spec.agents, self.findings),
        )
        warn_of_both(name, with_approvals(plan.tools, plan.approvals), plan.risky_tools, self.findings)
        return plan if spec.max_turns is None else replace(plan, max_turns=spec.max_turns)

    def _models(self, path: Path, spec: AgentSpec) -> bool:
        """Report models that there are not; return whether there are all of them."""
        if self.models is None:
            return True
        chained, known = isinstance(spec.model, list), self.models
        providers = (f"{name.partition('/')[0]}/*" for name in known)
        there = {*known, *providers} if chained else known
        unknown = [(at, name) for at, name in enumerate(spec.models) if of_all_accounts(name) not in there]
        for at, name in unknown:
            place, hint = (*path, at) if chained else path, nearest(name, known) or _ANY_MODEL
            self.findings.error(place, "unknown-model", f"no model is called '{name}'", hint)
        for at, name in enumerate(spec.models):
            before = [of_all_accounts(one) for one in spec.models[:at]]
            every = f"{name.partition('/')[0]}/*"
            if (first := next((one for one in before if one in (of_all_accounts(name), every)), None)) is not None:
                told = f"{name!r} is never reached: {first!r} comes before it"
                self.findings.error((*path, at), "no-effect", told)
        return not unknown

    def answerable(self, path: Path, name: str, tools: tuple[Tool, ...], *, sees: bool = False) -> None:
        """Report an agent that no model could answer with these tools. It is reported once."""
        plan = self._sound.get(name)
        if (
            plan is not None
            and self.why_unanswerable is not None
            and (why := self.why_unanswerable(replace(plan, tools=tools, sees=sees)))
        ):
            del self._sound[name]
            self.findings.error(path, "unanswerable", f"no model could ever answer the agent '{name}': {why}")

    def _instructions(self, path: Path, written: str | None) -> str | None:
        """Return an agent's own prompt, which may stand in a file beside the squad's."""
        if written is None or not is_prompt_file(written):
            if written is not None and not written.strip():
                self.findings.error(path, "out-of-range", "'instructions' is empty")
            return written
        if self.read_prompt is None:
            self.findings.error(path, "unreadable-file", f"files are not read here: '{written}'")
            return None
        try:
            text = clean(self.read_prompt(written))
        except SpecError as error:
            self.findings.error(path, "unreadable-file", f"cannot read '{written}': {error.problems[0].message}")
        except OSError as error:
            self.findings.error(path, "unreadable-file", f"cannot read '{written}': {error.strerror or error}")
        else:
            if text.strip():
                return text
            self.findings.error(path, "empty-file", f"'{written}' is empty")
        return None

    def _tier(self, path: Path, tier: str) -> None:
        if tier not in self.tiers:
            self.findings.unknown(path, "tier", tier, self.tiers)

    def _persona(self, path: Path, spec: AgentSpec) -> Persona | None:
        read: list[Problem] = []
        base = {} if spec.persona is None else self._base((*path, "persona"), spec.persona, read)
        if base is None:
            return None
        over = self._overrides(path, spec)
        try:
            # A persona that says no name of its own is called like its agent, so that two of them differ.
            unnamed = str(path[-1]) if self.edition > 1 else UNNAMED
            is_other = self.edition > 2 and overrides_the_library(spec, self.own_personas)
            bare, of_its_own = spec.persona is None, is_other
            is_named = isinstance(spec.persona, str) and spec.persona in self.own_personas
            name = str(spec.persona) if is_named else stem(spec.persona)
            return self.personas.build(base, name, over, read, unnamed, bare, of_its_own)
        except PersonaError as error:
            self._report(path, spec.persona, over, error.problems)
            return None

    def _report(
        self, path: Path, persona: str | dict[str, Any] | None, over: Node, problems: Sequence[Problem]
    ) -> None:
        """Report what is wrong with a persona, in the squad's file or in its own."""
        file = self.findings.node.source.file
        own = [problem for problem in problems if problem.file == file]
        for problem in own:
            is_over = bool(problem.path) and over.child(problem.path[0]) is not None
            self.findings.add([problem.under(path if is_over else (*path, "persona"))])
        if len(own) < len(problems):
            self.findings.found += [problem for problem in problems if problem.file != file]
            message = f"the persona file '{persona}' has mistakes"
            self.findings.error((*path, "persona"), "invalid-persona", message)

    def _overrides(self, path: Path, spec: AgentSpec) -> Node:
        """Return the fields that an agent's persona takes from the agent itself."""
        agent = self.findings.node.at(path) or self.findings.node
        fields = {}
        for key in PERSONA_TEXTS:
            if (value := getattr(spec, key)) is not None:
                written = agent.child(key)
                is_sound = written is not None and not self.findings.is_broken((*path, key))
                fields[key] = written if written is not None and is_sound else tree_of(value)
        return replace(agent, value=fields)

    def _base(self, path: Path, persona: str | dict[str, Any], read: list[Problem]) -> Node | Mapping[str, Any] | None:
        written = self.findings.node.at(path)
        if isinstance(persona, dict):
            extended = persona.get("extends")
            known = not isinstance(extended, str) or self._knows((*path, "extends"), extended)
            return (written or persona) if known else None
        if is_file(persona):
            return self._file(path, persona, read)
        if (files := self.own_personas.get(persona)) and len(files) == 1:
            return self._file(path, f"{FOLDER}/{files[0]}", read)
        named = {"extends": written or tree_of(persona)}
        return tree_of(named) if self._knows(path, persona) else None

    def _knows(self, path: Path, name: str) -> bool:
        known = set(self.personas.names())
        if name not in known:
            self.findings.unknown(path, "persona", name, known)
        return name in known

    def _file(self, path: Path, file: str, read: list[Problem]) -> Node | None:
        if self.read_persona is None:
            self.findings.error(path, "unknown-persona", f"persona files are not read here: '{file}'")
            return None
        try:
            tree = self.persona_trees[str(path[1])] = self.read_persona(file, read)
        except SpecError as error:
            self._report(path[:-1], file, tree_of({}), error.problems)
        except OSError as error:
            self.findings.error(path, "unknown-persona", f"cannot read '{file}': {error.strerror or error}")
        else:
            return tree
        return None

    def bind(
        self,
        path: Path,
        names: Sequence[str | ToolUse | Mapping[str, Any]],
        only: Collection[int] | None = None,
    ) -> tuple[Tool, ...]:
        """Return the named tools, each once; the last approval that is given for it holds. `only`: those places."""
        bound: dict[str, Tool] = {}
        for index, use in enumerate(names):
            if only is not None and index not in only:
                continue
            if isinstance(use, ToolUse) and (use.agent is not None or use.name is None):
                bound |= {tool.name: tool for tool in self._helper((*path, index), use)}
                continue
            name, approval = _tool_use(use)
            place = path if path[-1] == "persona" else (*path, index, *(() if isinstance(use, str) else ("name",)))
            for tool in self._named(place, name):
                bound[tool.name] = tool if approval is None else tool.but(approval=approval, is_approval_said=True)
        return tuple(bound.values())

    def _helper(self, path: Path, use: ToolUse) -> tuple[Tool, ...]:
        """Return the tool that an agent is; none where there is no such agent, or it is not made yet."""
        if use.agent is None:
            self.findings.lacks(path, "missing-field", "a tool needs its name, or the agent that it is")
            return ()
        if (agent := self._made.get(use.agent)) is None:
            if use.agent not in self.spec.agents:
                self.agent((*path, "agent"), use.agent)
            return ()
        tool = helper_tool(agent, use.name, use.description)
        return (tool if use.approval is None else tool.but(approval=use.approval, is_approval_said=True),)

    def _with_helpers(self, plans: dict[str, AgentPlan]) -> dict[str, AgentPlan]:
        """Return the agents with those that they have as tools. Report those that come to call themselves."""
        called = {name: helpers_in(self.spec.agents[name].tools or ()) for name in plans}
        rings = circles({name: list(uses.values()) for name, uses in called.items()})
        for ring in rings:
            told = " -> ".join([*ring, ring[0]])
            self.findings.error(("agents", ring[0], "tools"), "cycle", f"agents call each other as tools: {told}")
        # Who is called is made first: what its tools may do is what its own tools may.
        for name in order({name: [one for one in uses.values() if one in called] for name, uses in called.items()}):
            self._made[name] = plan = plans[name]
            if called[name]:
                again = self.bind(("agents", name, "tools"), self.spec.agents[name].tools or (), only=called[name])
                bound = {tool.name: tool for tool in (*plan.tools, *again)}
                self._made[name] = replace(plan, tools=tuple(bound.values()))
                self.answerable(("agents", name, "tools"), name, self._made[name].tools)
        return {name: self._made.get(name, plan) for name, plan in plans.items()}

    def _named(self, place: Path, name: str) -> tuple[Tool, ...]:
        """Return the tool of this name, or the tools of an MCP server that it means; none where that is reported."""
        if name in self.tools:
            return (self.tools[name],)
        if name in SWITCHED_OFF:
            self.findings.error(
                place, "unknown-tool", f"{name} is switched off until the squad allows it", SWITCHED_OFF[name]
            )
            return ()
        if (server := self.mcp.server_of(name)) is None:
            elsewhere = TOOLS_ELSEWHERE.get(name, "")
            if elsewhere in self.tools or elsewhere in SWITCHED_OFF:
                hint = f"write {elsewhere}" + (f", and {SWITCHED_OFF[elsewhere]}" if elsewhere in SWITCHED_OFF else "")
                self.findings.error(place, "unknown-tool", f"no tool is called '{name}'", hint)
            else:
                self.findings.unknown(place, "tool", name, self.tools)
            return ()
        if server not in self.mcp.servers:
            message = f"no MCP server is called '{server}'"
            self.findings.error(place, "unknown-server", message, "name it below `mcp:` of the squad")
            return ()
        found = self.mcp.tools(name)
        if isinstance(found, str):
            self.findings.error(place, "unknown-tool", found)
            return ()
        return found

    def _of_servers(self, path: Path, names: Sequence[str]) -> tuple[Tool, ...]:
        """Return all tools of these MCP servers."""
        found: list[Tool] = []
        for index, (name, reference) in enumerate(zip(names, references(names), strict=True)):
            if name in self.mcp.servers:
                found += self._named((*path, index), reference)
            else:
                self.findings.unknown((*path, index), "server", name, self.mcp.servers)
        return tuple(found)

    def conversations(self) -> dict[str, ConversationPlan]:
        binder = Conversations(
            self.spec,
            self.findings,
            self.functions,
            self.tools,
            self._called,
            self._roles,
            self.agent,
            self._picker,
            self.edition,
        )
        return binder.plans()

    def _picker(self, path: Path, conversation: str, tier: str | None) -> str:
        """Return the name of an agent that does nothing but pick who speaks next in a conversation."""
        name = f"{conversation}-selector"
        while name in self.spec.agents or name in self.pickers:
            name += "-"
        persona = self.personas.build({**PICKER, **({} if tier is None else {"tier": tier})}, name)
        if tier is not None:
            self._tier(path, tier)
        elif persona.tier not in self.tiers:
            persona = replace(persona, tier=None)  # the policy's default holds
        self.pickers[name] = AgentPlan(name, persona)
        return name

    def agent(self, path: Path, name: str) -> None:
        """Report a name that no agent has."""
        if name not in self.spec.agents and not self.findings.is_unsure((), "agents"):
            self.findings.unknown(path, "agent", name, self.spec.agents)


def _role(persona: Persona) -> str:
    """Return in one line what a persona is there for."""
    return " ".join((persona.role or persona.goal or persona.title or "").split())[:ROLE_CHARS]


def _tool_use(use: str | ToolUse | Mapping[str, Any]) -> tuple[str, Any]:
    """Return a tool's name and the approval that it needs here, None where nothing is said of that."""
    if isinstance(use, str):
        return use, None
    if isinstance(use, ToolUse):
        return use.name or "", use.approval
    return str(use["name"]), use.get("approval")
