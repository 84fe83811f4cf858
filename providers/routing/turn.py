"""Who is asked, in which order, and what follows from each answer. Pure: time and randomness are passed in.

`choose` filters and orders; `attempts` is one turn's flow as a generator that does no I/O: it yields what to do
(`Try`, `Listen`, `Sleep`) and is sent how it went (`Outcome`). The provider manager drives it with the real world, a
simulator with a virtual clock and dice.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Literal

from providers.catalog.model import Candidate, Model
from providers.errors import AllAttemptsFailed, ContextTooLong, Declined, NoRoute, ProviderError, Recovery
from providers.messages import Ability, Request, Response
from providers.policy.model import Policy, Timeouts
from providers.routing.fleet import CandidateState
from providers.routing.fleet import Fleet as Fleet
from providers.routing.health import CLOSED, pace_of, set_back
from providers.routing.ordering import alike, ordering_of
from providers.routing.ordering import expected_output as expected_output
from providers.routing.scores import Ordering, ordered

if TYPE_CHECKING:
    from random import Random

BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 4.0
PROBE_POLL_S = 1.0
"""How long those who wait for another turn's probe sleep before they look again."""
RETRY_POLL_S = 0.5
"""The same for those who wait until the process may make further attempts."""
IN_LINE_S = 0.001
"""How long after the one before it each of those wakes who wait for one instant: they must not all arrive at it."""
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
    contest: Ordering | None = None


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
    """Ask `candidate`, this turn's attempt `number` (from 1), within `timeouts`. `route` is the decision behind it.

    `hedge_after`: send a `silent` outcome if so many seconds bring nothing (of a whole answer: no answer); what then
    is to be tried goes out beside it. `continues`: of an answer that broke off part was passed on already; this one
    is it anew, or goes on where it ended.
    """

    candidate: Candidate
    number: int
    timeouts: Timeouts
    route: Route
    hedge_after: float | None = None
    continues: Literal["restart", "resume"] | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """Go on with the attempts that are out."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing before `until` (epoch seconds)."""

    until: float
    reason: str


