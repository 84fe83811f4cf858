"""The configured candidates: how each one stands, and the order in which a policy would ask them. Pure.

What changes here changes only by its own methods, and only by what is passed in: outcomes, instants.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from providers.catalog.model import Candidate, Limit, Provider, of_all_accounts
from providers.errors import AuthFailed, Fault, ProviderError, QuotaSpent, Reason, ReasonCode, TimedOut
from providers.messages import Capability, Image, Message, Needs, OutputSchema, Request, ToolSpec, estimate_tokens
from providers.policy.model import AgentPolicy, Policy
from providers.routing.fair_queue import FairQueue
from providers.routing.health import CLOSED, Breaker, HealthStats, hold_until, trips_breaker
from providers.routing.retry_budget import RetryBudget
from providers.routing.scores import SEEN, Ordering, paid

REMEMBERED = 1024
"""How many rankings and sizes a fleet keeps at hand."""
_NEWS = Reason(ReasonCode.LIMIT, "little is left of a limit")
TOOLS = frozenset({Capability.TOOLS})
VISION = frozenset({Capability.VISION})
_KEY_REFUSED = Reason(ReasonCode.KEY_REFUSED, "its account is shut: the key was refused")
_NO_MONEY = Reason(ReasonCode.NO_MONEY, "its account is shut: no money is left there")
_NOT_CONFIGURED = Reason(ReasonCode.NOT_CONFIGURED, "not configured")
_NO_WEIGHT = Reason(ReasonCode.EXCLUDED, "its weight is 0")
_DRAINED = Reason(ReasonCode.EXCLUDED, "drained by an operator")


class CandidateState:
    """How one candidate stands now. The only thing here that changes; its `Fleet` changes it."""

    __slots__ = (
        "_blocks",
        "account",
        "breaker",
        "candidate",
        "faults",
        "headroom",
        "held_after",
        "held_from",
        "held_until",
        "in_flight",
        "name",
        "track",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.name = candidate.name
        self.account = (candidate.provider.name, candidate.fingerprint)
        self.breaker: Breaker = CLOSED
        self.held_from = self.held_until = 0.0
        self.held_after = ""
        """The class of the error that it is held after."""
        self.in_flight = 0
        self.track = HealthStats()
        self.faults: dict[Fault, int] = {}
        """Failed attempts by whose fault they were, since the process began."""
        self.headroom: float | None = None
        """What the provider says is left of its tightest limit, 0 to 1, where that is little; None: no news."""
        self._blocks: tuple[tuple[float, Reason, float], ...] = ()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that are kept for it."""
        return self.candidate.provider.kept_limits(self.candidate.model.name)

    def forget_limits(self) -> None:
        """Forget what was noted of limits: they are others now."""
        self._blocks, self.headroom = (), None

    def left(self, share: float, until: float) -> None:
        """Note `headroom`, which is news until `until`: then a window passes."""
        self.block(until, _NEWS, inf)  # refuses no request, and ends with the news
        self.headroom = share

    def block(self, until: float, reason: Reason, tokens: float = 0) -> None:
        """Note that a limit leaves no room before `until` for a request of `tokens` (an estimate of its input)."""
        self._blocks = (*(block for block in self._blocks if block[2] < tokens), (until, reason, tokens))

    def blocked_until(self, now: float, tokens: int = 0) -> tuple[float, Reason] | None:
        """Return until when (epoch seconds) limits leave no room for a request of `tokens`, and which limit it is."""
        last = None
        for block in self._blocks:
            if block[0] <= now:  # a window has passed: what was left of it is no news any more
                self._blocks, self.headroom = tuple([each for each in self._blocks if each[0] > now]), None
            elif tokens >= block[2] and (last is None or block[0] > last[0]):
                last = block
        return None if last is None else last[:2]


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a policy makes of some needs: configured candidates in order of preference, and who is missing and why.

    `pools` names, by candidate, the tier that it stands in; only those of one pool are compared with each other.
    `task_type` is the policy's word for who asks.
    """

    standings: tuple[CandidateState, ...]
    refused: Mapping[str, Reason]
    pools: Mapping[str, str] = field(default_factory=dict)
    task_type: str | None = None

    def rivals(self, standings: list[CandidateState]) -> list[CandidateState]:
        """Return the first ones of `standings` that are of one pool."""
        pools = self.pools
        pool = pools[standings[0].name]
        if pools[standings[-1].name] == pool:  # pools stand one after the other
            return standings
        for at, standing in enumerate(standings):
            if pools[standing.name] != pool:
                return standings[:at]
        return standings


class Fleet:
    """The configured candidates, how each one stands, and the policy that orders them.

    `unconfigured` says why a candidate, or a whole provider, that the policy names cannot be asked. `sole` names the
    one candidate that answers everything, whatever a request or the policy asks for: a dry run's.
    """

    __slots__ = (
        "_accounts",
        "_credit",
        "_drained",
        "_rankings",
        "_sizes",
        "_sole",
        "_unconfigured",
        "_weights",
        "barred",
        "orderings",
        "points_seen",
        "policy",
        "queue",
        "retries",
        "shut",
        "standings",
    )

    def __init__(
        self,
        candidates: Iterable[Candidate],
        policy: Policy,
        unconfigured: Mapping[str, Reason] | None = None,
        *,
        sole: str | None = None,
    ) -> None:
        self.policy = policy
        self.standings: dict[str, CandidateState] = {}
        self.shut: dict[tuple[str, str], Reason] = {}
        """Accounts that are not to be asked before an operator has acted, and why."""
        self.barred: Mapping[str, Reason] = {}
        """Providers that are not to be asked, and why."""
        self.orderings: deque[Ordering] = deque(maxlen=REMEMBERED)
        """The latest decisions among several candidates, oldest first; `scoring.replay` makes each one anew."""
        self.retries = RetryBudget(policy.retry_budget)
        self.queue = FairQueue()
        """Turns that wait for a limit or a breaker."""
        self._drained: set[str] = set()
        self._sole = sole
        self._rankings: dict[tuple[str | None, ...], Ranking] = {}
        self._sizes: dict[int, tuple[ToolSpec | OutputSchema, int]] = {}
        self._credit: dict[str, dict[str, float]] = {}
        self.adopt(policy, candidates, unconfigured)

    def adopt(
        self, policy: Policy, candidates: Iterable[Candidate], unconfigured: Mapping[str, Reason] | None = None
    ) -> None:
        """Go on under another policy, with these candidates: turns that began before end with whom they chose.

        What was measured of a candidate that stays is kept, and who is drained stays so. Weights are the policy's.
        """
        if policy.budget != self.policy.budget:
            for standing in self.standings.values():
                standing.forget_limits()
        known, self.policy = self.standings, policy
        self.retries.share = policy.retry_budget
        standings = (CandidateState(candidate) for candidate in candidates)
        self.standings = {new.name: _kept(known.get(new.name), new) for new in standings}
        self._accounts: dict[str, list[str]] = {}
        for name in self.standings:
            self._accounts.setdefault(of_all_accounts(name), []).append(name)
        self._unconfigured = dict(unconfigured or {})
        self._weights = dict(policy.weights)
        self.points_seen = tuple([policy.factors[factor] for factor in SEEN])
        self._rankings.clear()
        self._credit.clear()
        self._bar()

    def weight(self, provider: str) -> float:
        """Return a provider's base weight. One that was given none has no share: it is asked after those that have."""
        return self._weights.get(provider, 0.0)

    def set_weight(self, provider: str, weight: float) -> None:
        """Change a provider's base weight while this runs; 0: it is never asked (by the strategy `weighted`)."""
        if not 0.0 <= weight < inf:
            raise ValueError(f"a weight is a finite number from 0 on, not {weight}")
        self._weights[provider] = weight
        self._bar()

    def drain(self, provider: str) -> None:
        """Ask a provider no more; what is in flight there ends as it will."""
        self._drained.add(provider)
        self._bar()

    def undrain(self, provider: str) -> None:
        """Let a drained provider be asked again."""
        self._drained.discard(provider)
        self._bar()

    def _bar(self) -> None:
        unwanted = [name for name, weight in self._weights.items() if weight == 0.0]
        barred = dict.fromkeys(unwanted if self.policy.strategy == "weighted" else (), _NO_WEIGHT)
        self.barred = self._elsewhere() | barred | dict.fromkeys(self._drained, _DRAINED)

    def _elsewhere(self) -> dict[str, Reason]:
        """Return the providers that are not for the environment that this runs in, and why."""
        here = self.policy.environment
        allowed = self.policy.only.get(here)
        if allowed is None or self._sole is not None:
            return {}
        others = {standing.account[0] for standing in self.standings.values()} - set(allowed)
        text = f"not for {here}: only {', '.join(allowed)} may be asked there"
        return dict.fromkeys(others, Reason(ReasonCode.EXCLUDED, text))

    def credit(self, pool: str) -> Mapping[str, float]:
        """Return what each candidate of a pool has earned in the weighted round-robin and not yet spent."""
        return self._credit.get(pool, {})

    def note(self, ordering: Ordering, winner: str, *, failover: bool = False) -> None:
        """Note a decision that is being followed. Who was chosen by weight has paid for it; a failover is free."""
        self.orderings.append(ordering)
        if ordering.strategy == "weighted" and not failover:
            credit = paid(ordering.values, ordering.names.index(winner))
            self._credit.setdefault(ordering.pool, {}).update(zip(ordering.names, credit, strict=True))

    def ranking(self, needs: Needs) -> Ranking:
        """Return who may serve `needs` by policy alone: one model, else a chain, else a tier; then the last resort."""
        key = (needs.agent, needs.persona, needs.tier, needs.model)
        found = self._rankings.get(key)
        if found is None:
            if len(self._rankings) >= REMEMBERED:  # callers make up names: an open-ended set must not pile up
                self._rankings.clear()
            found = self._rankings[key] = self._rank(needs)
        return found

    def _rank(self, needs: Needs) -> Ranking:
        if self._sole is not None:
            return self._expand([("", (self._sole,))])
        if needs.model is not None:
            return self._pinned(needs.model)
        policy, wish = self.policy, _wish(self.policy, needs)
        if wish.model is not None:
            return self._pinned(wish.model)
        pools, refused = [("", wish.chain)], dict[str, Reason]()
        if not wish.chain and wish.tier is not None:
            tier = policy.tiers.get(wish.tier, ())
            pools = [*self._lead(tier), (wish.tier, tier)]
            if wish.tier not in policy.tiers:
                refused[wish.tier] = Reason(ReasonCode.UNKNOWN, "the policy has no such tier")
        pools += [(tier, policy.tiers.get(tier, ())) for tier in policy.last_resort]
        return self._expand(pools, refused, _task_type(policy, needs))

    def _lead(self, tier: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the pool of the provider that the environment puts first: its models of the tier, else all it has."""
        lead = self.policy.lead
        if lead is None:
            return []
        provider = lead.partition("/")[0]
        own = tuple(name for name in tier if name.partition("/")[0] == provider)
        return [(f"{provider} first", own or (lead,))]

    def _pinned(self, model: str) -> Ranking:
        whole = of_all_accounts(model)
        known = [whole] if whole in self._accounts else [name for name in self._accounts if name.endswith(f"/{whole}")]
        if len(known) > 1:
            return Ranking((), {model: Reason(ReasonCode.UNKNOWN, f"names several: {', '.join(known)}")})
        return self._expand([("", [f"{name}{model[len(whole) :]}" for name in known] or (model,))])

    def _expand(
        self,
        pools: Iterable[tuple[str, Sequence[str]]],
        refused: dict[str, Reason] | None = None,
        task_type: str | None = None,
    ) -> Ranking:
        """Return the ranking of pools of patterns. One without a name, and every one by `chain`, stays as it stands.

        A model stands for all accounts that serve it, which are one pool whatever the strategy.
        """
        chosen: dict[str, CandidateState] = {}
        refused, pool_of = refused or {}, dict[str, str]()
        for pool, pattern in ((pool, pattern) for pool, patterns in pools for pattern in patterns):
            prefix = pattern[:-1] if pattern.endswith("/*") else None
            models = [pattern] if prefix is None else [name for name in self._accounts if name.startswith(prefix)]
            for model in models:
                for name in self._accounts.get(model, [model.removesuffix("#1")]):
                    if name in self.standings:
                        chosen.setdefault(name, self.standings[name])
                        pool_of.setdefault(name, model if self.policy.strategy == "chain" or not pool else pool)
                    else:
                        refused[name] = self._why_missing(name)
            if not models:
                refused[pattern] = self._why_missing(pattern)
        return Ranking(tuple(chosen.values()), refused, pool_of, task_type)

    def _why_missing(self, name: str) -> Reason:
        provider = name.partition("/")[0]
        if of_all_accounts(name) in self._accounts:
            return Reason(ReasonCode.UNKNOWN, f"{provider} has no such account here")
        served = any(standing.account[0] == provider for standing in self.standings.values())
        unknown = Reason(ReasonCode.UNKNOWN, f"{provider} serves no such model here") if served else _NOT_CONFIGURED
        return self._unconfigured.get(name) or self._unconfigured.get(provider, unknown)

    def demands(self, request: Request) -> tuple[int, frozenset[Capability]]:
        """Return `request.input_tokens` and the capabilities without which it cannot be answered.

        A JSON schema is no such capability: it can be put into words. What was measured before is not measured again.
        """
        tokens, images = _measure(request.messages)
        for spec in request.tools:
            tokens += self._sized(spec)
        if request.output_schema is not None:
            tokens += self._sized(request.output_schema)
        capabilities = request.needs.capabilities | TOOLS if request.tools else request.needs.capabilities
        return tokens, capabilities | VISION if images else capabilities

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
        standing.in_flight += 1
        before = standing.breaker
        standing.breaker = before.started()
        return standing.breaker is not before

    def ended(
        self, name: str, error: ProviderError | None, now: float, elapsed: float, pace: float | None = None
    ) -> None:
        """Move the candidate's standing by how an attempt of `elapsed` seconds ended; None: it answered.

        `pace` are the seconds that an answer of nominal length would have taken, where that is not `elapsed`.
        """
        standing = self.standings.get(name)
        if standing is None:
            return  # another policy was adopted meanwhile
        if error is None:
            standing.breaker = standing.breaker.succeeded()
            standing.track.answered(now, elapsed if pace is None else pace)
            return
        standing.faults[error.fault] = standing.faults.get(error.fault, 0) + 1
        if isinstance(error, AuthFailed):
            self.shut[standing.account] = _KEY_REFUSED
        elif isinstance(error, QuotaSpent) and error.money:
            self.shut[standing.account] = _NO_MONEY
        if (until := hold_until(error, now)) is not None:
            standing.held_from, standing.held_until, standing.held_after = now, until, type(error).__name__
        if trips_breaker(error, elapsed, self.policy.timeouts):
            enough = standing.track.row_of_an_outage(standing.breaker.faults)
            standing.breaker = standing.breaker.failed(now, error.retry_at or 0.0, enough)
            standing.track.failed(now, elapsed if isinstance(error, TimedOut) else None)
            if standing.breaker.open_until is not None:
                standing.track.forgiven()

    def checked(self, provider: Provider, *, well: bool, now: float) -> None:
        """Take whether a provider's endpoint answers at all.

        Where it does not, the breakers of all behind it open; where it does, those that wait for a probe have had it.
        """
        for standing in self.standings.values():
            row = standing.candidate.provider
            if (row.name, row.base_url) != (provider.name, provider.base_url) or standing.breaker.probing:
                continue
            if well and standing.breaker.state(now) == "half-open":
                standing.breaker = standing.breaker.started().succeeded()
            while not well and standing.breaker.state(now) != "open":
                standing.breaker = standing.breaker.failed(now)

    def reopen(self, provider: str) -> None:
        """Let a provider's accounts be asked again, after an operator has seen to the key, or to the bill."""
        self.shut = {account: why for account, why in self.shut.items() if account[0] != provider}


def _kept(known: CandidateState | None, new: CandidateState) -> CandidateState:
    """Return the standing that a candidate keeps where it is still the same endpoint and key, else the new one."""
    if known is None or known.account != new.account:
        return new
    if known.candidate.provider.base_url != new.candidate.provider.base_url:
        return new
    if known.limits != new.limits:
        known.forget_limits()
    known.candidate = new.candidate
    return known


def _task_type(policy: Policy, needs: Needs) -> str | None:
    """Return the type of task that the policy knows of the agent, else of its persona."""
    said = (policy.agents.get(name) for name in (needs.agent, needs.persona) if name is not None)
    return next((agent.task_type for agent in said if agent is not None and agent.task_type is not None), None)


def _wish(policy: Policy, needs: Needs) -> AgentPolicy:
    """Return what the policy says of the agent, else of its persona, else the persona's own tier, else an affinity."""
    who = [name for name in (needs.agent, needs.persona) if name is not None]
    for said in (policy.agents[name] for name in who if name in policy.agents):
        if said.chain or said.tier is not None or said.model is not None:
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
