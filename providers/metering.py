"""Keeps calls within their candidates' limits: reserves before an attempt, books after it, tells the standings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import uuid4

import anyio

from providers.adapters.rate_headers import Seen, seen
from providers.allowance import Allowance, allowance, came_to, ending, expected, headroom, matching, reason
from providers.books import billed
from providers.catalog import Candidate
from providers.errors import ProviderError, QuotaSpent, RateLimited, Unreachable
from providers.fleet import Fleet, Standing
from providers.health import QUOTA_HOLD_S, RATE_LIMIT_HOLD_S
from providers.ledger import Ledger
from providers.messages import Request, Response, Usage
from providers.quota import Amounts
from providers.routing import Try, expected_output

POLL_S = 0.05
"""How soon to look again where calls that are out fill a limit: any of them may come back with less."""
SCARCE = 0.1
"""Under which share a provider's own limits are news to whoever chooses."""
NEWS_S = 60.0
"""For how long they are."""
LATE_S = 30.0
"""How long after its deadline an attempt may still be booked before its lease expires."""
BOOK_S = 2.0
"""How long a cancelled call may take to give back what it holds."""


class Metering:
    """Every attempt's reservations, of candidates that have limits; the others are none of its business."""

    def __init__(self, ledger: Ledger, fleet: Fleet, clock: Callable[[], float]) -> None:
        self.ledger, self._fleet, self.clock = ledger, fleet, clock
        self._bound: dict[str, tuple[Candidate, Allowance | None]] = {}

    def bound(self, candidate: Candidate) -> Allowance | None:
        """Return what binds a candidate; another policy may bring other limits under the same name."""
        known = self._bound.get(candidate.name)
        if known is None or known[0] is not candidate:
            known = self._bound[candidate.name] = (candidate, allowance(candidate))
        return known[1]

    def binds(self, candidate: Candidate) -> bool:
        """Whether an attempt has something to hold, or its reply's headers say something of limits."""
        return bool(candidate.provider.limits) or self.bound(candidate) is not None

    async def hold(self, effect: Try, request: Request) -> Held | None:
        """Return what the attempt holds, or None: a limit leaves no room, and the standing says until when."""
        candidate = effect.candidate
        held = Held(self, candidate, self.bound(candidate))
        if held.bound is None:
            return held
        tokens = self._fleet.demands(request)[0]
        whole = Usage(input=tokens, output=expected_output(request, candidate.model))
        held.tokens, now = tokens, self.clock()
        asked = held.bound.call(candidate, Usage(input=tokens), now)
        held.amounts = expected(held.bound, asked, held.bound.call(candidate, whole, now))
        try:
            refused = await self.ledger.reserve(held.amounts, held.lease, now, effect.timeouts.total + LATE_S)
        except BaseException:
            await held.close()  # the ledger may have done it all the same
            raise
        if refused is None:
            return held
        if (standing := self.standing(candidate)) is not None:
            sized = tokens if held.bound.sized(refused.meter) else 0
            standing.block(max(refused.until, self.clock() + POLL_S), reason(refused), sized)
        return None

    def standing(self, candidate: Candidate) -> Standing | None:
        """Return how the candidate stands, None where another policy has dropped it meanwhile."""
        return self._fleet.standings.get(candidate.name)


class Held:
    """What one attempt holds of its candidate's limits. Closed on every path; only the first time counts."""

    __slots__ = ("_ended", "_metering", "_open", "amounts", "bound", "candidate", "headers", "lease", "tokens")

    def __init__(self, metering: Metering, candidate: Candidate, bound: Allowance | None) -> None:
        self._metering, self.candidate, self.bound = metering, candidate, bound
        self.lease = uuid4().hex if bound is not None else ""
        self.amounts: Amounts = ()
        self.tokens = 0
        """About how many the request has."""
        self.headers: Mapping[str, str] = {}
        """The reply's, once there is one."""
        self._ended: tuple[ProviderError | None, Response | None, int] = (Unreachable("nothing was sent"), None, 0)
        self._open = True

    def note(self, error: ProviderError | None, response: Response | None, heard: int) -> None:
        """Take how the attempt ended; before that, nothing was sent."""
        self._ended = (error, response, heard)

    async def close(self) -> None:
        """Book what the attempt came to, and what its reply says of limits. Not stopped by a cancellation."""
        if not self._open:
            return
        self._open = False
        now, (error, response, heard) = self._metering.clock(), self._ended
        said = seen(self.headers, now, self.candidate.provider.quirks.request_window) if self.headers else []
        if self.bound is None:
            self._hint(error, said, now)
            return
        call = self.bound.call(self.candidate, billed(self.tokens, response, heard), now)
        if response is not None and response.cost is not None:
            call = replace(call, cost=response.cost)
        booked = came_to(self.bound, self.amounts, ending(error, answered=response is not None), call)
        with anyio.move_on_after(BOOK_S, shield=True):
            await self._metering.ledger.settle(booked, self.lease, now)
            await self._observe(self.bound, error, said, now)

    async def _observe(self, bound: Allowance, error: ProviderError | None, said: list[Seen], now: float) -> None:
        ledger = self._metering.ledger
        for meter, each in matching(bound, said):
            await ledger.observe(meter, each.remaining or 0.0, each.resets_at, now)
        if isinstance(error, RateLimited):
            await ledger.observe(bound.hold, -1.0, _back_at(error, now), now)

    def _hint(self, error: ProviderError | None, said: list[Seen], now: float) -> None:
        """Let the standing know what the provider itself says is left, where that is little.

        A limit that is kept here tells nobody before it is reached: being refused costs nothing then, and whoever is
        left for having less room than others would never be used up.
        """
        standing = self._metering.standing(self.candidate)
        share = 0.0 if isinstance(error, RateLimited) else headroom(said)
        if standing is not None and share is not None and share < SCARCE:
            standing.left(share, _back_at(error, now) if isinstance(error, RateLimited) else now + NEWS_S)


def _back_at(error: RateLimited, now: float) -> float:
    return error.retry_at or now + (QUOTA_HOLD_S if isinstance(error, QuotaSpent) else RATE_LIMIT_HOLD_S)
