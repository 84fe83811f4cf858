"""A squad as users hold it: read from a file, a text or Python objects, and checked whole before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from agents.file_origins import FileOrigins
from agents.mcp.definitions import Definition
from agents.paths import Protected
from agents.run_folder import RunFolder
from agents.toolbox import builtin
from agents.toolbox.workspace import Workspace
from agents.tools import Tool, as_tools
from orchestrator.squad.answerable import not_sent, pinned_by, prover
from orchestrator.squad.beside import Beside, recorded_routing
from orchestrator.squad.declared_tools import uses_of_code
from orchestrator.squad.given import InputType
from orchestrator.squad.given_files import read_paths
from orchestrator.squad.given_values import RawInput, UnreadInput
from orchestrator.squad.inputs import check_defaults, check_given, coerce_inputs
from orchestrator.squad.mcp_servers import McpEntry, server_use
from orchestrator.squad.memory_checks import check_memory, without_key
from orchestrator.squad.plan import EDITION, Plan
from orchestrator.squad.resolve import refuse_foreseen, resolve, tools_used, with_inputs, with_tools, with_tools_of
from orchestrator.squad.routing import load_routing
from orchestrator.squad.sources import (
    definitions_in,
    files_gone,
    gather,
    personas_in,
    tools_in,
    with_definitions,
    with_digests,
    with_includes,
    with_squad,
)
from orchestrator.squad.spec import SquadSpec, spec_of
from orchestrator.squad.squad_paths import refuse_clashes, refuse_unfit
from orchestrator.squad.squad_tools import SquadTools, squad_tools, workspaces_in
from orchestrator.squad.subsquads import InnerSquad
from orchestrator.squad.tool_source import ToolSource
from orchestrator.squad.tools_beside import builtin_used, tools_beside
from orchestrator.squad.workspace import workspace_of
from orchestrator.trust import CodeUse, refuse_code
from personas.persona import Personas
from personas.sources import first_of, in_memory, packaged
from providers.catalog.model import Catalog
from providers.catalog.trust import Consent
from providers.documents.findings import Findings
from providers.documents.nodes import Node
from providers.documents.problems import Problem, in_order
from providers.documents.scalars import write_tree
from providers.documents.unicode import clean_json
from providers.documents.yaml import ParsedFile, parse_file, parse_text
from providers.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Squad:
    """What one squad file defines, bound to its personas, tools and routing. Immutable; runs any number of times."""

    spec: SquadSpec
    """The file as it was read and checked."""
    file: str
    """The path of the file, or the name that stands for it in messages."""
    personas: Personas = field(repr=False)
    """Where its personas come from."""
    tools: tuple[Tool, ...] = field(repr=False)
    """The tools that its agents may name."""
    policy: Policy = field(repr=False)
    """Which models answer which agents."""
    catalog: Catalog = field(repr=False)
    """The facts of providers and models that `policy` is about."""
    functions: Mapping[str, Callable[..., bool]] = field(repr=False)
    """Conditions that a conversation's `terminate` may name."""
    warnings: tuple[Problem, ...]
    """What `validate` warns of; a run goes on all the same."""
    _node: Node = field(repr=False)
    _found: tuple[Problem, ...] = field(repr=False)
    text: str = field(default="", repr=False)
    """The YAML that it was read from."""
    routing_file: Path | None = field(default=None, repr=False)
    """The file that `policy` and `catalog` were read from, where there is one."""
    _given: Beside = field(default_factory=Beside, repr=False)
    _inner: dict[str, Squad] = field(default_factory=dict, repr=False)
    """Its sub-squads, by path."""
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
        """The squad's `name`."""
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
        """Return the squad of a YAML file. `from_text` says what all else is.

        - `path`: the file, or the file as it was parsed.

        Raises `SpecError` or `PlanError` with every mistake at once, each with its line and column.
        """
        parsed = path if isinstance(path, ParsedFile) else parse_file(path)
        own: dict[str, Any] = {"personas": personas, "tools": tools, "functions": functions, "routing": routing}
        return cls.from_text(parsed.text, parsed.file, **own, where_gone=where_gone, parsed=parsed)

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
        """Return the squad of Python objects. `from_text` says what all else is.

        - `squad`: what the YAML would hold.
        """
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
        """Return the squad of a YAML text.

        - `text`: the squad file's text.
        - `name`: stands for the file in messages.
        - `personas`: the caller's own, beside the library's, by name; they win where names are equal.
        - `tools`: the caller's own, beside the built-in ones; they win where names are equal. A plain function is taken
          for the tool that it makes; `ToolFault` is raised where it cannot be described to a model.
        - `functions`: conditions that a conversation's `terminate` may name.
        - `routing`: the routing file, or what it says; None: the built-in policy.
        - `sources`: texts, as the method of that name returned them: no file is read.
        - `where_gone`: the same texts, for a persona's file that no longer exists.
        - `parsed`: the tree of the text, where the caller has it.
        """
        own_tools = as_tools(tools)
        given = Beside(
            personas or {},
            routing if isinstance(routing, Mapping) else None,
            sources,
            tools=own_tools,
            where_gone=where_gone or {},
        )
        given.texts.update(files_gone(where_gone or {}, Path(name).parent))
        if sources is not None:
            personas, own_tools = {**personas_in(sources), **(personas or {})}, (*tools_in(sources), *own_tools)
        policy, catalog = load_routing(routing, texts=given.texts) if sources is None else recorded_routing(sources)
        spec, node, found = spec_of(given.whole(parsed or parse_text(text, name)))
        catalog = catalog.serving_pinned(name for agent in spec.agents.values() for name in agent.models)
        own = library(given, Path(name).parent, personas or {})
        file = None if routing is None or isinstance(routing, Mapping) else Path(routing)
        squad = cls(spec, name, own, own_tools, policy, catalog, functions or {}, (), node, tuple(found))
        definitions = definitions_in(sources or {})
        squad = replace(squad, text=text, routing_file=file, _given=given, definitions=definitions)
        return squad._with_declared()._resolved()

    def _resolved(self) -> Self:
        """Return the squad with its plan, and what its sub-squads bring along. Raise `PlanError`."""
        outline, warnings = self._resolve()
        squad, inner = self, self._inner.values()
        if inner:
            agents = outline.agents.values()
            catalog = self.catalog.serving_pinned(name for agent in agents for name in pinned_by(agent))
            declared = (*self.declared, *(one for squad in inner for one in squad.declared))
            declared = tuple({one.name: one for one in declared}.values())
            squad = replace(self, catalog=catalog, declared=declared, _digests=self._all_digests())
        return replace(squad, warnings=tuple(warnings), _outline=outline)

    def _all_digests(self) -> dict[str, str]:
        """Return the digests of the tools that its files and those of its sub-squads declare."""
        inner = self._inner.values()
        return {**self._digests, **{name: sha256 for one in inner for name, sha256 in one._digests.items()}}

    def files(self) -> tuple[Path, ...]:
        """Return the files that the squad was read from: its own, its personas', and the routing file."""
        own = [Path(self.file)] if Path(self.file).is_file() else []
        routing = [] if self.routing_file is None else [self.routing_file]
        return tuple(dict.fromkeys([*own, *routing, *map(Path, self._given.texts)]))

    def own_personas(self) -> dict[str, Sequence[str]]:
        """Return the personas of the folder `personas` beside the squad, each with its file; several are a mistake."""
        folder = self._given.persona_folder(Path(self.file).parent)
        return {name: folder.files_of(name) for name in folder.names() if name not in self._given.personas}

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
            given.told,
        )
        found = with_includes(found, given.included)
        for path, inner in self._inner.items():
            found = with_squad(found, path, inner.text, replace(inner, tools=self.tools).sources())
        return with_definitions(with_digests(found, self._digests), self.definitions)

    def builtin(
        self, files: RunFolder | None, protected: Protected | None = None, origins: FileOrigins | None = None
    ) -> SquadTools:
        """Return the built-in tools, bound to the run's folder, or to the workspaces of the squad and its sub-squads.

        `protected` names what is never written there; `origins`: whose words files there hold.
        """
        return squad_tools(self.workspaces(), Path(self.file).parent, files, protected, origins)

    def workspaces(self) -> dict[str, Workspace]:
        """Return the folders that tools for files work on: its sub-squads', by the tasks that these are, and its own
        (by "")."""
        return workspaces_in(self.outline(), self.workspace)

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

    def _with_declared(self) -> Self:
        """Return the squad with the tools, the workspace and the memory that its file declares."""
        findings = Findings.after(self._node, self._found)
        known = self.spec, self.file, self.routing_file
        tools, declared, digests = tools_beside(*known, self.tools, self._given, findings)
        on_disk = self._given.sources is None
        workspace = workspace_of(self.spec.workspace, self.file, findings, on_disk=on_disk)
        beside = Path(self.file).parent if on_disk and not self._given.where_gone else None
        check_memory(self.spec, beside, self.catalog, findings)
        bound = replace(self, tools=tools, declared=declared, workspace=workspace, _digests=digests)
        return replace(bound, _found=tuple(findings.found))

    def warnings_in(self, environ: Mapping[str, str]) -> Sequence[Problem]:
        """Return the warnings, with those of a run under these variables: of embedding models without a key."""
        findings = Findings(self._node)
        without_key(self.spec, findings, self.catalog, environ)
        return in_order([*self.warnings, *findings.found])

    @property
    def mcp(self) -> dict[str, McpEntry]:
        """The MCP servers that the squad and its sub-squads name."""
        inner = {name: entry for squad in self._inner.values() for name, entry in squad.mcp.items()}
        return {**inner, **{name: McpEntry(spec, self.file) for name, spec in self.spec.mcp.items()}}

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
        inner = {path: squad.with_mcp(known) for path, squad in self._inner.items()}
        return replace(self, definitions=known, _inner=inner)._resolved()

    def plan(
        self, inputs: Mapping[str, Any] | None = None, tools: SquadTools | None = None, edition: int = EDITION
    ) -> Plan:
        """Return the plan of a run with these inputs, defaults filled in. Raise `PlanError` where one does not fit.

        - `inputs`: values by name. A file is given as a `Path`, which is read now, as bytes or as its text; an image as
          a `Path` or bytes.
        - `tools`: the built-in ones, bound to the run's folder.
        - `edition`: the number of the rules by which the run goes.
        """
        outline = self.outline() if edition == EDITION else self._resolve(edition)[0]
        given = read_paths(self.spec.inputs, inputs or {})
        known = (self.spec, self._node, self._found, self.warnings, self._default)
        plan = with_inputs(outline, given, *known)
        return plan if tools is None else with_tools_of(plan, tools.without(*(tool.name for tool in self.tools)).of)

    def _default(self, path: str, kind: InputType) -> RawInput | UnreadInput:
        return self._given.default(Path(self.file).parent, path, kind)

    def foresee(self, plan: Plan | None = None) -> None:
        """Raise `PlanError` with what is sure to fail in a run of this plan; None: in each, whatever its inputs.

        That is what needs no model to be known: lists that are too long, texts that cannot be rendered, bad paths.
        """
        if plan is None:
            check_defaults(self.spec, self._node, self._default)
        refuse_foreseen(plan or self.outline(), self._node, is_checked=plan is None)

    def outline(self) -> Plan:
        """Return the plan as it stands before any input is given: to be shown, not to be run."""
        assert self._outline is not None, "`from_text` resolves the squad"
        return self._outline

    def check_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of these inputs; others may be missing. Raise `PlanError` where one does not fit."""
        return check_given(self.spec, self._node, inputs)

    def coerce(self, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Return inputs that were given as text, or read as bytes, each as its declared type.

        `plan` reports those that do not fit.
        """
        return coerce_inputs(self.spec.inputs, pairs)

    def _resolve(self, edition: int = EDITION) -> tuple[Plan, list[Problem]]:
        beside = Path(self.file).parent
        plan, warnings = resolve(
            self.spec,
            self._node,
            personas=self.personas,
            tools=builtin(None, self.workspace).plus(*(one.tool for one in self.declared), *self.tools),
            tiers=self.policy.tiers,
            models=frozenset(self.catalog.names()),
            found=self._found,
            read_persona=partial(self._given.persona, beside),
            read_prompt=partial(self._given.prompt, beside),
            functions=self.functions,
            why_unanswerable=None if self.spec.offline == "always" else prover(self.policy, self.catalog),
            edition=edition,
            definitions=self.definitions,
            read_squad=partial(self._read_squad, edition=edition),
            own_personas=self.own_personas(),
        )
        warnings = in_order([*warnings, *not_sent(self.spec, self._node, self.catalog)])
        digests = self._all_digests()
        used = {one.name: digests[one.name] for one in tools_used(plan) if one.name in digests}
        if self._inner:  # a sub-squad's plan may be of before its tools were loaded
            plan = with_tools(plan, {one.name: one for one in self.tools})
        return replace(plan, tool_sources=used), warnings

    def _read_squad(self, path: str, *, edition: int) -> InnerSquad:
        """A sub-squad's file stands beside the squad's, or below."""
        if path not in self._inner:
            inner = self._opened(path)
            refuse_clashes(path, self._known(), inner._known())
            self._inner[path] = inner
        inner = self._inner[path]
        plan = inner.outline() if edition == EDITION else inner._resolve(edition)[0]
        return InnerSquad(inner.spec, inner._node, plan, inner.warnings, inner.workspace)

    def _opened(self, path: str) -> Squad:
        given, file = self._given, Path(self.file).parent / path
        above = refuse_unfit(path, file, (*given.above, self.file), on_disk=given.sources is None)
        text, own = given.inner(path, file, above)
        spec, node, found = spec_of(own.whole(parse_text(text, str(file))))
        tools = given.tools if own.sources is None else (*tools_in(own.sources), *given.tools)
        catalog = self.catalog.serving_pinned(name for agent in spec.agents.values() for name in agent.models)
        personas = library(own, file.parent, self._given.personas)
        squad = Squad(spec, str(file), personas, tools, self.policy, catalog, self.functions, (), node, ())
        definitions = definitions_in(own.sources or {})
        squad = replace(squad, _found=tuple(found), text=text, _given=own, definitions=definitions)
        return squad._with_declared()._resolved()

    def _known(self) -> dict[str, Hashable]:
        """Return what each MCP server and each tool is, by what messages call it."""
        known: dict[str, Hashable] = {f"has an MCP server '{name}'": one.identity for name, one in self.mcp.items()}
        for squad in self._inner.values():
            known |= squad._known()
        used = builtin_used(self.spec, self.tools, self._digests) if self._given.sources is None else ()
        return known | {f"has a tool '{name}'": it for name, it in {**self._digests, **dict.fromkeys(used)}.items()}


def library(given: Beside, folder: Path, own: Mapping[str, Mapping[str, Any]]) -> Personas:
    """Return the personas that a squad in this folder may name: the caller's `own`, those beside it, the packaged."""
    return Personas(first_of(in_memory(own), given.persona_folder(folder), packaged()))
