"""What a change by an operator would mean: what differs, who would be left without a provider, what to know. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from providers.catalog.model import of_all_accounts
from providers.routing.control import RoutingControl
from providers.routing.fleet import Fleet


def left_alone(fleet: Fleet, after: RoutingControl) -> list[str]:
    """Return, in words, the tiers and agents that somebody may answer now, and that nobody could under `after`."""
    now, then = fleet.barred, fleet.barred_under(after)
    found: list[str] = []
    for what, patterns in _asked(fleet):
        members = [name for name in fleet.states if any(stands_for(pattern, name) for pattern in patterns)]
        if any(name not in now for name in members) and all(name in then for name in members):
            found.append(f"{what} would have no provider to ask: {', '.join(members)}")
    return found


def _asked(fleet: Fleet) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield all that a policy asks for by name, with the candidates that may answer."""
    for tier, names in fleet.written.tiers.items():
        yield f"the tier '{tier}'", names
    for agent, said in fleet.written.agents.items():
        if names := said.chain or tuple(filter(None, [said.model])):
            yield f"the agent '{agent}'", names


def stands_for(pattern: str, name: str) -> bool:
    """Return whether a policy's pattern (`provider/model`, `provider/*`, a model's own name) stands for a candidate."""
    if pattern.endswith("/*"):
        return name.startswith(pattern[:-1])
    whole = of_all_accounts(name)
    return pattern.removesuffix("#1") in (name, whole) or whole.endswith(f"/{pattern}")


def differences(before: RoutingControl, after: RoutingControl, written: Mapping[str, float]) -> list[str]:
    """Return, in words, what differs. `written` are the weights of the policy itself."""
    told: list[str] = []
    for name in dict.fromkeys([*before.weights, *after.weights]):
        was, is_now = (control.weights.get(name, written.get(name)) for control in (before, after))
        if was != is_now:
            told.append(f"the weight of {name}: {_weight(was)} → {_weight(is_now)}")
    if before.strategy != after.strategy:
        told.append(f"the strategy: {before.strategy or 'the policy’s'} → {after.strategy or 'the policy’s'}")
    for name in dict.fromkeys([*before.holds, *after.holds]):
        had, has = before.holds.get(name), after.holds.get(name)
        if had != has:
            told.append(f"{name}: {'in use' if had is None else had.kind} → {'in use' if has is None else has.kind}")
    return told


def _weight(weight: float | None) -> str:
    return "none" if weight is None else f"{weight:g}"


def notices(fleet: Fleet, after: RoutingControl) -> list[str]:
    """Return, in words, what an operator should know of what would be set, and may have meant otherwise."""
    strategy = after.strategy or fleet.written.strategy
    weights = {**fleet.written.weights, **after.weights}
    told: list[str] = []
    if after.weights and strategy != "weighted":
        told.append(f"weights change nothing while the strategy is `{strategy}`: set the strategy `weighted` as well")
    providers = dict.fromkeys(state.account[0] for state in fleet.states.values())
    if strategy == "weighted" and (without := [name for name in providers if name not in weights]):
        told.append(f"without a weight, and asked only after those that have one: {', '.join(without)}")
    absent = [name for name in (*after.weights, *after.holds) if not any(_is_of(name, one) for one in fleet.states)]
    if absent:
        told.append(f"not set up here, so it matters to other routing files alone: {', '.join(absent)}")
    return told


def _is_of(name: str, candidate: str) -> bool:
    return name == candidate.partition("/")[0] or name.removesuffix("#1") in (candidate, of_all_accounts(candidate))
