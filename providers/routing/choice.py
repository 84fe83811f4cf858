"""Which candidates may be asked now, and in which order. Pure: time and luck are passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from providers.catalog.model import Model
from providers.errors import RateLimited, Reason, ReasonCode
from providers.messages import Capability, Request
from providers.routing.candidate_state import CandidateState
from providers.routing.fleet import Fleet
from providers.routing.health import CLOSED, set_back
from providers.routing.ordering import alike, ordering_of
from providers.routing.ranking import Ranking, Route
from providers.routing.scores import Ordering, ordered

PROBE_POLL_S = 0.25
"""How long a turn that waits for another turn's probe sleeps before it looks again."""
SOON_WELL_S = 5.0
"""Who may be asked again within this time, and answers, is waited for rather than a provider that is down probed."""
PROBE_GAP_S = 1.0
"""How far apart the early probes of one provider are, however many models and keys it has."""
VERDICT_POLL_S = 0.05
"""How soon it looks again at first where the probe went out just now."""
PAUSED_POLL_S = 6.0
"""How long a turn that waits for an operator sleeps before it looks again: too long for who would be well soon."""
NOT_TRIED: Mapping[str, float] = {}
_TOO_LARGE = Reason(ReasonCode.LIMIT, "a request of this size, or a smaller one, was too large for its limits")
_TRIED = Reason(ReasonCode.TRIED, "asked before in this turn")
_FAULTY = {ReasonCode.BREAKER, ReasonCode.TRIED}
_UNFIT = {ReasonCode.CAPABILITY, ReasonCode.CONTEXT}


@dataclass(frozen=True, slots=True)
class Wait:
    """No candidate is eligible before `until` (epoch seconds), and none that may be expected to answer before `sure`:
    what comes between is the probe of a provider that is known to be down.
    """

    until: float
    reasons: Mapping[str, Reason]
    sure: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """No candidate is eligible, and waiting does not change it."""

    reasons: Mapping[str, Reason]


Decision = Route | Wait | Refuse


def choose(
    fleet: Fleet,
    request: Request,
    now: float,
    tried: Mapping[str, float] = NOT_TRIED,
    draw: float | None = None,
    soon: float = 0.0,
) -> Decision:
    """Return the candidates to ask, in order; or until when to wait; or why none is eligible. Changes nothing.

    `tried` holds the candidates that this turn has asked, and from when each may be asked again (`inf`: never). They
    come after all others: what just failed is likely to fail again. `draw`, from [0, 1), is the randomness that the
    strategy `latency` needs. `soon`: a member of a chain that nothing but a limit holds back until then is waited for,
    rather than a later one asked.
    """
    ranking = fleet.ranking(request.needs)
    tokens, capabilities = fleet.demands(request)
    first: list[CandidateState] = []
    again: list[CandidateState] = []
    refused: dict[str, Reason] = {}
    down, earliest, wanted = False, inf, request.max_output_tokens
    preferred: tuple[CandidateState, float] | None = None
    for state in ranking.states:
        model = state.candidate.model
        if tokens + (wanted or state.room) > model.context or not capabilities <= model.capabilities:
            refused[state.name] = _unfit(model, tokens, wanted or state.room, capabilities)
            continue
        back = tried.get(state.name) if tried else None
        obstacle = obstacle_of(fleet, state, now, back or 0.0, tokens)
        if obstacle is None:
            (first if back is None else again).append(state)
            continue
        until, refused[state.name] = obstacle
        if until <= soon and preferred is None and not first and _is_brief(state, ranking, refused[state.name]):
            preferred = state, until
        down = down or state.breaker.open_until is not None
        if until < earliest:
            earliest = until
    if preferred is not None and first and ranking.pools[first[0].name] != ranking.pools[preferred[0].name]:
        return Wait(preferred[1], {preferred[0].name: refused[preferred[0].name]}, preferred[1])
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
    if len(again) > 1:  # who answers others comes before who answers nobody
        again.sort(key=lambda state: state.trust.recent(now) == 0)
    if order := first + again:
        return _route(order, reasons, ordering)
    if down:
        return _nobody_well(fleet, ranking.states, now, tried, tokens, reasons)
    return Wait(earliest, reasons, earliest) if earliest < inf else Refuse(reasons)


