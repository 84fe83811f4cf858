"""Circuit breakers over all machines: where one worker's opens, the others hear of it through the shared ledger."""

from __future__ import annotations

from contextlib import suppress

from providers.catalog.model import Candidate
from providers.client.clock import Now, ahead
from providers.limits.counter import LimitKey
from providers.limits.ledger import Ledger, LedgerDown
from providers.routing.candidate_state import CandidateState
from providers.routing.fleet import Fleet
from providers.routing.health import LONGEST_REST_S, Breaker
from providers.windows import Fixed

LOOK_S = 1.0
"""How old what was heard may be. Looking is one more question to the ledger, of one call in so many seconds."""
FRESH_S = 10.0
"""A worker that had an answer within so many seconds, and no fault since, goes by what it sees: the one that tells may
be the one that is cut off."""


class SharedBreakers:
    """Tells of the breakers that open and close here, and opens those here that have opened elsewhere.

    What was heard is a breaker like any other: it lets probes through, early ones where nobody else can answer, and an
    answer closes it, here at once and elsewhere by the next look.
    """

    def __init__(self, ledger: Ledger, fleet: Fleet, wall: Now) -> None:
        self._ledger, self._fleet, self._wall = ledger, fleet, wall
        self._told: dict[str, float] = {}
        """By candidate until when the others know it to be open, in the router's time."""
        self._heard: dict[str, float] = {}
        self._looked_at = float("-inf")

    async def exchange(self, clock: Now) -> frozenset[str]:
        """Tell what is new here, and look for what is new elsewhere if that is due. Return whom that opened."""
        await self._tell(clock)
        now = clock()
        if 0.0 <= now - self._looked_at < LOOK_S:
            return frozenset()
        self._looked_at = now  # first: others come here while this one waits
        return frozenset(await self._look(clock))

    async def _tell(self, clock: Now) -> None:
        for name, state in list(self._fleet.states.items()):
            until = state.breaker.open_until
            known = self._told.get(name) or self._heard.get(name)
            if until is None and known is not None:
                self._told.pop(name, None)
                self._heard.pop(name, None)
                with suppress(LedgerDown):  # it lapses by itself
                    await self._ledger.forget([_meter(state.candidate)])
            elif until is not None and until > clock() and (known is None or until > known):
                self._told[name] = until
                off = ahead(self._wall, clock)
                meter, trips = _meter(state.candidate), float(state.breaker.trips)
                await self._ledger.observe(meter, -trips, until + off, self._wall())

    async def _look(self, clock: Now) -> list[str]:
        states, opened = list(self._fleet.states.values()), list[str]()
        found = await self._ledger.usage([_meter(state.candidate) for state in states], self._wall())
        now, off = clock(), ahead(self._wall, clock)
        for state, seen in zip(states, found, strict=True):
            if seen.used and self._hear(state, round(seen.used), seen.resets_at - off, now):
                opened.append(state.name)
            elif (
                not seen.used and self._heard.pop(state.name, None) is not None and state.breaker.open_until is not None
            ):
                state.breaker = state.breaker.succeeded(now)  # somebody had an answer
        return opened

    def _hear(self, state: CandidateState, trips: int, until: float, now: float) -> bool:
        """Open a breaker of ours that has opened elsewhere, unless we know better; return whether that was done."""
        if state.breaker.open_until is not None or state.name in self._told or until <= now:
            return False
        if not state.has_failed and now - state.track.answered_at < FRESH_S:
            return False
        self._heard[state.name] = until
        state.breaker = Breaker(trips=trips, open_until=min(until, now + LONGEST_REST_S), since=now)
        return True


def _meter(candidate: Candidate) -> LimitKey:
    return LimitKey(
        f"{candidate.provider.name}/{candidate.fingerprint}/{candidate.model.name}/breaker",
        0.0,
        Fixed(LONGEST_REST_S),
        "circuit breaker",
    )
