"""From a candidate's limits, and our own budget, to meters; from a call to amounts: what is counted, for whom. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Literal, assert_never

from providers.budgets import BudgetRef
from providers.catalog.model import Candidate, Limit, Metric
from providers.catalog.prices import cost_of
from providers.errors import AuthFailed, Blocked, ProviderError, Reason, ReasonCode, TimedOut, Unreachable
from providers.limits.counter import LimitKey
from providers.limits.headers import Counted, Seen
from providers.limits.reserve import NoRoom
from providers.messages import Usage
from providers.policy.model import DailyBudget
from providers.windows import Calendar, Fixed, Paced, Rolling, Window, span

NEURON_MICRO_USD = 11.0
"""What Cloudflare charges for a neuron: $0.011 for 1,000 (developers.cloudflare.com/workers-ai/platform/pricing,
2026-11). It prints no other way to count them."""
OWN = "budget"
"""How the keys of our own meters begin."""
NO_BUDGET = DailyBudget()
HOLD_S = 30 * 86400.0
SCARCE = 0.1
"""A share that is left of a provider's own limit: below it, the choice among candidates takes it into account."""
LONGEST_NEWS_S = 86400.0
"""For how long at most what a header says is left keeps requests away."""

NOMINAL = Usage(input=1_000_000, output=1_000_000)
"""What a model is asked the price of, to know whether it has one."""

Ending = Literal["answered", "refused", "unsent", "unknown"]


@dataclass(frozen=True, slots=True)
class Call:
    """What a call is expected to come to, or came to. `cost` is micro-USD; where a price is not known it is 0."""

    usage: Usage
    cost: float


