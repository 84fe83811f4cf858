"""What choosing promises, on a virtual clock through `attempts`: shares, preferences, failover, and answers in time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random

import pytest

from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Limit, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, NoRoute, ServerFault, TimedOut, Unreachable
from providers.messages import Capability, FinishReason, Needs, Request, Response, Usage, assistant, user
from providers.policy.model import AgentPolicy, Policy
from providers.policy.parse import default_policy
from providers.routing.effects import Answered, Ended, Failed, Sleep, Try, Woke
from providers.routing.fleet import Fleet
from providers.routing.scores import replay
from providers.routing.turn import attempts
from providers.windows import Rolling

NOW = 1_000_000.0
ANSWER = Response(assistant("done"), FinishReason.STOP, Usage(20, output=20))


def candidate(name: str, *, hosted: bool = True, price: Price | None = None) -> Candidate:
    provider, _, model = name.partition("/")
    row = Model(model, 100_000, 4096, frozenset(Capability), price)
    return Candidate(Provider(provider, "any", "", None, {}, hosted=hosted), row)


def fleet(*names: str, local: Iterable[str] = (), **policy) -> Fleet:
    policy = {"tiers": {"worker": names}, "last_resort": ()} | policy
    return Fleet([candidate(name, hosted=name not in local) for name in names], Policy(**policy))


def ask(**needs) -> Request:
    return Request((user("hi"),), needs=Needs(**needs))


FIRST = 1
"""The number of an attempt, until it is known whose it is."""


def always(seconds: float) -> Callable[[str, float, Random], Ended]:
    return lambda _, now, __: Answered(now + seconds, FIRST, ANSWER)


@dataclass
class World:
    """Drives turns, each at its time, against modelled providers; counts who answered and how long it took."""

    crowd: Fleet
    says: Callable[[str, float, Random], Ended]
    seed: int = 1
    answered: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    lost: int = 0
    calls: Counter = field(default_factory=Counter)
    more: int = 0
    """So many further turns begin, each when one has ended."""

    def run(self, requests: Iterable[tuple[float, Request]]) -> World:
        dice, order = Random(self.seed), count()
        queue = [(at, next(order), at, request, None, None, "") for at, request in requests]
        heapq.heapify(queue)
        while queue:
            now, _, began, request, flow, outcome, who = heapq.heappop(queue)
            try:
                if flow is None:
                    flow = attempts(self.crowd, request, now, dice)
                    effect = next(flow)
                else:
                    effect = flow.send(outcome)
            except StopIteration:
                self.took.append(now - began)
                self.answered.append(who)
                if self.more:
                    self.more -= 1
                    heapq.heappush(queue, (now, next(order), now, request, None, None, ""))
            except (NoRoute, AllAttemptsFailed):
                self.lost += 1
            else:
                if isinstance(effect, Sleep):
                    outcome = Woke(effect.until)
                else:
                    outcome, who = self.ask(effect, now, dice), effect.candidate.name
                heapq.heappush(queue, (outcome.now, next(order), began, request, flow, outcome, who))
        return self

    def ask(self, effect: Try, now: float, dice: Random) -> Ended:
        self.calls[effect.candidate.name] += 1
        outcome = replace(self.says(effect.candidate.name, now, dice), number=effect.number)
        limit = now + effect.timeouts.first_token
        return outcome if outcome.now <= limit else Failed(limit, effect.number, TimedOut("slow", phase="first_token"))


def every(seconds: float, turns: int, request: Request | None = None) -> list[tuple[float, Request]]:
    return [(NOW + seconds * at, request or ask()) for at in range(turns)]


SHARES = {"a": 0.3, "b": 0.4, "c": 0.3}
PACE = {"slow/m": 3.0, "fast/m": 0.4, "middle/m": 1.2}


class TestWeights:
    def crowd(self, **weights) -> Fleet:
        return fleet("a/m", "b/m", "c/m", strategy="weighted", weights=SHARES | weights)

    @pytest.mark.long
    def test_shares_come_out_within_two_percent(self):
        world = World(self.crowd(), always(0.5)).run(every(0.1, 10_000))
        shares = {name: count / 10_000 for name, count in Counter(world.answered).items()}
        assert shares == {f"{name}/m": pytest.approx(share, rel=0.02) for name, share in SHARES.items()}

    @pytest.mark.long
    def test_slowness_takes_from_a_share_and_gives_it_back(self):
        def says(name: str, now: float, _: Random) -> Ended:
            return Answered(now + (5.0 if name == "c/m" and now < NOW + 500 else 0.0), FIRST, ANSWER)

        world = World(self.crowd(), says).run(every(0.1, 10_000))
        early, late = Counter(world.answered[1000:5000]), Counter(world.answered[6000:])
        assert early["c/m"] / 4000 == pytest.approx(0.2 / 0.9, rel=0.02), "5 s take a third of its weight"
        assert late == {f"{n}/m": pytest.approx(4000 * share, rel=0.02) for n, share in SHARES.items()}

    def test_errors_take_from_a_share(self):
        def says(name: str, now: float, dice: Random) -> Ended:
            if name == "b/m" and dice.random() < 0.2:
                return Failed(now, FIRST, ServerFault("oops"))
            return Answered(now, FIRST, ANSWER)

        crowd = self.crowd()
        world = World(crowd, says).run(every(0.1, 4000))
        assert world.lost == 0
        first = Counter(replay(ordering)[0] for ordering in crowd.orderings if len(ordering.names) == 3)
        assert 0.3 < first["b/m"] / first.total() < 0.39

    def test_weight_0_means_never_and_can_be_changed_while_it_runs(self):
        crowd = self.crowd(a=0.0)
        assert "a/m" not in World(crowd, always(0.5)).run(every(0.1, 500)).calls
        crowd.set_weight("a", 0.3)
        crowd.drain("b")
        assert World(crowd, always(0.5)).run(every(0.1, 500)).calls == {"a/m": 250, "c/m": 250}
        crowd.undrain("b")
        assert World(crowd, always(0.5)).run(every(0.1, 1000)).calls["b/m"] == pytest.approx(400, abs=3)

    def test_who_has_no_weight_serves_where_the_others_fail(self):
        crowd = fleet("x/m", "a/m", strategy="weighted", weights={"a": 1.0})
        down = World(
            crowd,
            lambda name, now, _: (
                Failed(now, FIRST, Unreachable("x")) if name == "a/m" else Answered(now, FIRST, ANSWER)
            ),
        )
        assert set(down.run(every(60.0, 5)).answered) == {"x/m"}
        assert down.calls["a/m"] >= 3

    def test_models_of_one_provider_share_its_weight(self):
        crowd = fleet("a/m", "a/n", "b/m", strategy="weighted", weights={"a": 0.5, "b": 0.5})
        assert World(crowd, always(0.5)).run(every(0.1, 400)).calls == {"a/m": 100, "a/n": 100, "b/m": 200}


class TestSpeed:
    def says(self, name: str, now: float, dice: Random) -> Ended:
        return Answered(now + PACE[name] * dice.uniform(0.8, 1.2), FIRST, ANSWER)

    def test_twenty_of_twenty_speed_critical_requests_on_the_fastest(self):
        world = World(fleet(*PACE), self.says)
        world.run([(NOW, ask(model=name)) for name in PACE])
        world.answered.clear()
        assert world.run(every(1.0, 20, ask(task_type="speed"))).answered == ["fast/m"] * 20

    def test_from_a_cold_start_where_the_policy_says_who_is_fast(self):
        world = World(fleet(*PACE, task_types={"speed": ("fast",)}), self.says)
        assert world.run(every(1.0, 20, ask(task_type="speed"))).answered == ["fast/m"] * 20

    def test_latency_spreads_load_by_speed(self):
        world = World(fleet(*PACE, strategy="latency"), self.says).run(every(0.05, 4000))
        count = Counter(world.answered)
        assert world.lost == 0
        assert count["fast/m"] > count["middle/m"] > count["slow/m"] > 0

    def test_a_provider_that_turns_slow_loses_traffic_within_a_second_of_its_first_late_answer(self):
        def says(name: str, now: float, _: Random) -> Ended:
            return Answered(now + (4.0 if name == "a/m" and now > NOW + 10 else 0.2), FIRST, ANSWER)

        world = World(fleet("a/m", "b/m", strategy="latency"), says).run(every(0.01, 3000))
        late = world.answered[-1000:]
        assert late.count("a/m") < 100


THREE = {"fast/m": 0.1, "middle/m": 0.5, "slow/m": 8.0}


class TestUnmeasured:
    """By latency: who was never measured is tried, and no crowd is sent to it; nor to a slow one."""

    def world(self, *names: str, paces: dict[str, float] = THREE, **policy) -> World:
        def says(name: str, now: float, _: Random) -> Ended:
            return Answered(now + paces[name], FIRST, ANSWER)

        return World(fleet(*(names or paces), strategy="latency", **policy), says)

    def turns(self, world: World, many: int, at_once: int) -> Counter:
        """Return who was asked in so many turns, of which so many are out at any time."""
        before, world.more = world.calls.copy(), many - at_once
        world.run([(self.now(world), ask())] * at_once)
        return world.calls - before

    def now(self, world: World) -> float:
        return max([NOW, *(state.track.answered_at for state in world.crowd.states.values())])

    @pytest.mark.parametrize("order", [("fast/m", "middle/m", "slow/m"), ("slow/m", "middle/m", "fast/m")])
    @pytest.mark.parametrize(("at_once", "most"), [(1, 1), (20, 7), (120, 41)])
    def test_from_a_cold_start(self, order, at_once, most):
        """All at once nothing is known of anybody: each gets a third."""
        calls = self.turns(self.world(*order), 120, at_once)
        assert calls["slow/m"] <= most
        if at_once < 120:
            assert calls["fast/m"] > 60

    @pytest.mark.parametrize(("at_once", "most"), [(1, 0), (20, 0), (120, 2)])
    def test_with_all_of_them_measured(self, at_once, most):
        world = self.world()
        world.run([(NOW, ask(model=name)) for name in THREE])
        calls = self.turns(world, 120, at_once)
        assert calls["slow/m"] <= most
        assert calls["fast/m"] >= (90 if at_once < 120 else 60)

    @pytest.mark.parametrize(("at_once", "most"), [(1, 1), (20, 1), (120, 2)])
    def test_one_that_comes_later_gets_a_call(self, at_once, most):
        world = self.world()
        world.run([(NOW, ask(model=name)) for name in ("fast/m", "middle/m")])
        assert 1 <= self.turns(world, 120, at_once)["slow/m"] <= most

    def test_one_that_comes_later_and_is_the_fastest_soon_has_the_most(self):
        world = self.world()
        world.run([(NOW, ask(model=name)) for name in ("slow/m", "middle/m")])
        assert self.turns(world, 120, 10)["fast/m"] > 80

    @pytest.mark.parametrize("at_once", [1, 20])
    def test_one_that_becomes_slow_loses_its_calls_before_the_first_late_answer_has_come(self, at_once):
        paces = {"a/m": 0.1, "b/m": 0.3}
        world = self.world(paces=paces)
        self.turns(world, 100, at_once)
        paces["a/m"] = 8.0
        assert self.turns(world, 400, at_once)["a/m"] <= 2 * at_once

    @pytest.mark.long
    def test_one_that_has_recovered_is_tried_again_by_one_call_at_a_time(self):
        paces = {"a/m": 0.5, "b/m": 8.0}
        world = self.world(paces=paces)
        world.run([(NOW, ask(model=name)) for name in paces])
        asked = [self.turns(world, 10, 10)["b/m"] for _ in range(400)]
        assert max(asked) == 1, "while it is slow, no crowd goes there"
        assert sum(asked) <= 3
        paces["b/m"] = 0.1
        asked += [self.turns(world, 10, 10)["b/m"] for _ in range(1300)]
        assert asked[-1] >= 5

    def test_a_long_answer_is_no_slow_one(self):
        long = Response(assistant("much"), FinishReason.STOP, Usage(20, output=4000))
        world = World(fleet("a/m", "b/m", strategy="latency"), lambda _, now, __: Answered(now + 20.0, FIRST, long))
        world.run([(NOW, ask(model=name)) for name in ("a/m", "b/m")])
        state = world.crowd.states["a/m"]
        state.waiting[self] = NOW + 20.0
        assert state.silence(NOW + 40.0) < 2.0 < 20.0

    def test_who_goes_on_answering_others_is_not_silent(self):
        crowd = fleet("a/m", "b/m", strategy="latency")
        state = crowd.states["a/m"]
        state.waiting[self] = NOW
        assert state.silence(NOW + 3.0) == 3.0
        crowd.ended("a/m", None, NOW + 2.5, 0.1)
        assert state.silence(NOW + 3.0) == 0.5


class TestEnvironment:
    def answers(self, environment: str) -> list[str]:
        crowd = fleet("groq/m", "local/m", local=["local/m"], environment=environment)
        return World(crowd, always(1.0)).run(every(1.0, 15)).answered

    def test_fifteen_of_fifteen_local_in_development(self):
        assert self.answers("development") == ["local/m"] * 15

    def test_fifteen_of_fifteen_hosted_in_production_and_in_the_policys_order_where_nobody_said(self):
        assert self.answers("production") == self.answers("auto") == ["groq/m"] * 15


class TestAgents:
    def world(self, says) -> World:
        agents = {f"agent-{n}": AgentPolicy(tier="left" if n < 5 else "right") for n in range(13)}
        tiers = {"left": ("a/m",), "right": ("b/m",), "fallback": ("a/m", "b/m")}
        crowd = fleet("a/m", "b/m", tiers=tiers, agents=agents, last_resort=("fallback",))
        return World(crowd, says).run([(NOW + n, ask(agent=f"agent-{n}")) for n in range(13)])

    def test_thirteen_agents_split_five_to_one_provider_and_eight_to_the_other(self):
        assert self.world(always(0.5)).answered == ["a/m"] * 5 + ["b/m"] * 8

    def test_the_seconds_failure_moves_its_eight_to_the_first(self):
        def says(name: str, now: float, _: Random) -> Ended:
            down = name == "b/m"
            return Failed(now + 0.1, FIRST, Unreachable("down")) if down else Answered(now + 0.5, FIRST, ANSWER)

        world = self.world(says)
        assert world.answered == ["a/m"] * 13
        assert world.calls["b/m"] == 3, "then its breaker is open"

    def test_tiers_are_used_as_affinity_says(self):
        catalog = load_catalog()
        crowd = Fleet(
            catalog.candidates(
                {f"{p.env_prefix}_API_KEY": "k" for p in catalog.providers.values()}
                | {"CLOUDFLARE_ACCOUNT_ID": "x", "CLOUDFLARE_API_TOKEN": "k"}
            ),
            default_policy(catalog),
        )
        team = ["analyst", "pm", "architect", "dev", "sm", "tea", "tech-writer", "ux-designer"]
        world = World(crowd, always(1.0)).run([(NOW + n, ask(persona=team[n % 8])) for n in range(80)])
        assert Counter(world.answered) == {
            "groq/openai/gpt-oss-120b": 30,
            "cerebras/gpt-oss-120b": 30,
            "gemini/gemini-3.1-flash-lite": 20,
        }


def outages(dice: Random, until: float) -> list[tuple[float, float, bool]]:
    """Return when a provider is down, 2 % of the time: from, to, and whether it hangs or refuses."""
    at, found = NOW, []
    while at < until:
        at += dice.expovariate(1 / 2940)
        end = at + dice.expovariate(1 / 60)
        found.append((at, end, dice.random() < 0.5))
        at = end
    return found


@pytest.mark.parametrize("strategy", ["tier", "weighted", "latency"])
@pytest.mark.few(1)
def test_nearly_all_turns_are_answered_in_time_while_each_provider_is_down_two_percent_of_the_time(strategy):
    turns, seconds, deadline = 8_000, 10.0, 30.0
    dice = Random(11)
    down = {name: outages(dice, NOW + turns * seconds) for name in ("a/m", "b/m", "c/m")}

    def says(name: str, now: float, dice: Random) -> Ended:
        hangs = next((hangs for begin, end, hangs in down[name] if begin <= now < end), None)
        if hangs is not None:
            return Failed(now + (1e6 if hangs else 0.05), FIRST, Unreachable("down"))
        return Answered(now + dice.lognormvariate(0.0, 0.5), FIRST, ANSWER)

    crowd = fleet("a/m", "b/m", "c/m", strategy=strategy, weights={"a": 1.0, "b": 1.0, "c": 1.0})
    world = World(crowd, says).run(every(seconds, turns, ask(deadline_s=deadline)))
    in_time = sum(took <= deadline for took in world.took)
    assert sum(sum(end - begin for begin, end, _ in times) for times in down.values()) > 0.01 * 3 * turns * seconds
    assert in_time >= 0.999 * turns


@pytest.mark.parametrize("strategy", ["tier", "weighted", "latency"])
def test_every_decision_can_be_made_again_out_of_its_record(strategy):
    def says(name: str, now: float, dice: Random) -> Ended:
        if dice.random() < 0.2:
            return Failed(now + 0.1, FIRST, ServerFault("oops"))
        return Answered(now + dice.expovariate(1.0), FIRST, ANSWER)

    crowd = fleet("a/m", "b/m", "c/m", strategy=strategy, weights={"a": 1.0, "b": 2.0, "c": 0.5})
    chosen: list[tuple[str, ...]] = []

    class Watched(World):
        def ask(self, effect: Try, now: float, dice: Random) -> Ended:
            if effect.route.ordering is not None:
                chosen.append(effect.route.names[: len(effect.route.ordering.names)])
            return super().ask(effect, now, dice)

    Watched(crowd, says).run(every(0.3, 400))
    assert [replay(ordering) for ordering in crowd.orderings] == chosen[-len(crowd.orderings) :]
    assert len({order[0] for order in chosen}) == 3


class EachKey:
    """Answers in this process, and counts by provider and key."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str | None]] = Counter()

    def respond(self, request: Request, candidate: Candidate) -> Response:
        self.calls[candidate.provider.name, candidate.key] += 1
        return ANSWER


@pytest.mark.anyio
@pytest.mark.parametrize("strategy", ["tier", "chain"])
async def test_two_keys_of_200_requests_a_day_answer_400_and_the_401st_goes_to_the_next_provider(strategy):
    row = Model("m", 100_000, 4096)
    twice = Provider("twice", "any", "", "KEY", {"m": row}, limits=(Limit("requests", 200, Rolling(86400)),))
    crowd = [Candidate(twice, row, "one"), Candidate(twice, row, "two", 2), candidate("next/m")]
    policy, asked = Policy({"worker": ("twice/m", "next/m")}, strategy=strategy, last_resort=()), EachKey()
    router = ProviderManager(crowd, policy, adapters={"any": asked}, clock=lambda: NOW)
    answers = [await router.complete(ask()) for _ in range(401)]
    assert asked.calls == {("twice", "one"): 200, ("twice", "two"): 200, ("next", None): 1}
    assert answers[-1].provider == "next"
    assert all(len(answer.attempts) == 1 for answer in answers), "not one call was wasted"
