"""A pool of agents that are spread over providers, each at one piece of work at a time.

    pool = create_balanced_agent_pool(manager, persona, sizes={"groq": 2, "openai": 3, "gemini": 2})
    results = await pool.map(briefs)

Where an instance goes, and which model it asks, is decided by pure functions; `AgentPool` holds who is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from agents.agent import Agent
from agents.complexity import COMPLEXITIES, TIERS, Complexity, complexity_of
from agents.loop import WorkResult
from agents.run_context import Complete, RunContext
from agents.tools import Tool
from providers.catalog.model import Candidate, of_all_accounts
from providers.documents.problems import nearest
from providers.errors import RoutingError
from providers.messages import Message, OutputSchema, user
from providers.policy.model import Policy

if TYPE_CHECKING:
    from personas.persona import Persona

NOWHERE = RunContext()
MOST = 10_000
"""Instances of one pool."""


class Manager(Complete, Protocol):
    """Who answers, and whom it may ask: a `ProviderManager`."""

    @property
    def candidates(self) -> tuple[Candidate, ...]: ...
    @property
    def policy(self) -> Policy: ...


def spread(size: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Return how many of `size` instances each provider gets: its share by weight, the largest remainders rounded up.

    The numbers add up to `size`. Of equal remainders the earlier provider's is rounded up first; a weight of 0 gets
    none. Raise `ValueError` where no weight is positive, or one is negative or not finite.
    """
    if any(not 0 <= weight < inf for weight in weights.values()) or not any(weights.values()):
        raise ValueError("weights are numbers of at least 0, and one is above it")
    total = sum(weights.values())
    exact = {name: size * weight / total for name, weight in weights.items()}
    sizes = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted((name for name in exact if weights[name]), key=lambda name: sizes[name] - exact[name])
    for name in by_remainder[: size - sum(sizes.values())]:
        sizes[name] += 1
    return sizes


def models_for(
    complexity: Complexity, provider: str, candidates: Sequence[Candidate], policy: Policy
) -> tuple[str, ...]:
    """Return the models of one provider: those that suffice, the cheapest first, then the rest, the ablest first.

    How able a model is, its tier says (`TIERS`): a simple request takes any model, a complex one a model that the
    policy names under `boss`. An unknown price counts as the highest.
    """
    own = {of_all_accounts(one.name): one for one in candidates if one.provider.name == provider}
    rank = {name: _rank(name, policy) for name in own}
    needed = COMPLEXITIES.index(complexity)

    def order(name: str) -> tuple[int, float]:
        return max(needed - rank[name], 0), _price(own[name])

    return tuple(sorted(own, key=order))


def providers_for(complexity: Complexity, candidates: Sequence[Candidate], policy: Policy) -> frozenset[str]:
    """Return the providers that have a model which suffices."""
    needed = COMPLEXITIES.index(complexity)
    able = (one for one in candidates if _rank(of_all_accounts(one.name), policy) >= needed)
    return frozenset(one.provider.name for one in able)


def _rank(name: str, policy: Policy) -> int:
    spelled = {name, f"{name.partition('/')[0]}/*"}
    return max((TIERS[tier] for tier in TIERS if not spelled.isdisjoint(policy.tiers.get(tier, ()))), default=0)


def _price(candidate: Candidate) -> float:
    price = candidate.model.price
    return inf if price is None else price.input + 3 * price.output  # answers are dearer, and what agents pay for


@dataclass(slots=True, eq=False)
class Instance:
    """One place of the pool. `name` ("dev-3") is its agent's; `done` counts its ended works."""

    name: str
    provider: str
    is_free: bool = True
    done: int = 0
    failed: int = 0


def choose_instance(
    free: Sequence[Instance], prefer: Sequence[str] = (), able: Collection[str] | None = None
) -> Instance:
    """Return the instance that works next.

    It is of the first preferred provider that has a free one; else of an `able` provider, where one is free; else of
    any. Of several providers that one is taken of which most are free, and of its instances the one that has failed
    and done least.
    """
    preferred = next((own for name in prefer if (own := [one for one in free if one.provider == name])), None)
    fit = preferred or [one for one in free if able is None or one.provider in able] or free
    count = Counter(one.provider for one in fit)
    return max(fit, key=lambda one: (count[one.provider], -one.failed, -one.done))