Effect = Try | Listen | Sleep


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an effect went and when it ended. Of an attempt that ended exactly one of `response` and `error` is set.

    `number` is the attempt's, where several are out. `final`: part of the answer was passed on, so nobody else may be
    asked; `passed`: it was, and the answer may begin anew or be gone on with. `sound`: a good answer came, and the
    error is that its caller does not take it, which says nothing against the candidate's health. `refused`: nothing
    was sent: a limit leaves no room, and the candidate's standing says until when. `silent`: nothing ended, and
    `hedge_after` is over. `dropped`: the attempt was given up, for another one answers. `first_token`: seconds to the
    first content of a stream.
    """

    now: float
    response: Response | None = None
    error: ProviderError | None = None
    final: bool = False
    sound: bool = False
    refused: bool = False
    first_token: float | None = None
    number: int = 0
    passed: bool = False
    silent: bool = False
    dropped: bool = False


def choose(
    fleet: Fleet, request: Request, now: float, tried: Mapping[str, float] = NOBODY, draw: float | None = None
) -> Decision:
    """Return who is to be asked, in order; or until when to wait; or why nobody can be. Changes nothing.

    `tried` holds whom this turn has asked and from when each may be asked again (`inf`: never). They come after
    all others: moving on is better than coming back. `draw`, from [0, 1), is the luck that `latency` needs.
    """
    ranking = fleet.ranking(request.needs)
    tokens, abilities = fleet.demands(request)
    first: list[CandidateState] = []
    again: list[CandidateState] = []
    refused: dict[str, str] = {}
    earliest, wanted = inf, request.max_output_tokens
    for standing in ranking.standings:
        model = standing.candidate.model
        if tokens + (wanted or _room(model)) > model.context or not abilities <= model.abilities:
            refused[standing.name] = _unfit(model, tokens, wanted or _room(model), abilities)
            continue
        back = tried.get(standing.name) if tried else None
        until, reason = _obstacle(fleet, standing, now, back or 0.0, tokens)
        if until <= now:
            (first if back is None else again).append(standing)
            continue
        refused[standing.name] = reason
        if until < earliest:
            earliest = until
    reasons = {**ranking.refused, **refused} if refused else ranking.refused
    contest = None
    if len(first) > 1 and len(rivals := ranking.rivals(first)) > 1 and not alike(fleet, request, ranking, rivals, now):
        contest = ordering_of(fleet, request, ranking, rivals, now, draw)
        first[: len(rivals)] = [rivals[at] for at in ordered(contest)]
    if order := first + again:
        return Route(tuple([s.candidate for s in order]), tuple([s.name for s in order]), reasons, contest)
    return Hold(earliest, reasons) if earliest < inf else Refuse(reasons)


def _room(model: Model) -> int:
    """Return how many tokens of the context an answer needs whose request sets no cap."""
    return min(model.max_output, model.context // 8, 1024)


def _unfit(model: Model, tokens: int, room: int, abilities: frozenset[Ability]) -> str:
    if not abilities <= model.abilities:
        return f"lacks {', '.join(sorted(abilities - model.abilities))}"
    return f"about {tokens} tokens and {room} for the answer do not fit its context of {model.context}"


def _obstacle(fleet: Fleet, standing: CandidateState, now: float, back: float, tokens: int = 0) -> tuple[float, str]:
    """Return until when the candidate may not be asked, and why: the last of its obstacles. Past: it may be."""
    if fleet.shut and (why := fleet.shut.get(standing.account)):
        return inf, f"its account is shut: {why}"
    if fleet.barred and (why := fleet.barred.get(standing.account[0])):
        return inf, why
    until, reason = back, "asked before in this turn"
    if standing.held_until > until and not set_back(now, standing.held_from):
        until, reason = standing.held_until, f"held after {standing.held_why}"
    blocked = standing.blocked_until(now, tokens)
    if blocked is not None and blocked[0] > until:
        until, reason = blocked
    breaker = standing.breaker
    if breaker is not CLOSED and not breaker.admits(now, standing.in_flight):
        # With a probe out, or few calls let through after it, the end is unknown: those who wait look again soon.
        rest = now + PROBE_POLL_S
        if breaker.open_until is not None and breaker.state(now) == "open":
            rest = breaker.open_until
        if rest > until:
            until, reason = rest, f"its breaker is {breaker.state(now)}"
    return until, reason


def attempts(
    fleet: Fleet, request: Request, now: float, rng: Random, *, streamed: bool = False
) -> Generator[Effect, Outcome, Response]:
    """One turn: yields effects, is sent their outcomes, returns the answer. Closing it at any point is safe.

    Raises `NoRoute` where nobody could be asked, an error whose recovery is NEVER as it comes, and
    `AllAttemptsFailed` for the rest. At most `attempts_per_turn` attempts; no sleep reaches the turn's deadline. What
    goes beyond a turn's first attempt is taken from the process's `RetryBudget`.
    """
    turn = _Course(fleet, request, now, rng)
    fleet.retries.turn(now)
    try:
        while turn.may_go_on(now):
            decision = choose(fleet, turn.request, now, turn.tried, turn.draw())
            if isinstance(decision, Route):
                if turn.errors and not fleet.retries.take(now):
                    until = now + rng.uniform(0.5, 1.0) * RETRY_POLL_S
                    if until >= turn.deadline:
                        break
                    now = (yield Sleep(until, "this process makes no more further attempts for now")).now
                    continue
                taken_at = now if turn.errors else None
                effect = turn.next_try(decision, now, streamed)
                ended = yield from _round(fleet, turn.request, decision.names[0], effect, now, turn.tried)
                now = ended[-1][1].now
                if (response := turn.learn(ended, effect, taken_at)) is not None:
                    return response
            elif isinstance(decision, Hold) and decision.until < turn.deadline:
                now = (yield turn.sleep(decision)).now
            elif turn.errors:
                break
            else:
                raise NoRoute(decision.reasons, decision.until if isinstance(decision, Hold) else None)
    finally:
        turn.leave_the_line(served=False)
    afterwards = choose(fleet, turn.request, now)
    earliest = afterwards.until if isinstance(afterwards, Hold) else now if isinstance(afterwards, Route) else None
    raise AllAttemptsFailed(f"no model answered in {len(turn.errors)} attempts", turn.errors, earliest)


class _Course:
    """What one turn has come to so far: whom it asked, what failed, whether it stands in line."""

    __slots__ = ("_fleet", "_policy", "_rng", "_waits", "continues", "deadline", "errors", "made", "request", "tried")

    def __init__(self, fleet: Fleet, request: Request, now: float, rng: Random) -> None:
        self._fleet, self._policy, self._rng = fleet, fleet.policy, rng
        self.request = request
        allowed = request.needs.deadline_s
        self.deadline = now + (self._policy.timeouts.total if allowed is None else allowed)
        self.tried: dict[str, float] = {}
        self.errors: list[ProviderError] = []
        self.made = 0
        self.continues: Literal["restart", "resume"] | None = None
        self._waits = False

    def may_go_on(self, now: float) -> bool:
        return len(self.errors) < self._policy.attempts_per_turn and (now < self.deadline or not self.errors)

    def draw(self) -> float | None:
        return self._rng.random() if self._policy.strategy == "latency" else None

    def next_try(self, route: Route, now: float, streamed: bool) -> Try:
        """Return the attempt at the first of the route, and note the decision that it follows."""
        policy = self._policy
        if route.contest is not None:
            self._fleet.note(route.contest, route.names[0], failover=bool(self.tried))
        more = min(len(route.names), policy.attempts_per_turn - len(self.errors))
        timeouts = _timeouts(policy.timeouts, self.deadline - now, more, streamed)
        hedge_after = policy.hedge_after if more > 1 else None
        return Try(route.candidates[0], self.made + 1, timeouts, route, hedge_after, self.continues)

    def learn(self, ended: list[tuple[str, Outcome]], effect: Try, taken_at: float | None) -> Response | None:
        """Take in how the attempts of a round ended; return the answer. Raise what nobody can mend."""
        for name, outcome in ended:
            if taken_at is not None and (outcome.refused or outcome.response is not None):
                self._fleet.retries.give_back(taken_at)
            if not outcome.refused:
                self.made = max(self.made, outcome.number or effect.number)
                self.leave_the_line(served=True)
            if outcome.response is not None:
                return outcome.response
            if outcome.refused and outcome.now >= self.deadline and not self.errors:
                raise NoRoute({name: "a limit left no room until the deadline"})
            if outcome.error is not None:
                self._failed(name, outcome, outcome.error)
        return None

    def _failed(self, name: str, outcome: Outcome, error: ProviderError) -> None:
        if outcome.final or _is_hopeless(error, self._policy):
            raise error
        self.errors.append(error)
        self.tried[name] = _back_at(error, name in self.tried, len(self.errors), outcome.now, self._rng)
        if isinstance(error, ContextTooLong):
            self.tried |= _no_larger(self._fleet, self.request, name)
        if outcome.passed and self._policy.on_break != "error" and self.continues is None:
            self.continues = self._policy.on_break
            self.request = _continued(self.request, self.continues)

    def sleep(self, hold: Hold) -> Sleep:
        """Stand in line, and return the sleep until it may be this turn's."""
        run, line = self.request.needs.run, self._fleet.line
        if not self._waits:
            line.join(run)
            self._waits = True
        late = hold.until + line.rank(run, self._rng.random()) * IN_LINE_S + self._rng.uniform(0.0, IN_LINE_S)
        return Sleep(late if late < self.deadline else hold.until, _shortly(hold.reasons))

    def leave_the_line(self, *, served: bool) -> None:
        if self._waits:
            self._fleet.line.leave(self.request.needs.run, served=served)
            self._waits = False


