"""Who is asked, in which order, and what follows from each answer. Pure: time and randomness are passed in.

`choose` filters and orders; `attempts` is one turn's flow as a generator that does no I/O: it yields what to do
(`Try`, `Sleep`) and is sent how it went (`Outcome`). The provider manager drives it with the real world, a simulator
with a virtual clock and dice.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from providers.catalog import Candidate, Model
from providers.contest import alike, contest_of
from providers.contest import expected_output as expected_output
from providers.errors import AllAttemptsFailed, NoRoute, ProviderError, Recovery
from providers.fleet import Fleet as Fleet
from providers.fleet import Standing
from providers.health import pace_of
from providers.messages import Ability, Request, Response
from providers.policy import Timeouts
from providers.scoring import Contest, ordered

if TYPE_CHECKING:
    from random import Random

BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 4.0
PROBE_POLL_S = 1.0
"""How long those who wait for another turn's probe sleep before they look again."""
NOBODY: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Route:
    """Candidates in the order in which they are to be tried; `names` are theirs; `refused` says why others are not.

    `contest` is what ordered the first tier in play; None: nothing told those of it apart, the policy's order is all.
    The tiers after it stand as the policy has them: they are compared when their turn comes.
    """

    candidates: tuple[Candidate, ...]
    names: tuple[str, ...]
    refused: Mapping[str, str]
    contest: Contest | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody may be asked before `until` (epoch seconds)."""

    until: float
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody may be asked, and waiting does not change it."""

    reasons: Mapping[str, str]


Decision = Route | Hold | Refuse


@dataclass(frozen=True, slots=True)
class Try:
    """Ask `candidate`, this turn's attempt `number` (from 1), within `timeouts`. `route` is the decision behind it."""

    candidate: Candidate
    number: int
    timeouts: Timeouts
    route: Route


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing before `until` (epoch seconds)."""

    until: float
    reason: str


Effect = Try | Sleep


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an effect went and when it ended. After a `Try` exactly one of `response` and `error` is set.

    `final`: part of the answer was passed on already, so nobody else may be asked. `sound`: a good answer came, and
    the error is that its caller does not take it, which says nothing against the candidate's health. `refused`:
    neither came, for nothing was sent: a limit leaves no room, and the candidate's standing says until when.
    `first_token`: seconds to the first content of a stream.
    """

    now: float
    response: Response | None = None
    error: ProviderError | None = None
    final: bool = False
    sound: bool = False
    refused: bool = False
    first_token: float | None = None


def choose(
    fleet: Fleet, request: Request, now: float, tried: Mapping[str, float] = NOBODY, draw: float | None = None
) -> Decision:
    """Return who is to be asked, in order; or until when to wait; or why nobody can be. Changes nothing.

    `tried` holds whom this turn has asked and from when each may be asked again (`inf`: never). They come after
    all others: moving on is better than coming back. `draw`, from [0, 1), is the luck that `latency` needs.
    """
    ranking = fleet.ranking(request.needs)
    tokens, abilities = fleet.demands(request)
    first: list[Standing] = []
    again: list[Standing] = []
    refused: dict[str, str] = {}
    earliest = inf
    for standing in ranking.standings:
        back = tried.get(standing.name)
        reason = _unfit(standing.candidate.model, request, tokens, abilities)
        until = inf
        if reason is None:
            until, reason = _obstacle(fleet, standing, now, back or 0.0, tokens)
        if until > now:
            refused[standing.name] = reason
            earliest = min(earliest, until)
        else:
            (first if back is None else again).append(standing)
    reasons = {**ranking.refused, **refused} if refused else ranking.refused
    contest = None
    if len(first) > 1 and len(rivals := ranking.rivals(first)) > 1 and not alike(fleet, request, ranking, rivals, now):
        contest = contest_of(fleet, request, ranking, rivals, now, draw)
        first[: len(rivals)] = [rivals[at] for at in ordered(contest)]
    if order := first + again:
        return Route(tuple([s.candidate for s in order]), tuple([s.name for s in order]), reasons, contest)
    return Hold(earliest, reasons) if earliest < inf else Refuse(reasons)


