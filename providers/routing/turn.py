"""One turn's flow: which candidate is asked next, and what follows from each answer. Pure.

Time and randomness are arguments.

`attempts` is a generator that does no I/O: it yields what to do (`Try`, `Listen`, `Sleep`, `AwaitBudget`) and is sent
how it went. The provider manager drives it with the real world, a simulator with a virtual clock and dice.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Literal, assert_never

from providers.errors import (
    AllAttemptsFailed,
    ContextTooLong,
    Declined,
    NoRoute,
    ProviderError,
    Reason,
    ReasonCode,
    Recovery,
    in_short,
)
from providers.messages import Capability, Request, Response
from providers.policy.model import OnBreak, Policy, Timeouts
from providers.routing.choice import Decision, Refuse, Wait, choose
from providers.routing.effects import Answered, AwaitBudget, Effect, Ended, Failed, Outcome, Refused, Sleep, Try
from providers.routing.fleet import Fleet
from providers.routing.flight import fly
from providers.routing.patience import Patience, prefers_until
from providers.routing.ranking import Route, elsewhere
from providers.routing.retry_budget import back_at, costs

if TYPE_CHECKING:
    from random import Random

ROOM = 2.0
"""How many times its usual time a candidate may need, and is still well."""
IN_QUEUE_S = 0.001
"""How far apart turns wake that wait for one instant: they must not all arrive at it."""
HELD_S = 1.0
"""A wait for what calls in flight hold of our own budgets is no longer, and is made again and again."""
SELDOM = 20
"""Who has waited for so many seconds for that looks again after one."""
_NO_ROOM = Reason(ReasonCode.LIMIT, "a limit left no room until the deadline")
_HELD = Reason(ReasonCode.BUDGET, "calls in flight held what was left of the run's budgets until the deadline")


def attempts(
    fleet: Fleet,
    request: Request,
    now: float,
    rng: Random,
    *,
    streamed: bool = False,
    began: float | None = None,
    on_break: OnBreak | None = None,
) -> Generator[Effect, Outcome, Response]:
    """One turn: yields effects, is sent their outcomes, returns the answer. Closing it at any point is safe.

    Raises `NoRoute` where no candidate could be asked, an error whose recovery is NEVER as it comes, and
    `AllAttemptsFailed` for the rest; a lone `BadRequest` that no other provider was there to confirm comes as it is.
    At most `attempts_per_turn` attempts, but for those that a rate limit refused, which cost nothing; no sleep reaches
    the turn's deadline. What goes beyond a turn's first attempt is free where the candidate answers, and else taken
    from the process's `RetryBudget`. Where all are known to be down, a turn does not wait out its deadline.

    `began`: when the turn did, where that was before `now`; its deadline counts from there. `on_break` takes the place
    of the policy's.
    """
    turn = _Course(fleet, request, now if began is None else began, rng, streamed=streamed, on_break=on_break)
    fleet.retries.turn(now)
    try:
        while turn.may_go_on(now):
            decision = choose(fleet, turn.request, now, turn.tried, turn.draw(), turn.soon)
            if isinstance(decision, Route):
                # A turn's first attempt is free: only the traffic that failures add is bounded.
                route, taken_at = fleet.afford(turn.spread(decision), now) if turn.errors else (decision, None)
                if route is None:
                    pause = turn.patience.look_again(now, rng.random())
                    if pause is None:
                        break
                    now = (yield pause).now
                    continue  # and choose again: the fleet may have changed during the sleep
                effect = turn.next_try(route, now)
                ended = yield from fly(fleet, turn.request, effect, now, turn.tried, turn.timeouts, turn.spread)
                now = ended[-1][1].now
                if (response := turn.learn(ended, effect.number, taken_at)) is not None:
                    return response
                if isinstance(last := ended[-1][1], Refused) and last.is_held:
                    now = turn.postponed(now, (yield AwaitBudget(turn.own_deadline)).now)
                    if turn.own_deadline is not None and now >= turn.own_deadline and not turn.errors:
                        raise NoRoute({ended[-1][0]: _HELD})
            elif isinstance(decision, Wait) and turn.may_wait(decision, now):
                held = is_held_back(decision, now)
                woke = (yield turn.sleep(turn.seldomer(decision, now) if held else decision)).now
                now = turn.postponed(now, woke) if held else woke
            elif turn.errors:
                break
            else:
                raise NoRoute(decision.reasons, decision.until if isinstance(decision, Wait) else None)
    finally:
        turn.leave_the_queue(served=False)
    if turn.doubted is not None and len(turn.errors) == 1:
        raise turn.doubted
    raise AllAttemptsFailed(
        f"no model answered in {len(turn.errors)} attempt{'' if len(turn.errors) == 1 else 's'}",
        turn.errors,
        turn.come_back(now),
    )


def is_held_back(wait: Wait, now: float) -> bool:
    """Return whether a turn waits for nothing but calls in flight, which hold what is left of our own budget."""
    return wait.until <= now + HELD_S and any(reason.is_held for reason in wait.reasons.values())


def _earliest(decision: Decision, now: float) -> float | None:
    """Return when a candidate may be asked again, None where waiting changes nothing."""
    match decision:
        case Route():
            return now
        case Wait(until):
            return until
        case Refuse():
            return None
        case _:
            assert_never(decision)


class _Course:
    """What one turn has come to so far: which candidates it asked, what failed, whether it waits in the queue."""

    __slots__ = (
        "_began",
        "_doubter",
        "_failures",
        "_fleet",
        "_held_for",
        "_is_confirmed",
        "_met",
        "_on_break",
        "_patience",
        "_policy",
        "_rng",
        "_spent",
        "_streamed",
        "_waits",
        "continues",
        "deadline",
        "doubted",
        "errors",
        "made",
        "request",
        "tried",
    )

    def __init__(
        self, fleet: Fleet, request: Request, now: float, rng: Random, *, streamed: bool, on_break: OnBreak | None
    ) -> None:
        self._fleet, self._policy, self._rng, self._streamed = fleet, fleet.policy, rng, streamed
        self._on_break = on_break or fleet.policy.on_break
        self.request = request
        allowed = request.needs.deadline_s
        self.deadline = now + (self._policy.timeouts.total if allowed is None else allowed)
        self.tried: dict[str, float] = {}
        self.errors: list[ProviderError] = []
        self._failures: dict[str, int] = {}
        self._held_for = 0.0
        """Seconds that it has waited for our own budgets."""
        self._spent = 0
        """Failures that count against `attempts_per_turn`."""
        self._began = now
        self._patience: Patience | None = None
        self._met = False
        """Whether it has asked a candidate that was not known to be down."""
        self.made = 0
        self.continues: Literal["restart", "resume"] | None = None
        self.doubted: ProviderError | None = None
        """A refusal that may be the request's own fault: another provider is to confirm it, and is not waited for."""
        self._doubter: str | None = None
        """The provider that refused so: another one of its models would say the same."""
        self._is_confirmed = False
        self._waits = False

    def may_go_on(self, now: float) -> bool:
        if self._is_confirmed:
            return False
        most = self._policy.attempts_per_turn
        if self.errors and (most == 1 or now >= self.deadline):
            return False
        return self._spent < most

    def may_wait(self, wait: Wait, now: float) -> bool:
        return self.doubted is None and self.patience.waits_for(wait, now, failed=bool(self.errors), met=self._met)

    @property
    def own_deadline(self) -> float | None:
        """The turn's deadline, where its request sets one."""
        return None if self.request.needs.deadline_s is None else self.deadline

    def seldomer(self, wait: Wait, now: float) -> Wait:
        """Return a wait for what calls in flight hold, longer for one that lasts: a crowd would ask all the time."""
        return replace(wait, until=max(wait.until, now + min(self._held_for / SELDOM, HELD_S)))

    def postponed(self, now: float, later: float) -> float:
        """Return the instant after a wait for our own budgets: no provider took that time, so none loses it.

        A deadline that the request sets is its caller's, and stays.
        """
        self._held_for += later - now
        if self.own_deadline is None:
            self._began += later - now
            self.deadline += later - now
            self._patience = None
        return later

    @property
    def patience(self) -> Patience:
        """What it waits for; most turns never have to."""
        if self._patience is None:
            self._patience = Patience(self._began, self.deadline)
        return self._patience

    @property
    def soon(self) -> float:
        """Until when it waits for who stands earlier in its chain. After a fault it goes on at once."""
        most = self._policy.wait_for_preferred
        return 0.0 if self.errors else prefers_until(self._began, self.deadline, most)

    def draw(self) -> float | None:
        return self._rng.random() if self._policy.strategy == "latency" else None

    def next_try(self, route: Route, now: float) -> Try:
        """Return the attempt at the first of the route, and note the decision that it follows."""
        policy = self._policy
        if self._fleet.states[route.names[0]].breaker.open_until is None:
            self._met = True
        if route.ordering is not None:
            self._fleet.note(route.ordering, route.names[0], failover=bool(self.tried))
        hedge_after = policy.hedge_after if self._still_to_ask(route, 0) > 1 else None
        timeouts = self.timeouts(route, now, 0)
        return Try(route.candidates[0], self.made + 1, timeouts, route, hedge_after, self.continues)

    def timeouts(self, route: Route, now: float, out: int) -> Timeouts:
        """Return the limits of an attempt at the first of the route, while `out` others are in flight.

        The turn's own total is no candidate's to be silent in: who hangs leaves time for the others.
        """
        policy, left = self._policy.timeouts, max(self.deadline - now, 0.0)
        usual = self._fleet.states[route.names[0]].track.usual(streamed=self._streamed)
        share = share_of(left, self._still_to_ask(route, out), usual)
        if not self._streamed:  # the first byte of a whole answer comes after its last token
            return Timeouts(min(policy.connect, share), share, min(policy.between_chunks, share), share)
        between = left if self._on_break == "error" else share
        return Timeouts(
            min(policy.connect, share), min(policy.first_token, share), min(policy.between_chunks, between), left
        )

    def spread(self, route: Route, out: Collection[str] = ()) -> Route:
        """Return the route of the next attempt, beside those that are `out`.

        The last that a turn has goes to a provider that it has not asked, if one may be, and rather not to one that has
        failed: else as many models of one provider as a turn has attempts, or so many providers that hang longer than
        a short deadline can show, would lose every turn before somebody well.
        """
        if self._policy.attempts_per_turn - self._spent - len(out) != 1:
            return route
        states = self._fleet.states
        return elsewhere(route, {*self._failures, *out}, lambda name: states[name].has_failed)

    def _still_to_ask(self, route: Route, out: int) -> int:
        return max(1, min(len(route.names), self._policy.attempts_per_turn - self._spent - out))

    def learn(self, ended: Sequence[tuple[str, Ended]], first: int, taken_at: float | None) -> Response | None:
        """Take in how the attempts of a round ended; return the answer. Raise what every candidate would fail with.

        `taken_at`: when the `first` of them was taken from the retry budget. One that was answered, or sent nothing,
        added no load to a provider in trouble: it is given back.
        """
        for name, outcome in ended:
            if taken_at is not None and outcome.number == first and isinstance(outcome, Answered | Refused):
                self._fleet.retries.give_back(taken_at)
            if isinstance(outcome, Refused):
                if outcome.now >= self.deadline and not self.errors and not outcome.is_held:
                    raise NoRoute({name: _NO_ROOM})
                continue
            self.made = max(self.made, outcome.number)
            self.leave_the_queue(served=True)
            if isinstance(outcome, Answered):
                return outcome.response
            if isinstance(outcome, Failed):
                self._failed(name, outcome)
        return None

    def _failed(self, name: str, outcome: Failed) -> None:
        error = outcome.error
        if outcome.on_break == "error" or _is_hopeless(error, self._policy):
            raise error
        self.errors.append(error)
        self._spent += costs(error)
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        self.tried[name] = back_at(error, failures, outcome.now, self._rng, sound=outcome.sound)
        if error.recovery is Recovery.CONFIRM:
            provider = name.partition("/")[0]
            self._is_confirmed = self._doubter not in (None, provider)
            self.doubted, self._doubter = error, provider
            self.tried |= dict.fromkeys(
                [other for other in self._fleet.states if other.startswith(f"{provider}/")], inf
            )
        if isinstance(error, ContextTooLong):
            self.tried |= _no_larger(self._fleet, self.request, name)
        if outcome.on_break is not None and self.continues is None:
            self.continues = outcome.on_break
            self.request = _continued(self.request, self.continues)

    def come_back(self, now: float) -> float | None:
        """Return when a candidate may be asked again. None: waiting changes nothing, or the request is at fault."""
        return None if self._is_confirmed else _earliest(choose(self._fleet, self.request, now), now)

    def sleep(self, wait: Wait) -> Sleep:
        """Join the queue, and return the sleep until this turn may have its place.

        Turns that wait for one instant wake one after the other in the queue's order: if all woke at once, the first
        to run would take the room, whatever its place.
        """
        run, queue = self.request.needs.run, self._fleet.queue
        if not self._waits:
            queue.join(run)
            self._waits = True
        late = wait.until + queue.rank(run, self._rng.random()) * IN_QUEUE_S + self._rng.uniform(0.0, IN_QUEUE_S)
        # A place in the queue past the deadline would be of no use: then the turn wakes with the first.
        return Sleep(late if late < self.deadline else wait.until, in_short(wait.reasons))

    def leave_the_queue(self, *, served: bool) -> None:
        if self._waits:
            self._fleet.queue.leave(self.request.needs.run, served=served)
            self._waits = False


