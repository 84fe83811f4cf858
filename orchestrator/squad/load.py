"""A squad as users hold it: read from a file, a text or Python objects, and checked whole before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from agents.mcp.definitions import Definition
from agents.memory.folder import fault_of
from agents.paths import Protected
from agents.run_folder import RunFolder
from agents.toolbox import builtin
from agents.toolbox.workspace import Workspace
from agents.tools import Registry, Tool, as_tools
from orchestrator.squad.declared_tools import declared_tools, is_gone, uses_of_code
from orchestrator.squad.given import InputType, RawInput, UnreadInput
from orchestrator.squad.given_files import read_default, read_paths, unfit_below
from orchestrator.squad.include_files import IncludedFiles
from orchestrator.squad.inputs import check_defaults, coerce_inputs
from orchestrator.squad.mcp_servers import McpEntry, server_use
from orchestrator.squad.memory_specs import check_folders, check_name
from orchestrator.squad.plan import EDITION, AgentPlan, Plan
from orchestrator.squad.resolve import refuse_foreseen, resolve, tools_used, with_inputs, with_tools
from orchestrator.squad.routing import load_routing
from orchestrator.squad.routing_tools import tools_of_routing, tree_of_routing
from orchestrator.squad.sources import (
    SQUAD,
    definitions_in,
    digests_in,
    files_gone,
    gather,
    persona_in,
    personas_in,
    prompt_in,
    routing_in,
    sources_of,
    squad_in,
    tools_in,
    with_definitions,
    with_digests,
    with_includes,
    with_squad,
)
from orchestrator.squad.spec import SquadSpec, spec_of
from orchestrator.squad.squad_paths import refuse_unfit
from orchestrator.squad.subsquads import InnerSquad, UnusableSquad
from orchestrator.squad.tool_source import ToolSource
from orchestrator.squad.workspace import workspace_of
from orchestrator.trust import CodeUse, refuse_code
from personas.persona import Personas
from personas.sources import PersonaSource, first_of, in_memory, packaged
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Catalog, of_all_accounts
from providers.catalog.trust import Consent
from providers.documents.findings import Findings
from providers.documents.nodes import Node
from providers.documents.problems import Problem, in_order
from providers.documents.scalars import write_tree
from providers.documents.unicode import clean_json
from providers.documents.yaml import ParsedFile, mapping_in, parse_file, parse_text, read_once
from providers.messages import Capability, Request
from providers.policy.model import Policy
from providers.policy.parse import default_policy, parse_policy
from providers.routing.choice import Refuse, choose
from providers.routing.fleet import Fleet

_OF_A_WHOLE = {
    "workspace": "a workspace",
}
"""What a run opens for the squad that it is of."""
TOLD = 3
"""How many models' reasons a message has room for."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What came with a squad's text and is in no file."""

    personas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routing: Mapping[str, Any] | None = None
    sources: Mapping[str, str] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    """The files that were read beside the squad's own, by path."""
    tools: tuple[Tool, ...] = ()
    where_gone: Mapping[str, str] = field(default_factory=dict)
    above: tuple[str, ...] = ()
    """The files of the squads that this one is a sub-squad of, the outermost first."""
    inner: dict[str, Squad] = field(default_factory=dict)
    """The sub-squads, by path."""
    included: dict[str, str] = field(default_factory=dict)
    """The texts of the files that the squad includes, by path."""

    def whole(self, parsed: ParsedFile) -> ParsedFile:
        """Return a squad's file with all that it includes."""
        return IncludedFiles(self.texts, self.sources, self.where_gone, self.included).whole(parsed)


