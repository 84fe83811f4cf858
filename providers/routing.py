"""Who is asked, in which order, and what follows from each answer. Pure: time and randomness are passed in.

`choose` filters and orders; `attempts` is one turn's flow as a generator that does no I/O: it yields what to do
(`Try`, `Sleep`) and is sent how it went (`Outcome`). The provider manager drives it with the real world, a simulator
with a virtual clock and dice.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from random import Random

from providers.catalog import Candidate, Model
from providers.errors import AllAttemptsFailed, AuthFailed, NoRoute, ProviderError, Recovery
from providers.health import CLOSED, Breaker, hold_until, trips_breaker
from providers.messages import (
    Ability,
    Image,
    Message,
    Needs,
    OutputSchema,
    Request,
    Response,
    ToolSpec,
    estimate_tokens,
)
from providers.policy import AgentPolicy, Policy, Timeouts

BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 4.0
PROBE_POLL_S = 1.0
"""How long those who wait for another turn's probe sleep before they look again."""
MODEST_OUTPUT = 4096
"""Tokens of output to expect of a request that sets no cap: few answers are longer, and many models' caps are huge."""
REMEMBERED = 1024
"""How many rankings and sizes a fleet keeps at hand."""
TOOLS = frozenset({Ability.TOOLS})
VISION = frozenset({Ability.VISION})
NOBODY: Mapping[str, float] = {}


class Standing:
    """How one candidate stands now. The only thing here that changes; its `Fleet` changes it."""

    __slots__ = ("account", "breaker", "candidate", "held_until", "held_why", "name")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.name = candidate.name
        self.account = (candidate.provider.name, candidate.key)
        self.breaker: Breaker = CLOSED
        self.held_until = 0.0
        self.held_why = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a policy makes of some needs: configured candidates in order of preference, and who is missing and why."""

    standings: tuple[Standing, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """Candidates in the order in which they are to be tried; `names` are theirs; `refused` says why others are not."""

    candidates: tuple[Candidate, ...]
    names: tuple[str, ...]
    refused: Mapping[str, str]


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

    `final`: part of the answer was passed on already, so nobody else may be asked.
    """

    now: float
    response: Response | None = None
    error: ProviderError | None = None
    final: bool = False