def _round(
    fleet: Fleet, request: Request, name: str, effect: Try, now: float, tried: Mapping[str, float]
) -> Generator[Effect, Outcome, list[tuple[str, Outcome]]]:
    """Make an attempt, and where it is silent for long a second one beside it; return how each of them ended.

    An answer comes last and ends the round, as does an error behind which nobody else is out.
    """
    out = {effect.number: _Flight(fleet, name, now)}
    ended: list[tuple[str, Outcome]] = []
    try:
        outcome = yield effect
        while True:
            if outcome.silent:
                hedge = _hedge(fleet, request, name, effect, outcome.now, tried)
                if hedge is not None:
                    out[hedge.number] = _Flight(fleet, hedge.candidate.name, outcome.now)
                outcome = yield hedge or Listen()
                continue
            flight = out.pop(outcome.number or effect.number)
            flight.landed(outcome)
            ended.append((flight.name, outcome))
            if not out or outcome.response is not None:
                return ended
            outcome = yield Listen()
    finally:
        for flight in out.values():
            flight.given_up()


def _hedge(fleet: Fleet, request: Request, name: str, first: Try, now: float, tried: Mapping[str, float]) -> Try | None:
    """Return whom to ask beside a silent attempt; None: nobody can be, or the process may make no more attempts."""
    decision = choose(fleet, request, now, {**tried, name: inf}, 0.0)
    if not isinstance(decision, Route) or decision.names[0] in tried or not fleet.retries.take(now):
        return None
    return replace(first, candidate=decision.candidates[0], number=first.number + 1, route=decision, hedge_after=None)


class _Flight:
    """One attempt that is out: noted with its candidate's standing, and taken from it exactly once."""

    __slots__ = ("_began", "_fleet", "_probe", "_standing", "name")

    def __init__(self, fleet: Fleet, name: str, now: float) -> None:
        self.name, self._fleet, self._began = name, fleet, now
        self._probe, self._standing = fleet.started(name), fleet.standings[name]

    def landed(self, outcome: Outcome) -> None:
        if not outcome.refused and not outcome.dropped:
            error = None if outcome.sound else outcome.error
            self._fleet.ended(self.name, error, outcome.now, outcome.now - self._began, _pace(outcome, self._began))
        self.given_up()

    def given_up(self) -> None:
        self._standing.in_flight -= 1
        if self._probe:  # cancelled, or an error that says nothing about health: the next turn may probe
            self._standing.breaker = self._standing.breaker.abandoned()


def _is_hopeless(error: ProviderError, policy: Policy) -> bool:
    """Whether nobody else is to be asked. What a filter declined goes elsewhere only where the policy says so."""
    if isinstance(error, Declined) and policy.on_decline == "elsewhere":
        return False
    return error.recovery is Recovery.NEVER


def _no_larger(fleet: Fleet, request: Request, name: str) -> dict[str, float]:
    """Return, as never to be asked, all whose context is no larger than the one that was too small."""
    contexts = {each.name: each.candidate.model.context for each in fleet.ranking(request.needs).standings}
    return {other: inf for other, context in contexts.items() if context <= contexts.get(name, 0)}


def _continued(request: Request, how: Literal["restart", "resume"]) -> Request:
    """Return the request as it is asked of who takes over: to go on with an answer is an ability."""
    if how == "restart":
        return request
    needs = replace(request.needs, abilities=request.needs.abilities | {Ability.PREFILL})
    return replace(request, needs=needs)


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
