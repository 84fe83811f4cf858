"""What a run on many processes has spent and holds under the caps that they all draw on: the fold of its record. Pure.

What is spent is what recorded events say was billed. What is held is what open calls have reserved, by the events of
their beginnings, and the holds of calls whose beginning is not on record yet. So all processes reckon alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agents.events import TextsEmbedded, TurnEnded, TurnStarted
from orchestrator.events import (
    CallsCutShort,
    ElementStarted,
    Event,
    RunEdited,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    TaskReset,
    TaskStarted,
)
from orchestrator.journal.protocols import HeldCall
from orchestrator.run.budget import Account, Paid
from orchestrator.run.history import RunHistory, count
from orchestrator.squad.elements import is_inside
from orchestrator.squad.plan import Budget
from orchestrator.units import Unit
from providers.budgets import BudgetRef, CallSizes
from providers.events import AttemptEnded, AttemptStarted

COUNTED = (
    AttemptEnded,
    AttemptStarted,
    CallsCutShort,
    ElementStarted,
    RunEdited,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    TaskReset,
    TaskStarted,
    TextsEmbedded,
    TurnEnded,
    TurnStarted,
)
"""The events that it is made of."""
_LYING = (RunEdited, RunForked, RunResumed)
"""Before these events no process drove the run."""


class LearnedFromRecord(CallSizes):
    """What calls of the whole run took. What a call of this process took is learned once it is on record."""

    __slots__ = ()

    def __init__(self, of: CallSizes) -> None:
        self._took = of._took

    def learn(self, agent: str, model: str, reckoned: int, sent: int, said: int) -> None:
        """Learn nothing: the record tells."""


@dataclass(slots=True)
class _SharedAccount:
    """An account, whose calls it pays for, and how many of the paid ones it has counted."""

    account: Account
    is_its: Callable[[Paid], bool]
    counted: int = 0

    def count(self, paid: Sequence[Paid]) -> None:
        account = self.account
        for call in paid[self.counted :]:
            if self.is_its(call):
                account.cost += call.cost or 0
                account.tokens += call.tokens
                account.turns += call.turns
        self.counted = len(paid)

    def forget(self) -> None:
        account = self.account
        account.cost = account.tokens = account.turns = self.counted = 0


@dataclass(slots=True)
class Tally:
    """The accounts that processes share, by name. `seq` is the number of the last event that it has."""

    clock: Callable[[], float]
    seq: int = 0
    bare: Counter[Unit | None] = field(default_factory=Counter)
    """By unit: the bills of calls whose beginning was never recorded, as their manager tells of none."""
    _past: RunHistory = field(default_factory=RunHistory)
    _accounts: dict[str, _SharedAccount] = field(default_factory=dict)
    _lay_s: float = 0.0
    """For how long no process drove the run."""
    _before: float = 0.0
    _tasks: dict[str, float] = field(default_factory=dict)
    """When each task was begun since it was reset last: epoch seconds, less those that the run lay until then."""
    _agents: dict[str, float] = field(default_factory=dict)
    """When each agent had its first turn, so too."""

    @property
    def sizes(self) -> CallSizes:
        return LearnedFromRecord(self._past.sizes)

    def account(self, name: str) -> Account | None:
        found = self._accounts.get(name)
        return None if found is None else found.account

    def open(self, name: str, ref: BudgetRef, cap: Budget, is_its: Callable[[Paid], bool]) -> Account:
        """Return the account of a name, opened once, with what was spent under it so far."""
        if name not in self._accounts:
            account = Account(ref, cap, self.began(ref), shared_as=name)
            self._accounts[name] = _SharedAccount(account, is_its)
            self._accounts[name].count(self._past.paid)
        return self._accounts[name].account

    def began(self, ref: BudgetRef) -> float:
        """Return when the time of a budget began: with a task, the first task of a sub-squad, an agent's first turn.

        Epoch seconds, later by those in which no process drove the run since; now where it begins only now.
        """
        if ref.kind == "agent":
            found = [self._agents[ref.name]] if ref.name in self._agents else []
        elif ref.name in self._tasks:
            found = [self._tasks[ref.name]]
        else:
            found = [at for task, at in self._tasks.items() if is_inside(task, ref.name)]
        return min(found) + self._lay_s if found else self.clock()

    def take(self, events: Iterable[tuple[int, Event]]) -> None:
        """Take the next events. Those that it has change nothing."""
        for seq, event in events:
            if seq > self.seq:
                self.seq = seq
                self._take(event)

    def _take(self, event: Event) -> None:
        data = event.data
        if isinstance(data, _LYING):
            self._lay_s += max(event.at - self._before, 0.0)
        self._before = event.at
        if isinstance(data, TaskStarted | ElementStarted):
            self._tasks.setdefault(data.task, event.at - self._lay_s)
        elif isinstance(data, TaskReset):
            self._tasks.pop(data.task, None)
        elif isinstance(data, TurnStarted):
            self._agents.setdefault(data.agent, event.at - self._lay_s)
        elif isinstance(data, TurnEnded | TextsEmbedded) and not self._is_open(event):
            self.bare[event.unit] += 1
        count(self._past, event)
        if isinstance(
            data, RunEdited | RunForked
        ):  # whose calls they are has changed, or that they are any of this run's
            for one in self._accounts.values():
                one.forget()

    def _is_open(self, event: Event) -> bool:
        return any((call.unit, call.step) == (event.unit, event.step) for call in self._past.open_calls.all)

    def reckon(self, held: Iterable[HeldCall]) -> None:
        """Set what is spent and held under each account, with the holds of calls that are not on record yet."""
        for one in self._accounts.values():
            one.count(self._past.paid)
            one.account.held_cost = one.account.held_tokens = one.account.held_turns = 0
            one.account.opened_at = self.began(one.account.ref) if one.account.cap.max_time else one.account.opened_at
        for call in self._past.open_calls.all:
            agent = self._past.agents.get((call.unit, call.step), "")
            made = Paid(call.unit, call.step, agent, call.cost, call.tokens)
            for one in self._accounts.values():
                if one.is_its(made):
                    one.account.hold(call.cost, call.tokens, 1)
        for hold in held:
            for name in hold.of:
                if (account := self.account(name)) is not None:
                    account.hold(hold.cost, hold.tokens, hold.turns)
