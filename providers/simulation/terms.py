"""What one kind of call reserves of a candidate's limits, what it is settled as, and what the provider counts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from providers.catalog.model import Candidate, Limit
from providers.limits.counter import LimitKey
from providers.limits.reserve import Amounts
from providers.limits.rules import Ending, allowance
from providers.policy.model import DailyBudget
from providers.routing.admission import CallPlan, plan, settled
from providers.routing.effects import Try
from providers.routing.fleet import Fleet
from providers.routing.ordering import expected_output
from providers.simulation.load import Kind
from providers.simulation.true_limit import TrueLimit

CountedAmounts = Sequence[tuple[TrueLimit, float]]
ENDINGS: tuple[Ending, ...] = ("answered", "refused", "unsent", "unknown")


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """`plan` and `settles` (by how a call ended) are the routers'; None: the routers know of no limit.

    `answered` and `refused` are the provider's own: what a call counts for that it answers, or turns down; `later`,
    what is counted on top once the answer is there, of limits that let calls in by their input.
    """

    plan: CallPlan | None
    settles: Mapping[Ending, Amounts]
    answered: CountedAmounts
    later: CountedAmounts
    refused: CountedAmounts


class AllTerms:
    """The terms of every candidate and kind, and the limits that stand behind them, made as they are met."""

    def __init__(self, hidden: Mapping[str, tuple[Limit, ...]], budget: DailyBudget, now: float) -> None:
        self._hidden, self._budget, self._now = hidden, budget, now
        self._known: dict[tuple[str, int], Terms | None] = {}
        self.limits: dict[str, tuple[str, TrueLimit, bool]] = {}
        """By the key of the meter: whose limit it is, and whether the routers know of it."""

    def of(self, effect: Try, kind: Kind, fleet: Fleet) -> Terms | None:
        """Return what holds for a call of the kind; None: it is bound by nothing."""
        key = (effect.route.names[0], kind.number)
        if key not in self._known:
            self._known[key] = self.made(effect.candidate, kind, fleet.demands(kind.request)[0])
        return self._known[key]

    def made(self, candidate: Candidate, kind: Kind, tokens: int) -> Terms | None:
        """Return what holds for a call of about `tokens` of input to the candidate; None: it is bound by nothing."""
        bound = allowance(candidate, self._budget, self._now)
        provider = candidate.provider
        row = replace(provider, limits=self._hidden.get(provider.name, ()), plan="")
        secret = allowance(replace(candidate, provider=row))
        if bound is None and secret is None:
            return None
        output, known = expected_output(kind.request, candidate.model), None
        settles: Mapping[Ending, Amounts] = dict.fromkeys(ENDINGS, ())
        answered, later, refused = _nothing(), _nothing(), _nothing()
        for each in (bound, secret):
            if each is None:
                continue
            call = plan(each, candidate, tokens, output, self._now)
            held, came = call.reserves, each.call(candidate, kind.usage, self._now)
            by_ending = {how: settled(call, how, came) for how in ENDINGS}
            for at, (limit, meter) in enumerate(each.limits):
                true = self._limit(provider.name, limit, meter, known=each is bound)
                amount = by_ending["answered"][at][1]
                first = min(amount, held[at][1]) if limit.reserves == "input" else amount
                answered.append((true, first))
                refused.append((true, by_ending["refused"][at][1]))
                if amount > first:
                    later.append((true, amount - first))
            if each is bound:
                known, settles = call, by_ending
        return Terms(known, settles, answered, later, refused)

    def _limit(self, provider: str, limit: Limit, meter: LimitKey, *, known: bool) -> TrueLimit:
        key = meter.key if known else f"{meter.key} hidden"
        if key not in self.limits:
            self.limits[key] = (provider, TrueLimit(limit, meter), known)
        return self.limits[key][1]


def _nothing() -> list[tuple[TrueLimit, float]]:
    return []
