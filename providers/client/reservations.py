"""Keeps calls within their candidates' limits and our own budget: reserves before an attempt, books after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from uuid import uuid4

import anyio

from providers.catalog.model import Candidate
from providers.client.accounting import billed
from providers.errors import ProviderError, RateLimited, Reason, ReasonCode, Unreachable
from providers.events import BudgetAlert, Emit, ignore
from providers.limits.headers import Seen, seen
from providers.limits.ledger import Ledger
from providers.limits.reserve import Amounts, LimitKey, index
from providers.limits.rules import Allowance, Cap, allowance, came_to, ending, expected, headroom, matching, reason
from providers.messages import Request, Response, Usage
from providers.routing.effects import Try
from providers.routing.fleet import CandidateState, Fleet
from providers.routing.health import limited_until
from providers.routing.ordering import expected_output

POLL_S = 0.05
"""How soon to look again where calls that are out fill a limit: any of them may come back with less."""
SCARCE = 0.1
"""Under which share a provider's own limits are news to whoever chooses."""
NEWS_S = 60.0
"""For how long they are."""
AT_ONCE = 8
"""How many attempts at one candidate may stand before the ledger. Of a crowd that wakes for one place, most learn from
the first that it is gone, and need not go there."""
LATE_S = 30.0
"""How long after its deadline an attempt may still be booked before its lease expires."""
BOOK_S = 2.0
"""How long a cancelled call may take to give back what it holds."""


class Reservations:
    """Every attempt's reservations, of candidates that something binds; the others are none of its business.

    `alarm` is told of each alert, beside the turn that found it out.
    """

    def __init__(self, ledger: Ledger, fleet: Fleet, clock: Callable[[], float]) -> None:
        self.ledger, self._fleet, self.clock = ledger, fleet, clock
        self.alarm: Emit = ignore
        self._budget = fleet.policy.budget
        self._bound: dict[str, tuple[Candidate, Allowance | None]] = {}
        self._doors: dict[str, anyio.Semaphore] = {}
        self._told: dict[str, int] = {}
        """Marks that are known to be taken, with the number of their day."""

    def bound(self, candidate: Candidate) -> Allowance | None:
        """Return what binds a candidate; another policy may bring other limits under the same name."""
        budget = self._fleet.policy.budget
        if budget is not self._budget:
            self._budget = budget
            self._bound.clear()
        known = self._bound.get(candidate.name)
        if known is None or known[0] is not candidate:
            known = self._bound[candidate.name] = (candidate, allowance(candidate, budget, self.clock()))
        return known[1]

    def binds(self, candidate: Candidate) -> bool:
        """Whether an attempt has something to hold, or its reply's headers say something of limits."""
        return bool(candidate.provider.limits) or self.bound(candidate) is not None

    async def hold(self, effect: Try, request: Request, emit: Emit = ignore) -> Held | None:
        """Return what the attempt holds, or None: something leaves no room, and the standing says until when.

        `emit` is told of shares of our budget that are reached, now or when the attempt is over.
        """
        candidate = effect.candidate
        held = Held(self, candidate, self.bound(candidate), emit)
        if held.bound is None:
            return held
        if held.bound.refused is not None:
            self._block(candidate, inf, held.bound.refused)
            return None
        tokens = self._fleet.demands(request)[0]
        whole = Usage(input=tokens, output=expected_output(request, candidate.model))
        held.tokens, now = tokens, self.clock()
        asked = held.bound.call(candidate, Usage(input=tokens), now)
        held.amounts = expected(held.bound, asked, held.bound.call(candidate, whole, now))
        try:
            async with self._door(candidate):
                if self._is_blocked(candidate, tokens):
                    return None
                refused = await self.ledger.reserve(
                    held.amounts, held.lease, self.clock(), effect.timeouts.total + LATE_S
                )
        except BaseException:
            await held.close()  # the ledger may have done it all the same
            raise
        if refused is None:
            return held
        until = max(refused.until, self.clock() + POLL_S)
        cap = held.bound.cap(refused.meter)
        is_held = cap is not None and until > refused.until
        why = _held_back(cap) if cap is not None and is_held else reason(held.bound, refused)
        self._block(candidate, until, why, tokens if held.bound.sized(refused.meter) else 0)
        if cap is not None and not is_held and until < inf:
            await self.watch([cap], emit, used_up=True)
        return None

    def _door(self, candidate: Candidate) -> anyio.Semaphore:
        door = self._doors.get(candidate.name)
        if door is None:
            door = self._doors[candidate.name] = anyio.Semaphore(AT_ONCE, fast_acquire=True)
        return door

    def _is_blocked(self, candidate: Candidate, tokens: int) -> bool:
        standing = self.standing(candidate)
        return standing is not None and standing.blocked_until(self.clock(), tokens) is not None

    def _block(self, candidate: Candidate, until: float, why: Reason, tokens: int = 0) -> None:
        if (standing := self.standing(candidate)) is not None:
            standing.block(until, why, tokens)

    async def watch(self, caps: Sequence[Cap], emit: Emit, *, used_up: bool = False) -> None:
        """Tell which shares of the caps are reached that nobody has told of today. `used_up`: all of them are."""
        now = self.clock()
        untold = [cap for cap in caps if any(self._is_open(mark, now) for _, mark in cap.marks)]
        if not untold:
            return
        for cap, used in zip(untold, await self.ledger.usage([cap.meter for cap in untold], now), strict=True):
            spent = used.used - used.held
            for share, mark in cap.marks:
                reached = used_up or spent >= share * cap.meter.amount
                if reached and self._is_open(mark, now) and await self._take(mark, now):
                    alert = BudgetAlert(str(cap.budget), share, round(spent), round(cap.meter.amount))
                    emit(alert)
                    self.alarm(alert)

    def _is_open(self, mark: LimitKey, now: float) -> bool:
        return self._told.get(mark.key) != index(mark.window, now)

    async def _take(self, mark: LimitKey, now: float) -> bool:
        """Return whether nobody has taken the mark today, in any process of the ledger. It is taken from now on."""
        lease = uuid4().hex
        refused = await self.ledger.reserve([(mark, 1.0)], lease, now, LATE_S)
        if refused is None:
            await self.ledger.settle([(mark, 1.0)], lease, now)
        self._told[mark.key] = index(mark.window, now)
        return refused is None

    def standing(self, candidate: Candidate) -> CandidateState | None:
        """Return how the candidate stands, None where another policy has dropped it meanwhile."""
        return self._fleet.standings.get(candidate.name)