def _unfit(model: Model, request: Request, tokens: int, abilities: frozenset[Ability]) -> str | None:
    if not abilities <= model.abilities:
        return f"lacks {', '.join(sorted(abilities - model.abilities))}"
    room = request.max_output_tokens or min(model.max_output, model.context // 8, 1024)
    if tokens + room > model.context:
        return f"about {tokens} tokens and {room} for the answer do not fit its context of {model.context}"
    return None


def _obstacle(fleet: Fleet, standing: Standing, now: float, back: float, tokens: int = 0) -> tuple[float, str]:
    """Return until when the candidate may not be asked, and why: the last of its obstacles. Past: it may be."""
    if fleet.shut and standing.account in fleet.shut:
        return inf, "its account is shut: the key was refused"
    if fleet.barred and (why := fleet.barred.get(standing.account[0])):
        return inf, why
    until, reason = back, "asked before in this turn"
    if standing.held_until > until:
        until, reason = standing.held_until, f"held after {standing.held_why}"
    blocked = standing.blocked_until(now, tokens)
    if blocked is not None and blocked[0] > until:
        until, reason = blocked
    breaker = standing.breaker
    if breaker.open_until is not None and not breaker.admits(now):
        # Half-open with a probe out: its end is unknown, so those who wait look again soon.
        rest = breaker.open_until if now < breaker.open_until else now + PROBE_POLL_S
        if rest > until:
            until, reason = rest, f"its breaker is {breaker.state(now)}"
    return until, reason


def attempts(
    fleet: Fleet, request: Request, now: float, rng: Random, *, streamed: bool = False
) -> Generator[Effect, Outcome, Response]:
    """One turn: yields effects, is sent their outcomes, returns the answer. Closing it at any point is safe.

    Raises `NoRoute` where nobody could be asked, an error whose recovery is NEVER as it comes, and
    `AllAttemptsFailed` for the rest. At most `attempts_per_turn` attempts; no sleep reaches the turn's deadline.
    """
    policy = fleet.policy
    allowed = request.needs.deadline_s
    deadline = now + (policy.timeouts.total if allowed is None else allowed)
    tried: dict[str, float] = {}
    errors: list[ProviderError] = []
    while len(errors) < policy.attempts_per_turn and (now < deadline or not errors):
        decision = choose(fleet, request, now, tried, rng.random() if policy.strategy == "latency" else None)
        if isinstance(decision, Route):
            if decision.contest is not None:
                fleet.note(decision.contest, decision.names[0], failover=bool(tried))
            name, more = decision.names[0], min(len(decision.names), policy.attempts_per_turn - len(errors))
            timeouts = _timeouts(policy.timeouts, deadline - now, more, streamed)
            outcome = yield from _attempt(
                fleet, name, Try(decision.candidates[0], len(errors) + 1, timeouts, decision), now
            )
            if outcome.response is not None:
                return outcome.response
            now, error = outcome.now, outcome.error
            if outcome.refused:
                if now >= deadline and not errors:
                    raise NoRoute({name: "a limit left no room until the deadline"})
                continue
            assert error is not None
            if outcome.final or error.recovery is Recovery.NEVER:
                raise error
            errors.append(error)
            tried[name] = _back_at(error, name in tried, len(errors), now, rng)
        elif isinstance(decision, Hold) and decision.until < deadline:
            # A little late, each by its own draw: those who wait for one instant must not all arrive at it.
            late = decision.until + rng.uniform(0.0, BACKOFF_BASE_S)
            until = late if late < deadline else decision.until
            now = (yield Sleep(until, _shortly(decision.reasons))).now
        elif errors:
            break
        else:
            raise NoRoute(decision.reasons, decision.until if isinstance(decision, Hold) else None)
    raise AllAttemptsFailed(f"no model answered in {len(errors)} attempts", errors)


def _attempt(fleet: Fleet, name: str, effect: Try, began: float) -> Generator[Effect, Outcome, Outcome]:
    probe, standing = fleet.started(name), fleet.standings[name]
    try:
        outcome = yield effect
        if not outcome.refused:
            error = None if outcome.sound else outcome.error
            fleet.ended(name, error, outcome.now, outcome.now - began, _pace(outcome, began))
    finally:
        standing.in_flight -= 1
        if probe:  # cancelled, or an error that says nothing about health: the next turn may probe
            standing.breaker = standing.breaker.abandoned()
    return outcome


def _pace(outcome: Outcome, began: float) -> float | None:
    if outcome.response is None:
        return None
    usage = outcome.response.usage
    return pace_of(outcome.now - began, usage.output + usage.reasoning, outcome.first_token)


def _timeouts(policy: Timeouts, left: float, more: int, streamed: bool) -> Timeouts:
    """Return an attempt's limits within the `left` seconds of its turn, of which `more` attempts may have to live.

    A whole answer's first byte comes after its last token, so `first_token` cannot be its limit: it gets an even
    share of the turn, and a provider that hangs leaves time for the others.
    """
    left = max(left, 0.0)
    first = policy.first_token if streamed else max(policy.first_token, left / more)
    return Timeouts(min(policy.connect, left), min(first, left), min(policy.between_chunks, left), left)


def _back_at(error: ProviderError, second: bool, failures: int, now: float, rng: Random) -> float:
    """Return from when the candidate may be asked once more in this turn: full jitter, `retry_at` as the floor."""
    if second or error.recovery is not Recovery.AGAIN:
        return inf
    wait = rng.uniform(0.0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** (failures - 1)))
    return max(now + wait, error.retry_at or 0.0)


def _shortly(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
