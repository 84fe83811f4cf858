"""The calls of a run whose caps several processes draw on: each holds room in the journal before it is made.

All calls of this process that wait for room are decided together, in one short transaction that locks the run: with
what is recorded as billed by then, and what calls of all processes hold. By whoever it is decided, it is decided by the
same rules (`accounts.py`), so no cap is overshot by many processes either.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import anyio

from orchestrator.events import Event
from orchestrator.journal.protocols import Fence, Fenced, HeldCall, HoldChanges, JournalError, SharedJournal
from orchestrator.run.accounts import AccountReservation, AccountScope, WaitingCall
from orchestrator.run.budget import Account
from orchestrator.run.tally import COUNTED, Tally
from orchestrator.units import Unit
from providers.budgets import CallSize, CallSizes
from providers.errors import BudgetSpent

POLL_S = 2.0
"""How often calls that wait look by themselves whether there is room: what wakes them may be lost."""
SOON_S = 0.05
"""How soon it is recorded that a call ended, where no other record is made of its unit by then."""


@dataclass(slots=True, eq=False, kw_only=True)
class QueuedCall(WaitingCall):
    """A call in the line of this process."""

    calls: UnitCalls
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    looked_at: anyio.Event = field(default_factory=anyio.Event)
    stored: HeldCall | None = None
    """What the journal has of it: the place that it waits at."""

    def end(self, answer: AccountReservation | Exception) -> None:
        WaitingCall.end(self, answer)
        self.looked_at.set()

    @property
    def is_shared(self) -> bool:
        """Whether others draw on what it draws on."""
        return any(_is_limited(account) for account in self.scope.accounts if account.shared_as)

    def holding(self, output: int, *, waits: bool) -> HeldCall:
        """Return what it is in the journal."""
        size, calls = self.size, self.calls
        of = tuple(account.shared_as for account in self.scope.shared)
        amounts = (size.cost_of(output), size.tokens + output, size.turns)
        return HeldCall(self.id, calls.unit, calls.fence, *amounts, of, waits)


class _Verdict(NamedTuple):
    """What becomes of a call in line: it is given room for an answer of `output` tokens, waits, or has `failed`."""

    output: int = 0
    is_granted: bool = False
    failed: BudgetSpent | None = None


@dataclass(slots=True)
class SharedCalls:
    """The calls of this process on one run."""

    run: str
    journal: SharedJournal
    clock: Callable[[], float]
    tally: Tally = field(init=False)
    _line: list[QueuedCall] = field(default_factory=list)
    _gone: set[str] = field(default_factory=set)
    """Holds that the journal still has and that are none any more."""
    _unbilled: dict[str, tuple[Unit, int]] = field(default_factory=dict)
    """Holds of calls that ended, of which only the bill will be on record: the so-manieth of such bills of the unit."""
    _woken: anyio.Event = field(default_factory=anyio.Event)
    _places: int = 0

    def __post_init__(self) -> None:
        self.tally = Tally(self.clock)

    async def of_unit(self, unit: Unit, fence: Fence, take: Callable[[], Sequence[Event]]) -> UnitCalls:
        """Return the calls of a unit that this process has claimed. `take` returns its events that are not recorded."""
        self.tally.take(await self.journal.events_of_kinds(self.run, COUNTED, self.tally.seq))
        self.tally.reckon(())
        return UnitCalls(self, unit, fence, take, self.tally.bare[unit])

    async def serve(self) -> None:
        """Serve the line until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear)
            while True:
                with anyio.move_on_after(POLL_S if self._line else inf):
                    await self._woken.wait()
                self._woken = anyio.Event()
                if self._line or self._gone or self._unbilled:
                    await self._serve_line()

    async def _hear(self) -> None:
        async with aclosing(self.journal.stirs(self.run)) as stirs:
            async for _ in stirs:
                self.wake()

    def wake(self) -> None:
        self._woken.set()

    # -- what calls ask for

    def place(self) -> int:
        self._places += 1
        return self._places

    def enter(self, one: QueuedCall) -> None:
        self._line.append(one)
        self._line.sort(key=lambda each: each.place)
        self.wake()

    def leave(self, one: QueuedCall) -> None:
        if one in self._line:
            self._line.remove(one)
            self.drop(one.id)
        elif isinstance(one.answer, AccountReservation):
            one.answer.release()

    def drop(self, hold: str) -> None:
        """Let a hold be none any more."""
        self._gone.add(hold)
        self.wake()

    def drop_once_billed(self, hold: str, unit: Unit, number: int) -> None:
        self._unbilled[hold] = unit, number
        self.wake()

    def forget(self, unit: Unit) -> None:
        """Drop what waits for bills of a unit, whose work here is over."""
        for hold in [hold for hold, (of, _) in self._unbilled.items() if of == unit]:
            del self._unbilled[hold]
            self.drop(hold)

    # -- the line

    async def _serve_line(self) -> None:
        """Decide all calls in line, and tell them."""
        line, gone, verdicts = tuple(self._line), frozenset(self._gone), dict[str, _Verdict]()

        def decide(events: Sequence[tuple[int, Event]], held: Sequence[HeldCall]) -> HoldChanges:
            verdicts.clear()
            self.tally.take(events)
            drop = {*gone, *self._billed()}
            standing = [hold for hold in held if hold.id not in drop]
            verdicts.update(_decided(line, standing, self.tally))
            put = [hold for one in line if (hold := _to_store(one, verdicts[one.id])) is not None]
            ended = {one.id for one in line if one.stored is not None and verdicts[one.id].failed is not None}
            return HoldChanges(put, {hold.id for hold in held if hold.id in drop | ended})

        refused: Collection[HeldCall] = ()
        try:
            if gone or self._unbilled or any(one.is_shared for one in line):
                refused = await self.journal.hold(self.run, COUNTED, self.tally.seq, decide)
            else:  # what they draw on is this process's alone
                verdicts.update(_decided(line, None, self.tally))
        except JournalError as error:
            self._fail(line, error)
            return
        self._gone -= gone
        for hold in self._billed():
            del self._unbilled[hold]
        self._tell(line, verdicts, {hold.id for hold in refused})

    def _billed(self) -> list[str]:
        """Return the holds of calls of which all that will be on record is."""
        return [hold for hold, (unit, number) in self._unbilled.items() if self.tally.bare[unit] >= number]

    def _tell(self, line: Sequence[QueuedCall], verdicts: dict[str, _Verdict], refused: Collection[str]) -> None:
        for one in line:
            verdict = verdicts[one.id]
            if one not in self._line:  # it left meanwhile: what it was given is given back
                continue
            if one.id in refused:
                self._end(one, Fenced(f"{one.calls.unit.path} is no longer held under fence {one.calls.fence}"))
            elif verdict.failed is not None:
                self._end(one, verdict.failed)
            elif verdict.is_granted:
                held_as = one.id if one.is_shared else ""
                self._end(one, AccountReservation(one.scope, one.size, verdict.output, held_as))
            else:
                one.stored = one.holding(verdict.output, waits=True)
                one.looked_at.set()

    def _fail(self, line: Sequence[QueuedCall], error: JournalError) -> None:
        for one in line:
            if one in self._line:
                self._end(one, error)

    def _end(self, one: QueuedCall, answer: AccountReservation | Exception) -> None:
        self._line.remove(one)
        one.end(answer)


