"""Reservations on our own caps, nested: taken before a call, settled after it, so that no cap can be overshot.

An `AccountScope` is the accounts that one piece of work draws on together: its squad's, task's, conversation's and
agent's. A call is reserved on all of them or on none. What calls in flight hold is not spent: a call that finds room
only beside less of it waits (`CallsOfRun`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from math import floor, inf
from typing import NamedTuple, Protocol

import anyio
import anyio.lowlevel

from orchestrator.run.budget import Account
from orchestrator.squad.plan import OnExceed
from providers.budgets import BudgetRef, CallSize, CallSizes
from providers.errors import BudgetSpent

SHARE = 1 / 64
"""Of what is left, how much one call may hold for an answer that is longer than usual: others must find room, too."""


class Hold(NamedTuple):
    """What a reservation took from each account of a scope."""

    cost: int
    tokens: int


@dataclass(slots=True, eq=False)
class AccountReservation:
    """One call's share of a scope. Settled or released exactly once; a second time is an error of ours.

    Of an account that other processes draw on, too, only their common record tells what is held and spent.
    """

    scope: AccountScope
    size: CallSize
    output: int
    id: str = ""
    """Its name in the record of what is held, where other processes draw on the same accounts."""
    hold: Hold = field(init=False)
    open: bool = True
    is_recorded: bool = False

    def __post_init__(self) -> None:
        self.hold = Hold(self.size.cost_of(self.output), self.size.tokens + self.output)
        for account in self.scope.own:
            account.hold(self.hold.cost, self.hold.tokens, self.size.turns)

    async def recorded(self) -> None:
        """Return once all that was told is on record: that the call is made, too."""
        await self.scope.calls.record(self)
        self.is_recorded = True

    def settle(self, cost: int, tokens: int) -> None:
        """Replace the reservation by what the call really cost: micro-USD and tokens."""
        self._close()
        for account in self.scope.own:
            account.cost += cost
            account.tokens += tokens
            account.turns += self.size.turns
        self.scope.calls.ended(self, is_free=False)

    def release(self) -> None:
        """Give everything back: the call cost nothing."""
        self._close()
        self.scope.calls.ended(self, is_free=True)

    def _close(self) -> None:
        assert self.open, "a reservation is settled or released once"
        self.open = False
        for account in self.scope.own:
            account.hold(-self.hold.cost, -self.hold.tokens, -self.size.turns)


@dataclass(slots=True, eq=False)
class WaitingCall:
    """A call in line. `answer` is what came of it: room, or why there is none."""

    scope: AccountScope
    size: CallSize
    place: int
    over: anyio.Event = field(default_factory=anyio.Event)
    answer: AccountReservation | Exception | None = None

    def end(self, answer: AccountReservation | Exception) -> None:
        self.answer = answer
        self.over.set()


class CallLine(Protocol):
    """The line of the calls that wait for room, and the record of those that have it."""

    @property
    def sizes(self) -> CallSizes:
        """What calls really took."""

    def place(self) -> int:
        """Return the place behind all others."""

    def enter(self, scope: AccountScope, size: CallSize, place: int) -> WaitingCall:
        """Put a call in line at its place, and let it be served."""

    def leave(self, one: WaitingCall) -> None:
        """Take a call out of the line: it waits no longer."""

    async def served(self, one: WaitingCall) -> None:
        """Return once a call that entered was looked at, whether there was room for it or not."""

    async def record(self, held: AccountReservation) -> None:
        """Return once all that was told is on record."""

    def ended(self, held: AccountReservation, *, is_free: bool) -> None:
        """Let others have what a call held; where it was not free, not before its bill counts."""


@dataclass(slots=True)
class CallsOfRun:
    """What all scopes of one run share where one process does all its work. A `CallLine`.

    `flush` returns once all that was told is on record.

    First come, first served: a call goes before an earlier one only where it takes nothing of an account on which
    that one lacks room. What is waited for is held by calls in flight, which wait for nobody's budget: each ends.
    """

    flush: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
    sizes: CallSizes = field(default_factory=CallSizes)
    _line: list[WaitingCall] = field(default_factory=list)
    _places: int = 0

    def place(self) -> int:
        """Return the place behind all others."""
        self._places += 1
        return self._places

    def enter(self, scope: AccountScope, size: CallSize, place: int) -> WaitingCall:
        """Put a call in line at its place, and serve the line."""
        one = WaitingCall(scope, size, place)
        at = len(self._line)
        while at and self._line[at - 1].place > place:
            at -= 1
        self._line.insert(at, one)
        self.serve()
        return one

    def leave(self, one: WaitingCall) -> None:
        """Take a call out of the line: it waits no longer."""
        if one in self._line:
            self._line.remove(one)
            self.serve()
        elif isinstance(one.answer, AccountReservation):
            one.answer.release()

    async def served(self, one: WaitingCall) -> None:
        """Return at once: it was looked at when it entered."""

    async def record(self, held: AccountReservation) -> None:  # noqa: ARG002  # all that was told, of others as well
        await self.flush()

    def ended(self, held: AccountReservation, *, is_free: bool) -> None:  # noqa: ARG002  # its bill counts already
        self.serve()

    def serve(self) -> None:
        """Give room to the calls in line, as far as there is any; tell those that will never have it."""
        lacking: list[Account] = []
        for one in tuple(self._line):
            try:
                output = one.scope.output_of(one.size)
            except BudgetSpent as spent:
                self._line.remove(one)
                one.end(spent)
                continue
            accounts = one.scope.accounts
            full = [account for account in accounts if not account.has_room(one.size, output)]
            if full or any(account is other for account in accounts for other in lacking):
                lacking += full
                if any(account.ref.kind == "squad" for account in full):
                    return  # all behind it need the squad's account, too
                continue
            self._line.remove(one)
            one.end(AccountReservation(one.scope, one.size, output))


@dataclass(frozen=True, slots=True)
class AccountScope:
    """The accounts that a piece of work draws on, outermost first. A `BudgetScope`."""

    accounts: tuple[Account, ...]
    clock: Callable[[], float] = field(repr=False)
    calls: CallLine = field(default_factory=CallsOfRun, repr=False)
    share: float = SHARE

    @property
    def is_capped(self) -> bool:
        return bool(self.accounts)

    @property
    def own(self) -> Iterator[Account]:
        """The accounts that this process alone draws on."""
        return (account for account in self.accounts if not account.shared_as)

    @property
    def shared(self) -> tuple[Account, ...]:
        """The accounts that other processes draw on as well."""
        return tuple(account for account in self.accounts if account.shared_as)

    @property
    def sizes(self) -> CallSizes:
        return self.calls.sizes

    def place(self) -> int:
        return self.calls.place()

    async def reserve_now(self, size: CallSize, place: int) -> AccountReservation | None:
        """Hold what the call may take on every account; None: calls in flight hold it. Raise `BudgetSpent`."""
        one = self.calls.enter(self, size, place)
        try:
            await self.calls.served(one)
        except BaseException:
            self.calls.leave(one)
            raise
        if one.answer is None:
            self.calls.leave(one)
        return self._granted(one)

    async def reserve(self, size: CallSize, place: int | None = None) -> AccountReservation:
        """Hold what the call may take on every account, once there is room. Raise `BudgetSpent`, and hold nothing."""
        one = self.calls.enter(self, size, self.place() if place is None else place)
        if one.answer is None:
            try:
                with anyio.move_on_after(self.seconds_left()):
                    await one.over.wait()
            except BaseException:
                self.calls.leave(one)
                raise
        if one.answer is None:
            self.calls.leave(one)
        if (held := self._granted(one)) is None:
            raise self.out_of_time()
        return held

    @staticmethod
    def _granted(one: WaitingCall) -> AccountReservation | None:
        if isinstance(one.answer, Exception):
            raise one.answer
        return one.answer

    def output_of(self, size: CallSize) -> int:
        """Return for how long an answer a call is to reserve, were nothing held. Raise `BudgetSpent`."""
        now = self.clock()
        for account in self.accounts:
            account.check(size, now)
        part = min((account.longest(size, self.share) for account in self.accounts), default=inf)
        whole = min((account.longest(size) for account in self.accounts), default=inf)
        output = floor(min(size.most, max(size.usual, part), max(whole, size.least)))
        # A quotient may be off by a rounding.
        while output > size.least and not all(a.has_room(size, output, held=False) for a in self.accounts):
            output -= 1
        return output

    def within(self, account: Account | None) -> AccountScope:
        """Return a scope that draws on `account` too."""
        return self if account is None else AccountScope((*self.accounts, account), self.clock, self.calls, self.share)

    def without(self, kind: str) -> AccountScope:
        """Return a scope that draws on no account of this kind."""
        kept = tuple(account for account in self.accounts if account.ref.kind != kind)
        return AccountScope(kept, self.clock, self.calls, self.share)

    def on_exceed(self, budget: BudgetRef) -> OnExceed:
        """Return what the account of `budget` wants done when it is spent."""
        return next((a.cap.on_exceed for a in self.accounts if a.ref == budget), "stop")

    def seconds_left(self) -> float:
        now = self.clock()
        return min((a.seconds_left(now) for a in self.accounts), default=float("inf"))

    def out_of_time(self) -> BudgetSpent:
        """Return the failure of the account whose time is up first."""
        now = self.clock()
        first = min(self.accounts, key=lambda account: account.seconds_left(now))
        limit = first.cap.max_time or 0
        return BudgetSpent(first.ref, "max_time", limit, limit, 0)
