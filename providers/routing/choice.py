"""Which candidates may be asked now, and in which order. Pure: time and luck are passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from providers.catalog.model import Model
from providers.errors import Reason, ReasonCode
from providers.messages import Capability, Request
from providers.routing.candidate_state import CandidateState
from providers.routing.fleet import Fleet
from providers.routing.health import CLOSED, set_back
from providers.routing.ordering import alike, ordering_of
from providers.routing.ranking import Route
from providers.routing.scores import Ordering, ordered

PROBE_POLL_S = 1.0
"""How long a turn that waits for another turn's probe sleeps before it looks again."""
NOT_TRIED: Mapping[str, float] = {}
_TOO_LARGE = Reason(ReasonCode.LIMIT, "a request of this size, or a smaller one, was too large for its limits")
_TRIED = Reason(ReasonCode.TRIED, "asked before in this turn")


@dataclass(frozen=True, slots=True)
class Wait:
    """No candidate is eligible before `until` (epoch seconds)."""

    until: float
    reasons: Mapping[str, Reason]


@dataclass(frozen=True, slots=True)
class Refuse:
    """No candidate is eligible, and waiting does not change it."""

    reasons: Mapping[str, Reason]


Decision = Route | Wait | Refuse


def choose(
    fleet: Fleet, request: Request, now: float, tried: Mapping[str, float] = NOT_TRIED, draw: float | None = None
) -> Decision:
    """Return the candidates to ask, in order; or until when to wait; or why none is eligible. Changes nothing.

    `tried` holds the candidates that this turn has asked, and from when each may be asked again (`inf`: never). They
    come after all others: what just failed is likely to fail again. `draw`, from [0, 1), is the randomness that the
    strategy `latency` needs.
    """
    ranking = fleet.ranking(request.needs)
    tokens, capabilities = fleet.demands(request)
    first: list[CandidateState] = []
    again: list[CandidateState] = []
    refused: dict[str, Reason] = {}
    earliest, wanted = inf, request.max_output_tokens
    for state in ranking.states:
        model = state.candidate.model
        if tokens + (wanted or state.room) > model.context or not capabilities <= model.capabilities:
            refused[state.name] = _unfit(model, tokens, wanted or state.room, capabilities)
            continue
        back = tried.get(state.name) if tried else None
        obstacle = _obstacle(fleet, state, now, back or 0.0, tokens)
        if obstacle is None:
            (first if back is None else again).append(state)
            continue
        until, refused[state.name] = obstacle
        if until < earliest:
            earliest = until
    reasons = {**ranking.refused, **refused} if refused else ranking.refused
    ordering = None
    if len(first) > 1 and len(rivals := ranking.rivals(first)) > 1 and not alike(fleet, request, ranking, rivals, now):
        ordering = ordering_of(fleet, request, ranking, rivals, now, draw)
        first[: len(rivals)] = [rivals[at] for at in ordered(ordering)]
    if len(first) > 1 and first[0].is_late(now) and (at := _in_time(first, now)):
        first.insert(0, first.pop(at))
        return _route(first + again, reasons)
    if first and len(first) == len(ranking.states) and ordering is None:
        return ranking.route  # the usual case
    if order := first + again:
        return _route(order, reasons, ordering)
    return Wait(earliest, reasons) if earliest < inf else Refuse(reasons)


def _route(order: Sequence[CandidateState], reasons: Mapping[str, Reason], ordering: Ordering | None = None) -> Route:
    return Route(tuple([s.candidate for s in order]), tuple([s.name for s in order]), reasons, ordering)


def _in_time(order: Sequence[CandidateState], now: float) -> int:
    """Return the place of the first that is not late; 0: all are, and none goes before the others."""
    return next((at for at, state in enumerate(order) if not state.is_late(now)), 0)


def _unfit(model: Model, tokens: int, room: int, capabilities: frozenset[Capability]) -> Reason:
    if not capabilities <= model.capabilities:
        return Reason(ReasonCode.CAPABILITY, f"lacks {', '.join(sorted(capabilities - model.capabilities))}")
    text = f"about {tokens} tokens and {room} for the answer do not fit its context of {model.context}"
    return Reason(ReasonCode.CONTEXT, text)


def _obstacle(
    fleet: Fleet, state: CandidateState, now: float, back: float, tokens: int = 0
) -> tuple[float, Reason] | None:
    """Return until when the candidate may not be asked, and why: the obstacle that lasts longest. None: it may be."""
    if (fleet.shut or fleet.unpaid) and (why := fleet.why_shut(state)):
        return inf, why
    if fleet.barred and (why := fleet.barred.get(state.account[0])):
        return inf, why
    if state.size_refused is not None and state.is_too_large(tokens, now):
        return inf, _TOO_LARGE
    until, reason = back, _TRIED
    if state.held_until > until and not set_back(now, state.held_from):
        until = state.held_until
        reason = Reason(ReasonCode.HELD, f"held after {state.held_after}", until)
    blocked = state.blocked_until(now, tokens) if state.blocks else None
    if blocked is not None and blocked[0] > until:
        until, reason = blocked
    breaker = state.breaker
    if breaker is not CLOSED and not breaker.admits(now, state.in_flight):
        # With a probe out, or few calls let through after it, the end is unknown: waiting turns look again soon.
        rest, how = now + PROBE_POLL_S, breaker.state(now)
        if breaker.open_until is not None and how == "open":
            rest = breaker.open_until
        if rest > until:
            until, reason = rest, Reason(ReasonCode.BREAKER, f"its circuit breaker is {how}", rest)
    return None if until <= now else (until, reason)
