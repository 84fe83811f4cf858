"""The configured candidates: the state of each, and the order in which a policy would ask them. Pure.

What changes here changes only by its own methods, and only by what is passed in: outcomes, instants.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from providers.catalog.model import Candidate, Provider
from providers.errors import (
    AuthFailed,
    Blocked,
    Fault,
    ProviderError,
    QuotaSpent,
    RateLimited,
    Reason,
    ReasonCode,
    Recovery,
    RequestTooLarge,
    TimedOut,
    Unsupported,
    WrongAddress,
)
from providers.messages import Capability, Needs, Request
from providers.policy.model import Policy
from providers.routing.candidate_state import CandidateState
from providers.routing.control import NOTHING_SET, OperatorHold, RoutingControl
from providers.routing.demands import Demands
from providers.routing.fair_queue import FairQueue
from providers.routing.health import (
    CLOSED,
    EDGE_REST_S,
    LONGEST_REST_S,
    SIZE_HOLD_S,
    guessed_hold,
    hold_until,
    trips_breaker,
)
from providers.routing.ranking import Ranker, Ranking, Route
from providers.routing.retry_budget import RetryBudget
from providers.routing.scores import SEEN, Ordering, paid

PROBE_TAKES_S = 1.0
"""How long turns wait to hear what became of a probe: one that takes longer may hang."""
REMEMBERED = 1024
"""How many of the latest decisions are kept."""
_KEY_REFUSED = Reason(ReasonCode.KEY_REFUSED, "its account is shut: the key was refused")
_NO_MONEY = Reason(ReasonCode.NO_MONEY, "its account is shut: no money is left there")
_UNPAID = Reason(ReasonCode.NO_MONEY, "its account has no money left, and this model costs some")
_NO_WEIGHT = Reason(ReasonCode.EXCLUDED, "its weight is 0")


class Fleet:
    """The configured candidates, the state of each, and the policy that orders them.

    `unconfigured` says why a candidate, or a whole provider, that the policy names cannot be asked. `sole` names the
    one candidate that answers everything, whatever a request or the policy asks for: a dry run's.
    """

    __slots__ = (
        "_credit",
        "_demands",
        "_ranker",
        "_sole",
        "barred",
        "control",
        "orderings",
        "points_seen",
        "policy",
        "probed",
        "queue",
        "retries",
        "shut",
        "states",
        "unconfigured",
        "unpaid",
        "weights",
        "written",
    )

    def __init__(
        self,
        candidates: Iterable[Candidate],
        policy: Policy,
        unconfigured: Mapping[str, Reason] | None = None,
        *,
        sole: str | None = None,
    ) -> None:
        self.policy = self.written = policy
        """The policy that holds, and as it was written: without what operators have set."""
        self.control = NOTHING_SET
        self.states: dict[str, CandidateState] = {}
        self.shut: dict[tuple[str, str], Reason] = {}
        """Accounts that are not to be asked before an operator has acted, and why."""
        self.unpaid: set[tuple[str, str]] = set()
        """Accounts without money, of which only the models that cost nothing are asked."""
        self.barred: Mapping[str, Reason] = {}
        """Candidates that are not to be asked, and why."""
        self.orderings: deque[Ordering] = deque(maxlen=REMEMBERED)
        """The latest decisions among several candidates, oldest first; `scores.replay` makes each one again."""
        self.retries = RetryBudget(policy.retry_budget)
        self.probed: dict[str, float] = {}
        """By provider, when an attempt last went out to one of its candidates whose breaker is open."""
        self.queue = FairQueue()
        """Turns that wait for a limit or a breaker."""
        self._sole = sole
        self._demands = Demands()
        self._credit: dict[str, dict[str, float]] = {}
        self.adopt(policy, candidates, unconfigured)

    def adopt(
        self, policy: Policy, candidates: Iterable[Candidate], unconfigured: Mapping[str, Reason] | None = None
    ) -> None:
        """Go on under another policy, with these candidates: turns that began before keep the old one.

        What was measured of a candidate that stays is kept, and so is what operators have set.
        """
        if policy.budget != self.policy.budget:
            for state in self.states.values():
                state.forget_limits()
        known, self.written = self.states, policy
        self.retries.share = policy.retry_budget
        states = (CandidateState(candidate) for candidate in candidates)
        self.states = {new.name: _kept(known.get(new.name), new) for new in states}
        self.unconfigured: Mapping[str, Reason] = dict(unconfigured or {})
        self.operate(self.control)

    def operate(self, control: RoutingControl) -> None:
        """Go on under what operators have set, from the next choice on: what is in flight ends as it will."""
        self.control, policy = control, self.written
        self.policy = policy if control.strategy is None else replace(policy, strategy=control.strategy)
        self._ranker = Ranker(self.policy, self.states, self.unconfigured, self._sole)
        self.weights: Mapping[str, float] = {**policy.weights, **control.weights}
        self.points_seen = tuple([policy.factors[factor] for factor in SEEN])
        self._credit.clear()
        self._bar()

    def weight(self, provider: str) -> float:
        """Return a provider's base weight. One that was given none has no share: it is asked after those that have."""
        return self.weights.get(provider, 0.0)

    def set_weight(self, provider: str, weight: float) -> None:
        """Change a provider's base weight while this runs; 0: it is never asked (by the strategy `weighted`)."""
        if not 0.0 <= weight < inf:
            raise ValueError(f"a weight is a finite number from 0 on, not {weight}")
        self.operate(replace(self.control, weights={**self.control.weights, provider: weight}))

    def drain(self, provider: str) -> None:
        """Ask a provider no more; what is in flight there ends as it will."""
        self.operate(self.control.holding([provider], OperatorHold("drained")))

    def undrain(self, provider: str) -> None:
        """Let a drained provider be asked again."""
        self.operate(self.control.holding([provider], None))

    def _bar(self) -> None:
        self.barred = self.barred_under(self.control)

    def barred_under(self, control: RoutingControl) -> dict[str, Reason]:
        """Return the candidates that would not be asked under what operators set, and why.

        An operator's word about one goes before a weight of 0, and that before the environment.
        """
        barred = self._elsewhere()
        if (control.strategy or self.written.strategy) == "weighted":
            weights = {**self.written.weights, **control.weights}
            barred |= {name: _NO_WEIGHT for name, weight in weights.items() if weight == 0.0}
        found = {name: barred.get(state.account[0]) for name, state in self.states.items()}
        held = {name: control.hold_of(name) for name in self.states} if control.holds else {}
        found |= {name: hold.told() for name, hold in held.items() if hold is not None}
        return {name: why for name, why in found.items() if why is not None}

    def _elsewhere(self) -> dict[str, Reason]:
        """Return the providers that are not for the environment that this runs in, and why."""
        here = self.policy.environment
        allowed = self.policy.only.get(here)
        if allowed is None or self._sole is not None:
            return {}
        others = {state.account[0] for state in self.states.values()} - set(allowed)
        text = f"not for {here}: only {', '.join(allowed)} may be asked there"
        return dict.fromkeys(others, Reason(ReasonCode.EXCLUDED, text))

    def credit(self, pool: str) -> Mapping[str, float]:
        """Return what each candidate of a pool has earned in the weighted round-robin and not yet spent."""
        return self._credit.get(pool, {})

    def note(self, ordering: Ordering, winner: str, *, failover: bool = False) -> None:
        """Note a decision that is being followed. A choice by weight is paid for; a failover is free."""
        self.orderings.append(ordering)
        if ordering.strategy == "weighted" and not failover:
            credit = paid(ordering.values, ordering.names.index(winner))
            self._credit.setdefault(ordering.pool, {}).update(zip(ordering.names, credit, strict=True))

    def ranking(self, needs: Needs) -> Ranking:
        """Return the candidates for `needs` by policy alone, in its order; see `Ranker`."""
        return self._ranker.ranking(needs)

    def demands(self, request: Request) -> tuple[int, frozenset[Capability]]:
        """Return about how many tokens the request is, and the capabilities without which it cannot be answered."""
        return self._demands.of(request)

    def vouches_for(self, name: str, now: float) -> bool:
        """Whether a further attempt may go to it for nothing. Where a breaker was open, that is bound enough."""
        state = self.states[name]
        breaker = state.breaker
        if breaker.open_until is not None or breaker.room is not None:
            return True
        return state.trust.admits(now, breaker.faults)

    def afford(self, route: Route, now: float) -> tuple[Route | None, float | None]:
        """Return the route from where a further attempt may go, and when that was taken from the retry budget.

        None: not even the last may be asked before others' attempts have shown what it is worth.
        """
        # What replies vouch for is free, but counts while there is room: with everything down the two do not add up.
        if self.retries.take(now, floor=0):  # its floor is what goes out unasked
            return route, now
        for at, name in enumerate(route.names):
            if self.vouches_for(name, now):
                return Route(route.candidates[at:], route.names[at:], route.refused), None
        return None, None

    def awaits_probe(self, state: CandidateState, now: float) -> bool:
        """Whether a probe of the candidate went out just now, so that its end is near."""
        return state.breaker.probing and now < self.probed.get(state.account[0], -inf) + PROBE_TAKES_S

    def started(self, name: str, now: float, *, further: bool = False) -> bool:
        """Note that an attempt goes out, its turn's first or a `further` one; return whether it is a probe."""
        state = self.states[name]
        state.in_flight += 1
        state.trust.out += further
        before = state.breaker
        if before.open_until is not None:
            self.probed[state.account[0]] = now
        state.breaker = before.started()
        return state.breaker is not before

    def ended(
        self,
        name: str,
        error: ProviderError | None,
        now: float,
        elapsed: float,
        pace: float | None = None,
        tokens: int = 0,
        output: int = 0,
        silent: float | None = None,
    ) -> None:
        """Move the candidate's state by how an attempt of `elapsed` seconds ended; None: it answered.

        `pace` are the seconds that an answer of nominal length would have taken, where that is not `elapsed`. `tokens`
        is about how many the request was, `output` those of the answer, `silent` the seconds to a stream's first.
        """
        state = self.states.get(name)
        if state is None:
            return  # another policy was adopted meanwhile
        state.has_failed = error is not None
        if error is None:
            if state.breaker is not CLOSED:
                state.breaker = state.breaker.succeeded(now)
            state.limits_met = 0
            state.trust.replied(now)
            state.track.answered(now, elapsed if pace is None else pace, output)
            state.track.usually(elapsed if silent is None else silent, streamed=silent is not None)
            return
        state.faults[error.fault] = state.faults.get(error.fault, 0) + 1
        if error.fault is Fault.CALLER:
            state.trust.replied(now)
        else:
            state.trust.failed(limited=isinstance(error, RateLimited))
        self._close_the_account(state, error, now, elapsed)
        if isinstance(error, RequestTooLarge):
            state.refused_size(tokens, now + SIZE_HOLD_S, now)
        if (until := _held_until(state, error, now)) is not None:
            # Why a model is gone, or an address wrong, an operator must read.
            why = f" ({error.message})" if isinstance(error, Unsupported | WrongAddress) else ""
            for each in self._held_with(state, error):
                each.held_from, each.held_until, each.held_after = now, until, f"{type(error).__name__}{why}"
        usual = state.track.usual(streamed=isinstance(error, TimedOut) and error.silent_s is not None)
        if trips_breaker(error, elapsed, self.policy.timeouts, usual):
            enough = state.track.row_of_an_outage(state.breaker.faults)
            state.breaker = state.breaker.failed(now, error.retry_at or 0.0, enough, now - elapsed)
            state.track.failed(now, elapsed if isinstance(error, TimedOut) else None)
            if state.breaker.open_until is not None:
                state.track.forgiven()

    def _held_with(self, state: CandidateState, error: ProviderError) -> Iterable[CandidateState]:
        """Return whom an error holds: all behind an address, or all models of the pool whose limit it names."""
        if isinstance(error, WrongAddress):
            return self._behind(state)
        model, provider = state.candidate.model.name, state.candidate.provider
        limit = provider.pool_named(model, error.message) if isinstance(error, RateLimited) else None
        if limit is None:
            return (state,)
        sharing = (other for other in self.states.values() if other.account == state.account)
        return [other for other in sharing if limit.covers(other.candidate.model.name)]

    def _behind(self, state: CandidateState) -> list[CandidateState]:
        """Return all candidates behind the same address; the one alone where another has answered there."""
        at = state.candidate.provider.base_url
        behind = [each for each in self.states.values() if each.candidate.provider.base_url == at]
        return [state] if any(each.track.mean for each in behind) else behind

    def _close_the_account(self, state: CandidateState, error: ProviderError, now: float, elapsed: float) -> None:
        """Take what an error says of the account: its key, its money, or whether anybody gets through to it."""
        account = state.account
        if isinstance(error, Blocked):
            for other in self.states.values():
                if other.account == account:
                    rest = min(LONGEST_REST_S, EDGE_REST_S * 2.0 ** min(other.breaker.trips, 16))
                    other.breaker = other.breaker.failed(now, now + rest, enough=1, began=now - elapsed)
        elif isinstance(error, AuthFailed):
            self.shut[account] = _KEY_REFUSED
        elif isinstance(error, QuotaSpent) and error.money:
            if state.is_free:
                self.shut[account] = _NO_MONEY
            else:
                self.unpaid.add(account)

    def why_shut(self, state: CandidateState) -> Reason | None:
        """Return why the candidate is not to be asked before an operator has acted, None where it may be."""
        if (why := self.shut.get(state.account)) is not None:
            return why
        return _UNPAID if state.account in self.unpaid and not state.is_free else None

    def checked(self, provider: Provider, *, well: bool, now: float) -> None:
        """Take whether a provider's endpoint answers at all.

        Where it does not, the breakers of all behind it open; where it does, those that wait for a probe have had it.
        """
        for state in self.states.values():
            row = state.candidate.provider
            if (row.name, row.base_url) != (provider.name, provider.base_url) or state.breaker.probing:
                continue
            if well and state.breaker.state(now) == "half-open":
                state.breaker = state.breaker.started().succeeded()
            # A check costs no turn anything, so one that fails opens the breaker at once: no turn meets the fault.
            while not well and state.breaker.state(now) != "open":
                state.breaker = state.breaker.failed(now)

    def reopen(self, provider: str) -> None:
        """Let a provider's accounts be asked again, after an operator has seen to the key, or to the bill."""
        self.shut = {account: why for account, why in self.shut.items() if account[0] != provider}
        self.unpaid = {account for account in self.unpaid if account[0] != provider}
        for state in self.states.values():
            if state.account[0] == provider:
                state.held_until = 0.0
                state.forget_limits()


def _held_until(state: CandidateState, error: ProviderError, now: float) -> float | None:
    """Return until when `error` keeps its candidate away, None where it does not."""
    until = hold_until(error, now)
    if until is None or not _passes_unsaid(error):
        return until
    if now >= state.held_until:  # what was sent before the hold is of the same limit
        state.limits_met += 1
    return now + guessed_hold(state.limits_met)


def _passes_unsaid(error: ProviderError) -> bool:
    """Whether it is a limit that passes soon, and nobody said when."""
    return isinstance(error, RateLimited) and error.recovery is Recovery.AGAIN and error.retry_at is None


def _kept(known: CandidateState | None, new: CandidateState) -> CandidateState:
    """Return the state that a candidate keeps where it is still the same endpoint and key, else the new one."""
    if known is None or known.account != new.account:
        return new
    if known.candidate.provider.base_url != new.candidate.provider.base_url:
        return new
    if known.limits != new.limits:
        known.forget_limits()
    known.adopt(new.candidate)
    return known
