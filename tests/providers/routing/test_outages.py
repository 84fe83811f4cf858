"""Outages on a virtual clock: what a burst costs, when it is told, how soon a recovery is seen, who is lost."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise
from random import Random

import pytest

from providers.catalog.model import Candidate, Model, Provider
from providers.errors import (
    AllAttemptsFailed,
    NoRoute,
    Overloaded,
    ProviderError,
    RateLimited,
    RoutingError,
    ServerFault,
    StreamBroken,
    TimedOut,
    Unreachable,
)
from providers.messages import Capability, FinishReason, Needs, Request, Response, Usage, assistant, user
from providers.policy.model import Policy
from providers.routing.effects import Answered, Ended, Failed, Sleep, Try, Woke
from providers.routing.fleet import Fleet
from providers.routing.health import FIRST_REST_S
from providers.routing.turn import attempts

NOW = 1_000_000.0
ANSWER = Response(assistant("done"), FinishReason.STOP, Usage(20, output=20))
Says = Callable[[str, float], ProviderError | None]
"""What a candidate says to a call that comes then: an error, or None, an answer."""
KINDS = {
    "500": lambda: ServerFault("x"),
    "overloaded": lambda: Overloaded("x"),
    "refused": lambda: Unreachable("x"),
    "reset": lambda: Unreachable("x", sent=True),
    "broken": lambda: StreamBroken("x"),
    "connect": lambda: TimedOut("x", phase="connect"),
    "429": lambda: RateLimited("x"),
}
FAULTS = [kind for kind in KINDS if kind != "429"]
either = pytest.mark.parametrize("streamed", [False, True], ids=["complete", "stream"])


def fleet(names: str, **policy) -> Fleet:
    models = [f"{name}/m" for name in names]
    rows = [Candidate(Provider(n, "any", "", None, {}), Model("m", 9999, 99, frozenset(Capability))) for n in names]
    return Fleet(rows, Policy(**{"tiers": {"worker": models}, "last_resort": (), "strategy": "chain"} | policy))


@dataclass
class World:
    """Drives turns over virtual time; a call takes 0.1 to 0.3 s."""

    crowd: Fleet
    says: Says
    streamed: bool = False
    dice: Random = field(default_factory=lambda: Random(4))
    calls: list[tuple[float, str]] = field(default_factory=list)
    answered: list[tuple[float, float]] = field(default_factory=list)
    """When each turn that was answered began and ended."""
    lost: list[tuple[float, float, RoutingError]] = field(default_factory=list)

    def run(self, begins: Iterable[float], deadline: float | None = None) -> World:
        order, request = count(), Request((user("hi"),), needs=Needs(deadline_s=deadline))
        queue = [(at, next(order), at, None, None) for at in begins]
        heapq.heapify(queue)
        while queue:
            now, _, began, flow, outcome = heapq.heappop(queue)
            try:
                if flow is None:
                    flow = attempts(self.crowd, request, now, self.dice, streamed=self.streamed)
                    effect = next(flow)
                else:
                    effect = flow.send(outcome)
            except StopIteration:
                self.answered.append((began, now))
            except (NoRoute, AllAttemptsFailed) as error:
                self.lost.append((began, now, error))
            else:
                outcome = Woke(max(now, effect.until)) if isinstance(effect, Sleep) else self.ask(effect, now)
                heapq.heappush(queue, (outcome.now, next(order), began, flow, outcome))
        return self

    def ask(self, effect: Try, now: float) -> Ended:
        name, ends = effect.candidate.name[0], now + self.dice.uniform(0.1, 0.3)
        self.calls.append((now, name))
        error = self.says(name, now)
        return Answered(ends, effect.number, ANSWER) if error is None else Failed(ends, effect.number, error)


def down(kind: str, names: str, until: float = NOW + 1e9) -> Says:
    return lambda name, now: KINDS[kind]() if name in names and now < until else None


def at_once(turns: int) -> list[float]:
    return [NOW + number * 1e-4 for number in range(turns)]


@pytest.mark.few(3)
@pytest.mark.parametrize("turns", [100, 300])
@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("kind", ["500", "refused", "broken"])
def test_a_burst_with_everything_down_is_bounded_and_told_soon(kind, names, turns):
    world = World(fleet(names), down(kind, names)).run(at_once(turns))
    assert len(world.calls) <= 1.2 * turns + 12
    assert len(world.lost) == turns
    assert max(ended - began for began, ended, _ in world.lost) <= (2.0 if names == "ab" else 2.5)
    assert all(ended < error.earliest + 1e-9 <= ended + 1.3 for _, ended, error in world.lost)


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
@pytest.mark.parametrize("kind", ["500", "refused"])
def test_turns_in_a_row_with_everything_down_are_refused_without_calls(kind, names):
    world, now = World(fleet(names), down(kind, names)), NOW
    for _ in range(200):
        world.run([now], deadline=10.0)
        now = world.lost[-1][1] + 0.002
    assert len(world.calls) <= 0.2 * 200


@pytest.mark.few(7)
@either
@pytest.mark.parametrize("names", [("a", "b"), ("ab", "c")])
@pytest.mark.parametrize("kind", KINDS)
def test_no_turn_of_a_burst_is_lost_while_somebody_is_well(kind, names, streamed):
    dead, well = names
    world = World(fleet(dead + well), down(kind, dead), streamed).run(at_once(300), deadline=10.0)
    assert world.lost == []
    assert max(ended - began for began, ended in world.answered) < 3.0


@pytest.mark.few(4)
@pytest.mark.parametrize("deadline", [10.0, 60.0])
@pytest.mark.parametrize("outage", [3.0, 20.0, 45.0, 100.0])
@pytest.mark.parametrize("names", ["a", "ab"])
def test_the_first_answer_comes_within_two_seconds_of_a_recovery(names, outage, deadline):
    heals = NOW + outage
    world = World(fleet(names), down("500", names, heals))
    world.run([NOW + 0.5 * number for number in range(int(outage + 10) * 2)], deadline)
    assert min(ended for _, ended in world.answered) <= heals + 2.0
    late = [began for began, _, _ in world.lost if began > heals]
    assert len(late) <= (3 if deadline < 30 else 0), "who has time waits for the next probe"
    opened = NOW + 6.0
    for name in names:
        probes = [at for at, whose in world.calls if whose == name and opened < at < heals]
        assert all(later - earlier >= 1.0 for earlier, later in pairwise(probes)), "a probe a second at most"


def test_who_comes_into_an_outage_with_time_waits_for_the_recovery():
    world = World(fleet("a"), down("500", "a", NOW + 20.0))
    world.run([NOW + number for number in range(30)], deadline=60.0)
    assert all(began < NOW + 3 for began, _, _ in world.lost), "they met it themselves"
    assert len(world.answered) >= 27


def test_where_somebody_is_well_the_long_rests_stay():
    world = World(fleet("ab"), down("500", "a")).run([NOW + 0.5 * number for number in range(400)])
    assert world.lost == []
    asked = [at for at, name in world.calls if name == "a"]
    assert len(asked) == 3 + 2, "three faults, and a probe after each rest of 200 s"
    assert asked[3] - asked[2] >= FIRST_REST_S


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lone_provider_that_fails_three_times_is_asked_again_and_answers(kind):
    left = [3]

    def says(name: str, now: float) -> ProviderError | None:
        left[0] -= 1
        return KINDS[kind]() if left[0] >= 0 else None

    world = World(fleet("a"), says).run([NOW])
    assert len(world.answered) == 1
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(world.calls)]
    assert pauses == sorted(pauses), "the waits grow"
    assert sum(pauses) > 3.0


@pytest.mark.parametrize("turns", [1, 20])
def test_a_limit_of_eight_seconds_that_says_nothing_is_waited_out(turns):
    world = World(fleet("a"), down("429", "a", NOW + 8.0)).run(at_once(turns), deadline=60.0)
    assert len(world.answered) == turns
    assert len(world.calls) <= turns + 12 + turns, "few ask whether it is over, and then each once"


def test_a_crowd_that_meets_a_blip_is_answered_behind_its_first_probe():
    world = World(fleet("a"), down("500", "a", NOW + 0.9)).run(at_once(100))
    assert world.lost == []
    assert max(ended for _, ended in world.answered) < NOW + 6.0
