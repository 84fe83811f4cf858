"""What the provider manager lets others see while it works. Observations only: nothing decides by them.

`emit` is synchronous, never blocks and never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.messages import Usage


@dataclass(frozen=True, slots=True)
class RouteChosen:
    """A turn is about to be sent: candidates in the order in which they will be tried, and why each other one is
    not."""

    candidates: tuple[str, ...]
    """`provider/model`, the first one tried first."""
    refused: Mapping[str, str]
    """`provider/model` -> why it is not asked."""
    contest: Mapping[str, Any] | None = None
    """What ordered the first of them, where more than the policy's order decided: `scores.Ordering` as plain data, out
    of which `scores.replay` makes the order again. The field keeps its first name, under which events are shown and
    recorded."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A request is about to leave for a provider.

    It is recorded before the request leaves: what it has reserved counts for an attempt whose end is not recorded,
    since it may have been billed.
    """

    number: int
    """Of the turn's attempts, from 1."""
    provider: str
    model: str
    account: int = 1
    reserved: int | None = None
    """What it holds of its run's budgets, in micro-USD; None: no budget limits it."""
    reserved_tokens: int = 0
    """Tokens of its run's budgets that it holds."""
    reckoned: int = 0
    """Tokens of input that it is estimated to have."""
    span: str = field(default="", compare=False, repr=False)
    """Its span where the run is traced, in hex."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """A request has ended."""

    number: int
    """As in `AttemptStarted`."""
    provider: str
    model: str
    outcome: str
    """`ok`, `failed` or `cancelled`."""
    error: str | None
    """The class of the error."""
    detail: str | None
    """What the provider said, without keys; None: nothing."""
    ms: float
    request_sha256: str | None = None
    """Of the body that was sent, in hex; None: nothing was sent, or it was answered in this process."""
    account: int = 1
    usage: Usage | None = None
    """What an attempt that did not answer is taken to be billed for; None: nothing, or it answered, and its turn says
    it."""
    cost: int | None = None
    """What `usage` costs, in micro-USD; None: unknown."""
    in_doubt: bool = False
    """It was sent and its end is unknown, so the run's budgets count what it had reserved."""
    answer_cap: int | None = None
    """The most tokens of answer that were asked for because that is what was reserved; None: as the request has it."""
    continues: int = 0
    """Characters of its turn's text that were at the end of the request, to be continued, since the length of one
    answer had cut them off."""
    first_token_ms: float | None = field(default=None, compare=False, repr=False)
    """Milliseconds until the first content of a streamed answer; None: there was none, or it was not streamed."""


@dataclass(frozen=True, slots=True)
class WaitingForProvider:
    """No candidate can be asked now: the turn waits."""

    until: float
    """Epoch seconds UTC."""
    reason: str


@dataclass(frozen=True, slots=True)
class WaitingForBudget:
    """Calls in flight hold what is left of one of the run's budgets: the turn waits for one of them to end."""


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A day's spending has reached a share of our own cap.

    It is told once for each share and day by all processes that share a ledger.
    """

    which: str
    """`day`, `provider openai` or `model openai/gpt-6-luna`."""
    share: float
    """Of the cap, 0 to 1; 1: also where a call found no room."""
    spent: int
    """What was spent, in micro-USD."""
    cap: int
    """The cap, in micro-USD."""


@dataclass(frozen=True, slots=True)
class AlertNotPosted:
    """A webhook was not told of an alert."""

    variable: str
    """The environment variable that holds the webhook's address."""
    which: str
    """The budget that the alert is about, as in `BudgetAlert`."""
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderExchange:
    """What went to a provider, and what came back, without keys: told to those who look for a fault, never recorded."""

    provider: str
    sent: str
    """Method and address."""
    sent_headers: Mapping[str, str]
    """Without the key."""
    sent_body: str
    """The request as text."""
    status: int | None
    """The HTTP status; None: there was no answer."""
    headers: Mapping[str, str]
    """Of the reply."""
    body: str
    """The reply as text."""
    error: str
    """Why there was no answer."""
    ms: float
    run: str = ""
    """The run that it was for."""
    place: str = ""
    """The unit and step that it was for."""
    turn: int = 0
    """The number of the model call that it was for, from 1."""


@dataclass(frozen=True, slots=True)
class LedgerLost:
    """The shared ledger is down: this process goes on alone."""

    reason: str
    share: float
    """The share of every limit that this process keeps to, 0 to 1."""


@dataclass(frozen=True, slots=True)
class LedgerRegained:
    """The shared ledger is back; what this process used meanwhile is counted there."""


@dataclass(frozen=True, slots=True)
class LedgerEmptied:
    """The shared ledger has lost what was counted on it. What this process used is counted there again."""