def _nobody_well(
    fleet: Fleet,
    states: Sequence[CandidateState],
    now: float,
    tried: Mapping[str, float],
    tokens: int,
    reasons: Mapping[str, Reason],
) -> Decision:
    """Return what follows where nobody may be asked and some are down: where nobody is well either, an early probe."""
    fit = [state for state in states if reasons[state.name].code not in _UNFIT]
    early = not any(_is_well(fleet, state, now, tokens) for state in fit)
    until = sure = inf
    due: list[CandidateState] = []
    for state in fit:
        obstacle = obstacle_of(fleet, state, now, tried.get(state.name, 0.0), tokens, early)
        if obstacle is None:
            due.append(state)
            continue
        at, why = obstacle
        until = min(until, at)
        if why.code not in _FAULTY or not state.breaker.is_outage(now):
            sure = min(sure, at)
    if due:
        # Each has its turn, also where one hangs.
        probe = min(due, key=lambda state: (state.breaker.probing, state.breaker.since))
        return Route((probe.candidate,), (probe.name,), reasons)
    return Wait(until, reasons, sure) if until < inf else Refuse(reasons)


def _is_brief(state: CandidateState, ranking: Ranking, why: Reason) -> bool:
    """Whether a candidate of a chain is well, and a limit alone keeps it from being asked."""
    if state.name not in ranking.chained or state.breaker is not CLOSED:
        return False
    return why.code is ReasonCode.LIMIT or (why.code is ReasonCode.HELD and state.held_after == RateLimited.__name__)


def _is_well(fleet: Fleet, state: CandidateState, now: float, tokens: int) -> bool:
    """Whether a candidate answers others, now or soon: it has answered lately, or has no faults."""
    breaker = state.breaker
    if breaker.open_until is not None or (breaker.faults and not state.trust.recent(now)):
        return False
    obstacle = obstacle_of(fleet, state, now, 0.0, tokens)
    return obstacle is None or obstacle[0] <= now + SOON_WELL_S


def _route(order: Sequence[CandidateState], reasons: Mapping[str, Reason], ordering: Ordering | None = None) -> Route:
    return Route(tuple([s.candidate for s in order]), tuple([s.name for s in order]), reasons, ordering)


def _in_time(order: Sequence[CandidateState], now: float) -> int:
    """Return the place of the first that is not late; 0: all are, and none goes before the others."""
    return next((at for at, state in enumerate(order) if not state.is_late(now)), 0)


def _unfit(model: Model, tokens: int, room: int, capabilities: frozenset[Capability]) -> Reason:
    if not capabilities <= model.capabilities:
        return Reason(ReasonCode.CAPABILITY, f"lacks {', '.join(sorted(capabilities - model.capabilities))}")
    text = f"about {tokens} tokens and {room} for the answer do not fit its context of {model.context}"
    return Reason(ReasonCode.CONTEXT, text, room=model.context - room)


def obstacle_of(
    fleet: Fleet, state: CandidateState, now: float, back: float, tokens: int = 0, early: bool = False
) -> tuple[float, Reason] | None:
    """Return until when the candidate may not be asked, and why: the obstacle that lasts longest. None: it may be.

    `early`: nobody else can answer, so an open breaker lets a probe out before its rest is over.
    """
    if (fleet.shut or fleet.unpaid) and (why := fleet.why_shut(state)):
        return inf, why
    paused = fleet.barred.get(state.name) if fleet.barred else None
    if paused is not None and paused.code is not ReasonCode.PAUSED:
        return inf, paused
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
    if breaker is not CLOSED and (rest := _rest(fleet, state, now, early)) > until:
        until, reason = rest, Reason(ReasonCode.BREAKER, f"its circuit breaker is {breaker.state(now)}", rest)
    if paused is not None and (ends := now + PAUSED_POLL_S if paused.until is None else paused.until) > until:
        until, reason = ends, paused
    return None if until <= now else (until, reason)


def _rest(fleet: Fleet, state: CandidateState, now: float, early: bool) -> float:
    """Return until when a breaker lets nothing through; not after `now`: it lets an attempt through.

    With a probe out, or few calls let through after it, the end is unknown: waiting turns look again soon.
    """
    breaker = state.breaker
    if breaker.open_until is None:
        return now if breaker.admits(now, state.in_flight) else now + PROBE_POLL_S
    probed = fleet.probed.get(state.account[0], 0.0)
    if set_back(now, max(breaker.since, probed)):
        return now
    paced = probed + PROBE_GAP_S
    if early and fleet.awaits_probe(state, now):
        return now + max(VERDICT_POLL_S, (now - probed) / 2)
    if early:
        return max(breaker.early_probe(), paced)
    if breaker.state(now) == "open":
        return breaker.open_until
    return now + PROBE_POLL_S if breaker.probing else paced
