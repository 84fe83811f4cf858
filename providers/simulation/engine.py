"""Drives turns over virtual time: a heap of events, and no clock, thread or socket.

Exact, because it is the code that runs live: which candidates are asked and in which order, failover, waiting,
breakers, retry budgets, what is reserved of each limit and settled after the call. Modelled: what providers do
(`modelled.py`), and the way to the ledger that all router instances share. The ledger decides in the order in which
messages come to it and a call goes out only after its answer has come back, as with a server that machines share, so no
delay can lead past a limit; it costs each call two trips. Shares of a limit that instances lease and use up alone would
save those trips, and leave a part of each limit with instances that have no use for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any, BinaryIO

from providers.catalog.model import Catalog
from providers.errors import ProviderError, RateLimited, Reason, ReasonCode, RoutingError, TimedOut
from providers.limits.reserve import CounterStore, NoRoom
from providers.limits.rules import Ending, ending
from providers.policy.model import Policy
from providers.routing.admission import LATE_S, forbid, refuse, shut_until
from providers.routing.effects import Answered, Ended, Failed, Listen, Outcome, Refused, Silent, Sleep, Try, Woke
from providers.routing.fleet import Fleet
from providers.routing.health import limited_until
from providers.simulation.load import Kind, arrivals, dice, kinds
from providers.simulation.modelled import modelled_providers
from providers.simulation.present import candidates_of, present
from providers.simulation.records import Records
from providers.simulation.report import Report
from providers.simulation.scenario import Load, Scenario
from providers.simulation.summary import summary
from providers.simulation.terms import AllTerms
from providers.simulation.turns import ModelledAttempt, ModelledRouter, ModelledTurn

Act = Callable[[Any, float], None]
QueuedEvent = tuple[float, int, Act, Any]
"""When, its number (of two at one instant the earlier one made comes first), what happens, and its subject."""


def run(
    scenario: Scenario,
    *,
    policy: Policy | None = None,
    catalog: Catalog | None = None,
    load: Sequence[Load] | None = None,
    seed: int | None = None,
    log: BinaryIO | None = None,
) -> Report:
    """Return what the scenario came to; see `simulate`."""
    return Simulation(
        scenario,
        scenario.policy if policy is None else policy,
        scenario.catalog if catalog is None else catalog,
        scenario.load if load is None else load,
        scenario.seed if seed is None else seed,
        log,
    ).run()


class Simulation:
    """One run of a scenario, from its first turn to the end of the last one."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        catalog: Catalog,
        load: Sequence[Load],
        seed: int,
        log: BinaryIO | None,
    ) -> None:
        starts, behaviours = scenario.starts, present(scenario, catalog)
        candidates = candidates_of(catalog, behaviours)
        absent = Reason(ReasonCode.NOT_CONFIGURED, "it is not part of the scenario")
        unconfigured = {name: absent for name in catalog.providers if name not in behaviours}
        self._delay = scenario.message_delay
        self._providers = modelled_providers(behaviours, scenario.regions, starts, seed)
        self._makes_fleet = partial(Fleet, candidates, policy, unconfigured)
        self._control, self._seed = scenario.control, seed
        self._routers = [self._router(number) for number in range(scenario.instances)]
        self._counts = CounterStore()
        self._terms = AllTerms({name: each.hidden for name, each in behaviours.items()}, policy.budget, starts)
        self._kinds: list[list[Kind]] = []
        texts, number = dict[int, str](), 0
        for each in load:
            self._kinds.append(kinds(each, number, texts))
            number += len(self._kinds[-1])
        self._arrivals = [arrivals(each, starts, dice(seed, "load", at)) for at, each in enumerate(load)]
        self._dice = dice(seed, "sizes")
        self._heap: list[QueuedEvent] = []
        self._trips: deque[QueuedEvent] = deque()
        """Messages on their way to the ledger and back: all take as long, so they come in the order they were sent."""
        self._events = self._turns = 0
        self._records = Records(scenario, policy, candidates, load, seed, log)

    def _router(self, number: int) -> ModelledRouter:
        router = ModelledRouter(number, self._makes_fleet(), dice(self._seed, "router", number))
        router.fleet.operate(self._control)
        return router

    def run(self) -> Report:
        for at in range(len(self._arrivals)):
            self._expect(at)
        heap, trips = self._heap, self._trips
        while heap or trips:
            event = trips.popleft() if trips and (not heap or trips[0] < heap[0]) else heappop(heap)
            event[2](event[3], event[0])
        return summary(self._records, self._providers, self._terms.limits, self._routers[0].fleet)

    def _at(self, when: float, act: Act, subject: Any) -> None:
        self._events += 1
        heappush(self._heap, (when, self._events, act, subject))

    def _trip(self, now: float, act: Act, subject: Any) -> None:
        self._events += 1
        self._trips.append((now + self._delay, self._events, act, subject))

    def _expect(self, load: int) -> None:
        when = next(self._arrivals[load], None)
        if when is not None:
            self._at(when, self._arrive, load)

    def _arrive(self, load: int, now: float) -> None:
        self._expect(load)
        router = self._routers[self._turns % len(self._routers)]
        self._turns += 1
        self._go_on(ModelledTurn(self._turns, router, load, self._kind(load), now), None, now)

    def _kind(self, load: int) -> Kind:
        """Return of which kind the load's next turn is."""
        alike = self._kinds[load]
        return alike[0] if len(alike) == 1 else alike[int(self._dice.random() * len(alike))]

    def _go_on(
        self, turn: ModelledTurn, outcome: Outcome | None, now: float, ended: ModelledAttempt | None = None
    ) -> None:
        """Take the turn's next step. `ended` is the attempt that the outcome is of."""
        try:
            effect = next(turn.flow) if outcome is None else turn.flow.send(outcome)
        except StopIteration:
            assert ended is not None
            self._records.answered(ended, now)
            self._give_up(turn, now)
        except (RoutingError, ProviderError) as error:
            self._records.failed(turn, error, now)
            self._give_up(turn, now)
        else:
            if isinstance(effect, Try):
                self._try(turn, effect, now)
            elif isinstance(effect, Sleep):
                self._records.slept(turn, effect, now)
                self._at(max(now, effect.until), self._wake, turn)
            elif isinstance(effect, Listen) and effect.hedge_after is not None:
                self._at(now + effect.hedge_after, self._hear_nothing, turn.out[0])

    def _wake(self, turn: ModelledTurn, now: float) -> None:
        self._go_on(turn, Woke(now), now)

    def _try(self, turn: ModelledTurn, effect: Try, now: float) -> None:
        fleet = turn.router.fleet
        terms = self._terms.of(effect, turn.kind, fleet)
        attempt = ModelledAttempt(turn, effect, terms)
        turn.out.append(attempt)
        if effect.hedge_after is not None:
            self._at(now + effect.hedge_after, self._hear_nothing, attempt)
        if self._is_shut(attempt, now):
            self._come_back(attempt, Refused(now, attempt.number), now)
        elif terms is None or terms.plan is None:
            self._call(attempt, now)
        elif forbid(fleet.states[attempt.name], terms.plan.bound):
            self._come_back(attempt, Refused(now, attempt.number), now)
        else:
            self._send(attempt, self._reserve, now)

    def _is_shut(self, attempt: ModelledAttempt, now: float) -> bool:  # noqa: ARG002  # for those that share breakers
        """Whether another router has found the candidate broken, and this one hears of it just now."""
        return False

    def _send(self, attempt: ModelledAttempt, act: Act, now: float) -> None:
        """Take a message to the ledger."""
        if self._delay:
            self._trip(now, act, attempt)
        else:
            act(attempt, now)

    def _send_back(self, attempt: ModelledAttempt, act: Act, now: float) -> None:
        """Take the ledger's answer to the router."""
        self._send(attempt, act, now)

    def _hear_nothing(self, attempt: ModelledAttempt, now: float) -> None:
        if attempt in attempt.turn.out:
            self._go_on(attempt.turn, Silent(now), now)

    def _reserve(self, attempt: ModelledAttempt, now: float) -> None:
        """The ledger hears of the call."""
        attempt.refused = self._hold(attempt, attempt.effect.timeouts.total + LATE_S, now)
        self._send_back(attempt, self._call if attempt.refused is None else self._turn_away, now)

    def _hold(self, attempt: ModelledAttempt, ttl: float, now: float) -> NoRoom | None:
        return self._counts.reserve(attempt.plan.reserves, attempt.lease, now, now + ttl)

    def _turn_away(self, attempt: ModelledAttempt, now: float) -> None:
        """The router hears that there is no room."""
        refused = attempt.refused
        assert refused is not None
        refuse(attempt.turn.router.fleet.states[attempt.name], attempt.plan, refused, now)
        if attempt in attempt.turn.out:
            self._records.refused(attempt, refused, now)
            self._come_back(attempt, Refused(now, attempt.number), now)

    def _call(self, attempt: ModelledAttempt, now: float) -> None:
        """The provider hears of the call."""
        turn, effect = attempt.turn, attempt.effect
        if attempt not in turn.out:  # given up while it asked the ledger
            self._close(attempt, "unsent", now)
            return
        provider, model = self._providers[effect.candidate.provider.name], effect.candidate.model.name
        usage = turn.kind.usage
        seconds, attempt.error = provider.answer(now, model, usage.output + usage.reasoning, attempt.terms)
        patience = effect.timeouts.first_token
        if seconds > patience:
            seconds, attempt.error = patience, TimedOut(f"nothing came within {patience:g} s", phase="first_token")
        attempt.called = now
        self._records.called(turn.router.fleet.states[attempt.name])
        self._at(now + seconds, self._end, attempt)

    def _end(self, attempt: ModelledAttempt, now: float) -> None:
        """The call has come back; its reservation is settled while the turn goes on."""
        turn, error, terms = attempt.turn, attempt.error, attempt.terms
        if attempt not in turn.out:
            return
        self._records.ended(attempt, now)
        if error is None:
            self._providers[attempt.effect.candidate.provider.name].answered(terms, now)
            outcome: Ended = Answered(now, attempt.number, turn.kind.response)
        else:
            outcome = Failed(now, attempt.number, error)
        if terms is not None and terms.plan is not None:
            self._close(attempt, ending(error, error is None), now)
        if isinstance(error, RateLimited) and (terms is None or terms.plan is None or not terms.plan.bound.limits):
            turn.router.fleet.states[attempt.name].left(0.0, limited_until(error, now))
        self._come_back(attempt, outcome, now)

    def _come_back(self, attempt: ModelledAttempt, outcome: Outcome, now: float) -> None:
        attempt.turn.out.remove(attempt)
        self._go_on(attempt.turn, outcome, now, attempt)

    def _give_up(self, turn: ModelledTurn, now: float) -> None:
        """Let go of what is still out when a turn ends: what became of it is unknown."""
        given_up, turn.out = turn.out, []
        for attempt in given_up:
            if attempt.called is not None:
                self._records.dropped(attempt, now)
                self._close(attempt, "unknown", now)

    def _close(self, attempt: ModelledAttempt, how: Ending, now: float) -> None:
        if attempt.terms is not None and attempt.terms.plan is not None:
            attempt.ending = how
            self._send(attempt, self._settle, now)

    def _settle(self, attempt: ModelledAttempt, now: float) -> None:
        """The ledger hears what the call came to."""
        assert attempt.terms is not None
        self._counts.settle(attempt.terms.settles[attempt.ending], attempt.lease, now)
        if (shut := shut_until(attempt.plan.bound, attempt.error, now)) is not None:
            self._counts.observe(shut[0], -1.0, shut[1], now)
