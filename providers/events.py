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
    """A turn is about to be sent: candidates in the order in which they will be tried, and why each other one is not.

    `contest` is what ordered the first of them, where more than the policy's order told them apart: `scores.Ordering`
    as plain data, out of which `scores.replay` makes the order anew. The field keeps its first name, under which events
    are shown and recorded.
    """

    candidates: tuple[str, ...]
    """`provider/model`, the first one tried first."""
    refused: Mapping[str, str]
    """`provider/model` -> why it is not asked."""
    contest: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A request is about to leave for a provider. `account` is the number of the provider's key, from 1.

    `reserved` (micro-USD) and `reserved_tokens` are what the attempt holds of its run's budgets, `reckoned` the tokens
    of input that it is taken to have; None: nothing caps it. Recorded before the request leaves, they count for an
    attempt whose end is not recorded: it may have been billed. `span` is its span where the run is traced, in hex.
    """

    number: int
    """Of the turn's attempts, from 1."""
    provider: str
    model: str
    account: int = 1
    reserved: int | None = None
    reserved_tokens: int = 0
    reckoned: int = 0
    span: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """A request has ended. `outcome` is "ok", "failed" or "cancelled"; `error` the class's name; `ms` of wall time.

    `request_sha256` (hex) is of the body that was sent; None: nothing was, or it was answered in this process.
    `usage` is what an attempt that did not answer is taken to be billed for, and `cost` (micro-USD, None: unknown) what
    that comes to. `usage` None: nothing, or it answered, and its turn says it. `in_doubt`: it was sent and its end is
    not known, so the run's budgets count what it had reserved. `answer_cap`: the most tokens of answer that were asked
    for because that is what was reserved; None: as the request has it. `continues`: so many characters of its turn's
    text stood at the end of the request, to be continued, as the length of one answer had cut them off.
    `first_token_ms` is until the first content of a streamed answer; None: none came, or it came whole.
    """

    number: int
    """As in `AttemptStarted`."""
    provider: str
    model: str
    outcome: str
    error: str | None
    detail: str | None
    """What the provider said, without keys; None: nothing."""
    ms: float
    request_sha256: str | None = None
    account: int = 1
    usage: Usage | None = None
    cost: int | None = None
    in_doubt: bool = False
    answer_cap: int | None = None
    continues: int = 0
    first_token_ms: float | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WaitingForProvider:
    """Nothing can run now: the turn waits until `until` (epoch seconds UTC)."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class WaitingForBudget:
    """Calls in flight hold what is left of one of the run's budgets: the turn waits for one of them to end."""


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A day's spending has reached `share` (0 to 1) of our own cap, or a call found no room: then it is 1.

    `which` is `day`, `provider openai` or `model openai/gpt-6-luna`; `spent` and `cap` are micro-USD. Told once for
    each share and day by all processes that share a ledger.
    """

    which: str
    share: float
    spent: int
    cap: int


@dataclass(frozen=True, slots=True)
class AlertNotPosted:
    """The webhook whose address is in `variable` was not told of an alert about the budget `which`."""

    variable: str
    which: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderExchange:
    """What went to a provider, and what came back, without keys: told to who looks for a fault, never recorded.

    `status` None: nothing came, for `error`. `run`, `place` and `turn` say what it was for.
    """

    provider: str
    sent: str
    """Method and address."""
    sent_headers: Mapping[str, str]
    """Without the key."""
    sent_body: str
    """The request as text."""
    status: int | None
    headers: Mapping[str, str]
    """Of the reply."""
    body: str
    """The reply as text."""
    error: str
    ms: float
    run: str = ""
    place: str = ""
    turn: int = 0


@dataclass(frozen=True, slots=True)
class LedgerLost:
    """The shared ledger is down: this process goes on alone with `share` of every limit."""

    reason: str
    share: float


@dataclass(frozen=True, slots=True)
class LedgerRegained:
    """The shared ledger is back; what this process used meanwhile is counted there."""


@dataclass(frozen=True, slots=True)
class LedgerEmptied:
    """The shared ledger has lost what was counted on it. What this process used is counted there anew."""
