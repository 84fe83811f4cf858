"""How long a turn waits where nobody may be asked now: for an answer, for a recovery, or not at all. Pure."""

from __future__ import annotations

from providers.routing.choice import Wait
from providers.routing.effects import Sleep
from providers.routing.fleet import PROBE_TAKES_S

SOON_S = 0.25
"""How long a turn that has asked nobody waits for the probe of a provider that is known to be down, and its end."""
PATIENT_S = 30.0
"""A turn with so long to live waits for a recovery, unless it has met the outage itself."""
FIRST_LOOK_S = 0.02
LAST_LOOK_S = 0.5
"""How long a turn at least and at most sleeps before it looks again what became of others' attempts."""


SHARE_TO_PREFER = 0.25
"""Of its time a turn spends no more on waiting for one that it prefers while another is free."""


def prefers_until(began: float, deadline: float, most: float) -> float:
    """Return until when a turn waits for a candidate that it prefers: `most` seconds, less where it has little time."""
    return began + min(most, SHARE_TO_PREFER * (deadline - began))


class Patience:
    """What one turn waits for.

    For a candidate that may be expected to answer it waits until its `deadline`. Where all are known to be down, one
    that has failed already is told at once, and so is one with little time; only who came into the outage with
    `PATIENT_S` to live waits for a recovery, and its turns to probe for one.
    """

    __slots__ = ("_deadline", "_endures", "_looks_since", "_outage_at")

    def __init__(self, now: float, deadline: float) -> None:
        self._deadline = deadline
        self._endures = deadline - now >= PATIENT_S
        """Whether it would wait for a recovery."""
        self._outage_at: float | None = None
        """When it first heard that all are known to be down."""
        self._looks_since: float | None = None

    def waits_for(self, wait: Wait, now: float, *, failed: bool, met: bool) -> bool:
        """Whether the turn waits. `failed`: an attempt of it has; `met`: it has asked one not known to be down."""
        if wait.until >= self._deadline:
            return False
        if wait.sure < self._deadline:
            return True
        if self._endures and not met:  # a probe with no time left would say nothing
            return wait.until < self._deadline - PROBE_TAKES_S
        if self._outage_at is None:
            self._outage_at = now
        return not failed and wait.until <= self._outage_at + SOON_S

    def look_again(self, now: float, draw: float) -> Sleep | None:
        """Return the sleep until others' attempts may have shown who answers; None: the deadline comes first.

        `draw` is from [0, 1): a crowd must not look at one instant.
        """
        if self._looks_since is None:
            self._looks_since = now
        pause = min(max(now - self._looks_since, FIRST_LOOK_S), LAST_LOOK_S)
        until = now + (0.5 + 0.5 * draw) * pause
        return None if until >= self._deadline else Sleep(until, "others are asking whether anybody answers")
