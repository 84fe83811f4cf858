"""What a decision among several candidates reads, gathered from their states. Pure; `scores.py` does the sums."""

from __future__ import annotations

from collections.abc import Sequence

from providers.catalog.model import Model
from providers.messages import Capability, Request
from providers.routing.candidate_state import CandidateState
from providers.routing.fleet import Fleet
from providers.routing.ranking import Ranking
from providers.routing.scores import (
    SEEN,
    UNKNOWN_PACE,
    Ordering,
    known_or_best,
    load,
    preference,
    price_values,
    supposed,
    weight_in_effect,
)

MODEST_OUTPUT = 4096
"""Tokens of output to expect of a request that sets no cap: few answers are longer, and many models' caps are huge."""
NEEDED = {"reasoning": Capability.REASONING, "analysis": Capability.REASONING, "tools": Capability.TOOLS}
"""Task types that say by themselves which capability helps. `speed` and `long_context` are two more; a policy's own
`task_types` go before all of them, and what neither knows makes no difference."""


def expected_output(request: Request, model: Model) -> int:
    """Return how many tokens of answer to reserve for."""
    return request.max_output_tokens or min(model.max_output, MODEST_OUTPUT)


def alike(fleet: Fleet, request: Request, ranking: Ranking, members: Sequence[CandidateState], now: float) -> bool:
    """Whether nothing that is known or wished for tells `members` apart, so that the policy's order is all.

    Says so for a healthy first choice that is the only one measured yet: the usual case, which costs no arithmetic.
    """
    policy = fleet.policy
    if policy.strategy != "tier" or policy.by_price or policy.environment != "auto":
        return False
    if request.needs.task_type is not None or ranking.task_type is not None:
        return False
    measured = False
    for state in members:
        track = state.track
        if track.bad or state.headroom is not None:
            return False
        if state.pace(now) is not None:
            if measured or track.latency < UNKNOWN_PACE:
                return False
            measured = True
    return True


def ordering_of(
    fleet: Fleet, request: Request, ranking: Ranking, members: Sequence[CandidateState], now: float, draw: float | None
) -> Ordering:
    """Return the ordering of `members`, which are of one pool and may all be asked. `draw` is for `latency` alone."""
    names = tuple([state.name for state in members])
    pool, strategy = ranking.pools[names[0]], fleet.policy.strategy
    if strategy == "weighted":
        earned = fleet.credit(pool)
        shares = zip(_weights(fleet, members, now), [earned.get(name, 0.0) for name in names], strict=True)
        return Ordering(strategy, pool, names, ("weight", "credit"), (), tuple(shares))
    if strategy == "latency":
        paces = [supposed(state.pace(now), state.in_flight, state.silence(now)) for state in members]
        loads = tuple([(load(pace, state.in_flight),) for pace, state in zip(paces, members, strict=True)])
        return Ordering(strategy, pool, names, ("load",), (), loads, draw)
    values, points = _seen(members, now), fleet.points_seen
    factors: tuple[str, ...] = SEEN
    if more := _wished(fleet, request, ranking, members, [row[-1] for row in values]):
        factors += tuple(more)
        points += tuple([fleet.policy.factors[factor] for factor in more])
        values = [row + column for row, column in zip(values, zip(*more.values(), strict=True), strict=True)]
    return Ordering(strategy, pool, names, factors, points, tuple(values))


def _seen(members: Sequence[CandidateState], now: float) -> list[tuple[float, ...]]:
    """Return the values of `SEEN` by member: nothing known is nothing against it."""
    rows: list[tuple[float, ...]] = []
    measured = True
    for state in members:
        track, room = state.track, state.headroom
        latency = -1.0 if state.pace(now) is None else track.latency
        measured = measured and latency >= 0.0
        rows.append((1.0 if room is None else round(room, 3), track.health(now) if track.bad else 1.0, latency))
    if measured:
        return rows
    latencies = known_or_best([None if latency < 0.0 else latency for _, _, latency in rows])
    return [(room, health, latency) for (room, health, _), latency in zip(rows, latencies, strict=True)]


def _wished(
    fleet: Fleet, request: Request, ranking: Ranking, members: Sequence[CandidateState], pace: list[float]
) -> dict[str, list[float]]:
    """Return the values of the factors that are read only where the policy or the request asks for them."""
    columns: dict[str, list[float]] = {}
    if fleet.policy.by_price:
        columns["cost"] = price_values(_prices(fleet.demands(request)[0], request, members))
    task_type = request.needs.task_type or ranking.task_type
    if task_type is not None and (task := _task(fleet, task_type, members, pace)):
        columns["task"] = task
    if fleet.policy.environment != "auto":
        hosted = fleet.policy.environment == "production"
        columns["environment"] = [float(state.candidate.provider.hosted is hosted) for state in members]
    return columns


def _prices(tokens: int, request: Request, members: Sequence[CandidateState]) -> list[float | None]:
    """Return what the call would cost at each, in micro-USD, were the answer as long as is reserved for."""
    models = [state.candidate.model for state in members]
    return [
        None if m.price is None else tokens * m.price.input + expected_output(request, m) * m.price.output
        for m in models
    ]


def _task(fleet: Fleet, task_type: str, members: Sequence[CandidateState], pace: list[float]) -> list[float]:
    """Return how well each one suits the type of task; nothing where no rule says what the type wants."""
    preferred = fleet.policy.task_types.get(task_type)
    if preferred is not None:
        return [preference(state.account[0], preferred) for state in members]
    if task_type == "speed":
        return pace
    if task_type == "long_context":
        contexts = [state.candidate.model.context for state in members]
        return [round(context / max(contexts), 3) for context in contexts]
    capability = NEEDED.get(task_type)
    return [] if capability is None else [float(capability in state.candidate.model.capabilities) for state in members]


def _weights(fleet: Fleet, members: Sequence[CandidateState], now: float) -> tuple[float, ...]:
    """Return the weights in effect. Models of one provider in one tier share its weight evenly."""
    providers = [state.account[0] for state in members]
    return tuple(
        weight_in_effect(fleet.weight(provider) / providers.count(provider), track.error_rate(now), track.mean)
        for provider, track in zip(providers, [state.track for state in members], strict=True)
    )
