"""The router's time: epoch seconds that go on evenly, whatever becomes of the machine's clock.

Deadlines, waits, holds and rests are durations: setting the machine's clock, by a person, by NTP or by a host that
resumes, must neither end nor lengthen one. What counts by the machine's clock are limits that other processes share,
windows that end at midnight, and instants that a provider names, which are turned into the router's time as they come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import anyio

Now = Callable[[], float]
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)
SET_BY_S = 1.0
"""A clock that differs by less has drifted and was not set."""


_passed: Now = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)
"""Gives the seconds since some instant; those that a machine slept count where it can tell them."""


class SteadyClock:
    """Epoch seconds at its beginning, and from there what has passed. `wall` is the machine's clock."""

    __slots__ = ("_began", "_passed", "wall")

    def __init__(self, wall: Now = time.time, passed: Now = _passed) -> None:
        self.wall, self._passed = wall, passed
        self._began = wall() - passed()

    def __call__(self) -> float:
        return self._began + self._passed()


def ahead(wall: Now, clock: Now) -> float:
    """Return by how much the machine's clock is ahead of the router's: by how much it was set."""
    seconds = wall() - clock()
    return seconds if abs(seconds) > SET_BY_S else 0.0


def from_now(clock: Now) -> Now:
    """Return a clock for one turn that begins at `clock`'s time and goes on evenly, also where `clock` is set."""
    if isinstance(clock, SteadyClock):
        return clock
    began = clock() - anyio.current_time()
    return lambda: began + anyio.current_time()
