"""The queue of turns that wait for a limit: runs are served in rotation, however many turns each has waiting. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class FairQueue:
    """Fair queueing by start tags: a run's places are one apart, and the places of all runs lie side by side.

    So of a run with a thousand waiting turns and one with three, the three are served among the first six. The turns of
    one run are alike, and which of them is next is drawn at random. First come, first served would let each of them
    wait until just past its deadline, as soon as more come than the limit allows.
    """

    __slots__ = ("_places", "_tags", "_time")

    def __init__(self) -> None:
        self._places: dict[str | None, deque[float]] = {}
        self._tags: list[float] = []
        self._time = 0.0
        """The tag that was served last."""

    def join(self, run: str | None) -> None:
        """Add one more waiting turn of `run`."""
        places = self._places.setdefault(run, deque())
        tag = max(self._time, places[-1] if places else 0.0) + 1.0
        places.append(tag)
        insort(self._tags, tag)

    def rank(self, run: str | None, draw: float) -> int:
        """Return how many places are before a waiting turn of `run`; `draw`, from [0, 1), picks one of the run's."""
        places = self._places[run]
        return bisect_left(self._tags, places[int(draw * len(places))])

    def leave(self, run: str | None, *, served: bool) -> None:
        """Remove a turn of `run`: its first place where it was `served`, its last one where it will not be."""
        places = self._places[run]
        tag = places.popleft() if served else places.pop()
        if not places:  # runs come and go: only those that wait are kept
            del self._places[run]
        del self._tags[bisect_left(self._tags, tag)]
        if served:
            self._time = max(self._time, tag)
