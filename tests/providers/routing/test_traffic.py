"""What is counted of attempts: by window, by candidate, by whose turn; and that it stays small."""

from __future__ import annotations

import pytest

from providers.errors import Fault
from providers.routing.traffic import KEPT_S, MOST_KEYS, OTHERS, SLOT_S, AttemptSeen, Failover, Served, Traffic

NOW = 1_800_000_000.0


def seen(at: float, name: str = "a/m", seconds: float = 1.0, **more) -> AttemptSeen:
    return AttemptSeen(NOW + at, name, more.pop("outcome", "ok"), seconds, more.pop("tier", "worker"), **more)


def failed(at: float, name: str = "a/m", error: str = "ServerFault", **more) -> AttemptSeen:
    return seen(at, name, outcome="failed", error=error, detail="it broke", **more)


def test_windows_success_percentiles_and_the_last_error() -> None:
    traffic = Traffic(NOW)
    for at in range(100):
        traffic.saw(seen(at, seconds=(at + 1) / 10, first_token=0.2, output_tokens=7))
    traffic.saw(failed(100))
    traffic.saw(failed(100, error="BadRequest", fault=Fault.CALLER))
    traffic.saw(seen(100, outcome="cancelled"))
    traffic.saw(seen(1000, seconds=30.0))
    hour, last = traffic.over(3600, NOW + 1000).endpoints["a/m"], traffic.over(300, NOW + 1000).endpoints["a/m"]
    assert (hour.calls, hour.answered, hour.failed, hour.cancelled, hour.output_tokens) == (104, 101, 2, 1, 700)
    assert hour.success == 101 / 102, "what is the caller's fault is not the provider's"
    assert hour.took.percentile(0.5) == pytest.approx(5.0, rel=0.06)
    assert hour.took.percentile(0.95) == pytest.approx(9.5, rel=0.06)
    assert hour.first_token.percentile(0.5) == pytest.approx(0.2, rel=0.06)
    assert (last.calls, last.success) == (1, 1.0)
    assert traffic.last_errors["a/m"].error == "BadRequest"
    assert not traffic.over(3600, NOW + 1000 + KEPT_S + SLOT_S).endpoints
    assert traffic.over(300, NOW).of(["b/m"]).success is None, "no traffic is no failure"


def test_shares_and_failovers_are_told_by_whose_turn_it_was() -> None:
    traffic = Traffic(NOW)
    traffic.saw(failed(0, agent="ann"))
    traffic.saw(seen(1, "b/m", agent="ann", after=("a/m", "ServerFault")))
    traffic.saw(seen(2, agent="bob", tier="boss"))
    view = traffic.over(300, NOW + 2)
    assert view.served == {Served("worker", "ann", "b/m"): 1, Served("boss", "bob", "a/m"): 1}
    assert view.failovers == {Failover("a/m", "b/m", "ServerFault"): 1}
    assert set(view.tiers) == {"worker", "boss"}
    assert sum(map(sum, traffic.calls_over_time(["a/m"], NOW + 2))) == 2


def test_made_up_names_and_a_clock_that_goes_back_do_not_pile_up() -> None:
    traffic = Traffic(NOW)
    for at in range(MOST_KEYS + 100):
        traffic.saw(seen(0, agent=f"agent-{at}"))
    traffic.saw(seen(-9000))
    view = traffic.over(300, NOW)
    assert view.served[Served("worker", OTHERS, "a/m")] == 101
    assert len(view.served) == MOST_KEYS + 1
