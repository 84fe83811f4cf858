"""What one turn's flow asks of its driver, and what the driver tells it: values alone.

`providers.routing.turn.attempts` yields an `Effect` and is sent the `Outcome` of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from providers.catalog.model import Candidate
from providers.errors import ProviderError
from providers.messages import Response
from providers.policy.model import Timeouts
from providers.routing.ranking import Route


@dataclass(frozen=True, slots=True)
class Try:
    """Ask `candidate`, this turn's attempt `number` (from 1), within `timeouts`. `route` is the decision behind it.

    `hedge_after`: send a `silent` outcome if so many seconds bring nothing (of a whole answer: no answer); what then
    is to be tried goes out beside it. `continues`: of an answer that broke off part was passed on already; this one
    is it anew, or goes on where it ended.
    """

    candidate: Candidate
    number: int
    timeouts: Timeouts
    route: Route
    hedge_after: float | None = None
    continues: Literal["restart", "resume"] | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """Go on with the attempts that are out. `hedge_after`: as of a `Try`."""

    hedge_after: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing before `until` (epoch seconds)."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class AwaitBudget:
    """Wait until calls in flight leave room under the run's own budgets for what the last attempt asked for.

    `until` (epoch seconds): no longer than that; None: however long it takes.
    """

    until: float | None = None


Effect = Try | Listen | Sleep | AwaitBudget


@dataclass(frozen=True, slots=True)
class Answered:
    """Attempt `number` ended at `now` with an answer; `first_token`: seconds to a stream's first content."""

    now: float
    number: int
    response: Response
    first_token: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Attempt `number` ended at `now` with an error.

    `on_break`: part of the answer was passed on already, and this is what is to follow; None: nothing was. `sound`: a
    good answer came and its caller does not take it, which says nothing against the candidate's health.
    """

    now: float
    number: int
    error: ProviderError
    on_break: Literal["error", "restart", "resume"] | None = None
    sound: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Attempt `number` was not sent: a limit leaves no room, and the candidate's state says until when.

    `is_held`: it is the run's own budgets, what is left of which calls in flight hold.
    """

    now: float
    number: int
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Spoke:
    """The first content of attempt `number` came: any other one that is out is given up."""

    now: float
    number: int


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing has ended, and `Try.hedge_after` is over."""

    now: float


@dataclass(frozen=True, slots=True)
class Woke:
    """A `Sleep` or an `AwaitBudget` is over."""

    now: float


Ended = Answered | Failed | Refused
"""How an attempt may end."""
Outcome = Ended | Spoke | Silent | Woke