class Fleet:
    """The configured candidates, how each one stands, and the policy that orders them.

    `unconfigured` says why a candidate, or a whole provider, that the policy names cannot be asked. `sole` names the
    one candidate that answers everything, whatever a request or the policy asks for: a dry run's.
    """

    __slots__ = ("_rankings", "_sizes", "_sole", "_unconfigured", "policy", "shut", "standings")

    def __init__(
        self,
        candidates: Iterable[Candidate],
        policy: Policy,
        unconfigured: Mapping[str, str] | None = None,
        *,
        sole: str | None = None,
    ) -> None:
        self.policy = policy
        self.standings = {standing.name: standing for standing in map(Standing, candidates)}
        self.shut: set[tuple[str, str | None]] = set()
        self._unconfigured = dict(unconfigured or {})
        self._sole = sole
        self._rankings: dict[tuple[str | None, ...], Ranking] = {}
        self._sizes: dict[int, tuple[ToolSpec | OutputSchema, int]] = {}

    def ranking(self, needs: Needs) -> Ranking:
        """Return who may serve `needs` by policy alone: pinned model, else chain, else tier; then the last resort."""
        key = (needs.agent, needs.persona, needs.tier, needs.model)
        found = self._rankings.get(key)
        if found is None:
            if len(self._rankings) >= REMEMBERED:  # callers make up names: an open-ended set must not pile up
                self._rankings.clear()
            found = self._rankings[key] = self._rank(needs)
        return found

    def _rank(self, needs: Needs) -> Ranking:
        if self._sole is not None:
            return self._expand((self._sole,), {})
        if needs.model is not None:
            return self._pinned(needs.model)
        wish, refused = _wish(self.policy, needs), dict[str, str]()
        patterns = list(wish.chain)
        if not patterns and wish.tier is not None:
            patterns += self.policy.tiers.get(wish.tier, ())
            if wish.tier not in self.policy.tiers:
                refused[wish.tier] = "the policy has no such tier"
        for tier in self.policy.last_resort:
            patterns += self.policy.tiers.get(tier, ())
        return self._expand(patterns, refused)

    def _pinned(self, model: str) -> Ranking:
        names = [model] if model in self.standings else [n for n in self.standings if n.endswith(f"/{model}")]
        if len(names) > 1:
            return Ranking((), {model: f"names several: {', '.join(names)}"})
        return self._expand(names or [model], {})

    def _expand(self, patterns: Iterable[str], refused: dict[str, str]) -> Ranking:
        chosen: dict[str, Standing] = {}
        for pattern in patterns:
            prefix = pattern[:-1] if pattern.endswith("/*") else None
            names = [pattern] if prefix is None else [name for name in self.standings if name.startswith(prefix)]
            for name in names:
                if name in self.standings:
                    chosen[name] = self.standings[name]
                else:
                    refused[name] = self._why_missing(name)
            if not names:
                refused[pattern] = self._why_missing(pattern)
        return Ranking(tuple(chosen.values()), refused)

    def _why_missing(self, name: str) -> str:
        by_provider = self._unconfigured.get(name.partition("/")[0], "not configured")
        return self._unconfigured.get(name, by_provider)

    def demands(self, request: Request) -> tuple[int, frozenset[Ability]]:
        """Return `request.input_tokens` and the abilities without which it cannot be answered.

        A JSON schema is no such ability: it can be put into words. What was measured before is not measured again.
        """
        tokens, images = _measure(request.messages)
        for spec in request.tools:
            tokens += self._sized(spec)
        if request.output_schema is not None:
            tokens += self._sized(request.output_schema)
        abilities = request.needs.abilities | TOOLS if request.tools else request.needs.abilities
        return tokens, abilities | VISION if images else abilities

    def _sized(self, spec: ToolSpec | OutputSchema) -> int:
        known = self._sizes.get(id(spec))
        if known is None:
            if len(self._sizes) >= REMEMBERED:
                self._sizes.clear()
            if isinstance(spec, ToolSpec):
                text = spec.name + spec.description + json.dumps(spec.parameters)
            else:
                text = json.dumps(spec.schema)
            # The spec is kept beside its size: as long as it lives here its id is nobody else's.
            known = self._sizes[id(spec)] = (spec, estimate_tokens(text))
        return known[1]

    def started(self, name: str) -> bool:
        """Note that an attempt goes out; return whether it is its breaker's probe."""
        standing = self.standings[name]
        before = standing.breaker
        standing.breaker = before.started()
        return standing.breaker is not before

    def ended(self, name: str, error: ProviderError | None, now: float, elapsed: float) -> None:
        """Move the candidate's standing by how an attempt of `elapsed` seconds ended; None: it answered."""
        standing = self.standings[name]
        if error is None:
            standing.breaker = standing.breaker.succeeded()
            return
        if isinstance(error, AuthFailed):
            self.shut.add(standing.account)
        if (until := hold_until(error, now)) is not None:
            standing.held_until, standing.held_why = until, type(error).__name__
        if trips_breaker(error, elapsed, self.policy.timeouts):
            standing.breaker = standing.breaker.failed(now, error.retry_at or 0.0)

    def reopen(self, provider: str) -> None:
        """Let a provider's accounts be asked again, after an operator has seen to the key."""
        self.shut = {account for account in self.shut if account[0] != provider}


def _wish(policy: Policy, needs: Needs) -> AgentPolicy:
    for who in (needs.agent, needs.persona):
        said = policy.agents.get(who) if who is not None else None
        if said is not None and (said.chain or said.tier is not None):
            return said
    return policy.default if needs.tier is None else AgentPolicy(tier=needs.tier)