@dataclass(frozen=True, slots=True)
class Cap:
    """One of our own caps on a day's spending, that of `budget`.

    `meter` counts micro-USD. A mark has room for one: the process that takes it tells, alone of all, that this share of
    the cap was reached today.
    """

    budget: BudgetRef
    meter: LimitKey
    marks: tuple[tuple[float, LimitKey], ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """A candidate's limits, each with its meter, and our own caps on money.

    `hold` is a meter that the provider's own refusals shut; it is in use where there are limits. `refused`: why a
    candidate cannot be asked at all under our caps.
    """

    limits: tuple[tuple[Limit, LimitKey], ...]
    hold: LimitKey
    caps: tuple[Cap, ...] = ()
    refused: Reason | None = None

    @property
    def meters(self) -> tuple[LimitKey, ...]:
        hold = (self.hold,) if self.limits else ()
        return (*(meter for _, meter in self.limits), *(cap.meter for cap in self.caps), *hold)

    def call(self, candidate: Candidate, usage: Usage, now: float) -> Call:
        """Return `usage` with its cost, which is looked up only where something counts it."""
        counted = self.caps or any(limit.metric in ("usd", "neurons") for limit, _ in self.limits)
        return Call(usage, (cost_of(candidate, usage, now) or 0) if counted else 0)

    def sized(self, meter: LimitKey) -> bool:
        """Whether a smaller call may find room where a larger one does not."""
        return self.cap(meter) is not None or any(
            each is meter and limit.metric != "requests" for limit, each in self.limits
        )

    def cap(self, meter: LimitKey) -> Cap | None:
        """Return the cap that the meter counts for, None where it is a provider's limit."""
        return next((cap for cap in self.caps if cap.meter.key == meter.key), None)


def allowance(candidate: Candidate, budget: DailyBudget = NO_BUDGET, now: float = 0.0) -> Allowance | None:
    """Return what binds a candidate, None where nothing does. `now`, epoch seconds UTC, picks its price."""
    provider, model = candidate.provider, candidate.model.name
    kept = provider.kept_limits(model)
    caps, refused = _caps(candidate, budget, now)
    if not kept and not caps and refused is None:
        return None
    account = f"{provider.name}/{candidate.fingerprint}"
    limits = {meter.key: (limit, meter) for limit in kept for meter in [_meter(account, limit)]}
    hold = LimitKey(f"{account}/{model}/hold", 0.0, Fixed(HOLD_S), "held by the provider")
    return Allowance(tuple(limits.values()), hold, caps, refused)


def _caps(candidate: Candidate, budget: DailyBudget, now: float) -> tuple[tuple[Cap, ...], Reason | None]:
    """Return the caps that bind a candidate: none where it is free; or why it is refused: an unknown price."""
    own = (
        BudgetRef("day"),
        BudgetRef("provider", candidate.provider.name),
        BudgetRef("model", full_name(candidate)),
    )
    caps = tuple([cap for cap in caps_of(budget) if cap.budget in own])
    price = cost_of(candidate, NOMINAL, now) if caps else 0
    if price is None and budget.unknown_price == "refuse":
        text = f"its price is unknown, which {caps[0].meter.label} must count"
        return (), Reason(ReasonCode.BUDGET, text, budget=caps[0].budget)
    return () if price == 0 else caps, None


def caps_of(budget: DailyBudget) -> Iterator[Cap]:
    """Yield all caps of a budget."""
    if budget.max_cost_per_day is not None:
        yield _cap(BudgetRef("day"), budget.max_cost_per_day, budget)
    for name, amount in budget.providers.items():
        yield _cap(BudgetRef("provider", name), amount, budget)
    for name, amount in budget.models.items():
        yield _cap(BudgetRef("model", name), amount, budget)


def full_name(candidate: Candidate) -> str:
    """Return `provider/model`, whichever account it is."""
    return candidate.provider.full_name(candidate.model.name)


def _cap(ref: BudgetRef, amount: int, budget: DailyBudget) -> Cap:
    day, key = Calendar("day", budget.timezone), "/".join(filter(None, (OWN, ref.kind, ref.name)))
    label = f"the day's budget of {dollars(amount)}" + (f" for {ref.name}" if ref.name else "")
    # The amount is part of the key: a cap that was changed is another cap, and its shares alert again.
    marks = ((share, LimitKey(f"{key}/{amount}/{share:g}", 1.0, day)) for share in budget.alert_at)
    return Cap(ref, LimitKey(key, float(amount), day, label, ref), tuple(marks))


def _meter(account: str, limit: Limit) -> LimitKey:
    scope = limit.model or "+".join(sorted(limit.pool)) or "*"
    return LimitKey(
        f"{account}/{scope}/{limit.metric}/{_spelled(limit.window)}", limit.amount, limit.window, words(limit)
    )


def _spelled(window: Window) -> str:
    kind = type(window).__name__.lower()
    return f"{window.unit}@{window.timezone}" if isinstance(window, Calendar) else f"{kind}:{window.seconds:g}"


_SPELLED = {1.0: "1 s", 60.0: "1 min", 3600.0: "1 h", 86400.0: "24 h"}


def words(limit: Limit) -> str:
    """Return a limit as a person would say it: `30 requests in 1 min`."""
    match limit.window:
        case Paced(seconds):
            return f"a request every {seconds:g} s"
        case Calendar(unit, timezone):
            window = f"a {unit} ({timezone})"
        case Fixed(seconds) | Rolling(seconds):
            window = _SPELLED.get(seconds, f"{seconds:g} s")
        case _:
            assert_never(limit.window)
    return f"{limit.amount:,g} {limit.metric} in {window}"


def expected(bound: Allowance, asked: Call, whole: Call) -> list[tuple[LimitKey, float]]:
    """Return what to reserve for a call: `asked` is its input alone, `whole` has the longest answer to expect.

    An answer that would not fit a limit's empty window is expected to fill it. Our own caps make no such exception.
    """
    amounts = [(meter, _expected(limit, asked, whole)) for limit, meter in bound.limits]
    return _with_hold(bound, [*amounts, *((cap.meter, whole.cost) for cap in bound.caps)])


def _with_hold(bound: Allowance, amounts: list[tuple[LimitKey, float]]) -> list[tuple[LimitKey, float]]:
    return [*amounts, (bound.hold, 0.0)] if bound.limits else amounts


def _expected(limit: Limit, asked: Call, whole: Call) -> float:
    least = _amount(limit, asked)
    return least if limit.reserves == "input" else min(_amount(limit, whole), max(least, limit.amount))


def came_to(
    bound: Allowance, held: Sequence[tuple[LimitKey, float]], how: Ending, call: Call
) -> list[tuple[LimitKey, float]]:
    """Return what to count for a call that held `held` and ended so. What is unknown counts as it was expected."""
    amounts = []
    # `held` also has the caps and the hold, behind the limits: hence not `strict`.
    for (limit, meter), (_, most) in zip(bound.limits, held, strict=False):
        sent = limit.counts == "sent" or (limit.counts == "default" and limit.metric == "requests")
        if how == "answered":
            amounts.append((meter, _amount(limit, call)))
        else:
            # A refused call reached the provider, so limits on what is sent have counted it.
            amounts.append((meter, most if how == "unknown" or (how == "refused" and sent) else 0.0))
    for cap, (_, most) in zip(bound.caps, held[len(bound.limits) :], strict=False):
        # What was heard of an answer that broke off may have cost more than was expected of the whole.
        spent = {"answered": call.cost, "unknown": max(most, call.cost), "refused": 0.0, "unsent": 0.0}[how]
        amounts.append((cap.meter, spent))
    return _with_hold(bound, amounts)


def _amount(limit: Limit, call: Call) -> float:
    usage = call.usage
    match limit.metric:
        case "requests":
            return 1.0
        case "input":
            return float(usage.input + usage.cache_read + usage.cache_write)
        case "output":
            return float(usage.output + usage.reasoning)
        case "total":
            return float(usage.total)
        case "uncached":
            return float(usage.total - usage.cache_read)
        case "neurons":
            return call.cost / NEURON_MICRO_USD
        case "usd":
            return call.cost / 1e6


def ending(error: ProviderError | None, answered: bool) -> Ending:
    """Return what a provider makes of a call that ended so."""
    if answered:
        return "answered"
    if error is None:
        return "unknown"
    if isinstance(error, Unreachable):
        return "unknown" if error.sent else "unsent"
    if isinstance(error, TimedOut) and error.phase == "connect":
        return "unsent"
    if error.status is None:
        return "unsent" if isinstance(error, AuthFailed | Blocked) else "unknown"
    return "refused" if error.status >= 400 else "unknown"


_HEADERS: Mapping[Metric, Counted] = {
    "requests": "requests",
    "total": "tokens",
    "uncached": "tokens",
    "input": "input",
    "output": "output",
}


def matching(bound: Allowance, said: Iterable[Seen]) -> Iterator[tuple[LimitKey, Seen]]:
    """Yield the meters that a reply's headers speak of: the same thing counted, in the same window or up to as much."""
    for each in said:
        for limit, meter in bound.limits:
            same = each.window == span(meter.window) if each.window else each.limit == limit.amount
            if same and each.remaining is not None and _HEADERS.get(limit.metric) == each.counted:
                yield meter, each


def headroom(said: Iterable[Seen]) -> float | None:
    """Return the least share that headers say is left, None where they say nothing of it."""
    known = [each for each in said if each.remaining is not None]
    shares = (min(1.0, (each.remaining or 0.0) / each.limit) for each in known if each.limit)
    return 0.0 if any(each.remaining == 0.0 for each in known) else min(shares, default=None)


def spent(said: Iterable[Seen], now: float) -> list[tuple[float, float, Reason]]:
    """Return, by what headers say is left: until when no request is to be made of so many tokens or more, and why.

    What no header gives an end of, and no window, holds nothing.
    """
    found = []
    for each in said:
        until = each.resets_at or (now + each.window if each.window else now)
        sized = each.counted in ("tokens", "input")
        little = each.remaining is not None and (
            each.remaining < 1 or (sized and each.limit is not None and each.remaining < SCARCE * each.limit)
        )
        if little and until > now:
            until = min(until, now + LONGEST_NEWS_S)
            left = f"{each.remaining:g} {each.counted}" if each.remaining else f"no {each.counted}"
            why = Reason(ReasonCode.LIMIT, f"its provider says that {left} are left until {_clock(until)}", until)
            found.append((until, 1.0 + (each.remaining or 0.0) if sized else 0.0, why))
    return sorted(found, key=lambda each: each[1])


def reason(bound: Allowance, refused: NoRoom, asked: float = 0.0) -> Reason:
    """Return why a candidate of this allowance is passed over that was `asked` for so much, and until when."""
    label, until = refused.meter.label, refused.until
    ends = None if until == inf else until
    if (cap := bound.cap(refused.meter)) is not None:
        used_up = f"the call may cost {dollars(asked)}, more than all of {label}"
        if ends:
            used_up = f"{label} is used up until {_clock(until)}"
        return Reason(ReasonCode.BUDGET, used_up, ends, cap.budget)
    if ends is None and not refused.meter.amount:
        return Reason(ReasonCode.LIMIT, f"this worker has no share of a limit that is divided: {label}")
    if ends is None:
        return Reason(ReasonCode.LIMIT, f"the call asks for more than its limit of {label} allows at all")
    used_up = f"its limit of {label} is used up until {_clock(until)}" if refused.meter.amount else label
    return Reason(ReasonCode.LIMIT, used_up, ends)


def dollars(micro_usd: float) -> str:
    """Return money as `$5.00`, with as many digits as a small amount needs."""
    cents = micro_usd >= 1e6 or not micro_usd % 1e4
    return f"${micro_usd / 1e6:,.2f}" if cents else f"${micro_usd / 1e6:.6f}".rstrip("0")


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