def _is_hopeless(error: ProviderError, policy: Policy) -> bool:
    """Whether no other candidate is to be asked. What a filter declined goes on only where the policy says so."""
    if isinstance(error, Declined) and policy.on_decline == "elsewhere":
        return False
    return error.recovery is Recovery.NEVER


def _no_larger(fleet: Fleet, request: Request, name: str) -> dict[str, float]:
    """Return, as never to be asked, every candidate whose context is no larger than the one that was too small."""
    contexts = {each.name: each.candidate.model.context for each in fleet.ranking(request.needs).states}
    return {other: inf for other, context in contexts.items() if context <= contexts.get(name, 0)}


def _continued(request: Request, how: Literal["restart", "resume"]) -> Request:
    """Return the request for the candidate that takes over: to continue an answer is a capability."""
    if how == "restart":
        return request
    needs = replace(request.needs, capabilities=request.needs.capabilities | {Capability.PREFILL})
    return replace(request, needs=needs)


def share_of(left: float, candidates: int, usual: float | None) -> float:
    """Return how many of the `left` seconds the first of so many candidates may take: an even share.

    One that answers, but `usual`ly not within an even share, gets what it needs, up to half: else a short deadline
    would pass with a whole well fleet cut off, one after the other.
    """
    if candidates == 1:
        return left
    return max(left / candidates, min(left / 2, ROOM * (usual or 0.0)))