@dataclass(frozen=True, slots=True)
class Squad:
    """What one squad file defines, bound to its personas, tools and routing. Immutable; runs any number of times."""

    spec: SquadSpec
    file: str
    personas: Personas = field(repr=False)
    tools: tuple[Tool, ...] = field(repr=False)
    policy: Policy = field(repr=False)
    catalog: Catalog = field(repr=False)
    functions: Mapping[str, Callable[..., bool]] = field(repr=False)
    warnings: tuple[Problem, ...]
    _node: Node = field(repr=False)
    _found: tuple[Problem, ...] = field(repr=False)
    text: str = field(default="", repr=False)
    """The YAML that it was read from."""
    routing_file: Path | None = field(default=None, repr=False)
    """The file that `policy` and `catalog` were read from, where there is one."""
    _given: _Given = field(default_factory=_Given, repr=False)
    declared: tuple[ToolSource, ...] = field(default=(), repr=False)
    """The tools that its files declare, but for those that the caller gave."""
    workspace: Workspace | None = field(default=None, repr=False)
    """The folder that its tools for files work on, instead of the run's own."""
    _digests: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the declared tools."""
    definitions: Mapping[str, Sequence[Definition]] = field(default_factory=dict, repr=False)
    """What MCP servers said of their tools, by server: those that a run opened, or that a record has."""
    _outline: Plan | None = field(default=None, repr=False)
    """The plan without inputs: the squad is resolved once, when it is read."""

    @property
    def name(self) -> str:
        return self.spec.name

    @classmethod
    def from_file(
        cls,
        path: Path | str | ParsedFile,
        *,
        personas: Mapping[str, Mapping[str, Any]] | None = None,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        functions: Mapping[str, Callable[..., bool]] | None = None,
        routing: Path | str | Mapping[str, Any] | None = None,
        where_gone: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the squad of a YAML file, which may be parsed already; all else is as `from_text` takes it.

        Raises `SpecError` or `PlanError` with every mistake at once, each with its line and column.
        """
        parsed = path if isinstance(path, ParsedFile) else parse_file(path)
        return cls.from_text(
            parsed.text,
            parsed.file,
            personas=personas,
            tools=tools,
            functions=functions,
            routing=routing,
            where_gone=where_gone,
            parsed=parsed,
        )

    @classmethod
    def from_mapping(
        cls,
        squad: Mapping[str, Any],
        name: str = "<squad>",
        *,
        personas: Mapping[str, Mapping[str, Any]] | None = None,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        functions: Mapping[str, Callable[..., bool]] | None = None,
        routing: Path | str | Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the squad of Python objects that hold what the YAML would; all else is as `from_text` takes it."""
        text = write_tree(clean_json(squad))
        return cls.from_text(text, name, personas=personas, tools=tools, functions=functions, routing=routing)

    @classmethod
    def from_text(
        cls,
        text: str,
        name: str = "<text>",
        *,
        personas: Mapping[str, Mapping[str, Any]] | None = None,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        functions: Mapping[str, Callable[..., bool]] | None = None,
        routing: Path | str | Mapping[str, Any] | None = None,
        sources: Mapping[str, str] | None = None,
        where_gone: Mapping[str, str] | None = None,
        parsed: ParsedFile | None = None,
    ) -> Self:
        """Return the squad of a YAML text; `name` stands for it in messages.

        `personas` and `tools` are the caller's own, beside the built-in ones; they win where names are equal. A plain
        function is taken for the tool that it makes; `ToolFault` is raised where it cannot be described to a model.
        `functions` are conditions that a conversation's `terminate` may name. `routing` is the policy, or its file.
        With `sources`, as the method of that name returned them, no file is read; with `where_gone`, the same, a
        persona's file that is not there any more is read from them. `parsed` is the text's tree, where the caller has
        it.
        """
        own_tools = as_tools(tools)
        given = _Given(
            personas or {},
            routing if isinstance(routing, Mapping) else None,
            sources,
            tools=own_tools,
            where_gone=where_gone or {},
        )
        given.texts.update(files_gone(where_gone or {}, Path(name).parent))
        if sources is not None:
            personas, own_tools = {**personas_in(sources), **(personas or {})}, (*tools_in(sources), *own_tools)
        policy, catalog = load_routing(routing, texts=given.texts) if sources is None else _recorded_routing(sources)
        spec, node, found = spec_of(given.whole(parsed or parse_text(text, name)))
        catalog = catalog.serving_pinned(name for agent in spec.agents.values() for name in agent.models)
        source: PersonaSource = packaged()
        if personas:
            source = first_of(in_memory(personas), source)
        own = Personas(source)
        file = None if routing is None or isinstance(routing, Mapping) else Path(routing)
        squad = cls(spec, name, own, own_tools, policy, catalog, functions or {}, (), node, tuple(found))
        definitions = definitions_in(sources or {})
        squad = replace(squad, text=text, routing_file=file, _given=given, definitions=definitions)
        return squad._with_declared(where_gone or {})._resolved()

    def _resolved(self) -> Self:
        """Return the squad with its plan, and what its sub-squads bring along. Raise `PlanError`."""
        outline, warnings = self._resolve()
        squad, inner = self, self._given.inner.values()
        if inner:
            agents = outline.agents.values()
            catalog = self.catalog.serving_pinned(name for agent in agents for name in pinned_by(agent))
            declared = (*self.declared, *(one for squad in inner for one in squad.declared))
            declared = tuple({one.name: one for one in declared}.values())
            squad = replace(self, catalog=catalog, declared=declared, _digests=self._all_digests())
        return replace(squad, warnings=tuple(warnings), _outline=outline)

    def _all_digests(self) -> dict[str, str]:
        """Return the digests of the tools that its files and those of its sub-squads declare."""
        inner = self._given.inner.values()
        return {**self._digests, **{name: sha256 for one in inner for name, sha256 in one._digests.items()}}

    def files(self) -> tuple[Path, ...]:
        """Return the files that the squad was read from: its own, its personas', and the routing file."""
        own = [Path(self.file)] if Path(self.file).is_file() else []
        routing = [] if self.routing_file is None else [self.routing_file]
        return tuple(dict.fromkeys([*own, *routing, *map(Path, self._given.texts)]))

    def routing_now(self) -> tuple[Policy, Catalog]:
        """Return what the routing file says now. Raise `SpecError` with every mistake in it."""
        policy, catalog = load_routing(self.routing_file)
        agents = self.outline().agents.values()
        return policy, catalog.serving_pinned(name for agent in agents for name in pinned_by(agent))

    def sources(self) -> Mapping[str, str]:
        """Return the texts of all that the squad's own text refers to. Raise `SpecError` where a file cannot be read.

        `from_text` makes the same squad of them where the files, the personas and the tools are not at hand.
        """
        given = self._given
        if given.sources is not None:
            return with_definitions(given.sources, self.definitions)
        found = gather(
            self.spec,
            Path(self.file).parent,
            given.routing or self.routing_file,
            given.personas,
            self.tools,
            given.texts,
        )
        found = with_includes(found, given.included)
        for path, inner in given.inner.items():
            found = with_squad(found, path, inner.text, replace(inner, tools=self.tools).sources())
        return with_definitions(with_digests(found, self._digests), self.definitions)

    def builtin(self, files: RunFolder | None, protected: Protected | None = None) -> Registry:
        """Return the built-in tools, bound to the run's folder, or to the squad's workspace.

        `protected` names what is never written there.
        """
        workspace = self.workspace
        if workspace is not None and protected is not None:
            workspace = replace(workspace, protected=protected)
        return builtin(files, workspace)

    def code_uses(self, of_servers: Sequence[str] | None = None) -> tuple[CodeUse, ...]:
        """Return what must be allowed before a run of the squad starts: the code that its files name.

        With `of_servers`, only what must be allowed before these MCP servers are started.
        """
        declared = uses_of_code(one for one in self.declared if one.name not in {tool.name for tool in self.tools})
        names = self.servers() if of_servers is None else of_servers
        uses = tuple(server_use(self._node, name, self.mcp[name]) for name in names)
        return (*declared, *uses) if of_servers is None else uses

    async def loaded(self, trust: Consent, environ: Mapping[str, str]) -> Self:
        """Return the squad with the tools that its files declare ready to be called: their code has run.

        `environ` are the run's variables.
        Raise `CodeNotTrusted` with all that `trust` does not allow, before any of it runs, and `ToolUnusable`.
        """
        refuse_code(self.code_uses(), trust)
        missing = [one for one in self.declared if one.name not in {tool.name for tool in self.tools}]
        if not missing:
            return self
        tools = tuple([one.tool if one.load is None else await one.load(environ) for one in missing])
        outline = with_tools(self.outline(), {one.name: one for one in tools})
        return replace(self, tools=(*self.tools, *tools), _outline=outline)

    def _with_declared(self, where_gone: Mapping[str, str]) -> Self:
        """Return the squad with the tools that its file declares. One whose file is gone is what a record shows of it:
        a call of it fails."""
        entries = {} if self._given.sources is not None else self.spec.tools
        beside = Path(self.file).parent
        gone = {name for name, entry in entries.items() if is_gone(entry, beside)}
        shown = [one for one in tools_in(where_gone) if gone and (one.name in gone or one.name not in entries)]
        tools = (*shown, *self.tools)
        findings = Findings.after(self._node, self._found)
        known = {tool.name for tool in tools} | (gone if shown else set())
        declared = declared_tools(entries, findings, self.file, known=known)
        on_disk = self._given.sources is None
        if on_disk:
            declared += self._of_routing(known | entries.keys(), findings)
        workspace = workspace_of(self.spec.workspace, self.file, findings, on_disk=on_disk)
        if self.spec.memory or any(agent.memory for agent in self.spec.agents.values()):
            check_name(self.spec.name, findings)
        if self._given.sources is None and not where_gone:
            own = {name: agent.knowledge for name, agent in self.spec.agents.items()}
            check_folders(self.spec.knowledge, own, findings, partial(fault_of, beside))
        digests = digests_in(self._given.sources or where_gone)
        digests = {name: sha256 for name, sha256 in digests.items() if name in {one.name for one in tools}}
        digests |= {one.name: one.sha256 for one in declared}
        bound = replace(self, tools=tools, declared=declared, workspace=workspace, _digests=digests)
        return replace(bound, _found=tuple(findings.found))

    @property
    def mcp(self) -> dict[str, McpEntry]:
        """The MCP servers that the squad and its sub-squads name."""
        inner = {name: entry for squad in self._given.inner.values() for name, entry in squad.mcp.items()}
        return {**inner, **{name: McpEntry(spec, self.file) for name, spec in self.spec.mcp.items()}}

    def _of_routing(self, known: Collection[str], findings: Findings) -> tuple[ToolSource, ...]:
        """Return the tools that the routing file declares. The squad's own win where names are equal."""
        root = tree_of_routing(self._given.routing or self.routing_file, self._given.texts)
        if root is None:
            return ()
        found, problems = tools_of_routing(root, str(self.routing_file or "<routing>"), known)
        findings.found += [problem.under(("routing",)) for problem in problems]
        return found

    def servers(self) -> list[str]:
        """Return the MCP servers whose tools the squad and its sub-squads use: those that a run starts."""
        if not self.mcp:
            return []
        named = (tool.name for tool in tools_used(self.with_mcp({}).outline()))
        return list(dict.fromkeys(server for server, slash, _ in (name.partition("/") for name in named) if slash))

    def with_mcp(self, definitions: Mapping[str, Sequence[Definition]]) -> Self:
        """Return the squad with these definitions of the tools of MCP servers. Raise `PlanError` where a tool that it
        names is not among them."""
        known = {name: tools for name, tools in definitions.items() if name in self.mcp}
        if known == dict(self.definitions):
            return self
        inner = {path: squad.with_mcp(known) for path, squad in self._given.inner.items()}
        return replace(self, definitions=known, _given=replace(self._given, inner=inner))._resolved()

    def plan(
        self, inputs: Mapping[str, Any] | None = None, tools: Registry | None = None, edition: int = EDITION
    ) -> Plan:
        """Return the plan of a run with these inputs, defaults filled in. Raise `PlanError` where one does not fit.

        A file is given as a `Path`, which is read now, as bytes or as its text; an image as a `Path` or bytes.
        `tools` are the built-in ones, bound to the run's folder. `edition` is that of the rules by which the run goes.
        """
        outline = self.outline() if edition == EDITION else self._resolve(edition)[0]
        given = read_paths(self.spec.inputs, inputs or {})
        plan = with_inputs(outline, given, self.spec, self._node, self._found, self.warnings, self._read_default)
        return plan if tools is None else with_tools(plan, tools.without(*(tool.name for tool in self.tools)))

    def foresee(self, plan: Plan | None = None) -> None:
        """Raise `PlanError` with what is sure to fail in a run of this plan; None: in each, whatever its inputs.

        That is what needs no model to be known: lists that are too long, texts that cannot be rendered, bad paths.
        """
        if plan is None:
            check_defaults(self.spec, self._node, self._read_default)
        refuse_foreseen(plan or self.outline(), self._node, is_checked=plan is None)

    def outline(self) -> Plan:
        """Return the plan as it stands before any input is given: to be shown, not to be run."""
        assert self._outline is not None, "`from_text` resolves the squad"
        return self._outline

    def coerce(self, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Return inputs that were given as text, or read as bytes, each as its declared type.

        `plan` reports those that do not fit.
        """
        return coerce_inputs(self.spec, pairs)

    def _resolve(self, edition: int = EDITION) -> tuple[Plan, list[Problem]]:
        plan, warnings = resolve(
            self.spec,
            self._node,
            personas=self.personas,
            tools=self.builtin(None).plus(*(one.tool for one in self.declared), *self.tools),
            tiers=self.policy.tiers,
            models=frozenset(self.catalog.names()),
            found=self._found,
            read_persona=self._read_persona,
            read_prompt=self._read_prompt,
            functions=self.functions,
            why_unanswerable=None if self.spec.offline == "always" else _prover(self.policy, self.catalog),
            edition=edition,
            definitions=self.definitions,
            read_squad=partial(self._read_squad, edition=edition),
        )
        warnings = in_order([*warnings, *self._not_sent()])
        digests = self._all_digests()
        used = {one.name: digests[one.name] for one in tools_used(plan) if one.name in digests}
        if self._given.inner:  # a sub-squad's plan may be of before its tools were loaded
            plan = with_tools(plan, {one.name: one for one in self.tools})
        return replace(plan, tool_sources=used), warnings

    def _not_sent(self) -> Iterator[Problem]:
        """Yield each temperature of an agent whose own models take none."""
        for name, agent in self.spec.agents.items():
            rows = [self.catalog.find(of_all_accounts(model)) for model in agent.models]
            if agent.temperature is None or not rows or any(row is None or row[0].quirks.sampling for row in rows):
                continue
            models = " and ".join(agent.models)
            message = f"{models} take{'s' if len(rows) == 1 else ''} no temperature, so none is sent"
            path, hint = ("agents", name, "temperature"), "leave it out, or name another model"
            yield self._node.problem(path, "not-sent", message, hint, severity="warning")

    def _read_default(self, path: str, kind: InputType) -> RawInput | UnreadInput:
        """The file that is the default of an input lies below the folder of the squad's file."""
        if self._given.sources is not None:
            return UnreadInput(f"the file '{path}' is not in the record", "give the input")
        return read_default(Path(self.file).parent, path, kind)

    def _read_prompt(self, path: str) -> str:
        """A file of instructions lies below the folder of the squad's; one that holds keys is not read."""
        if self._given.sources is not None:
            return prompt_in(self._given.sources, path.strip())
        folder = Path(self.file).parent
        if why := unfit_below(folder, path.strip()):
            raise PermissionError(1, why, path)
        return read_once(folder / path.strip(), self._given.texts)

    def _read_squad(self, path: str, *, edition: int) -> InnerSquad:
        """A sub-squad's file stands beside the squad's, or below."""
        if path not in self._given.inner:
            inner = self._opened(path)
            self._refuse_other_tools(path, inner)
            self._given.inner[path] = inner
        inner = self._given.inner[path]
        plan = inner.outline() if edition == EDITION else inner._resolve(edition)[0]
        return InnerSquad(inner.spec, inner._node, plan, inner.warnings)

    def _opened(self, path: str) -> Squad:
        given, file = self._given, Path(self.file).parent / path
        place = refuse_unfit(path, file, (*given.above, self.file), on_disk=given.sources is None)
        sources, gone = given.sources, sources_of(given.where_gone, path)
        if sources is not None:
            text, sources = squad_in(sources, path), sources_of(sources, path)
        elif not file.exists() and SQUAD + path in given.where_gone:
            text = given.texts[str(file)] = squad_in(given.where_gone, path)
        else:
            text = read_once(file, given.texts)
        own = _Given(given.personas, None, sources, given.texts, given.tools, gone, place)
        spec, node, found = spec_of(own.whole(parse_text(text, str(file))))
        given.texts.update(files_gone(gone, file.parent))
        tools = given.tools if sources is None else (*tools_in(sources), *given.tools)
        catalog = self.catalog.serving_pinned(name for agent in spec.agents.values() for name in agent.models)
        squad = Squad(spec, str(file), self.personas, tools, self.policy, catalog, self.functions, (), node, ())
        squad = replace(squad, _found=tuple(found), text=text, _given=own, definitions=definitions_in(sources or {}))
        return squad._with_declared(gone)._resolved()

    def _refuse_other_tools(self, path: str, inner: Squad) -> None:
        """Raise `UnusableSquad` for what a run of two squads cannot tell apart, or cannot start."""
        for name, what in _OF_A_WHOLE.items():
            if getattr(inner.spec, name) or any(getattr(agent, name, None) for agent in inner.spec.agents.values()):
                message = f"'{path}' has {what} of its own, which a sub-squad cannot have yet"
                raise UnusableSquad("unsupported-field", message, "run it by itself, or leave that out")
        for name, server in inner.mcp.items():
            if name in self.mcp and self.mcp[name].identity != server.identity:
                message = f"'{path}' has an MCP server '{name}', which is another one here"
                raise UnusableSquad("duplicate-name", message, "give one of them another name")
        known = self._all_digests()
        for name, sha256 in inner._digests.items():
            if known.get(name, sha256) != sha256:
                message = f"'{path}' declares the tool '{name}', which is another one here"
                raise UnusableSquad("duplicate-name", message, "give one of them another name")

    def _read_persona(self, path: str, found: list[Problem]) -> Node:
        """A persona's file stands beside the squad's."""
        if self._given.sources is not None:
            return persona_in(self._given.sources, path, found)
        file = Path(self.file).parent / path
        return mapping_in(read_once(file, self._given.texts), str(file), found)


def pinned_by(agent: AgentPlan) -> tuple[str, ...]:
    """Return the models that an agent names."""
    return (*([agent.model] if agent.model else []), *agent.chain)


def _prover(policy: Policy, catalog: Catalog) -> Callable[[AgentPlan], str]:
    """Return a function that says why, were there a key to every model, none could answer an agent; empty: one could.

    What the routing filters by is asked of it: what a model can do, and which providers the policy leaves out.
    """
    rows = catalog.providers.values()
    fleet = Fleet((Candidate(row, model) for row in rows for model in row.models.values()), policy)

    def why(agent: AgentPlan) -> str:
        tier = agent.tier or agent.persona.tier
        wanted = {Capability.TOOLS: bool(agent.tools), Capability.VISION: agent.sees}
        needs = agent.needs(frozenset(one for one, is_wanted in wanted.items() if is_wanted))
        decision = choose(fleet, Request((), needs=needs), 0.0)
        if not isinstance(decision, Refuse) or tier not in (None, *policy.tiers):
            return ""
        if any(name != of_all_accounts(name) for name in decision.reasons):
            return ""  # which accounts there are is known by the keys alone
        told = [f"{name} {reason}" for name, reason in decision.reasons.items()]
        return "; ".join(told[:TOLD]) + (f"; and {len(told) - TOLD} more" if len(told) > TOLD else "")

    return why


def _recorded_routing(sources: Mapping[str, str]) -> tuple[Policy, Catalog]:
    catalog, root = load_catalog(), routing_in(sources)
    return (default_policy(catalog), catalog) if root is None else parse_policy(root, catalog)
