"""Providers as the API and the pages show them: what state each is in, what was asked of it, why it is not used now."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from pydantic import BaseModel, Field

from orchestrator.server.state import ServerState
from providers.client.manager import ProviderManager
from providers.limits.counter import LimitKey, Used
from providers.routing.candidate_state import CandidateState
from providers.routing.choice import obstacle_of
from providers.routing.control import OperatorHold, RoutingControl
from providers.routing.control_effects import stands_for
from providers.routing.traffic import EndpointTraffic, LastError, TrafficView

FIVE_MINUTES, HOUR = 300.0, 3600.0
ERRORS = {
    "Unreachable": "it could not be reached",
    "WrongAddress": "its address leads nowhere",
    "TimedOut": "it did not answer in time",
    "StreamBroken": "its answer broke off",
    "RateLimited": "it refused: too many requests",
    "QuotaSpent": "it refused: its quota is used up",
    "RequestTooLarge": "it refused: the request is too large for its limits",
    "ServerFault": "it had an error of its own",
    "Overloaded": "it is overloaded",
    "AuthFailed": "it refused the key",
    "Blocked": "something before its API refused the call",
    "BadRequest": "it refused the request",
    "ContextTooLong": "the request was too long for the model",
    "Unsupported": "it does not have what was asked for",
    "Declined": "its content filter declined the request",
    "BadReply": "its answer could not be read, or would not do",
}
"""Class of an error -> what happened, in words."""


class HoldShown(BaseModel):
    """An operator's word that a provider or model is asked nothing new. Instants are epoch seconds."""

    kind: str
    reason: str
    by: str
    since: float
    until: float | None


class ControlShown(BaseModel):
    """All that operators have set over the policy; `version` is what the next change must expect."""

    version: int
    weights: dict[str, float]
    strategy: str | None
    holds: dict[str, HoldShown]


class BreakerShown(BaseModel):
    """A circuit breaker: `closed`, `open`, `half-open` (one call tries it), or `recovering` (few calls at once).

    `next_probe_at`: when a turn may try it again, where it is open.
    """

    state: str
    faults_in_a_row: int
    trips: int
    next_probe_at: float | None


class ErrorShown(BaseModel):
    """The latest failure: its class, what that means, and the provider's own words."""

    at: float
    error: str
    words: str
    detail: str


class WindowShown(BaseModel):
    """What was asked in a stretch of time. None: nothing was measured. Percentiles are seconds, within a twentieth."""

    calls: int
    answered: int
    failed: int
    success: float | None
    p50_s: float | None
    p95_s: float | None
    first_token_p50_s: float | None
    first_token_p95_s: float | None


class QuotaShown(BaseModel):
    """A limit that is counted here: how much of it is used, what share is left, and when all of it is free again."""

    label: str
    amount: float
    used: float
    left: float
    resets_at: float | None


class EndpointShown(BaseModel):
    """One model at one provider (and account). `why_not`: why it is not asked now; "": it may be.

    `until`: when that ends by itself, where that is known. `calls_by_minute`: of the last hour, the oldest first.
    """

    name: str
    provider: str
    model: str
    account: int
    tiers: list[str]
    why_not: str
    until: float | None
    hold: HoldShown | None
    breaker: BreakerShown
    last_error: ErrorShown | None
    in_flight: int
    five_minutes: WindowShown
    hour: WindowShown
    calls_by_minute: list[int]
    quotas: list[QuotaShown]


class ProviderShown(BaseModel):
    """A provider with its models. `weight` is the one in effect, None: it has none. `share`: of the hour's answers."""

    name: str
    weight: float | None
    share: float | None
    in_flight: int
    why_not: str
    until: float | None
    hold: HoldShown | None
    five_minutes: WindowShown
    hour: WindowShown
    calls_by_minute: list[int]
    endpoints: list[EndpointShown]


class NotSetUp(BaseModel):
    """A provider that cannot be asked, and what it lacks."""

    name: str
    why: str


class ProvidersStatus(BaseModel):
    """`at` is epoch seconds. `since`: what was asked before then is not counted here."""

    at: float
    since: float
    strategy: str
    control: ControlShown
    providers: list[ProviderShown]
    not_set_up: list[NotSetUp] = Field(default_factory=list)


async def providers_status(state: ServerState) -> ProvidersStatus:
    """Return the state of all providers."""
    manager, now = state.manager, state.manager.clock()
    manager.look()
    fleet, traffic = manager.fleet, manager.traffic
    views = traffic.over(FIVE_MINUTES, now), traffic.over(HOUR, now)
    quotas = await _quotas(manager)
    answered = sum(one.answered for one in views[1].endpoints.values())
    shown: list[ProviderShown] = []
    for provider in dict.fromkeys(one.account[0] for one in fleet.states.values()):
        own = [one for one in fleet.states.values() if one.account[0] == provider]
        endpoints = [_endpoint(state, one, views, quotas.get(one.name, ()), now) for one in own]
        names = [one.name for one in own]
        hour = views[1].of(names)
        blocked = endpoints if all(one.why_not for one in endpoints) else []
        ends = [one.until for one in blocked]
        shown.append(
            ProviderShown(
                name=provider,
                weight=fleet.weights.get(provider),
                share=hour.answered / answered if answered else None,
                in_flight=sum(one.in_flight for one in own),
                why_not=_common(blocked),
                until=min((end for end in ends if end is not None), default=None),
                hold=hold_shown(state, fleet.control.holds.get(provider)),
                five_minutes=window_shown(views[0].of(names)),
                hour=window_shown(hour),
                calls_by_minute=_calls(manager, names, now),
                endpoints=endpoints,
            )
        )
    absent = {name: why for name, why in fleet.unconfigured.items() if "/" not in name}
    return ProvidersStatus(
        at=now,
        since=traffic.began,
        strategy=fleet.policy.strategy,
        control=control_shown(state, fleet.control),
        providers=shown,
        not_set_up=[NotSetUp(name=name, why=state.mask(str(why))) for name, why in absent.items()],
    )


