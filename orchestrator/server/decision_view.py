"""Who was asked for a turn, and why, as the API and the page Decisions show it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event
from orchestrator.journal.spent import full_name
from orchestrator.server.views.turns import TurnView
from orchestrator.units import names_of
from providers.documents.unicode import clean
from providers.events import AttemptEnded, RouteChosen, WaitingForBudget, WaitingForProvider
from providers.routing.scores import Ordering, score


class RefusedShown(BaseModel):
    """A model that could not be asked, and why."""

    candidate: str
    why: str


class FactorShown(BaseModel):
    """What was compared, and how many points the best value of it is worth; null: nothing is weighed by points."""

    name: str
    points: float | None


class ComparedShown(BaseModel):
    """A candidate with its value of each factor; `score` null: the strategy goes by no points."""

    candidate: str
    values: list[float]
    score: float | None


class ComparisonShown(BaseModel):
    """What ordered the first candidates, where more than the policy's order told them apart."""

    pool: str
    strategy: str
    draw: float | None
    factors: list[FactorShown]
    compared: list[ComparedShown]


class RouteShown(BaseModel):
    """The candidates in the order in which they were to be asked, and why each other one was not among them."""

    at: float
    candidates: list[str]
    refused: list[RefusedShown]
    comparison: ComparisonShown | None


class AttemptShown(BaseModel):
    """An attempt: `outcome` is "ok", "failed" or "cancelled". `is_billed` though its answer was not used."""

    number: int
    candidate: str
    outcome: str
    error: str
    detail: str
    ms: float
    is_billed: bool
    cost_usd: float | None


class DecisionShown(BaseModel):
    """One turn at one place of a run. `answered_by` null: nobody has. `waits` tells what it waited for.

    Where a turn was begun again after a kill, or a text was continued, several routes were chosen in it.
    """

    place: str
    task: str
    turn: int
    agent: str
    routes: list[RouteShown]
    attempts: list[AttemptShown]
    waits: list[str]
    answered_by: str | None
    cost_usd: float | None
    tokens: int


class DecisionsShown(BaseModel):
    """Decisions of a run in the order in which its turns began: some of `count` that there are."""

    run_id: str
    squad: str
    tasks: list[str]
    """The tasks in which models were asked."""
    count: int
    decisions: list[DecisionShown]


def decision_of(turn: TurnView, mask: Callable[[str], str]) -> DecisionShown:
    """Return what is shown of a turn: its events so far."""
    shown = DecisionShown(
        place=clean(turn.place),
        task="" if turn.unit is None else clean(turn.unit.task),
        turn=turn.number,
        agent="",
        routes=[],
        attempts=[],
        waits=[],
        answered_by=None,
        cost_usd=None,
        tokens=0,
    )
    for event in turn.told:
        _take(shown, event, mask)
    return shown


def _take(shown: DecisionShown, event: Event, mask: Callable[[str], str]) -> None:
    match event.data:
        case TurnStarted(agent, _):
            shown.agent = clean(agent)
        case RouteChosen() as route:
            shown.routes.append(_route(event.at, route, mask))
        case AttemptEnded() as ended:
            shown.attempts.append(_attempt(ended, mask))
        case WaitingForProvider(until, reason):
            shown.waits.append(f"for a provider, {max(until - event.at, 0):.1f} s: {mask(clean(reason))}")
        case WaitingForBudget():
            shown.waits.append("for calls in flight, which held what was left of a budget")
        case TurnEnded() as ended:
            shown.answered_by, shown.tokens = clean(full_name(ended.provider, ended.model)), ended.usage.total
            shown.cost_usd = None if ended.cost is None else ended.cost / 1e6


def _route(at: float, route: RouteChosen, mask: Callable[[str], str]) -> RouteShown:
    refused = [RefusedShown(candidate=clean(name), why=mask(clean(why))) for name, why in route.refused.items()]
    comparison = None if route.contest is None else _comparison(Ordering.read(route.contest))
    return RouteShown(at=at, candidates=[*map(clean, route.candidates)], refused=refused, comparison=comparison)


def _attempt(ended: AttemptEnded, mask: Callable[[str], str]) -> AttemptShown:
    account = "" if ended.account == 1 else f"#{ended.account}"
    return AttemptShown(
        number=ended.number,
        candidate=clean(full_name(ended.provider, ended.model) + account),
        outcome=ended.outcome,
        error=clean(ended.error or ""),
        detail=mask(clean(ended.detail or "")),
        ms=ended.ms,
        is_billed=ended.usage is not None,
        cost_usd=None if ended.cost is None else ended.cost / 1e6,
    )


def _comparison(ordering: Ordering) -> ComparisonShown:
    points: tuple[Any, ...] = ordering.points or (None,) * len(ordering.factors)
    return ComparisonShown(
        pool=ordering.pool,
        strategy=ordering.strategy,
        draw=ordering.draw,
        factors=[FactorShown(name=name, points=worth) for name, worth in zip(ordering.factors, points, strict=False)],
        compared=[
            ComparedShown(
                candidate=clean(name),
                values=list(values),
                score=score(values, ordering.points) if ordering.points else None,
            )
            for name, values in zip(ordering.names, ordering.values, strict=True)
        ],
    )


def turns_in(turns: Iterable[TurnView], part: str = "", turn: int | None = None) -> list[TurnView]:
    """Return the turns in a part of a run: a task, an element, a step of one; of each place the one of this number."""
    return [
        one
        for one in turns
        if turn in (None, one.number) and (not part or (one.unit is not None and part in names_of(one.unit, one.step)))
    ]
