"""Turns and attempts on their way through a simulation."""

from __future__ import annotations

from random import Random

from providers.errors import ProviderError
from providers.limits.reserve import NoRoom
from providers.limits.rules import Ending
from providers.routing.admission import CallPlan
from providers.routing.effects import Try
from providers.routing.fleet import Fleet
from providers.routing.turn import attempts
from providers.simulation.load import Kind
from providers.simulation.terms import Terms


class ModelledRouter:
    """One instance of the provider manager: its own view of health, its own dice."""

    __slots__ = ("dice", "fleet", "number")

    def __init__(self, number: int, fleet: Fleet, dice: Random) -> None:
        self.number, self.fleet, self.dice = number, fleet, dice


class ModelledTurn:
    """One turn on its way."""

    __slots__ = ("began", "flow", "kind", "load", "number", "out", "router", "slept")

    def __init__(self, number: int, router: ModelledRouter, load: int, kind: Kind, began: float) -> None:
        self.number, self.router, self.load, self.kind, self.began = number, router, load, kind, began
        self.flow = attempts(router.fleet, kind.request, began, router.dice)
        self.out: list[ModelledAttempt] = []
        self.slept = 0.0


class ModelledAttempt:
    """One attempt of a turn, from its reservation to its end."""

    __slots__ = ("called", "effect", "ending", "error", "lease", "name", "number", "refused", "terms", "turn")

    def __init__(self, turn: ModelledTurn, effect: Try, terms: Terms | None) -> None:
        self.turn, self.effect, self.terms = turn, effect, terms
        self.name, self.number = effect.route.names[0], effect.number
        self.lease = f"{turn.number}/{effect.number}"
        self.called: float | None = None
        """When the call went to its provider."""
        self.error: ProviderError | None = None
        """What it will end in."""
        self.ending: Ending = "unknown"
        """How it ended, for the ledger."""
        self.refused: NoRoom | None = None
        """The ledger's answer, where it found no room."""

    @property
    def plan(self) -> CallPlan:
        assert self.terms is not None, "only what binds a call is reserved"
        assert self.terms.plan is not None, "only what binds a call is reserved"
        return self.terms.plan
