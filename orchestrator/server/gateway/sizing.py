"""How much a request may take of its key's allowance: by the models that may answer it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.server.gateway.allowance import RequestSize, run_lease
from orchestrator.server.gateway.failures import GatewayFailure
from orchestrator.server.gateway.keys import Key
from orchestrator.squad.load import Squad
from providers.budgets import CallSizes
from providers.catalog.model import Candidate
from providers.catalog.prices import cost_of
from providers.limits.rules import NOMINAL, full_name
from providers.messages import Request, Usage
from providers.routing.call_size import call_size
from providers.routing.fleet import Fleet
from providers.routing.ordering import expected_output


def size_of(fleet: Fleet, request: Request, now: float) -> RequestSize:
    """Return what a request may take, whichever model answers it. An unknown price counts as 0."""
    tokens, able = _able(fleet, request)
    if not able:
        return RequestSize(tokens, tokens)
    answer = max(expected_output(request, one.model) for one in able)
    sizes = [call_size(request, tokens, one, CallSizes(), now) for one in able]
    return RequestSize(
        tokens,
        tokens + answer,
        min(size.cost_of(size.least) for size in sizes),
        max(size.cost_of(size.usual) for size in sizes),
        max(size.cost_of(size.most) for size in sizes),
    )


def size_of_texts(texts: int, candidates: Sequence[Candidate], now: float) -> RequestSize:
    """Return what it may take to make vectors of so many tokens."""
    costs = [cost_of(one, Usage(input=texts), now) or 0 for one in candidates] or [0]
    return RequestSize(texts, texts, min(costs), max(costs), max(costs))


def size_of_run(run: str, squad: Squad, request: Request) -> RequestSize:
    """Return what a run of a squad may take: its own `max_cost`, else all that is left."""
    budget = squad.spec.budget
    cap = None if budget is None else budget.max_cost
    half = float("inf") if cap is None else cap * 1e6 / 2  # a request holds twice what it is expected to cost
    return RequestSize(request.input_tokens, request.input_tokens, min(1.0, half), half, half, run_lease(run))


def with_known_prices(fleet: Fleet, request: Request, key: Key, now: float) -> Request:
    """Return a request that a key under a budget makes: it goes to models whose price is known, for no other can be
    kept to one. Raise `GatewayFailure` where none is. The policy's `unknown_price: allow` lets all be asked."""
    if not key.budgets or fleet.policy.budget.unknown_price == "allow":
        return request
    _, able = _able(fleet, request)
    priced = [one for one in able if cost_of(one, NOMINAL, now) is not None]
    if len(priced) == len(able):
        return request
    if not priced:
        raise unknown_price(key, able[0])
    return replace(request, needs=replace(request.needs, model=None, chain=tuple(map(full_name, priced))))


def unknown_price(key: Key, candidate: Candidate) -> GatewayFailure:
    """Return the failure of a request that no budget can be kept to."""
    text = f"the price of {full_name(candidate)} is unknown, and the key '{key.name}' has a budget that must count it"
    return GatewayFailure(403, "permission", text, "price_unknown", "model")


def _able(fleet: Fleet, request: Request) -> tuple[int, list[Candidate]]:
    tokens, needed = fleet.demands(request)
    states = fleet.ranking(request.needs).states
    return tokens, [state.candidate for state in states if needed <= state.candidate.model.capabilities]
