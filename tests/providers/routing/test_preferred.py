"""A member of a chain that a limit holds back for a moment is waited for, rather than a later one asked."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from providers.errors import RateLimited, Reason, ReasonCode, ServerFault
from providers.messages import Request
from providers.policy.model import AgentPolicy, Policy
from providers.routing.effects import Answered, Sleep, Try, Woke
from providers.routing.fleet import Fleet
from providers.routing.turn import attempts
from tests.providers.routing.test_turn import NOW, answer, ask, drive, fleet

CHAIN = ("a/m", "b/m")


def held(
    seconds: float, *names: str, of: tuple[str, ...] = CHAIN, code: ReasonCode = ReasonCode.LIMIT, **policy
) -> Fleet:
    crowd = fleet(*of, **{"wait_for_preferred": 2.0, **policy})
    for name in names or ("a/m",):
        crowd.states[name].block(NOW + seconds, Reason(code, "its spacing", NOW + seconds))
    return crowd


def chained(**needs: object) -> Request:
    return ask(chain=CHAIN, **needs)


def tries(crowd: Fleet, request: Request, *outcomes: object) -> tuple[list[str], float]:
    turn = drive(crowd, request, [*outcomes, answer()])
    return turn.tries, sum(turn.sleeps)


def test_a_short_wait_beats_who_is_less_preferred() -> None:
    asked, slept = tries(held(0.5), chained())
    assert asked == ["a/m"]
    assert 0.5 <= slept < 0.6


@pytest.mark.parametrize(
    ("policy", "needs"),
    [({"strategy": "chain"}, {}), ({"agents": {"x": AgentPolicy(chain=CHAIN)}}, {"agent": "x"})],
)
def test_it_holds_for_every_order_that_is_written_down(policy: dict[str, Any], needs: dict[str, str]) -> None:
    assert tries(held(0.5, **policy), ask(**needs))[0] == ["a/m"]


def test_nobody_waits_so_unless_the_policy_says_how_long() -> None:
    assert Policy({}).wait_for_preferred == 0.0
    assert tries(held(0.5, wait_for_preferred=0.0), chained()) == (["b/m"], 0)


def test_in_a_tier_the_next_one_is_asked_at_once() -> None:
    assert tries(held(0.5), ask()) == (["b/m"], 0)


def test_a_long_wait_does_not() -> None:
    assert tries(held(2.5), chained()) == (["b/m"], 0)
    assert tries(held(2.5, wait_for_preferred=3.0), chained())[0] == ["a/m"]


@pytest.mark.parametrize(("deadline", "asked"), [(0.6, "b/m"), (1.9, "b/m"), (2.5, "a/m"), (60, "a/m")])
def test_who_has_little_time_goes_on_at_once(deadline: float, asked: str) -> None:
    assert tries(held(0.5), chained(deadline_s=deadline))[0] == [asked]


def test_after_a_fault_the_turn_goes_on_at_once() -> None:
    three = ("a/m", "b/m", "c/m")
    assert tries(held(1.5, "b/m", of=three), ask(chain=three), ServerFault("x")) == (["a/m", "c/m"], 0)


def test_a_limit_that_the_provider_told_another_turn_is_waited_out() -> None:
    crowd = fleet(*CHAIN, wait_for_preferred=2.0)
    crowd.ended("a/m", RateLimited("x", retry_at=NOW + 1), NOW, 0.1)
    assert tries(crowd, chained())[0] == ["a/m"]
    crowd = fleet(*CHAIN, wait_for_preferred=2.0)
    crowd.ended("a/m", RateLimited("x", retry_at=NOW + 20), NOW, 0.1)
    assert tries(crowd, chained()) == (["b/m"], 0)


def test_our_own_caps_and_whoever_is_in_trouble_are_not_waited_for() -> None:
    assert tries(held(0.5, code=ReasonCode.BUDGET), chained()) == (["b/m"], 0)
    crowd = held(0.5)
    for _ in range(3):
        crowd.ended("a/m", ServerFault("x"), NOW, 0.1)
    assert tries(crowd, chained()) == (["b/m"], 0)


def test_the_last_resort_is_asked_where_the_chain_is_held_back_for_long_alone() -> None:
    tiers = {"tiers": {"worker": (), "fallback": ("b/m",)}, "last_resort": ("fallback",)}
    assert tries(held(0.5, **tiers), ask(chain=("a/m",)))[0] == ["a/m"]
    assert tries(held(9.0, **tiers), ask(chain=("a/m",)))[0] == ["b/m"]


def test_an_account_of_the_same_model_is_no_lower_choice() -> None:
    crowd = fleet(*CHAIN)
    first, other = crowd.states["a/m"].candidate, crowd.states["b/m"].candidate
    crowd = Fleet([first, replace(first, account=2), other], crowd.policy)
    crowd.states["a/m"].block(NOW + 0.5, Reason(ReasonCode.LIMIT, "its spacing", NOW + 0.5))
    assert tries(crowd, chained()) == (["a/m#2"], 0)


def test_who_is_held_back_again_and_again_is_not_waited_for_for_ever() -> None:
    """Each time the turn wakes another one has taken the place."""
    crowd, slept = held(0.5), 0.0
    flow = attempts(crowd, chained(), NOW, Random(1))
    effect, now = next(flow), NOW
    while isinstance(effect, Sleep):
        slept += effect.until - now
        now = effect.until
        crowd.states["a/m"].block(now + 0.5, Reason(ReasonCode.LIMIT, "its spacing", now + 0.5))
        effect = flow.send(Woke(now))
    assert isinstance(effect, Try)
    assert effect.candidate.name == "b/m"
    assert 1.4 < slept <= 2.1
    with pytest.raises(StopIteration):
        flow.send(Answered(now, effect.number, answer()))
