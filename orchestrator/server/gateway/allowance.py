"""What a key allows, as meters of a ledger; what one request asks of them; what its client is told of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, inf

from orchestrator.server.gateway.failures import OUT_OF_QUOTA, GatewayFailure
from orchestrator.server.gateway.keys import Key, KeyBudget
from providers.budgets import BudgetRef, micro_usd
from providers.limits.counter import LimitKey, Used
from providers.limits.reserve import Amounts, NoRoom
from providers.limits.rules import dollars
from providers.windows import Calendar, Fixed, Rolling

AMPLE = 2
"""How many times what a request is expected to cost it may hold: an attempt that failed may be billed as well."""
SHARE = 1 / 8
"""Of what is left of a budget, how much a request may hold for an answer that is longer than usual."""
MINUTE_S, HOUR_S = 60.0, 3600.0
LEASE_S = HOUR_S
"""How long what is reserved is held where the process is killed; then it counts as spent."""


@dataclass(frozen=True, slots=True)
class RequestSize:
    """What a request may take: `read` tokens of input, `whole` with the answer that is expected; micro-USD at least,
    as is expected, and at most (inf: all that there is). `lease` names what it holds; "": nobody needs to know."""

    read: int = 0
    whole: int = 0
    least: float = 0.0
    usual: float = 0.0
    most: float = 0.0
    lease: str = ""


NOTHING = RequestSize()


def run_lease(run: str) -> str:
    """Return under what a key holds what a run may spend: a server finds it again that begins after a kill."""
    return f"run/{run}"


@dataclass(frozen=True, slots=True)
class KeyMeters:
    """Where a key's requests and tokens of a minute are counted, and its spending."""

    requests: LimitKey | None
    tokens: LimitKey | None
    budgets: tuple[LimitKey, ...]

    @property
    def rates(self) -> tuple[LimitKey, ...]:
        return tuple(meter for meter in (self.requests, self.tokens) if meter is not None)

    def tokens_of(self, size: RequestSize) -> float:
        """Return the tokens that a request holds. An answer that would not fit a minute is expected to fill it."""
        return size.whole if self.tokens is None else min(size.whole, max(size.read, self.tokens.amount))

    def amounts(self, tokens: float, cost: float) -> Amounts:
        """Return what a request holds. One that costs nothing goes past budgets that are spent."""
        return [(meter, amount) for meter, amount in self.outcome(tokens, cost) if cost or meter.budget is None]

    def outcome(self, tokens: float, cost: float) -> Amounts:
        """Return what a request came to, in place of all that it held: also where it cost nothing."""
        amounts = [] if self.requests is None else [(self.requests, 1.0)]
        amounts += [] if self.tokens is None else [(self.tokens, float(tokens))]
        return [*amounts, *((meter, float(cost)) for meter in self.budgets)]


NO_METERS = KeyMeters(None, None, ())


def meters_of(key: Key, timezone: str) -> KeyMeters:
    """Return a key's meters. Days and months begin at midnight in `timezone`."""
    if not (key.rpm or key.tpm or key.budgets):
        return NO_METERS
    place, minute = f"gateway/{key.digest[:16]}", Rolling(MINUTE_S)
    requests = key.rpm and LimitKey(f"{place}/requests", key.rpm, minute, f"{key.rpm:,} requests a minute")
    tokens = key.tpm and LimitKey(f"{place}/tokens", key.tpm, minute, f"{key.tpm:,} tokens a minute")
    return KeyMeters(
        requests or None, tokens or None, tuple(_budget(key, each, place, timezone) for each in key.budgets)
    )


def _budget(key: Key, budget: KeyBudget, place: str, timezone: str) -> LimitKey:
    window = Fixed(HOUR_S) if budget.per == "hour" else Calendar(budget.per, timezone)
    amount, ref = micro_usd(budget.usd), BudgetRef("key", key.name)
    return LimitKey(f"{place}/usd/{budget.per}", amount, window, f"{dollars(amount)} a {budget.per}", ref)


