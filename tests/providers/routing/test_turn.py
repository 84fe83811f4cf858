"""Choosing, and one turn's flow, without a network: tables, and twenty thousand turns on a virtual clock."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import (
    AllAttemptsFailed,
    AuthFailed,
    BadReply,
    BadRequest,
    Declined,
    NoRoute,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    Reason,
    ReasonCode,
    ServerFault,
    StreamBroken,
    TimedOut,
    Unreachable,
    Unsupported,
)
from providers.messages import (
    Capability,
    FinishReason,
    Image,
    Message,
    Needs,
    OutputSchema,
    Request,
    Response,
    Text,
    ToolSpec,
    assistant,
    system,
    user,
)
from providers.policy.model import AgentPolicy, Policy, Timeouts
from providers.routing.choice import Refuse, Wait, choose
from providers.routing.effects import Answered, AwaitBudget, Ended, Failed, Refused, Silent, Sleep, Try, Woke
from providers.routing.fleet import Fleet
from providers.routing.ranking import Route
from providers.routing.retry_budget import costs
from providers.routing.turn import attempts, share_of

NOW = 1_000_000.0
ALL = frozenset(Capability)


def candidate(name: str, *, context: int = 100_000, capabilities=ALL, key: str | None = None) -> Candidate:
    provider, _, model = name.partition("/")
    return Candidate(Provider(provider, "any", "", None, {}), Model(model, context, 4096, capabilities), key)


def fleet(*names: str, sole: str | None = None, unconfigured=None, **policy) -> Fleet:
    policy = {"tiers": {"worker": names}, "last_resort": ()} | policy
    return Fleet(map(candidate, names), Policy(**policy), unconfigured, sole=sole)


def why(text: str) -> Reason:
    return Reason(ReasonCode.NOT_CONFIGURED, text)


def unknown(name: str, text: str) -> Refuse:
    return Refuse({name: Reason(ReasonCode.UNKNOWN, text)})


def texts(reasons: Mapping[str, Reason]) -> dict[str, str]:
    return {name: str(reason) for name, reason in reasons.items()}


def ask(text: str = "hi", **needs) -> Request:
    return Request((user(text),), needs=Needs(**needs))


def answer(text: str = "hello") -> Response:
    return Response(assistant(text), FinishReason.STOP)


def names(decision) -> tuple[str, ...]:
    assert isinstance(decision, Route), decision
    return decision.names


TIERS = {"boss": ("a/big",), "worker": ("b/fast",), "fallback": ("c/any", "b/fast")}


class TestOrder:
    def fleet(self, **policy) -> Fleet:
        policy = Policy(**({"tiers": TIERS} | policy))
        return Fleet(map(candidate, ("a/big", "b/fast", "c/any", "d/x/deep", "e/x/deep", "e/y")), policy)

    @pytest.mark.parametrize(
        ("needs", "order"),
        [
            ({}, ("b/fast", "c/any")),
            ({"tier": "boss"}, ("a/big", "c/any", "b/fast")),
            ({"agent": "chained", "tier": "boss"}, ("e/y", "d/x/deep", "c/any", "b/fast")),
            ({"persona": "chained"}, ("e/y", "d/x/deep", "c/any", "b/fast")),
            ({"agent": "planner", "persona": "chained"}, ("a/big", "c/any", "b/fast")),
            ({"agent": "typed", "tier": "boss"}, ("a/big", "c/any", "b/fast")),
            ({"agent": "near"}, ("a/big", "c/any", "b/fast")),
            ({"agent": "near", "tier": "worker"}, ("b/fast", "c/any")),
            ({"model": "e/y", "agent": "chained"}, ("e/y",)),
            ({"chain": ("d/*", "a/big"), "agent": "chained"}, ("d/x/deep", "a/big", "c/any", "b/fast")),
            ({"model": "e/y", "chain": ("a/big",)}, ("e/y",)),
            ({"model": "y"}, ("e/y",)),
            ({"agent": "pinned", "tier": "boss"}, ("e/y",)),
        ],
    )
    def test_pin_then_agent_then_persona_then_tier_then_affinity_then_default(self, needs, order):
        agents = {
            "chained": AgentPolicy(chain=("e/y", "d/x/deep")),
            "planner": AgentPolicy(tier="boss"),
            "typed": AgentPolicy(task_type="code"),
            "pinned": AgentPolicy(model="e/y"),
        }
        assert names(choose(self.fleet(agents=agents, affinity={"near": "boss"}), ask(**needs), NOW)) == order

    def test_an_ambiguous_pin_is_refused_with_the_names(self):
        decision = choose(self.fleet(), ask(model="x/deep"), NOW)
        assert texts(decision.reasons) == {"x/deep": "names several: d/x/deep, e/x/deep"}

    def test_a_pin_never_falls_back_to_somebody_else(self):
        assert choose(self.fleet(), ask(model="a/gone"), NOW) == unknown("a/gone", "a serves no such model here")
        assert choose(self.fleet(), ask(model="z/gone"), NOW) == Refuse({"z/gone": why("not configured")})

    def test_a_star_is_all_of_a_providers_models(self):
        assert names(choose(self.fleet(tiers={"worker": ("e/*", "a/*")}), ask(), NOW)) == ("e/x/deep", "e/y", "a/big")

    def test_an_unknown_tier_is_said_and_the_last_resort_serves(self):
        route = choose(self.fleet(), ask(tier="bos"), NOW)
        assert names(route) == ("c/any", "b/fast")
        assert texts(route.refused) == {"bos": "the policy has no such tier"}

    def test_who_is_missing_is_said(self):
        tiers = {"worker": ("groq/a", "local/*", "b/fast", "odd/m")}
        missing = {
            name: why(text)
            for name, text in {
                "groq": "no key: set GROQ_API_KEY",
                "local": "not switched on",
                "odd/m": "dialect x is not built in",
            }.items()
        }
        route = choose(Fleet([candidate("b/fast")], Policy(tiers), missing), ask(), NOW)
        assert texts(route.refused) == {
            "groq/a": "no key: set GROQ_API_KEY",
            "local/*": "not switched on",
            "odd/m": "dialect x is not built in",
        }

    def test_a_sole_candidate_answers_everything(self):
        everything = fleet("a/big", "stub/stub", sole="stub/stub")
        for needs in ({}, {"tier": "boss"}, {"model": "a/big"}, {"agent": "dev"}):
            assert names(choose(everything, ask(**needs), NOW)) == ("stub/stub",)

    def test_made_up_names_do_not_pile_up(self):
        crowd = self.fleet()
        for number in range(3000):
            choose(crowd, ask(model=f"made-up-{number}"), NOW)
        assert len(crowd._ranker._rankings) <= 1024


class TestOnly:
    """Where this runs may leave some providers out, whoever asks for them."""

    def crowd(self, environment: str, **policy) -> Fleet:
        only = {"development": ("b",), "production": ("a", "c")}
        return fleet("a/m", "b/m", "c/m", environment=environment, only=only, **policy)

    @pytest.mark.parametrize(
        ("environment", "asked"),
        [("development", {"b/m"}), ("production", {"a/m", "c/m"}), ("auto", {"a/m", "b/m", "c/m"})],
    )
    def test_others_are_refused_with_the_reason(self, environment, asked):
        route = choose(self.crowd(environment), ask(), NOW)
        assert set(names(route)) == asked
        assert route.refused.keys() == {"a/m", "b/m", "c/m"} - asked
        assert set(texts(route.refused).values()) <= {
            "not for development: only b may be asked there",
            "not for production: only a, c may be asked there",
        }

    def test_a_pinned_model_and_a_chain_are_no_way_round_it(self):
        crowd = self.crowd("development", agents={"x": AgentPolicy(chain=("a/m", "c/m"))})
        assert isinstance(choose(crowd, ask(model="a/m"), NOW), Refuse)
        assert isinstance(choose(crowd, ask(agent="x"), NOW), Refuse)

    def test_the_stub_of_a_dry_run_answers_everywhere(self):
        crowd = fleet("stub/stub", sole="stub/stub", environment="development", only={"development": ("b",)})
        assert names(choose(crowd, ask(), NOW)) == ("stub/stub",)

    def test_another_policy_lets_them_be_asked(self):
        crowd = self.crowd("development")
        crowd.adopt(Policy({"worker": ("a/m",)}), [candidate("a/m")])
        assert names(choose(crowd, ask(), NOW)) == ("a/m",)


class TestAccounts:
    def crowd(self, **policy) -> Fleet:
        rows = [(name, number) for name in ("a/m", "a/x/m", "b/m") for number in (1, 2)]
        candidates = [replace(candidate(name, key=f"{name[0]}{number}"), account=number) for name, number in rows]
        return Fleet(candidates, Policy(**({"tiers": {"worker": ("a/m", "b/m")}, "last_resort": ()} | policy)))

    @pytest.mark.parametrize(
        ("needs", "order"),
        [
            ({}, ("a/m", "a/m#2", "b/m", "b/m#2")),
            ({"agent": "second"}, ("a/m#2",)),
            ({"agent": "turned"}, ("a/m#2", "b/m", "b/m#2", "a/m")),
            ({"agent": "all"}, ("a/m", "a/m#2", "a/x/m", "a/x/m#2")),
            ({"model": "a/m"}, ("a/m", "a/m#2")),
            ({"model": "a/m#2"}, ("a/m#2",)),
            ({"model": "x/m"}, ("a/x/m", "a/x/m#2")),
            ({"model": "x/m#2"}, ("a/x/m#2",)),
        ],
    )
    @pytest.mark.parametrize("strategy", ["tier", "chain"])
    def test_a_name_stands_for_all_accounts_and_a_number_for_one(self, strategy, needs, order):
        agents = {
            "second": AgentPolicy(chain=("a/m#2",)),
            "turned": AgentPolicy(chain=("a/m#2", "b/m", "a/m")),
            "all": AgentPolicy(chain=("a/*",)),
        }
        assert names(choose(self.crowd(agents=agents, strategy=strategy), ask(**needs), NOW)) == order

    def test_who_is_ambiguous_is_told_by_model_and_not_by_account(self):
        assert choose(self.crowd(), ask(model="m"), NOW) == unknown("m", "names several: a/m, a/x/m, b/m")

    def test_accounts_of_a_pinned_model_are_compared_with_each_other(self):
        crowd = self.crowd()
        crowd.states["a/m"].left(0.02, NOW + 60)
        assert names(choose(crowd, ask(model="a/m"), NOW)) == ("a/m#2", "a/m")
        assert names(choose(crowd, ask(model="a/m"), NOW + 61)) == ("a/m", "a/m#2")

    def test_a_drained_provider_is_drained_in_all_its_accounts_and_a_refused_key_shuts_one(self):
        crowd = self.crowd()
        crowd.ended("a/m", AuthFailed("x"), NOW, 0.1)
        assert names(choose(crowd, ask(model="x/m"), NOW)) == ("a/x/m#2",)
        crowd.drain("a")
        assert names(choose(crowd, ask(), NOW)) == ("b/m", "b/m#2")

    def test_accounts_share_their_providers_weight(self):
        crowd = self.crowd(strategy="weighted", weights={"a": 0.5, "b": 0.5})
        route = choose(crowd, ask(), NOW)
        assert [weight for weight, _ in route.ordering.values] == [0.25] * 4


class TestFilter:
    def test_abilities(self):
        plain, seeing = candidate("a/plain", capabilities=frozenset()), candidate("b/seeing")
        crowd = Fleet([plain, seeing], Policy({"worker": ("a/*", "b/*")}))
        shown = Request((Message("user", (Text("what is it?"), Image("image/png", b"..."))),))
        armed = Request((user("hi"),), tools=(ToolSpec("t", "does"),))
        formed = Request((user("hi"),), output_schema=OutputSchema({"type": "object"}))
        assert texts(choose(crowd, shown, NOW).refused) == {"a/plain": "lacks vision"}
        assert texts(choose(crowd, armed, NOW).refused) == {"a/plain": "lacks tools"}
        assert names(choose(crowd, formed, NOW)) == ("a/plain", "b/seeing")
        assert texts(choose(crowd, ask(capabilities=frozenset({Capability.REASONING})), NOW).refused) == {
            "a/plain": "lacks reasoning"
        }

    def test_context(self):
        crowd = Fleet([candidate("a/small", context=1000), candidate("b/large")], Policy({"worker": ("a/*", "b/*")}))
        assert names(choose(crowd, ask("x" * 1500), NOW)) == ("a/small", "b/large")
        long = choose(crowd, ask("x" * 6000), NOW)
        assert names(long) == ("b/large",)
        assert "do not fit its context of 1000" in long.refused["a/small"].text
        wordy = Request((user("hi"),), max_output_tokens=999)
        assert names(choose(crowd, wordy, NOW)) == ("b/large",)

    def test_nobody_fits_is_refused_and_not_waited_for(self):
        crowd = Fleet([candidate("a/small", context=1000)], Policy({"worker": ("a/*",)}))
        crowd.ended("a/small", RateLimited("x"), NOW, 0.1)
        assert isinstance(choose(crowd, ask("x" * 6000), NOW), Refuse)

    def test_holds_breakers_and_shut_accounts(self):
        crowd = fleet("a/m", "b/m", "c/m", "c/n", "d/m")
        crowd.ended("a/m", RateLimited("x", retry_at=NOW + 12), NOW, 0.1)
        for _ in range(3):
            crowd.ended("b/m", ServerFault("x"), NOW, 0.1)
        crowd.ended("c/m", AuthFailed("x"), NOW, 0.1)
        route = choose(crowd, ask(), NOW)
        assert names(route) == ("d/m",)
        assert texts(route.refused) == {
            "a/m": "held after RateLimited",
            "b/m": "its circuit breaker is open",
            "c/m": "its account is shut: the key was refused",
            "c/n": "its account is shut: the key was refused",
        }
        assert names(choose(crowd, ask(), NOW + 12)) == ("a/m", "d/m")
        assert names(choose(crowd, ask(), NOW + 30)) == ("a/m", "b/m", "d/m")
        crowd.reopen("c")
        assert names(choose(crowd, ask(), NOW + 1e9)) == ("a/m", "b/m", "c/m", "c/n", "d/m")

    def test_a_clock_that_is_set_back_holds_nobody(self):
        crowd = fleet("a/m")
        crowd.ended("a/m", RateLimited("x", retry_at=NOW + 5), NOW, 0.1)
        assert isinstance(choose(crowd, ask(), NOW + 1), Wait)
        assert names(choose(crowd, ask(), NOW - 86_400)) == ("a/m",)

    def test_another_key_of_the_same_provider_is_another_account(self):
        crowd = Fleet([candidate("a/m", key="k1"), candidate("a/n", key="k2")], Policy({"worker": ("a/*",)}))
        crowd.ended("a/m", AuthFailed("x"), NOW, 0.1)
        assert names(choose(crowd, ask(), NOW)) == ("a/n",)
        assert "k1" not in repr(crowd.shut)

    def test_hold_names_the_earliest_instant(self):
        crowd = fleet("a/m", "b/m")
        crowd.ended("a/m", RateLimited("x", retry_at=NOW + 40), NOW, 0.1)
        crowd.ended("b/m", RateLimited("x", retry_at=NOW + 20), NOW, 0.1)
        decision = choose(crowd, ask(), NOW)
        assert isinstance(decision, Wait)
        assert decision.until == NOW + 20

    def test_a_thousand_caller_faults_change_nothing(self):
        crowd = fleet("a/m")
        before = (crowd.states["a/m"].breaker, crowd.states["a/m"].held_until, tuple(crowd.shut))
        for _ in range(1000):
            drive(crowd, ask(), [BadRequest("no")], fails=BadRequest)
        assert (crowd.states["a/m"].breaker, crowd.states["a/m"].held_until, tuple(crowd.shut)) == before


class TestScore:
    """What is known of candidates orders a tier; where nothing is, the policy does."""

    def crowd(self, **policy) -> Fleet:
        return fleet("a/m", "b/m", "c/m", **policy)

    def test_a_fault_costs_the_first_place_for_half_a_minute(self):
        crowd = self.crowd()
        crowd.ended("a/m", ServerFault("x"), NOW, 0.1)
        assert names(choose(crowd, ask(), NOW)) == ("b/m", "c/m", "a/m")
        assert names(choose(crowd, ask(), NOW + 45)) == ("a/m", "b/m", "c/m")

    def test_faults_that_open_the_breaker_are_paid_for_by_its_rest(self):
        crowd = self.crowd()
        for _ in range(3):
            crowd.ended("a/m", ServerFault("x"), NOW, 0.1)
        assert names(choose(crowd, ask(), NOW + 31)) == ("a/m", "b/m", "c/m")

    def test_little_headroom_costs_a_place(self):
        crowd = self.crowd()
        crowd.states["a/m"].left(0.1, NOW + 60)
        assert names(choose(crowd, ask(), NOW)) == ("b/m", "c/m", "a/m")
        assert names(choose(crowd, ask(), NOW + 61)) == ("a/m", "b/m", "c/m")

    def test_a_fresh_process_behaves_as_the_file_reads_whatever_the_prices(self):
        price = {"a/m": Price(10, 10), "b/m": None, "c/m": Price(0, 0), "d/m": Price(1, 1)}
        rows = [replace(candidate(n), model=replace(candidate(n).model, price=p)) for n, p in price.items()]
        policy = Policy({"worker": tuple(price)}, last_resort=())
        assert names(choose(Fleet(rows, policy), ask(), NOW)) == ("a/m", "b/m", "c/m", "d/m")
        cheap = replace(policy, by_price=True)
        assert names(choose(Fleet(rows, cheap), ask(), NOW)) == ("c/m", "d/m", "b/m", "a/m")

    def test_a_task_type_prefers_providers(self):
        agents = {"dev": AgentPolicy(task_type="code")}
        crowd = self.crowd(agents=agents, task_types={"code": ("c", "b")})
        assert names(choose(crowd, ask(agent="dev"), NOW)) == ("c/m", "b/m", "a/m")
        assert names(choose(crowd, ask(task_type="code"), NOW)) == ("c/m", "b/m", "a/m")
        assert names(choose(crowd, ask(agent="dev", task_type="poetry"), NOW)) == ("a/m", "b/m", "c/m")

    def test_task_types_that_say_by_themselves_what_they_want(self):
        rows = [
            candidate("a/m", capabilities=frozenset({Capability.TOOLS})),
            candidate("b/m", capabilities=frozenset({Capability.REASONING})),
            candidate("c/m", context=1_000_000, capabilities=frozenset()),
        ]
        crowd = Fleet(rows, Policy({"worker": ("b/m", "a/m", "c/m")}, last_resort=()))
        first = {task: names(choose(crowd, ask(task_type=task), NOW))[0] for task in ("analysis", "tools", "creative")}
        assert first == {"analysis": "b/m", "tools": "a/m", "creative": "b/m"}
        assert names(choose(crowd, ask(task_type="long_context"), NOW))[0] == "c/m"

    def test_chains_and_the_strategy_chain_keep_their_order(self):
        agents = {"dev": AgentPolicy(chain=("c/m", "a/m", "b/m"))}
        for crowd, needs, order in (
            (self.crowd(agents=agents), {"agent": "dev"}, ("c/m", "a/m", "b/m")),
            (self.crowd(strategy="chain"), {}, ("a/m", "b/m", "c/m")),
        ):
            crowd.ended(order[0], ServerFault("x"), NOW, 0.1)
            route = choose(crowd, ask(**needs), NOW)
            assert names(route) == order
            assert route.ordering is None

    def test_a_tier_is_not_compared_with_the_one_after_it(self):
        crowd = fleet("a/m", "b/m", tiers={"worker": ("a/m",), "fallback": ("b/m",)}, last_resort=("fallback",))
        crowd.ended("a/m", ServerFault("x"), NOW, 0.1)
        assert names(choose(crowd, ask(), NOW)) == ("a/m", "b/m")

    def test_the_provider_that_leads_comes_first_in_every_tier(self):
        tiers = {"worker": ("a/m", "b/m"), "boss": ("a/m", "c/m")}
        crowd = self.crowd(tiers=tiers, lead="b/*")
        assert names(choose(crowd, ask(), NOW)) == ("b/m", "a/m")
        assert names(choose(crowd, ask(tier="boss"), NOW)) == ("b/m", "a/m", "c/m")

    def test_a_drained_provider_is_refused_and_comes_back(self):
        crowd = self.crowd()
        crowd.drain("a")
        assert texts(choose(crowd, ask(), NOW).refused) == {"a/m": "drained by an operator"}
        assert choose(crowd, ask(model="a/m"), NOW) == Refuse(
            {"a/m": Reason(ReasonCode.EXCLUDED, "drained by an operator")}
        )
        crowd.undrain("a")
        assert names(choose(crowd, ask(), NOW)) == ("a/m", "b/m", "c/m")

    @pytest.mark.parametrize("weight", [-1.0, inf, float("nan")])
    def test_what_is_no_weight(self, weight):
        with pytest.raises(ValueError, match="finite number"):
            self.crowd().set_weight("a", weight)

    def test_another_policy_is_adopted_with_what_was_measured(self):
        crowd = self.crowd()
        crowd.ended("a/m", RateLimited("x", retry_at=NOW + 60), NOW, 0.1)
        flow = attempts(crowd, ask(), NOW, Random(1))
        assert next(flow).candidate.name == "b/m"
        crowd.adopt(Policy({"worker": ("a/m", "d/m")}, last_resort=()), [candidate("a/m"), candidate("d/m")])
        with pytest.raises(StopIteration):
            flow.send(Answered(NOW + 1, 1, answer()))
        route = choose(crowd, ask(), NOW + 1)
        assert names(route) == ("d/m",)
        assert texts(route.refused) == {"a/m": "held after RateLimited"}

    def test_nothing_in_flight_is_left_behind(self):
        crowd = self.crowd()
        drive(crowd, ask(), [ServerFault("x"), answer()])
        flow = attempts(crowd, ask(), NOW, Random(1))
        next(flow)
        assert sum(state.in_flight for state in crowd.states.values()) == 1
        flow.close()
        assert sum(state.in_flight for state in crowd.states.values()) == 0


@pytest.mark.parametrize("failures", [0, 1])
def test_a_wait_for_our_own_budget_is_no_time_of_the_turns(failures):
    flow, now = attempts(fleet("a/m", timeouts=Timeouts(10, 10, 10, 10)), ask(), NOW, Random(1)), NOW
    effect = next(flow)
    for _ in range(failures):
        effect = flow.send(Failed(now, 1, ServerFault("down", status=500)))
        while isinstance(effect, Sleep):
            now = effect.until
            effect = flow.send(Woke(now))
    for _ in range(3):
        assert isinstance(effect, Try)
        assert isinstance(flow.send(Refused(now, effect.number, is_held=True)), AwaitBudget)
        now += 60
        effect = flow.send(Woke(now))
    assert isinstance(effect, Try)
    assert effect.timeouts.total == pytest.approx(10 - (now - 180 - NOW))
    with pytest.raises(StopIteration):
        flow.send(Answered(now, effect.number, answer()))


def test_what_calls_in_flight_hold_of_a_days_budget_is_waited_for_however_long_that_takes():
    held = Reason(ReasonCode.BUDGET, "the day's budget is held by calls in flight", is_held=True)
    asked, now, looks = fleet("a/m", timeouts=Timeouts(10, 10, 10, 10)), NOW, 0
    flow = attempts(asked, ask(), now, Random(1))
    asked.states["a/m"].block(now + 0.05, held, 0)
    effect = next(flow)
    while now < NOW + 60:
        assert isinstance(effect, Sleep)
        now, looks = effect.until, looks + 1
        asked.states["a/m"].block(now + 0.05, held, 0)
        effect = flow.send(Woke(now))
    assert looks < 200, "who waits for long looks seldom"
    assert isinstance(effect, Sleep)
    effect = flow.send(Woke(now + 1))
    assert isinstance(effect, Try)
    assert effect.timeouts.total > 9


def test_a_deadline_of_the_requests_own_ends_a_wait_for_our_own_budget():
    flow = attempts(fleet("a/m"), ask(deadline_s=10), NOW, Random(1))
    effect = next(flow)
    assert flow.send(Refused(NOW, effect.number, is_held=True)) == AwaitBudget(NOW + 10)
    with pytest.raises(NoRoute, match="held what was left of the run's budgets"):
        flow.send(Woke(NOW + 10))


def test_measuring_a_transcript_counts_what_the_request_counts():
    crowd = fleet("a/m")
    tools = (ToolSpec("t", "does much", {"type": "object"}),)
    transcript: tuple[Message, ...] = (system("be good"),)
    other = (transcript[0], user("another task"))
    for turn in range(20):
        transcript += (user(f"line {turn}" * turn),)
        for request in (
            Request(transcript, tools, output_schema=OutputSchema({"a": turn})),
            Request(other),
            Request(transcript[:3]),
        ):
            assert crowd.demands(request)[0] == request.input_tokens


class Turn:
    """Drives one flow by hand: `tries` and `sleeps` are what it asked for."""

    def __init__(self, crowd: Fleet, request: Request, outcomes, *, took: float = 1.0, seed: int = 7) -> None:
        self.tries: list[str] = []
        self.said: list[object] = []
        self.sleeps: list[float] = []
        self.timeouts: list[Timeouts] = []
        self.response: Response | None = None
        now, script = NOW, iter(outcomes)
        flow = attempts(crowd, request, now, Random(seed))
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Sleep):
                    self.sleeps.append(effect.until - now)
                    now = effect.until
                    effect = flow.send(Woke(now))
                    continue
                self.tries.append(effect.candidate.name)
                self.timeouts.append(effect.timeouts)
                now += took
                said = next(script)
                self.said.append(said)
                ended = Answered if isinstance(said, Response) else Failed
                effect = flow.send(ended(now, effect.number, said))
        except StopIteration as done:
            self.response = done.value
        self.left = list(script)
        self.waited_out = sum(isinstance(said, ProviderError) and not costs(said) for said in self.said)


def drive(crowd, request, outcomes, *, fails=None, **how):
    if fails is None:
        return Turn(crowd, request, outcomes, **how)
    with pytest.raises(fails) as caught:
        Turn(crowd, request, outcomes, **how)
    return caught.value


class TestAttempts:
    def test_an_answer_ends_it(self):
        turn = drive(fleet("a/m", "b/m"), ask(), [answer()])
        assert (turn.tries, turn.response) == (["a/m"], answer())

    @pytest.mark.parametrize(
        "error",
        [ServerFault("x"), Overloaded("x"), Unreachable("x"), AuthFailed("x"), RateLimited("x"), Unsupported("x")],
    )
    def test_a_failure_goes_on_to_the_next_at_once(self, error):
        turn = drive(fleet("a/m", "b/m"), ask(), [error, answer()])
        assert (turn.tries, turn.sleeps) == (["a/m", "b/m"], [])

    def test_who_failed_elsewhere_is_not_asked_again(self):
        failed = drive(fleet("a/m", "b/m"), ask(), [TimedOut("1"), Unsupported("2")], fails=AllAttemptsFailed)
        assert [e.message for e in failed.exceptions] == ["1", "2"]

    def test_one_attempt_is_told_as_one(self):
        failed = drive(fleet("a/m"), ask(), [TimedOut("1")], fails=AllAttemptsFailed)
        assert failed.message == "no model answered in 1 attempt"

    @pytest.mark.parametrize(
        "error",
        [
            ServerFault("x"),
            Overloaded("x"),
            Unreachable("refused"),
            Unreachable("reset", sent=True),
            StreamBroken("x"),
            TimedOut("x", phase="connect"),
            BadReply("x"),
        ],
    )
    def test_who_may_answer_again_is_asked_again_after_waits_that_grow(self, error):
        failed = drive(fleet("a/m"), ask(), [error] * 4, fails=AllAttemptsFailed)
        assert len(failed.exceptions) == 4
        turn = drive(fleet("a/m"), ask(), [error, error, error, answer()], took=0.1)
        assert turn.tries == ["a/m"] * 4
        first, second, third = turn.sleeps
        assert 0.25 <= first <= 0.51
        assert 0.75 <= second <= 1.51
        assert 2.25 <= third <= 4.51

    def test_a_limit_is_waited_out_however_often_it_is_told(self):
        turn = drive(fleet("a/m"), ask(deadline_s=60.0), [RateLimited("x")] * 3 + [answer()], took=0.1)
        assert [round(pause) for pause in turn.sleeps] == [5, 10, 20]
        often = [RateLimited("x", retry_at=NOW + at) for at in range(1, 9)]
        turn = drive(fleet("a/m"), ask(deadline_s=60.0), [*often, answer()], took=0.1)
        assert len(turn.tries) == 9
        assert turn.sleeps[-1] >= 4, "a provider that says `at once` each time is not believed for ever"

    def test_a_turn_of_one_attempt_makes_one(self):
        crowd = fleet("a/m", attempts_per_turn=1)
        failed = drive(crowd, ask(), [RateLimited("x")], fails=AllAttemptsFailed)
        assert len(failed.exceptions) == 1

    def test_others_come_before_a_second_time(self):
        turn = drive(fleet("a/m", "b/m"), ask(), [ServerFault("1"), ServerFault("2"), answer()])
        assert turn.tries[:2] == ["a/m", "b/m"]
        assert len(turn.tries) == 3

    @pytest.mark.parametrize("streamed", [False, True])
    def test_what_was_done_before_its_flow_began_took_of_the_turns_time(self, streamed: bool):
        late = attempts(fleet("a/m"), ask(deadline_s=10), NOW + 7, Random(1), streamed=streamed, began=NOW)
        assert next(late).timeouts.total == pytest.approx(3)

    def test_retry_after_is_a_floor(self):
        turn = drive(fleet("a/m"), ask(), [RateLimited("1", retry_at=NOW + 13), answer()])
        assert turn.tries == ["a/m", "a/m"]
        assert 12 <= turn.sleeps[0] <= 12.25

    def test_who_is_free_sooner_is_not_slept_past(self):
        crowd = fleet("a/m", "b/m")
        crowd.ended("b/m", RateLimited("x", retry_at=NOW + 5), NOW, 0.1)
        turn = drive(crowd, ask(), [RateLimited("1", retry_at=NOW + 60), answer()])
        assert turn.tries == ["a/m", "b/m"]
        assert 4 <= turn.sleeps[0] <= 4.25

    def test_a_spent_quota_is_not_waited_for_and_costs_one_call(self):
        crowd = fleet("a/m", "b/m")
        drive(crowd, ask(), [QuotaSpent("x"), answer()])
        assert [drive(crowd, ask(), [answer()]).tries for _ in range(5)] == [["b/m"]] * 5

    def test_no_sleep_reaches_the_deadline(self):
        failed = drive(
            fleet("a/m"), ask(deadline_s=10.0), [RateLimited("1", retry_at=NOW + 60)], fails=AllAttemptsFailed
        )
        assert len(failed.exceptions) == 1

    def test_nobody_before_the_deadline_fails_at_once_with_the_instant(self):
        crowd = fleet("a/m", "b/m")
        crowd.ended("a/m", QuotaSpent("x", retry_at=NOW + 500), NOW, 0.1)
        crowd.ended("b/m", QuotaSpent("x", retry_at=NOW + 400), NOW, 0.1)
        failed = drive(crowd, ask(), [], fails=NoRoute)
        assert failed.earliest == NOW + 400
        assert texts(failed.reasons) == {"a/m": "held after QuotaSpent", "b/m": "held after QuotaSpent"}

    def test_nobody_is_configured(self):
        failed = drive(
            Fleet([], Policy({"worker": ("a/m",)}), {"a": why("no key: set A_KEY")}), ask(), [], fails=NoRoute
        )
        assert (texts(failed.reasons), failed.earliest) == ({"a/m": "no key: set A_KEY"}, None)

    def test_a_time_out_that_eats_the_turn_ends_it(self):
        failed = drive(fleet("a/m", "b/m"), ask(deadline_s=3.0), [TimedOut("x")], took=3.0, fails=AllAttemptsFailed)
        assert len(failed.exceptions) == 1

    def test_never_is_raised_as_it_comes(self):
        assert (
            drive(fleet("a/m", "b/m"), ask(), [Declined("no", category="violence")], fails=Declined).category
            == "violence"
        )

    def test_attempts_are_bounded(self):
        crowd = fleet(*(f"p{n}/m" for n in range(20)))
        failed = drive(crowd, ask(), [Unreachable("x")] * 20, fails=AllAttemptsFailed)
        assert len(failed.exceptions) == 4

    def test_a_final_failure_is_raised_as_it_is(self):
        flow = attempts(fleet("a/m", "b/m"), ask(), NOW, Random(1))
        next(flow)
        with pytest.raises(Unreachable):
            flow.send(Failed(NOW + 1, 1, Unreachable("cut"), on_break="error"))

    def test_a_closed_turn_gives_its_probe_back(self):
        crowd = fleet("a/m")
        for _ in range(3):
            crowd.ended("a/m", Unreachable("x"), NOW - 31, 0.1)
        flow = attempts(crowd, ask(), NOW, Random(1))
        assert isinstance(next(flow), Try)
        second = attempts(crowd, ask(), NOW, Random(1))
        assert isinstance(next(second), Sleep), "a probe is out: the second turn waits"
        flow.close()
        assert isinstance(second.send(Woke(NOW + 1)), Try)

    def test_a_whole_answer_has_its_share_of_the_turn_and_a_stream_its_first_token(self):
        crowd = fleet("a/m", "b/m", "c/m")
        assert drive(crowd, ask(), [answer()]).timeouts == [Timeouts(5.0, 40.0, 30.0, 40.0)]
        streamed = next(attempts(crowd, ask(), NOW, Random(1), streamed=True))
        assert streamed.timeouts == Timeouts(5.0, 10.0, 30.0, 120.0)

    def test_of_a_short_deadline_each_candidate_has_an_even_share_and_the_last_one_all_that_is_left(self):
        def flow(streamed: bool, **policy):
            turn = attempts(
                fleet("a/m", "b/m", "c/m", **policy), ask(deadline_s=3.0), NOW, Random(1), streamed=streamed
            )
            first = next(turn)
            second = turn.send(Failed(NOW + 1.0, 1, TimedOut("x", phase="first_token")))
            third = turn.send(Failed(NOW + 1.5, 2, Unreachable("x")))
            return [each.timeouts for each in (first, second, third)]

        assert flow(False) == [Timeouts(1.0, 1.0, 1.0, 1.0)] * 2 + [Timeouts(1.5, 1.5, 1.5, 1.5)]
        assert flow(True) == [Timeouts(1.0, 1.0, 3.0, 3.0), Timeouts(1.0, 1.0, 2.0, 2.0), Timeouts(1.5, 1.5, 1.5, 1.5)]
        broken = flow(True, on_break="restart")
        assert [each.between_chunks for each in broken] == [1.0, 1.0, 1.5], "a stall leaves time for who begins anew"

    def test_who_usually_needs_longer_than_an_even_share_has_up_to_half(self):
        assert share_of(6.0, 3, None) == 2.0
        assert share_of(6.0, 3, 1.3) == pytest.approx(2.6)
        assert share_of(6.0, 3, 20.0) == 3.0
        assert share_of(6.0, 3, 0.1) == 2.0
        assert share_of(6.0, 1, 0.1) == 6.0

    def test_attempts_that_the_policy_does_not_allow_need_no_share(self):
        crowd = fleet(*(f"p{n}/m" for n in range(20)), attempts_per_turn=2)
        assert drive(crowd, ask(deadline_s=3.0), [answer()]).timeouts == [Timeouts(1.5, 1.5, 1.5, 1.5)]

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_hedge_has_what_is_left_of_the_turn_and_no_more(self, streamed):
        crowd = fleet("a/m", "b/m", "c/m", hedge_after=0.5)
        flow = attempts(crowd, ask(deadline_s=3.0), NOW, Random(1), streamed=streamed)
        assert next(flow).timeouts.first_token == 1.0
        hedge = flow.send(Silent(NOW + 0.5))
        assert hedge.timeouts.first_token == 1.25, "a third may still be asked"
        assert hedge.timeouts.total == (2.5 if streamed else 1.25)


FAILURES = st.sampled_from([RateLimited, QuotaSpent, ServerFault, Overloaded, Unreachable, AuthFailed, Unsupported])


@given(
    st.lists(st.tuples(FAILURES, st.one_of(st.none(), st.floats(0, 300))), max_size=12),
    st.integers(1, 5),
    st.integers(1, 6),
    st.floats(0.5, 200),
)
def test_every_turn_ends_in_bounds(failures, width, per_turn, deadline):
    crowd = fleet(*(f"p{n}/m" for n in range(width)), attempts_per_turn=per_turn)
    script = [kind("x") for kind, _ in failures] + [answer()] * 12
    for error, (_, wait) in zip(script, failures, strict=False):
        error.retry_at = None if wait is None else NOW + wait
    try:
        turn = Turn(crowd, ask(deadline_s=deadline), script, took=0.0)
    except AllAttemptsFailed as error:
        failed = sum(costs(each) for each in error.exceptions)
    else:
        failed = len(turn.tries) - 1
        assert sum(turn.sleeps) < deadline
        failed -= turn.waited_out
    assert failed <= per_turn


@dataclass
class Day:
    """A modelled fleet and its traffic: arrivals, latencies, limits and outages drawn from one seed."""

    seed: int
    turns: int
    down: frozenset[str] = frozenset()
    crowd: Fleet = field(default_factory=lambda: fleet("a/m", "b/m", "c/m"))
    calls: Counter = field(default_factory=Counter)
    results: Counter = field(default_factory=Counter)

    def run(self) -> str:
        dice, order, log = Random(self.seed), count(), hashlib.sha256()
        queue = [(NOW + 0.05 * n, next(order), None, None) for n in range(self.turns)]
        heapq.heapify(queue)
        while queue:
            now, _, flow, outcome = heapq.heappop(queue)
            try:
                if flow is None:
                    flow = attempts(self.crowd, ask(), now, dice)
                    effect = next(flow)
                else:
                    effect = flow.send(outcome)
            except StopIteration:
                self.results["answered"] += 1
                continue
            except (NoRoute, AllAttemptsFailed) as error:
                self.results[type(error).__name__] += 1
                continue
            if isinstance(effect, Sleep):
                outcome = Woke(effect.until)
            else:
                outcome = self.answer(effect, now, dice)
                log.update(
                    f"{now:.6f} {effect.candidate.name} {type(getattr(outcome, 'error', None)).__name__}\n".encode()
                )
            heapq.heappush(queue, (outcome.now, next(order), flow, outcome))
        return log.hexdigest()

    def answer(self, effect: Try, now: float, dice: Random) -> Ended:
        name = effect.candidate.name
        self.calls[name] += 1
        end = now + dice.expovariate(2.0)
        if name in self.down:
            return Failed(now + 0.1, effect.number, Unreachable("down"))
        match dice.random():
            case roll if roll < 0.02:
                return Failed(end, effect.number, RateLimited("slow", retry_at=end + 2.0))
            case roll if roll < 0.05:
                return Failed(end, effect.number, ServerFault("oops"))
        return Answered(end, effect.number, answer())


@pytest.mark.long
def test_twenty_thousand_turns_are_the_same_twice_and_nearly_all_answered():
    first, second = Day(seed=5, turns=20_000), Day(seed=5, turns=20_000)
    assert first.run() == second.run()
    assert first.calls == second.calls
    assert first.results["answered"] == 20_000
    assert sum(first.calls.values()) < 1.1 * 20_000


@pytest.mark.long
def test_one_provider_down_costs_no_answer_and_few_calls():
    day = Day(seed=6, turns=10_000, down=frozenset({"a/m"}))
    day.run()
    assert day.results["answered"] == 10_000
    assert day.calls["a/m"] < 40, "500 s: three faults, what was in flight, then a probe after each rest"


@pytest.mark.long
def test_all_down_is_no_storm():
    day = Day(seed=7, turns=10_000, down=frozenset({"a/m", "b/m", "c/m"}))
    day.run()
    assert day.results["answered"] == 0
    assert day.results.total() == 10_000
    assert day.calls.total() <= 500 * len(day.down), "500 s: a probe a second of each at most"


def test_waiters_let_one_probe_go_out_before_the_first_success():
    crowd = fleet("a/m")
    for _ in range(3):
        crowd.ended("a/m", Unreachable("x"), NOW, 0.1)
    dice = Random(3)
    flows = [attempts(crowd, ask(), NOW + 31, dice) for _ in range(1000)]
    effects = [next(flow) for flow in flows]
    assert sum(isinstance(effect, Try) for effect in effects) == 1
    assert all(effect.until < inf for effect in effects if isinstance(effect, Sleep))