def _held_back(cap: Cap) -> Reason:
    """Return why a candidate is passed over while calls in flight hold all that is left of a cap."""
    return Reason(ReasonCode.BUDGET, f"{cap.meter.label} is held by calls in flight", budget=cap.budget)


class Held:
    """What one attempt holds of its candidate's limits. Closed on every path; only the first time counts."""

    __slots__ = ("_emit", "_ended", "_metering", "_open", "amounts", "bound", "candidate", "headers", "lease", "tokens")

    def __init__(
        self, metering: Reservations, candidate: Candidate, bound: Allowance | None, emit: Emit = ignore
    ) -> None:
        self._metering, self.candidate, self.bound, self._emit = metering, candidate, bound, emit
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
        if self.bound is None or not self.bound.limits:
            self._hint(error, said, now)
        if self.bound is None:
            return
        told = response if response is not None else error
        call = self.bound.call(self.candidate, billed(self.tokens, told, heard), now)
        if told is not None and told.cost is not None:
            call = replace(call, cost=told.cost)
        answered = told is not None and told.usage is not None
        booked = came_to(self.bound, self.amounts, ending(error, answered=answered), call)
        with anyio.move_on_after(BOOK_S, shield=True):
            await self._metering.ledger.settle(booked, self.lease, now)
            await self._observe(self.bound, error, said, now)
            if self.bound.caps and call.cost:
                await self._metering.watch(self.bound.caps, self._emit)

    async def _observe(self, bound: Allowance, error: ProviderError | None, said: list[Seen], now: float) -> None:
        ledger = self._metering.ledger
        for meter, each in matching(bound, said):
            await ledger.observe(meter, each.remaining or 0.0, each.resets_at, now)
        if bound.limits and isinstance(error, RateLimited):
            await ledger.observe(bound.hold, -1.0, limited_until(error, now), now)

    def _hint(self, error: ProviderError | None, said: list[Seen], now: float) -> None:
        """Let the standing know what the provider itself says is left, where that is little.

        A limit that is kept here tells nobody before it is reached: being refused costs nothing then, and whoever is
        left for having less room than others would never be used up.
        """
        standing = self._metering.standing(self.candidate)
        share = 0.0 if isinstance(error, RateLimited) else headroom(said)
        if standing is not None and share is not None and share < SCARCE:
            standing.left(share, limited_until(error, now) if isinstance(error, RateLimited) else now + NEWS_S)
