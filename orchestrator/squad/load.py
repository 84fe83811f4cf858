"""A squad as users hold it: read from a file, a text or Python objects, and checked whole before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from providers.catalog.model import Candidate, Catalog, load_catalog, of_all_accounts
from providers.documents.problems import SpecError
from providers.documents.unicode import clean_json
from providers.errors import CatalogError
from providers.policy.model import Policy, default_policy, parse_policy

# What reads and checks a squad file brings pydantic, Jinja and YAML: it is loaded when a file is read, so that
# importing the package stays quick.
if TYPE_CHECKING:
    from agents.tools import Registry, Tool
    from orchestrator.squad.plan import AgentPlan, Plan
    from orchestrator.squad.spec import SquadSpec
    from personas import Personas
    from personas.sources import Source
    from providers.documents.nodes import Node
    from providers.documents.problems import Problem

ROUTING_FILE = "agent_routing.yaml"
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
    _outline: Plan | None = field(default=None, repr=False)
    """The plan without inputs: the squad is resolved once, when it is read."""

    @property
    def name(self) -> str:
        return self.spec.name

    @classmethod
    def from_file(cls, path: Path | str, **options: Any) -> Self:
        """Return the squad of a YAML file; `options` are those of `from_text`.

        Raises `SpecError` or `PlanError` with every mistake at once, each with its line and column.
        """
        from providers.documents.yaml import read_text

        return cls.from_text(read_text(path), str(path), **options)

    @classmethod
    def from_mapping(cls, squad: Mapping[str, Any], name: str = "<squad>", **options: Any) -> Self:
        """Return the squad of Python objects that hold what the YAML would; `options` are those of `from_text`."""
        from providers.documents.yaml import write_tree

        return cls.from_text(write_tree(clean_json(squad)), name, **options)

    @classmethod
    def from_text(
        cls,
        text: str,
        name: str = "<text>",
        *,
        personas: Mapping[str, Mapping[str, Any]] | None = None,
        tools: Iterable[Tool] = (),
        functions: Mapping[str, Callable[..., bool]] | None = None,
        routing: Path | str | Mapping[str, Any] | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the squad of a YAML text; `name` stands for it in messages.

        `personas` and `tools` are the caller's own, beside the built-in ones; they win where names are equal.
        `functions` are conditions that a conversation's `terminate` may name. `routing` is the policy, or its file.
        With `sources`, as the method of that name returned them, no file is read.
        """
        from orchestrator.squad.spec import parse_spec
        from personas import Personas, first_of, in_memory, packaged

        given = _Given(personas or {}, routing if isinstance(routing, Mapping) else None, sources)
        if sources is not None:
            from orchestrator.squad.sources import personas_in, tools_in

            personas, tools = {**personas_in(sources), **(personas or {})}, (*tools_in(sources), *tools)
        policy, catalog = load_routing(routing, texts=given.texts) if sources is None else _recorded_routing(sources)
        spec, node, found = parse_spec(text, name)
        catalog = _serving(catalog, (agent.model for agent in spec.agents.values()))
        source: Source = packaged()
        if personas:
            source = first_of(in_memory(personas), source)
        own = Personas(source)
        file = None if routing is None or isinstance(routing, Mapping) else Path(routing)
        squad = cls(spec, name, own, tuple(tools), policy, catalog, functions or {}, (), node, tuple(found))
        squad = replace(squad, text=text, routing_file=file, _given=given)
        outline, warnings = squad._resolve()
        return replace(squad, warnings=tuple(warnings), _outline=outline)

    def routing_now(self) -> tuple[Policy, Catalog]:
        """Return what the routing file says now. Raise `SpecError` with every mistake in it."""
        policy, catalog = load_routing(self.routing_file)
        return policy, _serving(catalog, (agent.model for agent in self.spec.agents.values()))

    def sources(self) -> Mapping[str, str]:
        """Return the texts of all that the squad's own text refers to. Raise `SpecError` where a file cannot be read.

        `from_text` makes the same squad of them where the files, the personas and the tools are not at hand.
        """
        from orchestrator.squad.sources import gather

        given = self._given
        if given.sources is not None:
            return given.sources
        return gather(
            self.spec,
            Path(self.file).parent,
            given.routing or self.routing_file,
            given.personas,
            self.tools,
            given.texts,
        )

    def plan(self, inputs: Mapping[str, Any] | None = None, tools: Registry | None = None) -> Plan:
        """Return the plan of a run with these inputs, defaults filled in. Raise `PlanError` where one does not fit.

        `tools` are the built-in ones, bound to the run's folder.
        """
        from orchestrator.squad.resolve import with_inputs, with_tools

        plan = with_inputs(self.outline(), inputs or {}, self.spec, self._node, self._found, self.warnings)
        return plan if tools is None else with_tools(plan, tools.without(*(tool.name for tool in self.tools)))

    def outline(self) -> Plan:
        """Return the plan as it stands before any input is given: to be shown, not to be run."""
        assert self._outline is not None, "`from_text` resolves the squad"
        return self._outline

    def coerce(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Return inputs that were given as text, each as its declared type; `plan` reports those that do not fit."""
        from orchestrator.squad.inputs import coerce_inputs

        return coerce_inputs(self.spec, pairs)

    def _resolve(self) -> tuple[Plan, list[Problem]]:
        from agents.tools import builtin
        from orchestrator.squad.resolve import resolve

        return resolve(
            self.spec,
            self._node,
            personas=self.personas,
            tools=builtin(None).plus(*self.tools),
            tiers=self.policy.tiers,
            models=frozenset(self.catalog.names()),
            found=self._found,
            read_persona=self._read_persona,
            functions=self.functions,
            why_nobody=None if self.spec.offline == "always" else _prover(self.policy, self.catalog),
        )

    def _read_persona(self, path: str) -> Mapping[str, Any]:
        """A persona's file stands beside the squad's."""
        if self._given.sources is not None:
            from orchestrator.squad.sources import persona_in

            return persona_in(self._given.sources, path)
        from orchestrator.squad.sources import read_once
        from providers.documents.yaml import mapping_in

        file = Path(self.file).parent / path
        plain: Mapping[str, Any] = mapping_in(read_once(file, self._given.texts), str(file)).plain()
        return plain


def _prover(policy: Policy, catalog: Catalog) -> Callable[[AgentPlan], str]:
    """Return a function that says why, were there a key to every model, none could answer an agent; empty: one could.

    What the routing filters by is asked of it: what a model can do, and whom the policy leaves out.
    """
    from providers.messages import Ability, Needs, Request
    from providers.routing.choice import Refuse, choose
    from providers.routing.fleet import Fleet

    rows = catalog.providers.values()
    fleet = Fleet((Candidate(row, model) for row in rows for model in row.models.values()), policy)

    def why(agent: AgentPlan) -> str:
        tier = agent.tier or agent.persona.tier
        abilities = frozenset({Ability.TOOLS} if agent.tools else ())
        needs = Needs(agent.id, agent.persona.name, tier, agent.model, abilities=abilities)
        decision = choose(fleet, Request((), needs=needs), 0.0)
        if not isinstance(decision, Refuse) or tier not in (None, *policy.tiers):
            return ""
        if any(name != of_all_accounts(name) for name in decision.reasons):
            return ""  # which accounts there are is known by the keys alone
        told = [f"{name} {reason}" for name, reason in decision.reasons.items()]
        return "; ".join(told[:TOLD]) + (f"; and {len(told) - TOLD} more" if len(told) > TOLD else "")

    return why


def _serving(catalog: Catalog, pinned: Iterable[str | None]) -> Catalog:
    """Return the catalog with the pinned models of providers that serve whatever is loaded: a local server's."""
    for name in filter(None, pinned):
        provider, _, model = of_all_accounts(name).partition("/")
        row = catalog.providers.get(provider)
        if model and row is not None and row.any_model and catalog.find(of_all_accounts(name)) is None:
            catalog = catalog.serving(provider, model)
    return catalog


def load_routing(
    routing: Path | str | Mapping[str, Any] | None,
    catalog: Catalog | None = None,
    texts: dict[str, str] | None = None,
) -> tuple[Policy, Catalog]:
    """Return the policy and the catalog with its overlays: of a file, of a mapping, or the built-in ones.

    `catalog` is what is laid over, instead of the packaged one; `texts` keeps the text of a file that is read. Raises
    `SpecError` with every mistake in the file, each with its line and column.
    """
    catalog = load_catalog() if catalog is None else catalog
    if routing is None:
        return default_policy(catalog), catalog
    if isinstance(routing, Mapping):
        return parse_policy(routing, catalog)
    from orchestrator.squad.sources import read_once
    from providers.documents.yaml import mapping_in

    text = read_once(Path(routing), {} if texts is None else texts)
    return _read_routing(mapping_in(text, str(routing)), catalog)


def _recorded_routing(sources: Mapping[str, str]) -> tuple[Policy, Catalog]:
    from orchestrator.squad.sources import routing_in

    catalog, root = load_catalog(), routing_in(sources)
    return (default_policy(catalog), catalog) if root is None else _read_routing(root, catalog)


def _read_routing(root: Node, catalog: Catalog) -> tuple[Policy, Catalog]:
    from providers.documents.yaml import problems_at

    try:
        return parse_policy(root.plain(), catalog)
    except CatalogError as error:
        raise SpecError(problems_at(root, error.problems, "routing")) from None