@dataclass(slots=True)
class UnitCalls:
    """The line and the record of the calls of one unit. A `CallLine`."""

    shared: SharedCalls
    unit: Unit
    fence: Fence
    take: Callable[[], Sequence[Event]]
    _bare: int
    """The bills that will be on record once all that was settled is, of calls whose beginning is not."""
    _late: anyio.Event = field(default_factory=anyio.Event)

    @property
    def sizes(self) -> CallSizes:
        return self.shared.tally.sizes

    def place(self) -> int:
        return self.shared.place()

    def enter(self, scope: AccountScope, size: CallSize, place: int) -> WaitingCall:
        one = QueuedCall(scope, size, place, calls=self)
        self.shared.enter(one)
        return one

    def leave(self, one: WaitingCall) -> None:
        assert isinstance(one, QueuedCall), "it entered here"
        self.shared.leave(one)

    async def served(self, one: WaitingCall) -> None:
        assert isinstance(one, QueuedCall), "it entered here"
        await one.looked_at.wait()

    async def record(self, held: AccountReservation) -> None:
        ids = [held.id] if held.id else []
        await self.shared.journal.record_calls(self.shared.run, self.unit, self.fence, self.take(), ids)

    def ended(self, held: AccountReservation, *, is_free: bool) -> None:
        if held.id and not held.is_recorded:
            if is_free:
                self.shared.drop(held.id)
            else:
                self._bare += 1
                self.shared.drop_once_billed(held.id, self.unit, self._bare)
        self._late.set()
        self.shared.wake()

    def close(self) -> None:
        """Hold nothing any more: the unit's work here is over, and what can be recorded of it is."""
        self.shared.forget(self.unit)

    async def serve(self) -> None:
        """Until cancelled, see to it that the end of each call is recorded soon: others wait for what it held."""
        while True:
            await self._late.wait()
            await anyio.sleep(SOON_S)
            self._late = anyio.Event()
            if events := self.take():
                await self.shared.journal.record(self.shared.run, self.unit, self.fence, events)