def held_for(size: RequestSize, left: float) -> float:
    """Return how much of what is `left` of its key's budgets a request is to hold: micro-USD."""
    return min(left, AMPLE * size.most, max(AMPLE * size.usual, SHARE * left))


def left_of(used: Sequence[Used], *, held: bool = True) -> float:
    """Return the least that is left of budgets, beside what calls in flight hold or, without `held`, as if they came to
    nothing. inf: there are none."""
    return min((each.meter.amount - each.used + (0.0 if held else each.held) for each in used), default=inf)


def out_of_money(used: Sequence[Used], size: RequestSize, now: float) -> GatewayFailure:
    """Return the failure of a request that the budgets do not pay for. Asking again is useless until then."""
    first = min(used, key=lambda each: each.meter.amount - each.used + each.held)
    spent, label = first.used - first.held, first.meter.label
    if size.least > first.meter.amount:
        text = f"the request may cost {dollars(size.least)}, more than the key's budget of {label} allows at all"
        return GatewayFailure(429, "quota", text, OUT_OF_QUOTA)
    text = (
        f"the key's budget of {label} does not pay for this request: {dollars(round(spent))} of it are spent; "
        f"it begins again at {_instant(first.resets_at)}"
    )
    return GatewayFailure(429, "quota", text, OUT_OF_QUOTA, retry_after=max(1.0, ceil(first.resets_at - now)))


def too_fast(refused: NoRoom, now: float) -> GatewayFailure:
    """Return the failure of a request that a rate has no room for."""
    label = refused.meter.label
    if refused.until == inf:
        text = f"the request has more tokens than the key's rate of {label} allows at all"
        return GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded")
    wait = max(1.0, ceil(refused.until - now))
    text = f"the key's rate of {label} is used up; ask again in {wait:g} s"
    return GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded", may_retry=True, retry_after=wait)


def too_many_at_once(most: int) -> GatewayFailure:
    """Return the failure of a request beside as many of its key as may be at work."""
    text = f"the key has {most} requests at work, and may have no more at once"
    return GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded", may_retry=True, retry_after=1.0)


def rate_headers(meters: KeyMeters, used: Mapping[str, Used], now: float, *, anthropic: bool) -> dict[str, str]:
    """Return the headers by which a dialect tells how much of a key's rates is left, and when all of it is."""
    return dict(_rate_headers(meters, used, now, anthropic=anthropic))


def _rate_headers(
    meters: KeyMeters, used: Mapping[str, Used], now: float, *, anthropic: bool
) -> Iterator[tuple[str, str]]:
    for what, meter in (("requests", meters.requests), ("tokens", meters.tokens)):
        if meter is None or (seen := used.get(meter.key)) is None:
            continue
        left = str(max(0, floor(meter.amount - seen.used)))
        resets_at = min(seen.resets_at, now + MINUTE_S)  # that of a request at work is when its lease ends
        if anthropic:
            name = f"anthropic-ratelimit-{what}"
            yield from ((f"{name}-limit", f"{meter.amount:.0f}"), (f"{name}-remaining", left))
            yield f"{name}-reset", _instant(max(now, resets_at))
        else:
            yield f"x-ratelimit-limit-{what}", f"{meter.amount:.0f}"
            yield f"x-ratelimit-remaining-{what}", left
            yield f"x-ratelimit-reset-{what}", span_text(max(0.0, resets_at - now))


def span_text(seconds: float) -> str:
    """Return seconds as OpenAI's headers have them: `120ms`, `6.5s`, `1m30s`, `2h0m5s`."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(ceil(seconds * 1000) / 1000, 60)
    hours, minutes = divmod(int(minutes), 60)
    tail = f"{round(rest, 3):g}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


def _instant(at: float) -> str:
    return f"{datetime.fromtimestamp(ceil(at), UTC):%Y-%m-%dT%H:%M:%SZ}"
