"""The configured candidates: how each one stands, and the order in which a policy would ask them. Pure.

What changes here changes only by its own methods, and only by what is passed in: outcomes, instants.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from providers.catalog import Candidate
from providers.errors import AuthFailed, ProviderError
from providers.health import CLOSED, Breaker, hold_until, trips_breaker
from providers.messages import Ability, Image, Message, Needs, OutputSchema, Request, ToolSpec, estimate_tokens
from providers.policy import AgentPolicy, Policy

REMEMBERED = 1024
"""How many rankings and sizes a fleet keeps at hand."""
TOOLS = frozenset({Ability.TOOLS})
VISION = frozenset({Ability.VISION})


class Standing:
    """How one candidate stands now. The only thing here that changes; its `Fleet` changes it."""

    __slots__ = ("_blocks", "account", "breaker", "candidate", "headroom", "held_until", "held_why", "name")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.name = candidate.name
        self.account = (candidate.provider.name, candidate.key)
        self.breaker: Breaker = CLOSED
        self.held_until = 0.0
        self.held_why = ""
        self.headroom: float | None = None
        """What is left of the tightest limit, 0 to 1; None: nothing is known."""
        self._blocks: tuple[tuple[float, str, float], ...] = ()

    def left(self, share: float, until: float) -> None:
        """Note `headroom`, which is news until `until`: then a window passes."""
        self.block(until, "", inf)
        self.headroom = share

    def block(self, until: float, reason: str, tokens: float = 0) -> None:
        """Note that a limit leaves no room before `until` for a request of `tokens` (an estimate of its input)."""
        self._blocks = (*(block for block in self._blocks if block[2] < tokens), (until, reason, tokens))

    def blocked_until(self, now: float, tokens: int = 0) -> tuple[float, str] | None:
        """Return until when (epoch seconds) limits leave no room for a request of `tokens`, and which limit it is."""
        if not self._blocks:
            return None
        live = tuple(block for block in self._blocks if block[0] > now)
        if live != self._blocks:
            self._blocks, self.headroom = live, None  # a window has passed: what was left of it is no news any more
        return max(((until, reason) for until, reason, least in live if tokens >= least), default=None)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a policy makes of some needs: configured candidates in order of preference, and who is missing and why."""

    standings: tuple[Standing, ...]
    refused: Mapping[str, str]


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
        provider = name.partition("/")[0]
        served = any(standing.account[0] == provider for standing in self.standings.values())
        unknown = f"{provider} serves no such model here" if served else "not configured"
        return self._unconfigured.get(name) or self._unconfigured.get(provider, unknown)

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
    """Return what the policy says of the agent, else of its persona, else the persona's own tier, else an affinity."""
    who = [name for name in (needs.agent, needs.persona) if name is not None]
    for said in (policy.agents[name] for name in who if name in policy.agents):
        if said.chain or said.tier is not None:
            return said
    near = (policy.affinity[name] for name in who if name in policy.affinity)
    tier = needs.tier if needs.tier is not None else next(near, None)
    return policy.default if tier is None else AgentPolicy(tier=tier)


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