def _is_limited(account: Account) -> bool:
    """Return whether it matters to it what calls take: time alone is reckoned without others."""
    cap = account.cap
    return (cap.max_cost, cap.max_tokens, cap.max_turns) != (None, None, None)


def _to_store(one: QueuedCall, verdict: _Verdict) -> HeldCall | None:
    """Return what the journal is to have of a call, None for nothing new."""
    if not one.is_shared or verdict.failed is not None:
        return None
    hold = one.holding(verdict.output, waits=not verdict.is_granted)
    return None if hold == one.stored else hold


def _decided(
    line: Sequence[QueuedCall], held: Sequence[HeldCall] | None, tally: Tally
) -> Iterator[tuple[str, _Verdict]]:
    """Yield what becomes of each call in line. `held` is what is held of the run; None: it does not matter.

    First come, first served, over all processes: a call goes before an earlier one only where it takes nothing of an
    account on which that one lacks room.
    """
    mine = {one.id: one for one in line}
    given = {hold.id: hold for hold in held or () if hold.id in mine and not hold.waits}
    if held is not None:
        tally.reckon(hold for hold in held if not hold.waits)
    numbers = {hold.id: hold.number for hold in held or ()}
    others = [hold for hold in held or () if hold.waits and hold.id not in mine]
    places: list[tuple[float, int, QueuedCall | HeldCall]] = [
        *((numbers.get(one.id, inf), one.place, one) for one in line),
        *((hold.number, 0, hold) for hold in others),
    ]
    places.sort(key=lambda each: each[:2])
    room = _Room()
    for _, _, one in places:
        if isinstance(one, HeldCall):
            room.await_other(one, tally)
        elif one.id in given:  # of a try whose answer was lost
            yield one.id, room.given(one, given[one.id].tokens - one.size.tokens)
        else:
            yield one.id, room.of(one)
    room.undo()


class _Room:
    """The room under accounts while a line is decided: what calls are given is held until all are."""

    def __init__(self) -> None:
        self._lacking: list[Account] = []
        self._held: list[tuple[Account, int, int, int]] = []

    def of(self, one: QueuedCall) -> _Verdict:
        try:
            output = one.scope.output_of(one.size)
        except BudgetSpent as spent:
            return _Verdict(failed=spent)
        if not self._fits(one.scope.accounts, one.size, output):
            return _Verdict(output)
        self._hold(one.scope.accounts, one.size.cost_of(output), one.size.tokens + output, one.size.turns)
        return _Verdict(output, is_granted=True)

    def given(self, one: QueuedCall, output: int) -> _Verdict:
        """Take note of what a call was given before: what others share is reckoned with it already."""
        self._hold(tuple(one.scope.own), one.size.cost_of(output), one.size.tokens + output, one.size.turns)
        return _Verdict(output, is_granted=True)

    def await_other(self, one: HeldCall, tally: Tally) -> None:
        """Leave a call of another process what it waits for: that process will take it."""
        accounts = [account for name in one.of if (account := tally.account(name)) is not None]
        if self._fits(accounts, CallSize(one.cost, one.tokens, turns=one.turns), 0):
            self._hold(accounts, one.cost, one.tokens, one.turns)

    def _fits(self, accounts: Sequence[Account], size: CallSize, output: int) -> bool:
        full = [account for account in accounts if not account.has_room(size, output)]
        fits = not full and not any(account is other for account in accounts for other in self._lacking)
        self._lacking += full
        return fits

    def _hold(self, accounts: Sequence[Account], cost: int, tokens: int, turns: int) -> None:
        for account in accounts:
            account.hold(cost, tokens, turns)
            self._held.append((account, cost, tokens, turns))

    def undo(self) -> None:
        for account, cost, tokens, turns in self._held:
            account.hold(-cost, -tokens, -turns)
