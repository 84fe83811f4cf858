"""The state of one candidate: its breaker, what holds it back, and what was measured of it."""

from __future__ import annotations

from math import inf

from providers.catalog.model import Candidate, Limit
from providers.errors import Fault, Reason, ReasonCode
from providers.routing.health import CLOSED, OUTPACED_TO_REST, Breaker, HealthStats
from providers.routing.retry_budget import Trust

_NEWS = Reason(ReasonCode.LIMIT, "little is left of a limit")


class CandidateState:
    """The state of one candidate now. Its `Fleet` and the admission of calls change it."""

    __slots__ = (
        "account",
        "blocks",
        "breaker",
        "candidate",
        "faults",
        "has_failed",
        "headroom",
        "held_after",
        "held_from",
        "held_until",
        "in_flight",
        "limits_met",
        "name",
        "room",
        "size_refused",
        "track",
        "trust",
        "waiting",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.adopt(candidate)
        self.name = candidate.name
        self.account = (candidate.provider.name, candidate.fingerprint)
        self.breaker: Breaker = CLOSED
        self.held_from = self.held_until = 0.0
        self.held_after = ""
        """The class of the error that it is held after, and of a model that is gone what was said."""
        self.limits_met = 0
        """Rate limits in a row of which the provider did not say when they end: each is guessed to last longer."""
        self.in_flight = 0
        self.waiting: dict[object, float] = {}
        """The attempts in flight that have said nothing yet, oldest first, and since when."""
        self.track = HealthStats()
        self.trust = Trust()
        self.faults: dict[Fault, int] = {}
        """Failed attempts by whose fault they were, since the process began."""
        self.has_failed = False
        """Whether its latest attempt that ended had no answer, whoever was at fault."""
        self.headroom: float | None = None
        """What the provider says is left of its tightest limit, 0 to 1, where that is little; None: no news."""
        self.blocks: tuple[tuple[float, Reason, float], ...] = ()
        self.size_refused: tuple[int, float] | None = None
        """Tokens of the smallest request that was too large for a limit, and until when that is news."""

    def adopt(self, candidate: Candidate) -> None:
        """Go on with other facts of the same endpoint and key."""
        model = candidate.model
        self.candidate = candidate
        self.room = min(model.max_output, model.context // 8, 1024)
        """How many tokens of the context an answer needs whose request sets no cap."""

    def pace(self, now: float) -> float | None:
        """Return the seconds that an answer of nominal length takes, as far as it is known; see `HealthStats.pace`.

        What was known goes on to be while a call is out that will tell anew: so one at a time finds out.
        """
        return self.track.pace(now, still=self.in_flight > 0)

    def silence(self, now: float) -> float:
        """Return for how long it has said nothing while a call waits for it, as the least pace of its next answer.

        Who goes on to answer others is not silent: the call that still waits is a long one.
        """
        for began in self.waiting.values():
            return self.track.at_least(now - max(began, self.track.answered_at))
        return 0.0

    def is_late(self, now: float) -> bool:
        """Whether others are to be asked before it: its hedges answered first, several times in a row.

        After a rest one call at a time finds out whether that is over.
        """
        return self.track.outpaced >= OUTPACED_TO_REST and (self.in_flight > 0 or self.track.rests(now))

    @property
    def is_free(self) -> bool:
        """Whether the model is known to cost nothing."""
        price = self.candidate.model.price
        return price is not None and not (price.input or price.output)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that are kept for it."""
        return self.candidate.provider.kept_limits(self.candidate.model.name)

    def forget_limits(self) -> None:
        """Forget what was noted of limits: they are others now."""
        self.blocks, self.headroom = (), None

    def left(self, share: float, until: float) -> None:
        """Note `headroom`, which is news until `until`: then a window passes."""
        self.block(until, _NEWS, inf)  # refuses no request, and ends with the news
        self.headroom = share

    def block(self, until: float, reason: Reason, tokens: float = 0) -> None:
        """Note that a limit leaves no room before `until` for a request of `tokens` (an estimate of its input)."""
        self.blocks = (*(block for block in self.blocks if block[2] < tokens), (until, reason, tokens))

    def refused_size(self, tokens: int, until: float, now: float) -> None:
        """Note that a request of `tokens` is too large for it."""
        known = self.size_refused
        smaller = known is not None and known[1] > now and known[0] < tokens
        self.size_refused = (known[0] if known is not None and smaller else tokens, until)

    def is_too_large(self, tokens: int, now: float) -> bool:
        """Whether it refused a request of `tokens`, or a smaller one, for its size."""
        refused = self.size_refused
        return refused is not None and tokens >= refused[0] and now < refused[1]

    def blocked_until(self, now: float, tokens: int = 0) -> tuple[float, Reason] | None:
        """Return until when (epoch seconds) limits leave no room for a request of `tokens`, and which limit it is."""
        last = None
        for block in self.blocks:
            if block[0] <= now:  # a window has passed: what was left of it is no news any more
                self.blocks, self.headroom = tuple([each for each in self.blocks if each[0] > now]), None
            elif tokens >= block[2] and (last is None or block[0] > last[0]):
                last = block
        return None if last is None else last[:2]
