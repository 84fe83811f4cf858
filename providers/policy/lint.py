"""What a policy says in vain: rules without means, rules that are never read, and lists that leave nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from providers.catalog.file import nearest
from providers.catalog.model import Problem
from providers.documents.addresses import wrong_address
from providers.policy.names import Names
from providers.policy.parse import BudgetShape, PolicyShape
from providers.windows import knows_timezone


def problems_in(shape: PolicyShape, data: Mapping[str, Any], names: Names) -> Iterable[Problem]:
    """Yield what in `shape` cannot have the effect that was meant. `data` is what the file itself says."""
    yield from _without_means(shape)
    yield from _dead(shape, data)
    yield from _never_asked(shape, data, names)
    yield from _unchecked(shape, names)
    yield from _budget_problems(shape.budget)


def _without_means(shape: PolicyShape) -> Iterable[Problem]:
    """Yield which strategy has nothing to work with."""
    if shape.strategy == "weighted" and not any(shape.weights.values()):
        yield ("weights",), "strategy weighted needs a provider whose weight is over 0"
    chains = [agent.chain for agent in (*shape.agents.values(), shape.default) if agent]
    if shape.strategy == "chain" and not any(chains):
        yield ("strategy",), "strategy chain needs a chain: give one to default or to an agent"
    if shape.default and not (shape.default.tier or shape.default.chain or shape.default.model):
        yield ("default",), "needs a tier, a model or a chain"
    if shape.ledger is not None and (wrong := wrong_address(shape.ledger, in_file=True)):
        yield ("ledger",), wrong


def _unchecked(shape: PolicyShape, known: Names) -> Iterable[Problem]:
    """Yield what of `checks` nobody can be asked."""
    names = shape.checks.providers if shape.checks else []
    for at, name in enumerate(names):
        row = known.catalog.providers.get(name)
        if row is not None and not row.base_url:
            yield ("checks", "providers", at), f"{name} answers in this process: there is nothing to check"
        elif name in names[:at]:
            yield ("checks", "providers", at), "stands there twice"


def _dead(shape: PolicyShape, data: Mapping[str, Any]) -> Iterable[Problem]:
    """Yield which rules of the file never have an effect, whatever is asked. `data` is what the file itself says."""
    for path, said in ((("default",), shape.default), *((("agents", name), a) for name, a in shape.agents.items())):
        for key, first in (("tier", "chain"), ("tier", "model"), ("chain", "model")):
            if said is not None and getattr(said, key) and getattr(said, first):
                yield (*path, key), f"is never read: the {first} beside it goes first"
        types = shape.task_types
        if said is not None and said.task_type not in (None, *types) and (like := nearest(str(said.task_type), types)):
            yield (*path, "task_type"), f"no task type {said.task_type!r} is defined{like}"
    for who in keys(data.get("affinity")) & {name for name, a in shape.agents.items() if a.chain or a.tier or a.model}:
        yield ("affinity", who), f"is never read: agents.{who} goes first"
    for at, tier in enumerate(shape.last_resort or ()):
        if tier in (shape.last_resort or ())[:at]:
            yield ("last_resort", at), f"is never reached: {tier!r} stands before it"
    limits = shape.timeouts.given()
    for phase in ("connect", "first_token", "between_chunks"):
        if limits.get(phase, 0) > limits.get("total", inf):
            yield ("timeouts", phase), "is never reached: total is less"
    if shape.attempts.hedge_after is not None and shape.attempts.hedge_after >= limits.get("total", inf):
        yield ("attempts", "hedge_after"), "is never reached: the total of timeouts is not more"
    if shape.attempts.hedge_after is not None and shape.attempts.per_turn == 1:
        yield ("attempts", "hedge_after"), "is never read: per_turn allows no second attempt"
    if shape.stream.on_break != "error" and shape.attempts.per_turn == 1:
        yield ("stream", "on_break"), "is never read: attempts.per_turn allows no second attempt"
    never = {name for name, weight in shape.weights.items() if weight == 0}
    for tier, names in shape.tiers.items() if shape.strategy == "weighted" else ():
        if names and all(name.partition("/")[0] in never for name in names):
            yield ("tiers", tier), "nobody of it is ever asked: the weight of each of its providers is 0"


def _never_asked(shape: PolicyShape, data: Mapping[str, Any], known: Names) -> Iterable[Problem]:
    """Yield which lists of providers, by environment, are never read, or leave nobody to be asked."""
    agents = [*shape.agents.values(), *([shape.default] if shape.default else [])]
    named = [name for names in (*shape.tiers.values(), *(agent.chain for agent in agents)) for name in names]
    named += [agent.model for agent in agents if agent.model is not None]
    for where, names in shape.only.items():
        if shape.environment not in (where, "auto"):
            yield ("only", where), f"is never read: the environment is {shape.environment}"
        elif not any(map(known.provider, names)) and not {name.partition("/")[0] for name in named} & set(names):
            yield ("only", where), "leaves nobody to be asked: no tier, chain or model names any of them"
        for at, name in enumerate(names):
            if name in names[:at]:
                yield ("only", where, at), "stands there twice"
    allowed = shape.only.get(shape.environment) if shape.environment != "auto" else None
    for path, routed in _routes(shape, data) if allowed is not None else ():
        if routed and not {name.partition("/")[0] for name in routed} & set(allowed or ()):
            yield path, f"nobody of it is ever asked: in {shape.environment} only {', '.join(allowed or ())} may be"


def _routes(shape: PolicyShape, data: Mapping[str, Any]) -> Iterable[tuple[tuple[str | int, ...], list[str]]]:
    """Yield the tiers and chains that the file itself writes."""
    for tier in keys(data.get("tiers")) & shape.tiers.keys():
        yield ("tiers", tier), shape.tiers[tier]
    said = [(("default",), shape.default), *((("agents", name), agent) for name, agent in shape.agents.items())]
    for path, agent in said:
        if agent is not None and agent.chain:
            yield (*path, "chain"), agent.chain
        if agent is not None and agent.model is not None:
            yield (*path, "model"), [agent.model]


def _budget_problems(shape: BudgetShape) -> Iterable[Problem]:
    if not knows_timezone(shape.timezone):
        yield ("budget", "timezone"), f"knows no timezone {shape.timezone!r}: write one as Europe/Berlin"
    most = inf if shape.max_cost_per_day is None else shape.max_cost_per_day
    for name, cap in shape.providers.items():
        if cap > most:
            yield ("budget", "providers", name), "is never reached: max_cost_per_day is less"
    for name, cap in shape.models.items():
        if cap > min(most, shape.providers.get(name.partition("/")[0], inf)):
            yield ("budget", "models", name), "is never reached: the provider's cap, or that of the day, is less"
    if shape.webhook_env is not None and most == inf and not shape.providers and not shape.models:
        yield ("budget", "webhook_env"), "is never read: there is no cap to alert of"
    if 0 in shape.alert_at:
        yield ("budget", "alert_at", shape.alert_at.index(0)), "is no share to alert at: nothing is spent yet"


def keys(section: object) -> set[str]:
    """Return the keys of a mapping as text; of anything else none."""
    return {str(key) for key in section} if isinstance(section, Mapping) else set()
