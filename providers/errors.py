"""Every way that getting an answer can fail.

ProviderError                 one attempt failed
├ Unreachable                 no connection
│ └ WrongAddress              something answers there, but the base URL leads to no such API
├ TimedOut                    phase: connect | first_token | between_chunks | total
├ StreamBroken                ended without its terminator
├ RateLimited                 until an instant
│ ├ QuotaSpent                a longer allowance (day, month, money) is used up
│ └ RequestTooLarge           this request alone is more than a limit allows
├ ServerFault
│ └ Overloaded
├ AuthFailed                  the key is wrong, or may not do this
├ Blocked                     a firewall in front of the API says no
├ BadRequest                  the provider refuses what we sent
│ ├ ContextTooLong
│ └ Unsupported               a capability that is missing, or the whole model
├ Declined                    a content filter said no
├ RealCallForbidden           ORCHESTRATOR_REAL_CALLS=forbid: nothing was sent
└ BadReply                    undecodable or empty
RoutingError                  no attempt could be made, or all failed
├ NoRoute
├ AllAttemptsFailed           also an ExceptionGroup, in order of attempt
└ BudgetSpent                 our own cap, before anything was sent
CatalogError                  a fact, a policy or a variable that cannot be used; a `SpecError`

The router reads `recovery` and `fault`; it has no ladder of types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from math import ceil
from typing import ClassVar, Literal, NamedTuple, Self

from providers.budgets import BudgetRef
from providers.documents.problems import Problem, SpecError, in_order, without_secrets
from providers.messages import Usage


class Recovery(StrEnum):
    AGAIN = "again"
    """The same candidate may answer, at once or at `retry_at`."""
    ELSEWHERE = "elsewhere"
    """Another candidate may answer."""
    CONFIRM = "confirm"
    """Another provider may answer, and is asked once: where it refuses as well, the request is at fault."""
    NEVER = "never"
    """No candidate will."""


class Fault(StrEnum):
    CALLER = "caller"
    US = "us"
    KEY = "key"
    ENDPOINT = "endpoint"
    PROVIDER = "provider"
    NETWORK = "network"


HEALTH_FAULTS = frozenset({Fault.KEY, Fault.ENDPOINT, Fault.PROVIDER, Fault.NETWORK})
"""Only these may move a candidate's health: a caller's bad request says nothing about a provider."""


HIDDEN = "***"
SHORTEST_HIDDEN = 4
"""Characters of a secret that may stand at a message's end: fewer are no secret, and could be anything."""