class _Measured:
    """The last transcript that went through a message, and its size. A cache: it never changes what is returned."""

    __slots__ = ("images", "messages", "tokens")

    def __init__(self) -> None:
        self.messages: tuple[Message, ...] = ()
        self.tokens = 0
        self.images = False


def _measure(messages: tuple[Message, ...]) -> tuple[int, bool]:
    """Return the tokens of `messages`, and whether there is an image: a turn costs what it adds, not its history.

    A transcript grows at its end, so the last measure is kept with its second message (the first may be a system
    prompt that many share) and holds for as long as what was measured is a prefix, which tuples compare by identity.
    """
    if not messages:
        return 0, False
    last = messages[:2][-1].memo("measured", lambda _: _Measured())
    seen = len(last.messages)
    if last.messages != messages[:seen]:
        seen, last.tokens, last.images = 0, 0, False
    if seen < len(messages):
        for message in messages[seen:]:
            last.tokens += message.tokens
            last.images = last.images or any(isinstance(part, Image) for part in message.parts)
        last.messages = messages
    return last.tokens, last.images


def expected_output(request: Request, model: Model) -> int:
    """Return how many tokens of answer to reserve for."""
    return request.max_output_tokens or min(model.max_output, MODEST_OUTPUT)


def choose(fleet: Fleet, request: Request, now: float, tried: Mapping[str, float] = NOBODY) -> Decision:
    """Return who is to be asked, in order; or until when to wait; or why nobody can be.

    `tried` holds whom this turn has asked and from when each may be asked again (`inf`: never). They come after
    all others: moving on is better than coming back.
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
            until, reason = _obstacle(fleet, standing, now, back or 0.0)
        if until > now:
            refused[standing.name] = reason
            earliest = min(earliest, until)
        else:
            (first if back is None else again).append(standing)
    reasons = {**ranking.refused, **refused} if refused else ranking.refused
    if order := first + again:
        return Route(tuple(s.candidate for s in order), tuple(s.name for s in order), reasons)
    return Hold(earliest, reasons) if earliest < inf else Refuse(reasons)


def _unfit(model: Model, request: Request, tokens: int, abilities: frozenset[Ability]) -> str | None:
    if not abilities <= model.abilities:
        return f"lacks {', '.join(sorted(abilities - model.abilities))}"
    room = request.max_output_tokens or min(model.max_output, model.context // 8, 1024)
    if tokens + room > model.context:
        return f"about {tokens} tokens and {room} for the answer do not fit its context of {model.context}"
    return None


def _obstacle(fleet: Fleet, standing: Standing, now: float, back: float) -> tuple[float, str]:
    """Return until when the candidate may not be asked, and why: the last of its obstacles. Past: it may be."""
    if fleet.shut and standing.account in fleet.shut:
        return inf, "its account is shut: the key was refused"
    until, reason = back, "asked before in this turn"
    if standing.held_until > until:
        until, reason = standing.held_until, f"held after {standing.held_why}"
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
        decision = choose(fleet, request, now, tried)
        if isinstance(decision, Route):
            name, more = decision.names[0], min(len(decision.names), policy.attempts_per_turn - len(errors))
            timeouts = _timeouts(policy.timeouts, deadline - now, more, streamed)
            outcome = yield from _attempt(
                fleet, name, Try(decision.candidates[0], len(errors) + 1, timeouts, decision), now
            )
            if outcome.response is not None:
                return outcome.response
            now, error = outcome.now, outcome.error
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
    probe = fleet.started(name)
    try:
        outcome = yield effect
        fleet.ended(name, outcome.error, outcome.now, outcome.now - began)
    finally:
        if probe:  # cancelled, or an error that says nothing about health: the next turn may probe
            fleet.standings[name].breaker = fleet.standings[name].breaker.abandoned()
    return outcome


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
