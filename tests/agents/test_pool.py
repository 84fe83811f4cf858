"""Agents spread over providers: how many each gets, which model an instance asks, and who works next."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import create_balanced_agent_pool
from agents.pool import Instance, Manager, choose_instance, models_for, providers_for, spread
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.errors import Overloaded
from providers.messages import Capability, Request
from providers.policy.model import Policy
from providers.stub.scripted import Scripted
from tests.agents.conftest import Voice

pytestmark = pytest.mark.anyio

PRICES = {"small": 1.0, "middle": 5.0, "large": 20.0}
TIERS = {
    "boss": ("a/large", "b/large"),
    "worker": ("a/middle", "b/middle", "c/middle"),
    "fallback": ("a/small", "b/small", "c/small"),
}


def manager(answer: Any = None, **policy: Any) -> tuple[Scripted, ProviderManager]:
    """Three providers with three models each; `answer` is given to every request."""
    known = []
    for name in "abc":
        models = {size: Model(size, 100_000, 1000, frozenset(Capability), Price(p, p)) for size, p in PRICES.items()}
        provider = Provider(name, "local", "", None, models)
        known += [Candidate(provider, model) for model in models.values()]
    script = Scripted([answer or "done"] * 200)
    return script, ProviderManager(known, Policy(TIERS, **policy), adapters={"local": script}, rng=Random(1))


@given(st.integers(0, 500), st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1e6), min_size=1, max_size=8))
def test_the_numbers_add_up_and_each_is_its_share_rounded(size: int, weights: dict[str, float]) -> None:
    if not any(weights.values()):
        with pytest.raises(ValueError, match="weights"):
            spread(size, weights)
        return
    sizes, total = spread(size, weights), sum(weights.values())
    assert sum(sizes.values()) == size
    assert all(abs(sizes[name] - size * weight / total) < 1.001 for name, weight in weights.items())
    assert all(sizes[name] == 0 for name, weight in weights.items() if not weight)


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_that_are_none_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        spread(3, weights)


@pytest.mark.parametrize(
    ("complexity", "models"),
    [
        ("simple", ("a/small", "a/middle", "a/large")),
        ("standard", ("a/middle", "a/large", "a/small")),
        ("complex", ("a/large", "a/middle", "a/small")),
    ],
)
def test_the_cheapest_model_that_suffices_is_asked_then_abler_ones_then_the_rest(
    complexity: Any, models: tuple[str, ...]
) -> None:
    _, known = manager()
    assert models_for(complexity, "a", known.candidates, known.policy) == models


def test_a_model_whose_price_is_unknown_comes_after_those_whose_price_is_known() -> None:
    models = {"new": Model("new", 1000, 100), "old": Model("old", 1000, 100, price=Price(9, 9))}
    provider = Provider("a", "local", "", None, models)
    known = [Candidate(provider, model) for model in models.values()]
    assert models_for("standard", "a", known, Policy({"worker": ("a/new", "a/old")})) == ("a/old", "a/new")


def test_sizes_are_taken_as_they_are_and_a_total_is_spread_by_the_weights() -> None:
    _, known = manager(weights={"a": 2.0, "b": 3.0, "c": 2.0})
    pool = create_balanced_agent_pool(known, Voice(), sizes={"a": 2, "b": 3, "c": 2})
    assert pool.sizes == {"a": 2, "b": 3, "c": 2}
    assert [one.name for one in pool.instances] == [f"dev-{number}" for number in range(1, 8)]
    assert create_balanced_agent_pool(known, Voice(), size=14).sizes == {"a": 4, "b": 6, "c": 4}
    _, even = manager()
    assert create_balanced_agent_pool(even, Voice(), size=4).sizes == {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "size=7"),
        ({"size": 1, "sizes": {"a": 1}}, "size=7"),
        ({"sizes": {"groq": 1}}, r"no provider 'groq' is configured \(known here: a, b, c\)"),
        ({"sizes": {"a": -1, "b": 3}}, "from 1 to 10000 instances"),
        ({"size": 2.5}, "a whole number"),
        ({"sizes": {"a": 1.5}}, "a whole number"),
        ({"size": 0}, "from 1 to 10000 instances"),
        ({"size": 100_000}, "from 1 to 10000 instances"),
        ({"size": 1, "prefer": {"code": ["x"]}}, "no provider 'x'"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        create_balanced_agent_pool(manager()[1], Voice(), **options)


def test_who_works_next_is_of_the_provider_with_most_free_ones_or_of_a_preferred_one() -> None:
    free = [Instance("1", "a"), Instance("2", "b", done=1), Instance("3", "b"), Instance("4", "c")]
    assert choose_instance(free).name == "3"
    assert choose_instance(free, ("c", "a")).name == "4"
    assert choose_instance(free[:1], ("c",)).name == "1", "a preference is no reason to wait"
    assert choose_instance(free, able={"a", "c"}).name in {"1", "4"}
    assert choose_instance(free[:1], able={"b"}).name == "1", "nor is it that no able one is free"


async def test_each_instance_does_one_work_at_a_time_and_all_providers_share() -> None:
    at_work = {"now": 0, "most": 0}
    script, known = manager()
    pool = create_balanced_agent_pool(known, Voice(), sizes={"a": 2, "b": 1, "c": 1})

    async def hold() -> None:
        async with pool.lease() as agent:
            at_work["now"] += 1
            at_work["most"] = max(at_work["most"], at_work["now"])
            await agent.work("Do it.")
            await anyio.lowlevel.checkpoint()
            at_work["now"] -= 1

    async with anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(hold)
    assert at_work == {"now": 0, "most": 4}
    asked = [request.needs.chain[0].partition("/")[0] for request in script.requests]
    assert {name: asked.count(name) for name in "abc"} == pytest.approx({"a": 20, "b": 10, "c": 10}, abs=3)
    assert all(one.is_free for one in pool.instances)


async def test_results_come_in_the_order_of_the_briefs_with_a_model_by_complexity() -> None:
    def answer(request: Request) -> str:
        return f"{request.needs.chain[0].partition('/')[2]}: {request.messages[-1].text[:9]}"

    _, known = manager(answer)
    pool = create_balanced_agent_pool(known, Voice(), size=3)
    hard = "Design the architecture, compare the trade-offs and plan the migration; say why. " * 3
    results = await pool.map(["Translate this: hello.", hard])
    assert [one.text for one in results] == ["small: Translate", "large: Design th"]
    assert (await pool.work("Translate.", complexity="complex")).text.startswith("large")


async def test_a_provider_that_is_down_costs_no_work() -> None:
    def answer(request: Request) -> Any:
        return "done"

    class Down(Scripted):
        def respond(self, request: Request, candidate: Candidate) -> Any:
            if candidate.provider.name == "a":
                raise Overloaded("down")
            return super().respond(request, candidate)

    _, healthy = manager()
    down = Down([answer] * 50)
    known = ProviderManager(healthy.candidates, healthy.policy, adapters={"local": down}, rng=Random(1))
    pool = create_balanced_agent_pool(known, Voice(), sizes={"a": 1, "b": 1})
    results = await pool.map(["Do it."] * 12)
    assert {one.provider for one in results} == {"b", "c"} or {one.provider for one in results} == {"b"}


async def test_an_instance_is_free_again_after_a_failure_and_after_a_cancellation() -> None:
    _, known = manager(lambda _: RuntimeError("broken"))
    pool = create_balanced_agent_pool(known, Voice(), size=1)
    with pytest.raises(RuntimeError, match="broken"):
        await pool.map(["One.", "Two."])
    with anyio.move_on_after(0):
        async with pool.lease():
            await anyio.sleep_forever()
    assert [one.is_free for one in pool.instances] == [True]
    async with pool.lease() as agent:
        assert agent.name == "dev-1"


def test_the_provider_manager_is_a_pools_manager() -> None:
    held: Manager = manager()[1]
    assert held.policy.tiers == TIERS


async def test_a_complexity_that_there_is_not_is_refused() -> None:
    pool = create_balanced_agent_pool(manager()[1], Voice(), size=3)
    with pytest.raises(ValueError, match="one of simple, standard, complex"):
        await pool.work("x", complexity="hard")  # type: ignore[arg-type]


def test_a_tier_that_names_all_models_of_a_provider_makes_them_able() -> None:
    _, asked = manager()
    policy = Policy({"boss": ("b/*",), "worker": ("a/small",)})
    assert providers_for("complex", asked.candidates, policy) == {"b"}
