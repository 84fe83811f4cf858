"""The line of those who wait for a limit: each run in its turn, however many turns it has waiting. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class Line:
    """Fair queueing by start tags: a run's places stand one apart, and those of all runs side by side.

    So of a run with a thousand waiting turns and one with three, the three are served among the first six. Turns of one
    run are alike: lots are drawn among them. First come, first served would let each of them wait until its deadline,
    and then be too late to be answered, as soon as more come than the limit allows.
    """

    __slots__ = ("_places", "_tags", "_time")

    def __init__(self) -> None:
        self._places: dict[str | None, deque[float]] = {}
        self._tags: list[float] = []
        self._time = 0.0
        """The tag of whoever was served last."""

    def join(self, run: str | None) -> None:
        """Stand in line with one more turn of `run`."""
        places = self._places.setdefault(run, deque())
        tag = max(self._time, places[-1] if places else 0.0) + 1.0
        places.append(tag)
        insort(self._tags, tag)

    def rank(self, run: str | None, draw: float) -> int:
        """Return how many stand before a waiting turn of `run`, whose lot is `draw` from [0, 1)."""
        places = self._places[run]
        return bisect_left(self._tags, places[int(draw * len(places))])

    def leave(self, run: str | None, *, served: bool) -> None:
        """Leave with a turn of `run` that was `served`, or will not be: it gives up the first or the last place."""
        places = self._places[run]
        tag = places.popleft() if served else places.pop()
        if not places:  # runs come and go: only those that wait are remembered
            del self._places[run]
        del self._tags[bisect_left(self._tags, tag)]
        if served:
            self._time = max(self._time, tag)
