"""Our own budgets as the rest of the house sees them: a name for each, and what a call reserves of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Literal, Protocol, cast

BudgetKind = Literal["day", "provider", "model", "key", "squad", "task", "agent", "conversation"]
KNOWN_AFTER = 3
"""Calls of an agent to a model after which what they took is a measure; of all agents, `KNOWN_OF_ALL`."""
KNOWN_OF_ALL = 8
TIGHT, AMPLE = 1.25, 2
"""How many times an agent's longest answer so far its next one may take: where money is short, and else."""
SHORTEST, SHORT = 64, 256
"""Tokens of an answer that is worth asking for, however short the others were: where money is short, and else."""

MOST_USD = 1e12
"""What no cap goes beyond: it stands for no limit."""


def micro_usd(usd: float) -> int:
    """Return a cap in USD, of any size, as whole micro-USD."""
    return round(min(usd, MOST_USD) * 1e6)


@dataclass(frozen=True, slots=True)
class BudgetRef:
    """One of our own budgets: a day's, in all or for a provider or a model, one of a gateway's key, or one of a run.
    Its text: `task build`."""

    kind: BudgetKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind

    @classmethod
    def read(cls, text: str) -> BudgetRef:
        """Return what `str` wrote: events are recorded with the text."""
        kind, _, name = text.partition(" ")
        return cls(cast(BudgetKind, kind), name)


@dataclass(frozen=True, slots=True)
class CallSize:
    """What a call may take: `cost` micro-USD and `tokens` for what is sent, and `each` micro-USD a token of answer.

    The answer may have up to `most` tokens; `usual` ones will nearly always do, and with fewer than `least` the call
    is not worth making. All three 0: the call takes `cost` and `tokens` in all.
    """

    cost: int
    tokens: int
    each: float = 0.0
    least: int = 0
    usual: int = 0
    most: int = 0
    turns: int = 1
    """What it counts for where turns are capped: nothing where no model speaks."""

    def cost_of(self, output: int) -> int:
        """Return micro-USD with an answer of `output` tokens."""
        return ceil(self.cost + self.each * output)


@dataclass(slots=True)
class Took:
    """What `calls` took at most: `longest` answer in tokens, and by how much more input they had than was reckoned.

    `more` holds the latter by the size of the input, in powers of two, with the size itself.
    """

    calls: int = 0
    longest: int = 0
    more: dict[int, tuple[int, int]] = field(default_factory=dict)


class CallSizes:
    """What the calls of one run really took, by agent and model."""

    __slots__ = ("_took",)

    def __init__(self) -> None:
        self._took: dict[tuple[str | None, str], Took] = {}

    def learn(self, agent: str, model: str, reckoned: int, sent: int, said: int) -> None:
        """Take what a call took whose input was `reckoned` tokens: so many were `sent` and `said` by its own count."""
        for key in ((agent, model), (None, model)):
            took = self._took.setdefault(key, Took())
            took.calls += 1
            took.longest = max(took.longest, said)
            _, most = took.more.get(reckoned.bit_length(), (0, 0))
            if sent - reckoned > most:
                took.more[reckoned.bit_length()] = reckoned, sent - reckoned

    def input_of(self, model: str, reckoned: int) -> int:
        """Return the tokens of input that a call may have which is reckoned to have so many.

        What a smaller call had more is taken to be added to each; what a larger one had, to grow with the size.
        """
        took = self._took.get((None, model), _NOTHING)
        return reckoned + max(
            [ceil(more * min(1.0, reckoned / max(size, 1))) for size, more in took.more.values()], default=0
        )

    def enough(self, agent: str, model: str) -> tuple[int, int] | None:
        """Return how many tokens of answer the agent's next call needs at least, and how many are ample.

        None: that is not known yet.
        """
        own, of_all = self._took.get((agent, model)), self._took.get((None, model))
        if own is not None and own.calls >= KNOWN_AFTER:
            longest = own.longest
        elif of_all is not None and of_all.calls >= KNOWN_OF_ALL:
            longest = of_all.longest
        else:
            return None
        return max(ceil(TIGHT * longest), SHORTEST), max(AMPLE * longest, SHORT)


_NOTHING = Took()


class BudgetReservation(Protocol):
    """What one call holds of every budget that covers it. It is settled or released, once."""

    @property
    def size(self) -> CallSize:
        """What was asked for."""

    @property
    def output(self) -> int:
        """Tokens of answer that are paid for: from the call's `least` to its `most`. A longer one passes the cap."""

    async def recorded(self) -> None:
        """Return once it is on record that the call is made, as was told before: one that a crash cuts short counts
        from then on."""

    def settle(self, cost: int, tokens: int) -> None:
        """Replace the reservation by what the call cost: micro-USD and tokens."""

    def release(self) -> None:
        """Give everything back: the call cost nothing."""


class BudgetScope(Protocol):
    """The budgets that a piece of work draws on together."""

    @property
    def is_capped(self) -> bool:
        """Whether there is any budget. If not, nothing need be reserved."""

    @property
    def sizes(self) -> CallSizes:
        """What calls really took."""

    def place(self) -> int:
        """Return a place in the line of calls that wait for room: behind all that were returned before."""

    async def reserve_now(self, size: CallSize, place: int) -> BudgetReservation | None:
        """Reserve on all of them, or return None and hold nothing: calls in flight hold what is left, or others wait.

        No call is waited for, though where other processes draw on the same budgets, the answer takes a moment.
        Raise `BudgetSpent` where what is spent leaves no room, whatever becomes of the calls in flight.
        """

    async def reserve(self, size: CallSize, place: int | None = None) -> BudgetReservation:
        """Reserve on all of them, as soon as the calls in flight leave room: first come, first served.

        Raise `BudgetSpent`, at once or while it waits, where what is spent leaves no room. A cancelled wait holds
        nothing.
        """
