"""A queue on a virtual clock does what queueing theory says of it."""

from __future__ import annotations

from random import Random

import pytest

from providers.simulation.cluster.stations import MeasuredSpan, SlotUse, Station

ALL = MeasuredSpan(0.0, 1e9)


def test_one_server_takes_one_after_the_other() -> None:
    station = Station(1, ALL)
    assert [station.take(at, 1.0) for at in (0.0, 0.5, 5.0)] == [1.0, 2.0, 6.0]


def test_two_servers_take_two_at_a_time() -> None:
    station = Station(2, ALL)
    assert [station.take(0.0, 1.0) for _ in range(4)] == [1.0, 1.0, 2.0, 2.0]


def test_a_share_that_goes_elsewhere_makes_all_else_slower_and_is_counted_as_used() -> None:
    station = Station(1, MeasuredSpan(0.0, 10.0), taken=0.5)
    assert station.take(0.0, 1.0) == 2.0
    assert station.used == pytest.approx(0.5 + 0.2 * 0.5)


def test_a_burden_keeps_all_servers_busy() -> None:
    station = Station(4, MeasuredSpan(0.0, 10.0))
    assert station.burden(1.0, 8.0) == 1.0
    assert station.take(1.0, 0.5) == 3.5
    assert station.used == pytest.approx((8.0 + 0.5) / 40)


def test_only_what_lies_in_the_span_counts() -> None:
    station = Station(1, MeasuredSpan(10.0, 20.0))
    station.take(0.0, 5.0)
    station.take(8.0, 4.0)
    station.take(19.0, 4.0)
    assert station.used == pytest.approx(0.3)
    assert station.waits.counted.total() == 1


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(load: float) -> None:
    """Poisson arrivals, one server, one duration: the mean wait is load / 2 (1 - load) of it."""
    dice, station, at, waited, count = Random(5), Station(1, ALL), 0.0, 0.0, 200_000
    for _ in range(count):
        at += dice.expovariate(load)
        waited += station.take(at, 1.0) - at - 1.0
    assert waited / count == pytest.approx(load / (2 * (1 - load)), rel=0.05)


def test_slots_are_used_for_as_long_as_they_are_taken() -> None:
    slots = SlotUse(4, MeasuredSpan(10.0, 20.0))
    slots.change(2, 5.0)
    slots.change(2, 15.0)
    slots.change(-4, 18.0)
    assert slots.used == pytest.approx((2 * 5 + 4 * 3) / 40)
    slots.change(1, 18.0)
    assert slots.used == pytest.approx((2 * 5 + 4 * 3 + 2) / 40), "what is taken still counts to the end"