class ProviderError(Exception):
    """One attempt failed."""

    recovery: Recovery = Recovery.ELSEWHERE
    """What may help: to ask again, to ask another provider, or nothing."""
    fault: ClassVar[Fault] = Fault.PROVIDER

    def __init__(self, message: str, *, status: int | None = None, retry_at: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What went wrong, without provider and status."""
        self.status = status
        """The HTTP status; None: there was no answer."""
        self.retry_at = retry_at
        """Epoch seconds UTC from which the provider may be asked again; None: it does not say."""
        self.provider = ""
        """Set by the router."""
        self.model = ""
        """Set by the router."""
        self.usage: Usage | None = None
        """What the provider says it billed for an answer that could not be used; all zeros: an answer came, without
        sound figures."""
        self.cost: int | None = None
        """What `usage` came to, in micro-USD; None: unknown."""

    def of(self, provider: str, model: str) -> Self:
        """Set whose failure it is, and return itself."""
        self.provider, self.model = provider, model
        return self

    def billed(self, usage: Usage | None, cost: int | None) -> Self:
        """Set what was billed all the same, and return itself."""
        self.usage, self.cost = usage, cost
        return self

    def hide(self, secret: str) -> None:
        """Take `secret` out of the message, whole or cut off at the end: some providers repeat the key they refuse."""
        text = self.message.replace(secret, HIDDEN)
        cut_off = next((n for n in range(len(secret) - 1, SHORTEST_HIDDEN, -1) if text.endswith(secret[:n])), 0)
        self.message = text[: len(text) - cut_off] + HIDDEN * bool(cut_off)
        self.args = (self.message, *self.args[1:])

    def __str__(self) -> str:
        prefix = f"{self.provider}/{self.model}: " if self.provider else ""
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{prefix}{self.message}{status}"


class Unreachable(ProviderError):
    """No answer began."""

    recovery = Recovery.AGAIN
    fault = Fault.NETWORK

    def __init__(self, message: str, *, status: int | None = None, sent: bool = False) -> None:
        super().__init__(message, status=status)
        self.sent = sent
        """The request may have reached the provider all the same."""


class WrongAddress(Unreachable):
    """Something answers, and says that the path does not exist: the base URL is wrong, whatever model is asked.

    Nothing behind that address is asked for an hour, or until the address is another one.
    """


Phase = Literal["connect", "first_token", "between_chunks", "total"]


class TimedOut(ProviderError):
    """A deadline passed in `phase`: ours, or with a `status` the provider's own.

    It may answer if asked again where the time-out was its own, or where nothing was sent yet.
    """

    fault = Fault.ENDPOINT

    def __init__(self, message: str, *, phase: Phase = "total", status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.phase = phase
        """What was waited for: the connection, the first token, the next piece, or the whole answer."""
        self.silent_s: float | None = None
        """Of a stream: seconds without content before it passed."""
        if status is not None or phase == "connect":
            self.recovery = Recovery.AGAIN


class StreamBroken(ProviderError):
    recovery = Recovery.AGAIN
    fault = Fault.ENDPOINT


class RateLimited(ProviderError):
    """The account may call again at `retry_at`, where the provider said when."""

    recovery = Recovery.AGAIN
    fault = Fault.KEY


class QuotaSpent(RateLimited):
    """The allowance of a day or a month, or all credit, is used up; trying again soon is useless.

    `money`: there is none left, or a bill is not paid. No waiting cures that: the account is shut until an operator
    acts.
    """

    recovery = Recovery.ELSEWHERE

    def __init__(
        self, message: str, *, status: int | None = None, retry_at: float | None = None, money: bool = False
    ) -> None:
        super().__init__(message, status=status, retry_at=retry_at)
        self.money = money


class RequestTooLarge(RateLimited):
    """The request alone is more than a limit of this candidate allows: tokens of a minute, bytes of a proxy.

    No waiting cures that. The candidate is well and takes smaller ones; another one, of any window, may take this.
    """

    recovery = Recovery.ELSEWHERE
    fault = Fault.CALLER


class ServerFault(ProviderError):
    """The provider failed (HTTP 5xx). It may answer if asked again."""

    recovery = Recovery.AGAIN


class Overloaded(ServerFault):
    """The provider has no capacity now."""


class AuthFailed(ProviderError):
    """The key is missing, wrong or not allowed. The account is shut until an operator acts."""

    fault = Fault.KEY


class Blocked(ProviderError):
    """Something in front of the API refused, a firewall for one: nothing is known about the key.

    The account rests for minutes, and is then probed.
    """

    fault = Fault.NETWORK


class BadRequest(ProviderError):
    """The provider refuses what was sent, for a reason that nothing here recognises.

    It may be the caller's mistake or that provider's own limit. Another provider is asked once: its verdict decides.
    """

    recovery = Recovery.CONFIRM
    fault = Fault.CALLER


class RealCallForbidden(ProviderError):
    """A test called a provider that is not on this machine, and ORCHESTRATOR_REAL_CALLS=forbid. Nothing was sent."""

    recovery = Recovery.NEVER
    fault = Fault.CALLER


class ContextTooLong(BadRequest):
    """The transcript does not fit this model; a larger one may take it."""

    recovery = Recovery.ELSEWHERE


class Unsupported(BadRequest):
    """This model lacks a capability that the request uses.

    `gone`: it is the whole model, whatever is asked: retired, unknown, or not for this key. It is held for an hour.
    """

    recovery = Recovery.ELSEWHERE

    def __init__(
        self, message: str, *, status: int | None = None, retry_at: float | None = None, gone: bool = False
    ) -> None:
        super().__init__(message, status=status, retry_at=retry_at)
        self.gone = gone


class Declined(ProviderError):
    """A content filter refused. No other candidate is asked unless the policy says so."""

    recovery = Recovery.NEVER
    fault = Fault.CALLER

    def __init__(self, message: str, *, category: str = "unknown", status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.category = category
        """What the filter objects to, in the provider's words."""


class BadReply(ProviderError):
    """The answer could not be decoded, was empty, or broke its output schema."""

    recovery = Recovery.AGAIN


class RoutingError(Exception):
    """No answer was had, after all that may be tried was tried."""


class ReasonCode(StrEnum):
    """Why a candidate is not eligible."""

    NO_KEY = "no_key"
    KEY_REFUSED = "key_refused"
    NO_MONEY = "no_money"
    """The provider says that its bill is unpaid or its credit is used up."""
    NOT_CONFIGURED = "not_configured"
    """An address is missing, or the provider is not switched on."""
    UNKNOWN = "unknown"
    """There is no such tier, model, account or dialect here."""
    CAPABILITY = "capability"
    CONTEXT = "context"
    """The request does not fit the model's context."""
    EXCLUDED = "excluded"
    """The environment, a weight of 0 or an operator keeps it out."""
    PAUSED = "paused"
    """An operator holds it back for a while."""
    TRIED = "tried"
    HELD = "held"
    """After an error that named an instant."""
    LIMIT = "limit"
    BUDGET = "budget"
    BREAKER = "breaker"


class Reason(NamedTuple):
    """Why a candidate is not eligible. `text` is for people, and nothing decides by it.

    `until` (epoch seconds): when this ends by itself, where that is known. `budget`: our own budget that it is about,
    and `is_held`: calls in flight hold what is left of that, so that waiting for them may help. `room`: how many tokens
    of a request like this one it would take.
    """

    code: ReasonCode
    text: str
    until: float | None = None
    budget: BudgetRef | None = None
    is_held: bool = False
    room: int | None = None

    def __str__(self) -> str:
        return self.text


ABSENT = frozenset({ReasonCode.NO_KEY, ReasonCode.NOT_CONFIGURED})
"""Codes of candidates that were never set up: beside others they are no news."""
TOLD = 3


def in_short(reasons: Mapping[str, Reason]) -> str:
    """Return why candidates are not eligible, as one text: each that is set up, and of the others how many there are.

    Where none is set up, the first few say what they need.
    """
    told = [name for name, reason in reasons.items() if reason.code not in ABSENT]
    absent = [name for name in reasons if name not in told]
    if not told:
        told, absent = absent[:TOLD], absent[TOLD:]
    more = f"{len(absent)} further model{'' if len(absent) == 1 else 's'} not set up" if absent else ""
    return "; ".join([*(f"{name}: {reasons[name]}" for name in told), *filter(None, [more])])


class NoRoute(RoutingError):
    """No candidate may be asked."""

    def __init__(self, reasons: Mapping[str, Reason], earliest: float | None = None) -> None:
        lines = in_short(reasons) or "no candidate is configured"
        super().__init__(f"no provider can take this turn: {lines}{_come_back(earliest)}")
        self.reasons = dict(reasons)
        """Why not, by candidate."""
        self.earliest = earliest
        """Epoch seconds: when a candidate may be asked; None: unknown."""

    @property
    def over_budget(self) -> bool:
        """Whether only our own budget of the day is the reason: more money, or another day, would bring an answer."""
        return any(reason.budget is not None for reason in self.reasons.values())


class AllAttemptsFailed(ExceptionGroup[ProviderError], RoutingError):
    """Every attempt failed; `.exceptions` holds them in order of attempt."""

    def __new__(
        cls,
        message: str,
        exceptions: Sequence[ProviderError],
        earliest: float | None = None,  # noqa: ARG004  # `__init__` takes it
    ) -> Self:
        return super().__new__(cls, message, exceptions)

    def __init__(self, message: str, exceptions: Sequence[ProviderError], earliest: float | None = None) -> None:
        super().__init__(message, exceptions)
        self.earliest = earliest
        """Epoch seconds: when a candidate may be asked again; None: unknown, or waiting changes nothing."""

    @property
    def refused_twice(self) -> bool:
        """Whether two providers refuse the request itself: then it is at fault, and asking again is useless."""
        refused = {
            e.provider for e in self.exceptions if isinstance(e, ProviderError) and e.recovery is Recovery.CONFIRM
        }
        return len(refused) > 1

    def derive(self, excs: Sequence[ProviderError]) -> AllAttemptsFailed:  # type: ignore[override]  # same element type
        """Return the same failure with these attempts alone: `except*` and `split` ask for it."""
        return AllAttemptsFailed(self.message, excs, self.earliest)

    def __str__(self) -> str:
        return f"{self.message}: " + "; ".join(str(e) for e in self.exceptions) + _come_back(self.earliest)


class BudgetSpent(RoutingError):
    """The cap `kind` of our own `budget` leaves no room for this call. Nothing was sent.

    `cap`, `spent` and `wanted` are micro-USD, tokens, seconds or turns, as `kind` says.
    """

    def __init__(self, budget: BudgetRef, kind: str, cap: float, spent: float, wanted: float) -> None:
        if wanted > cap:  # it never fits, whatever was spent
            why = f"is less than the {_amount(kind, wanted)} that this one call may take"
        else:
            why = f"does not allow {_amount(kind, wanted)} more after {_amount(kind, spent)}"
        super().__init__(f"budget of {budget}: {kind} {_amount(kind, cap)} {why}")
        self.budget, self.kind, self.cap, self.spent, self.wanted = budget, kind, cap, spent, wanted


def _come_back(earliest: float | None) -> str:
    return (
        "" if earliest is None else f"; ask again from {datetime.fromtimestamp(ceil(earliest), UTC):%Y-%m-%dT%H:%M:%SZ}"
    )


def _amount(kind: str, value: float) -> str:
    return f"${value / 1e6:.6f}" if kind == "max_cost" else f"{value:g}"


class CatalogError(SpecError):
    """Rows of the catalog, a policy, a scenario or environment variables that cannot be used: every mistake at once.

    No problem shows the text of a line on which a key may stand by mistake.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(in_order(without_secrets(problems)))
