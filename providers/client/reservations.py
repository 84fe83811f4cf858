"""Keeps calls within their candidates' limits and our own budget: reserves before an attempt, settles after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from uuid import uuid4

import anyio

from providers.catalog.model import Candidate
from providers.client.clock import Now, SteadyClock, ahead
from providers.client.shared_breakers import SharedBreakers
from providers.emit import Emit, ignore
from providers.errors import ProviderError, RateLimited, Unreachable
from providers.events import BudgetAlert
from providers.limits.counter import LimitKey
from providers.limits.headers import Seen, seen
from providers.limits.ledger import Ledger
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.reserve import Amounts
from providers.limits.rules import SCARCE, Allowance, Cap, allowance, ending, headroom, matching, spent
from providers.messages import Request, Response
from providers.routing.admission import LATE_S, CallPlan, billed, forbid, plan, refuse, settled, shut_until
from providers.routing.candidate_state import CandidateState
from providers.routing.effects import Try
from providers.routing.fleet import Fleet
from providers.routing.health import limited_until
from providers.routing.ordering import expected_output
from providers.transport.closing import undisturbed
from providers.windows import index

NEWS_S = 60.0
"""For how long it does."""
AT_ONCE = 8
"""How many attempts at one candidate may stand before the ledger. Of a crowd that wakes for one place, most learn from
the first that it is gone, and need not go there."""
BOOK_S = 2.0
"""How long a cancelled call may take to give back what it holds."""


class Reservations:
    """Reserves what a limit or a budget binds, and reads what replies say of limits.

    `alarm` is called with each alert, besides the turn that met it. Counts go by the machine's clock, `wall`: other
    processes share them, and days end at midnight. What a candidate's state learns of them is the router's time.
    """

    def __init__(self, ledger: Ledger, fleet: Fleet, clock: Now) -> None:
        self.ledger, self._fleet, self.clock = ledger, fleet, clock
        self.wall = clock.wall if isinstance(clock, SteadyClock) else clock
        self.alarm: Emit = ignore
        self._budget = fleet.policy.budget
        self._bound: dict[str, tuple[Candidate, Allowance | None]] = {}
        self._doors: dict[str, anyio.Semaphore] = {}
        self.holds: dict[str, tuple[float, float]] = {}
        """By candidate until when a provider's refusal shuts it: by the machine's clock, and by the event loop's."""
        self._told: dict[str, int] = {}
        """Marks that are known to be taken, with the number of their day."""
        self._breakers = SharedBreakers(ledger, fleet, self.wall) if ledger.is_of_machines else None

    def bound(self, candidate: Candidate) -> Allowance | None:
        """Return what binds a candidate; another policy may bring other limits under the same name."""
        budget = self._fleet.policy.budget
        if budget is not self._budget:
            self._budget = budget
            self._bound.clear()
        known = self._bound.get(candidate.name)
        if known is None or known[0] is not candidate:
            known = self._bound[candidate.name] = (candidate, allowance(candidate, budget, self.wall()))
        return known[1]

    async def reserve(
        self, effect: Try, request: Request, emit: Emit = ignore, clock: Now | None = None
    ) -> Reservation | None:
        """Return what the attempt reserves, or None: there is no room, and the candidate's state says until when.

        `emit` gets an event for each share of our budget that is reached, now or when the attempt is over. `clock` is
        that of the attempt's turn.
        """
        clock = self.clock if clock is None else clock
        candidate = effect.candidate
        if self._breakers is not None and candidate.name in await self._breakers.exchange(clock):
            return None
        bound, state = self.bound(candidate), self.state(candidate)
        if bound is None:
            return Reservation(self, candidate, None, emit)
        if forbid(state, bound):
            return None
        tokens, output = self._fleet.demands(request)[0], expected_output(request, candidate.model)
        call = plan(bound, candidate, tokens, output, self.wall())
        made = Reservation(self, candidate, call, emit)
        try:
            async with self._door(candidate):
                if state is not None and state.blocked_until(clock(), tokens) is not None:
                    return None  # learned from an attempt that was at the ledger before this one
                ttl = effect.timeouts.total + LATE_S
                no_room = await self.ledger.reserve(self._reserves(call, candidate), made.lease, self.wall(), ttl)
        except BaseException:
            await made.close()  # the ledger may have done it all the same
            raise
        if no_room is None:
            return made
        no_room = replace(no_room, until=no_room.until - ahead(self.wall, clock))
        if (cap := refuse(state, call, no_room, clock())) is not None:
            await self.watch([cap], emit, used_up=True)
        return None

    def _reserves(self, call: CallPlan, candidate: Candidate) -> Amounts:
        """Return what a call reserves, without a hold of ours that is over, whatever its clock was set to."""
        until, over_at = self.holds.get(candidate.name, (-inf, inf))
        if self.wall() >= until or anyio.current_time() < over_at:
            return call.reserves
        return [(meter, amount) for meter, amount in call.reserves if meter != call.bound.hold]

    def _door(self, candidate: Candidate) -> anyio.Semaphore:
        door = self._doors.get(candidate.name)
        if door is None:
            door = self._doors[candidate.name] = anyio.Semaphore(AT_ONCE, fast_acquire=True)
        return door

    async def watch(self, caps: Sequence[Cap], emit: Emit, *, used_up: bool = False) -> None:
        """Tell of the shares of the caps that are reached and were not told of today. `used_up`: all of them are."""
        now = self.wall()
        untold = [cap for cap in caps if any(self._is_open(mark, now) for _, mark in cap.marks)]
        if not untold:
            return
        for cap, used in zip(untold, await self.ledger.usage([cap.meter for cap in untold], now), strict=True):
            # What calls in flight hold is not spent: they may cost less.
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
        """Take the mark; return whether it was free, so that no process of the ledger had taken it today."""
        lease = uuid4().hex
        refused = await self.ledger.reserve([(mark, 1.0)], lease, now, LATE_S)
        if refused is None:
            await self.ledger.settle([(mark, 1.0)], lease, now)
        # Free or not: the alert is sent, by this process or another, and need not be asked about again in this window.
        self._told[mark.key] = index(mark.window, now)
        return refused is None

    def state(self, candidate: Candidate) -> CandidateState | None:
        """Return the candidate's state, None where another policy has dropped it meanwhile."""
        return self._fleet.states.get(candidate.name)


