"""The attempts of one round of a turn: one, and where it is silent for long a second one beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import replace
from math import inf
from typing import assert_never

from providers.messages import Request
from providers.policy.model import Timeouts
from providers.routing.choice import choose
from providers.routing.effects import (
    Answered,
    Effect,
    Ended,
    Failed,
    Listen,
    Outcome,
    Refused,
    Silent,
    Spoke,
    Try,
    Woke,
)
from providers.routing.fleet import Fleet
from providers.routing.health import pace_of
from providers.routing.ranking import Route

HEDGE_POLL_S = 0.5
"""How soon a silent attempt asks again for one beside it, where the retry budget had no room for that."""
Spread = Callable[[Route, Collection[str]], Route]
"""Says where an attempt goes that begins now beside those of these names."""
TimeLimits = Callable[[Route, float, int], Timeouts]
"""Says how long an attempt at the first of a route may take, which begins now beside so many others."""


def fly(
    fleet: Fleet,
    request: Request,
    first: Try,
    now: float,
    tried: Mapping[str, float],
    limits: TimeLimits,
    spread: Spread,
) -> Generator[Effect, Outcome, list[tuple[str, Ended]]]:
    """Make an attempt, and where it is silent for long a second one beside it; return how each of them ended.

    An answer comes last and ends the round, as does an error after which no attempt is in flight. Who was silent when
    another spoke is given up: of it no more will be known than that it took longer. `limits` and `spread` are for the
    second.
    """
    flight = _Flight(fleet, request, first, now)
    if first.hedge_after is None:  # as nearly all are: no bookkeeping of several
        return [(flight.name, (yield from _alone(first, flight)))]
    several = _Several(fleet, request, first, flight, tried, limits, spread)
    try:
        outcome = yield first
        while True:
            following: Effect = Listen()
            match outcome:
                case Silent():
                    following = several.hedge(outcome.now)
                case Spoke():
                    several.spoke(outcome)
                case Answered() | Failed() | Refused():
                    if several.is_over_with(outcome):
                        return several.ended
                case Woke():
                    raise AssertionError("an attempt does not end in a `Woke`")
                case _:
                    assert_never(outcome)
            outcome = yield following
    finally:
        several.leave()


def _alone(effect: Try, flight: _Flight) -> Generator[Effect, Outcome, Ended]:
    """Make an attempt and return how it ended."""
    try:
        ended = yield effect
        while isinstance(ended, Spoke):
            flight.spoke(ended.now)
            ended = yield Listen()
        assert not isinstance(ended, Silent | Woke), "an attempt without `hedge_after` only ends"
        flight.landed(ended)
    finally:
        flight.leave()
    return ended


class _Several:
    """An attempt, and perhaps a hedge: a second one beside it."""

    __slots__ = (
        "_first",
        "_fleet",
        "_limits",
        "_out",
        "_patience",
        "_request",
        "_spread",
        "_taken_at",
        "_tried",
        "ended",
    )

    def __init__(
        self,
        fleet: Fleet,
        request: Request,
        first: Try,
        flight: _Flight,
        tried: Mapping[str, float],
        limits: TimeLimits,
        spread: Spread,
    ) -> None:
        self._limits, self._spread = limits, spread
        self._fleet, self._request, self._first, self._tried = fleet, request, first, {**tried, flight.name: inf}
        self._patience = first.hedge_after or 0.0
        self._out = {first.number: flight}
        self._taken_at: float | None = None
        self.ended: list[tuple[str, Ended]] = []

    def hedge(self, now: float) -> Try | Listen:
        """Return the attempt beside a silent one; none where no candidate or no room in the retry budget is left."""
        decision = choose(self._fleet, self._request, now, self._tried, 0.0)
        if not isinstance(decision, Route) or decision.names[0] in self._tried:
            return Listen()
        if not self._fleet.retries.take(now):
            return Listen(HEDGE_POLL_S)
        route = self._spread(decision, [flight.name for flight in self._out.values()])
        self._taken_at, number = now, self._first.number + 1
        effect = replace(
            self._first,
            candidate=route.candidates[0],
            number=number,
            timeouts=self._limits(route, now, len(self._out)),
            route=route,
            hedge_after=None,
        )
        self._out[number] = _Flight(self._fleet, self._request, effect, now)
        return effect

    def spoke(self, outcome: Spoke) -> None:
        """Go on with the attempt that has begun to answer, and give up the other one."""
        flight = self._out.pop(outcome.number)
        flight.spoke(outcome.now)
        self._outpace(outcome.now, flight)
        self._out = {outcome.number: flight}

    def is_over_with(self, outcome: Ended) -> bool:
        """Take how an attempt ended; return whether the round has ended with it."""
        flight = self._out.pop(outcome.number)
        flight.landed(outcome)
        flight.leave()
        self.ended.append((flight.name, outcome))
        answered = isinstance(outcome, Answered)
        if self._taken_at is not None and outcome.number != self._first.number and not isinstance(outcome, Failed):
            # It was answered, or sent nothing: it added no load to a provider in trouble.
            self._fleet.retries.give_back(self._taken_at)
        if answered:
            self._outpace(outcome.now, flight)
        return answered or not self._out

    def leave(self) -> None:
        for flight in self._out.values():
            flight.leave()

    def _outpace(self, now: float, winner: _Flight) -> None:
        """Give up the attempts that are still out: another one was faster."""
        if self._out:
            winner.won()
        for flight in self._out.values():
            flight.lost(now, self._patience)
            flight.leave()
        self._out.clear()


class _Flight:
    """One attempt in flight: counted in its candidate's state until it leaves."""

    __slots__ = ("_began", "_fleet", "_further", "_probe", "_request", "_state", "name")

    def __init__(self, fleet: Fleet, request: Request, effect: Try, now: float) -> None:
        self.name, self._fleet, self._began = effect.route.names[0], fleet, now
        self._request, self._further = request, effect.number > 1
        self._probe, self._state = fleet.started(self.name, now, further=self._further), fleet.states[self.name]
        self._state.waiting[self] = now

    def landed(self, outcome: Ended) -> None:
        now, began = outcome.now, self._began
        match outcome:
            case Answered():
                usage = outcome.response.usage
                output, silent = usage.output + usage.reasoning, outcome.first_token
                pace = pace_of(now - began, output, silent)
                self._fleet.ended(self.name, None, now, now - began, pace, output=output, silent=silent)
                late = self._fleet.policy.hedge_after
                if late is None or (now - began if silent is None else silent) <= late:
                    self._state.track.was_in_time()
            case Failed():
                error = None if outcome.sound else outcome.error
                tokens, _ = self._fleet.demands(self._request)
                self._fleet.ended(self.name, error, now, now - began, tokens=tokens)
            case Refused():
                pass  # it says nothing about the candidate's health
            case _:
                assert_never(outcome)

    def spoke(self, now: float) -> None:
        """Its silence is over: how long it still takes is a matter of the answer's length."""
        self._state.trust.replied(now)
        self._state.waiting.pop(self, None)

    def won(self) -> None:
        self._state.track.was_in_time()

    def lost(self, now: float, patience: float) -> None:
        """Another attempt answered first. One that had less time than `patience` was not late."""
        if now - self._began >= patience:
            self._state.track.was_outpaced(now, now - self._began, patience)

    def leave(self) -> None:
        """Count it no more: exactly once, however it ends."""
        self._state.waiting.pop(self, None)
        self._state.in_flight -= 1
        self._state.trust.out -= self._further
        if self._probe:  # cancelled, or an error that says nothing about health: the next turn may probe
            self._state.breaker = self._state.breaker.abandoned()