def _common(blocked: Sequence[EndpointShown]) -> str:
    """Return why none of a provider's models is asked, in as few words as that takes."""
    reasons = dict.fromkeys(one.why_not for one in blocked)
    return "; ".join(reasons) if len(reasons) <= 2 else f"none of its {len(blocked)} models can be asked now"


def _endpoint(
    state: ServerState,
    one: CandidateState,
    views: tuple[TrafficView, TrafficView],
    quotas: Sequence[QuotaShown],
    now: float,
) -> EndpointShown:
    manager, candidate = state.manager, one.candidate
    fleet, breaker = manager.fleet, one.breaker
    why, until = why_not(manager, one, now)
    probe = None if breaker.open_until is None else max(breaker.open_until, now)
    last = manager.traffic.last_errors.get(one.name)
    return EndpointShown(
        name=one.name,
        provider=candidate.provider.name,
        model=candidate.model.name,
        account=candidate.account,
        tiers=[tier for tier, named in fleet.policy.tiers.items() if any(stands_for(each, one.name) for each in named)],
        why_not=state.mask(why),
        until=until,
        hold=hold_shown(state, fleet.control.hold_of(one.name)),
        breaker=BreakerShown(
            state=breaker.state(now), faults_in_a_row=breaker.faults, trips=breaker.trips, next_probe_at=probe
        ),
        last_error=None if last is None else _error(state, last),
        in_flight=one.in_flight,
        five_minutes=window_shown(views[0].of([one.name])),
        hour=window_shown(views[1].of([one.name])),
        calls_by_minute=_calls(manager, [one.name], now),
        quotas=list(quotas),
    )


def why_not(manager: ProviderManager, one: CandidateState, now: float) -> tuple[str, float | None]:
    """Return why a candidate is not asked now ("": it may be), and when that ends, where that is known.

    An operator's word comes first, whatever else lasts longer.
    """
    barred = manager.fleet.barred.get(one.name)
    if barred is not None and (barred.until is None or barred.until > now):
        return str(barred), barred.until
    found = obstacle_of(manager.fleet, one, now, 0.0)
    if found is None:
        return "", None
    until, reason = found
    return str(reason), until if isfinite(until) else None


def _calls(manager: ProviderManager, names: Sequence[str], now: float) -> list[int]:
    return [answered + failed for answered, failed in manager.traffic.calls_over_time(names, now)]


def _error(state: ServerState, last: LastError) -> ErrorShown:
    words = ERRORS.get(last.error, "it failed")
    return ErrorShown(at=last.at, error=last.error, words=words, detail=state.mask(last.detail))


def window_shown(seen: EndpointTraffic) -> WindowShown:
    """Return what was seen in a stretch of time as it is shown."""
    return WindowShown(
        calls=seen.calls,
        answered=seen.answered,
        failed=seen.failed,
        success=seen.success,
        p50_s=seen.took.percentile(0.5),
        p95_s=seen.took.percentile(0.95),
        first_token_p50_s=seen.first_token.percentile(0.5),
        first_token_p95_s=seen.first_token.percentile(0.95),
    )


def hold_shown(state: ServerState, hold: OperatorHold | None) -> HoldShown | None:
    """Return an operator's word as it is shown."""
    if hold is None:
        return None
    reason, by = state.mask(hold.reason), state.mask(hold.by)
    return HoldShown(kind=hold.kind, reason=reason, by=by, since=hold.since, until=hold.until)


def control_shown(state: ServerState, control: RoutingControl) -> ControlShown:
    """Return what operators have set as it is shown."""
    holds = {name: hold_shown(state, hold) for name, hold in control.holds.items()}
    return ControlShown(
        version=control.version,
        weights=dict(control.weights),
        strategy=control.strategy,
        holds={name: hold for name, hold in holds.items() if hold is not None},
    )


async def _quotas(manager: ProviderManager) -> dict[str, list[QuotaShown]]:
    """Return by candidate what is counted of its limits and our own budgets."""
    meters: dict[str, list[LimitKey]] = {}
    for name, one in manager.fleet.states.items():
        bound = manager.reservations.bound(one.candidate)
        if bound is not None:
            meters[name] = [meter for meter in bound.meters if meter.amount]
    whole = {meter.key: meter for own in meters.values() for meter in own}
    if not whole:
        return {}
    used = await manager.reservations.ledger.usage(list(whole.values()), wall := manager.reservations.wall())
    shown = {key: _quota(one, wall) for key, one in zip(whole, used, strict=True)}
    return {name: [shown[meter.key] for meter in own] for name, own in meters.items()}


def _quota(used: Used, now: float) -> QuotaShown:
    unit = 1.0 if used.meter.budget is None else 1e-6
    return QuotaShown(
        label=used.meter.label,
        amount=used.meter.amount * unit,
        used=used.used * unit,
        left=used.left,
        resets_at=used.resets_at if used.resets_at > now else None,
    )
