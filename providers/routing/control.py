"""What operators have set over the policy while it runs: weights, a strategy, who is drained or paused. Pure values.

Each change makes the next version of the whole, so that who changes something says which version it knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import inf
from typing import Any, Literal, get_args

from providers.catalog.model import of_all_accounts
from providers.documents.problems import nearest
from providers.errors import Reason, ReasonCode
from providers.policy.factors import Strategy

HoldKind = Literal["drained", "paused"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True, slots=True)
class OperatorHold:
    """Why a provider, or one of its models, is asked nothing new; what is in flight there ends as it will.

    One that is drained is out: turns that have nobody else are refused at once. One that is paused comes back, and they
    wait for it. `since` and `until` are epoch seconds; a pause ends at `until`, None: when an operator says so.
    """

    kind: HoldKind
    reason: str = ""
    by: str = ""
    since: float = 0.0
    until: float | None = None

    def told(self) -> Reason:
        """Return it as the reason why a candidate is not eligible."""
        code = ReasonCode.EXCLUDED if self.kind == "drained" else ReasonCode.PAUSED
        why = f": {self.reason}" if self.reason else ""
        return Reason(code, f"{self.kind} by an operator{why}", self.until)


@dataclass(frozen=True, slots=True)
class RoutingControl:
    """All that operators have set. `weights` by provider and the `strategy` take the place of the policy's.

    `holds` are by provider, or by `provider/model` (all its accounts) or `provider/model#2` (one of them).
    """

    version: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    strategy: Strategy | None = None
    holds: Mapping[str, OperatorHold] = field(default_factory=dict)

    def hold_of(self, name: str) -> OperatorHold | None:
        """Return what holds a candidate: a word about itself goes before one about its provider."""
        numbered = name if name != (whole := of_all_accounts(name)) else f"{name}#1"
        said = (self.holds.get(key) for key in (numbered, whole, name.partition("/")[0]))
        return next(filter(None, said), None)

    def holding(self, names: Iterable[str], hold: OperatorHold | None) -> RoutingControl:
        """Return it with these held; None: asked again."""
        holds = {name: known for name, known in self.holds.items() if name not in (names := tuple(names))}
        return replace(self, holds=holds if hold is None else {**holds, **dict.fromkeys(names, hold)})

    def lasting(self) -> RoutingControl:
        """Return it with holds that do not end by themselves."""
        return replace(self, holds={name: replace(hold, until=None) for name, hold in self.holds.items()})

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes."""
        return asdict(replace(self, weights=dict(self.weights), holds=dict(self.holds)))

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> RoutingControl:
        """Return it out of plain data; what a later release has added is left out. Raise `ValueError` for another."""
        try:
            holds = {name: _read_hold(each) for name, each in record["holds"].items()}
            strategy = record["strategy"] if record["strategy"] in STRATEGIES else None
            return cls(
                int(record["version"]), {name: float(w) for name, w in record["weights"].items()}, strategy, holds
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"this is not a record of what operators have set: {error!r}") from error


def _read_hold(record: Mapping[str, Any]) -> OperatorHold:
    kind: HoldKind = "paused" if record["kind"] == "paused" else "drained"
    return OperatorHold(kind, record["reason"], record["by"], record["since"], record["until"])


NOTHING_SET = RoutingControl()


@dataclass(frozen=True, slots=True)
class ControlChange:
    """What an operator asks for. A weight of None is the policy's own again, and so is the strategy `policy`.

    `resume` lets those that are drained or paused be asked again. `pause_for_s`: how long a pause lasts.
    """

    weights: Mapping[str, float | None] = field(default_factory=dict)
    strategy: Strategy | Literal["policy"] | None = None
    drain: tuple[str, ...] = ()
    pause: tuple[str, ...] = ()
    pause_for_s: float | None = None
    resume: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing."""
        return not (self.weights or self.strategy or self.drain or self.pause or self.resume)

    def over(self, control: RoutingControl, reason: str, by: str, now: float) -> RoutingControl:
        """Return the next version of what is set."""
        weights = {**control.weights, **self.weights}
        until = None if self.pause_for_s is None else now + self.pause_for_s
        strategy = self.strategy or control.strategy
        made = replace(
            control,
            version=control.version + 1,
            weights={name: weight for name, weight in weights.items() if weight is not None},
            strategy=None if strategy == "policy" else strategy,
        )
        made = made.holding(self.drain, OperatorHold("drained", reason, by, now))
        return made.holding(self.pause, OperatorHold("paused", reason, by, now, until)).holding(self.resume, None)


def mistakes(change: ControlChange, control: RoutingControl, known: Collection[str]) -> list[str]:
    """Return what is wrong with a change, each in a line. `known` are the providers and models that may be named."""
    found = ["nothing is to be changed: give weights, a strategy, or names to drain, pause or resume"]
    found = found if change.is_empty else []
    providers = {name.partition("/")[0] for name in known}
    for name, weight in change.weights.items():
        if name not in providers and name not in control.weights:
            found.append(_unknown("provider", name, providers))
        if weight is not None and not 0.0 <= weight < inf:
            found.append(f"the weight of {name} is {weight}: a weight is a finite number from 0 on")
    held = [*change.drain, *change.pause]
    wholes = {of_all_accounts(name) for name in known} | providers | {*known}
    for name in dict.fromkeys(held):
        if name.removesuffix("#1") not in wholes:
            found.append(_unknown("provider or model", name, wholes if "/" in name else providers))
    for name in dict.fromkeys(change.resume):
        if name not in control.holds:
            hint = nearest(name, control.holds)
            found.append(f"'{name}' is neither drained nor paused{f'; {hint}' if hint else ''}")
    twice = [name for name in dict.fromkeys([*held, *change.resume]) if [*held, *change.resume].count(name) > 1]
    found += [f"'{name}' is named twice: it is drained, paused or resumed" for name in twice]
    if change.strategy is not None and change.strategy not in (*STRATEGIES, "policy"):
        found.append(f"there is no strategy '{change.strategy}': {', '.join(STRATEGIES)}, or `policy` for its own")
    if change.pause_for_s is not None and not 0.0 < change.pause_for_s < inf:
        found.append(f"a pause of {change.pause_for_s} s is none")
    return found


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    hint = nearest(name, known)
    return f"there is no {kind} '{name[:80]}' here{f'; {hint}' if hint else ''}"
