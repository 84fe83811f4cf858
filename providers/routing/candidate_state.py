"""The state of one candidate: its breaker, what holds it back, and what was measured of it."""

from __future__ import annotations

from math import inf

from providers.catalog.model import Candidate, Limit
from providers.errors import Fault, Reason, ReasonCode
from providers.routing.health import CLOSED, Breaker, HealthStats

_NEWS = Reason(ReasonCode.LIMIT, "little is left of a limit")


class CandidateState:
    """The state of one candidate now. Its `Fleet` and the admission of calls change it."""

    __slots__ = (
        "account",
        "blocks",
        "breaker",
        "candidate",
        "faults",
        "headroom",
        "held_after",
        "held_from",
        "held_until",
        "in_flight",
        "name",
        "room",
        "track",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.adopt(candidate)
        self.name = candidate.name
        self.account = (candidate.provider.name, candidate.fingerprint)
        self.breaker: Breaker = CLOSED
        self.held_from = self.held_until = 0.0
        self.held_after = ""
        """The class of the error that it is held after."""
        self.in_flight = 0
        self.track = HealthStats()
        self.faults: dict[Fault, int] = {}
        """Failed attempts by whose fault they were, since the process began."""
        self.headroom: float | None = None
        """What the provider says is left of its tightest limit, 0 to 1, where that is little; None: no news."""
        self.blocks: tuple[tuple[float, Reason, float], ...] = ()

    def adopt(self, candidate: Candidate) -> None:
        """Go on with other facts of the same endpoint and key."""
        model = candidate.model
        self.candidate = candidate
        self.room = min(model.max_output, model.context // 8, 1024)
        """How many tokens of the context an answer needs whose request sets no cap."""

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

    def blocked_until(self, now: float, tokens: int = 0) -> tuple[float, Reason] | None:
        """Return until when (epoch seconds) limits leave no room for a request of `tokens`, and which limit it is."""
        last = None
        for block in self.blocks:
            if block[0] <= now:  # a window has passed: what was left of it is no news any more
                self.blocks, self.headroom = tuple([each for each in self.blocks if each[0] > now]), None
            elif tokens >= block[2] and (last is None or block[0] > last[0]):
                last = block
        return None if last is None else last[:2]