@dataclass(slots=True)
class AgentPool:
    """Agents of one persona, spread over providers. Made by `create_balanced_agent_pool`.

    Each instance does one work at a time; who finds none free waits in line. A work asks its instance's provider
    first, with the cheapest of its models that suffices, and then the policy's last resort: a provider that is down
    costs no work. Safe to use from many tasks of one event loop.
    """

    agent: Agent
    """What all instances share: persona, tools, limits."""
    manager: Manager
    """Who answers their turns."""
    instances: tuple[Instance, ...]
    """The agents of the pool, each with its provider."""
    prefer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By type of task the providers that are asked first."""
    _line: anyio.Semaphore | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Return how many instances each provider has."""
        return dict(Counter(one.provider for one in self.instances))

    @asynccontextmanager
    async def lease(self, *, complexity: Complexity = "standard", task_type: str | None = None) -> AsyncIterator[Agent]:
        """Wait for a free instance and hold it: `async with pool.lease() as agent: await agent.work(...)`."""
        if self._line is None:
            self._line = anyio.Semaphore(len(self.instances))  # made here, for it belongs to an event loop
        async with self._line:
            free = [one for one in self.instances if one.is_free]
            able = providers_for(complexity, self.manager.candidates, self.manager.policy)
            chosen = choose_instance(free, self.prefer.get(task_type or "", ()), able)
            chosen.is_free = False
            try:
                yield self._agent(chosen, complexity)
            except RoutingError:
                chosen.failed += 1
                raise
            finally:
                chosen.is_free = True
                chosen.done += 1

    async def work(
        self,
        brief: str | Message,
        ctx: RunContext = NOWHERE,
        *,
        output_schema: OutputSchema | Mapping[str, Any] | None = None,
        history: tuple[Message, ...] = (),
        complexity: Complexity | None = None,
        task_type: str | None = None,
    ) -> WorkResult:
        """Return what an instance made of `brief`.

        - `complexity`: chooses among the models of its provider; None: it is guessed from the words of `brief`.
        - `task_type`: looked up in `prefer`.
        """
        asked = user(brief) if isinstance(brief, str) else brief
        if complexity is not None and complexity not in COMPLEXITIES:
            raise ValueError(f"complexity is one of {', '.join(COMPLEXITIES)}; not {complexity!r}")
        level = complexity or complexity_of((*history, asked), tools=len(self.agent.tools))
        async with self.lease(complexity=level, task_type=task_type) as agent:
            return await agent.work(asked, ctx, output_schema=output_schema, history=history)

    async def map(self, briefs: Iterable[str | Message], **options: Any) -> list[WorkResult]:
        """Return the results of all briefs in their order; as many at work as there are instances.

        `options` are those of `work`. The first failure stops the others, and is raised.
        """
        given = list(briefs)
        results: dict[int, WorkResult] = {}

        async def one(index: int, brief: str | Message) -> None:
            results[index] = await self.work(brief, **options)

        try:
            async with anyio.create_task_group() as group:
                for index, brief in enumerate(given):
                    group.start_soon(one, index, brief)
        except BaseExceptionGroup as failed:
            errors, cancelled = failed.split(Exception)
            if errors is None or cancelled is not None:
                raise
            raise errors.exceptions[0] from failed
        return [results[index] for index in range(len(given))]

    def _agent(self, instance: Instance, complexity: Complexity) -> Agent:
        chain = models_for(complexity, instance.provider, self.manager.candidates, self.manager.policy)
        return replace(self.agent, name=instance.name, chain=chain)


def create_balanced_agent_pool(
    manager: Manager,
    persona: Persona,
    *,
    sizes: Mapping[str, int] | None = None,
    size: int | None = None,
    name: str | None = None,
    tools: Sequence[Tool | Callable[..., Any]] = (),
    prefer: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> AgentPool:
    """Return a pool of agents of one persona, spread over providers.

    - `manager`: answers their turns, as `open_manager` makes it.
    - `persona`: who all of them are.
    - `sizes`: how many agents each provider has, by its name.
    - `size`: without `sizes`, how many agents there are: spread by the weights of the routing file, else evenly over
      all configured providers.
    - `name`: the agents' name in events; None: the persona's.
    - `tools`: what each of them may call.
    - `prefer`: by type of task the providers to ask first, beside the `task_types` of the routing file.
    - `options`: other fields of `Agent`, as `max_turns=4`.

    Raise `ValueError` for a provider that is not configured, for sizes below 0, and for a pool without agents.
    """
    policy = manager.policy
    providers = dict.fromkeys(one.provider.name for one in manager.candidates)
    if (sizes is None) == (size is None):
        raise ValueError("say either sizes={'provider': 2, ...} or size=7")
    for count in (size,) if sizes is None else sizes.values():
        if isinstance(count, bool) or not isinstance(count, int):
            raise ValueError(f"a size is a whole number of instances; not {count!r}")
    if sizes is None:
        weights = {one: policy.weights.get(one, 0.0 if policy.weights else 1.0) for one in providers}
        sizes = spread(size or 0, weights)
    _check(sizes, providers, prefer or {})
    base = name or persona.name
    places = [provider for provider, count in sizes.items() for _ in range(count)]
    instances = tuple(Instance(f"{base}-{number}", provider) for number, provider in enumerate(places, 1))
    preferred = {**policy.task_types, **{kind: tuple(named) for kind, named in (prefer or {}).items()}}
    return AgentPool(Agent(base, persona, manager, tools, **options), manager, instances, preferred)


def _check(sizes: Mapping[str, int], providers: Collection[str], prefer: Mapping[str, Sequence[str]]) -> None:
    """Raise `ValueError` for sizes that make no pool."""
    for provider in (*sizes, *(one for named in prefer.values() for one in named)):
        if provider not in providers:
            raise ValueError(f"no provider {provider!r} is configured ({nearest(provider, providers)})")
    if any(count < 0 for count in sizes.values()) or not 0 < sum(sizes.values()) <= MOST:
        raise ValueError(f"a pool has from 1 to {MOST} instances; these are the sizes: {dict(sizes)}")