class Reservation:
    """What one attempt reserves of its candidate's limits. Closed on every path; only the first time counts."""

    __slots__ = ("_emit", "_ended", "_open", "_reservations", "candidate", "headers", "lease", "plan")

    def __init__(
        self, reservations: Reservations, candidate: Candidate, plan: CallPlan | None, emit: Emit = ignore
    ) -> None:
        self._reservations, self.candidate, self.plan, self._emit = reservations, candidate, plan, emit
        self.lease = uuid4().hex if plan is not None else ""
        self.headers: Mapping[str, str] = {}
        """The reply's, once there is one."""
        self._ended: tuple[ProviderError | None, Response | None, int] | None = None
        self._open = True

    def note(self, error: ProviderError | None, response: Response | None, heard: int) -> None:
        """Take how the attempt ended; before that, nothing was sent."""
        self._ended = (error, response, heard)

    async def close(self) -> None:
        """Settle what the attempt really used, and note what its reply says of limits. Shielded from cancellation."""
        if not self._open:
            return
        self._open = False  # first: a second close during the awaits below must do nothing
        now = self._reservations.wall()
        error, response, heard = self._ended or (Unreachable("nothing was sent"), None, 0)
        said = seen(self.headers, now, self.candidate.provider.quirks.request_window) if self.headers else []
        if self.plan is None or not self.plan.bound.limits:
            self._hint(error, said, now)
        if self.plan is None:
            return
        bound, told = self.plan.bound, response if response is not None else error
        call = bound.call(self.candidate, billed(self.plan.tokens, told, heard), now)
        if told is not None and told.cost is not None:
            call = replace(call, cost=told.cost)
        answered = response is not None or (error is not None and error.usage is not None and error.usage.total > 0)
        amounts = settled(self.plan, ending(error, answered=answered), call)
        watched = bound.caps if call.cost else ()

        async def book() -> None:
            await self._reservations.ledger.settle(amounts, self.lease, now)
            await self._observe(bound, error, said, now)
            if watched:
                await self._reservations.watch(watched, self._emit)

        if type(self._reservations.ledger) is MemoryLedger:  # it never waits, so nothing can come between
            await book()
        else:
            await undisturbed(book, BOOK_S)

    async def _observe(self, bound: Allowance, error: ProviderError | None, said: list[Seen], now: float) -> None:
        ledger = self._reservations.ledger
        for meter, each in matching(bound, said):
            await ledger.observe(meter, each.remaining or 0.0, each.resets_at, now)
        if (shut := shut_until(bound, error, now)) is not None:
            await ledger.observe(shut[0], -1.0, shut[1], now)
            self._reservations.holds[self.candidate.name] = (shut[1], anyio.current_time() + shut[1] - now)

    def _hint(self, error: ProviderError | None, said: list[Seen], now: float) -> None:
        """Let the candidate's state know what the provider itself says is left, where that is little.

        A limit that is kept here gives no such hint before it is reached: being refused by our own ledger costs
        nothing, and a candidate that is avoided for having less room than others would never be used up.
        """
        state = self._reservations.state(self.candidate)
        if state is None or not (said or isinstance(error, RateLimited)):
            return
        off = ahead(self._reservations.wall, self._reservations.clock)
        if not isinstance(error, RateLimited):  # a refusal says itself until when
            for until, tokens, why in spent(said, now):
                state.block(until - off, why, tokens)
        share = 0.0 if isinstance(error, RateLimited) else headroom(said)
        if share is not None and share < SCARCE:
            until = limited_until(error, now) if isinstance(error, RateLimited) else now + NEWS_S
            state.left(share, until - off)
