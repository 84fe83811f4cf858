"""How a scenario's text becomes a `Scenario`. Every mistake is told with its path of keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from providers.catalog.file import nearest, read_shape
from providers.catalog.model import Catalog, Limit, Problem, load_catalog
from providers.documents.depth import TOO_DEEP_HINT, too_deep
from providers.errors import CatalogError
from providers.messages import Ability
from providers.policy.model import Policy, parse_policy
from providers.simulation.scenario import EVERY, Behaviour, Expectation, Flaky, Latency, Load, Outage, Scenario
from providers.simulation.scenario_shape import (
    MOST_TURNS,
    BehaviourShape,
    ClaimShape,
    Keys,
    LoadShape,
    OutageShape,
)
from providers.simulation.scenario_shape import ScenarioShape as ScenarioShape

SUFFIX = ".yaml"
LARGEST = 1_000_000
"""Bytes of a scenario file."""
MOST_VALUES, DEEPEST = 20_000, 50


def shipped() -> Sequence[str]:
    """Return the names of the packaged scenarios, sorted."""
    folder = resources.files("providers.simulation") / "scenarios"
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


def load(source: str | Path) -> Scenario:
    """Return the scenario; see `load_scenario`."""
    if isinstance(source, str) and source in shipped():
        text = (resources.files("providers.simulation") / "scenarios" / f"{source}{SUFFIX}").read_text("utf-8")
        return parse_scenario(_tree(text, source), source)
    path = Path(source)
    return parse_scenario(_tree(_text(path), str(path)), path.stem)


def parse_scenario(data: Mapping[str, Any], name: str) -> Scenario:
    """Return the scenario that a file's mapping says. Raise `CatalogError` with everything that is wrong with it."""
    shape, problems = read_shape(ScenarioShape, data, ())
    policy, catalog, wrong = _policy(data.get("policy"))
    problems += wrong
    if shape is None or catalog is None or policy is None:
        raise CatalogError(problems)
    problems += [*_unknown(shape, catalog, policy), *_load_problems(shape), *_claim_problems(shape)]
    providers = {who: _behaviour(who, row, catalog, problems) for who, row in shape.providers.items()}
    if problems:
        raise CatalogError(problems)
    return Scenario(
        name=name,
        title=shape.title,
        about=shape.about.strip(),
        policy=policy,
        catalog=catalog,
        providers=providers,
        load=tuple(each for row in shape.load for each in _loads(row)),
        claims=tuple(_expectation(claim) for claim in shape.claims),
        regions={region: tuple(map(_outage, outages)) for region, outages in shape.regions.items()},
        starts=shape.starts,
        instances=shape.instances,
        message_delay=shape.message_delay,
        seed=shape.seed,
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise _wrong(f"{path} is larger than {LARGEST:,} bytes: that is no scenario")
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        known = shipped()
        hint = nearest(str(path), known) or f": there is no such file, and shipped are {', '.join(known)}"
        raise _wrong(f"no scenario {str(path)!r}{hint}") from None
    except UnicodeDecodeError as error:
        raise _wrong(f"{path} is not UTF-8: byte {error.start}") from None
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from None


def _tree(text: str, name: str) -> Mapping[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_excess(yaml.parse(text, loader), name)
        data = yaml.load(text, loader)  # noqa: S506  # both loaders are safe ones
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, yaml.YAMLError) and (deep := too_deep(text, DEEPEST, error)):
            raise _excess(name, deep, f"{DEEPEST} levels", TOO_DEEP_HINT) from None
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        raise _wrong(f"{name} is no YAML{_place(mark)}: {said}") from None
    if not isinstance(data, Mapping):
        raise _wrong(f"{name} holds no mapping: a scenario has title, providers and load")
    return {str(key): value for key, value in data.items()}


def _refuse_excess(events: Iterable[Any], name: str) -> None:
    """Raise `CatalogError` for events, what aliases repeat counted again, that must not be composed.

    Nesting can end the process else.
    """
    sizes: dict[str | None, int] = {}
    above: list[tuple[str | None, int]] = []
    count = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            above.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = above.pop()
            sizes[anchor] = count - before
        count += isinstance(event, yaml.NodeEvent)
        if count > MOST_VALUES:
            raise _excess(name, event, f"{MOST_VALUES:,} values", "write several scenarios")
        if len(above) > DEEPEST:
            raise _excess(name, event, f"{DEEPEST} levels", TOO_DEEP_HINT)


def _excess(name: str, event: yaml.Event, cap: str, hint: str) -> CatalogError:
    return _wrong(f"{name} holds more than {cap}{_place(event.start_mark)}: {hint}")


def _place(mark: Any) -> str:
    return f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _wrong(text: str) -> CatalogError:
    return CatalogError([((), text)])


def _policy(said: Any) -> tuple[Policy | None, Catalog | None, list[Problem]]:
    if said is not None and not isinstance(said, Mapping):
        return None, None, []  # told by the shape already
    try:
        policy, catalog = parse_policy(said or {}, load_catalog())
    except CatalogError as error:
        return None, None, [(("policy", *path), text) for path, text in error.problems]
    return policy, catalog, []


def _unknown(shape: ScenarioShape, catalog: Catalog, policy: Policy) -> Iterator[Problem]:
    """Yield which names lead nowhere."""
    for name, row in shape.providers.items():
        if name != EVERY and name not in catalog.providers:
            text = f"unknown provider {name!r}{nearest(name, catalog.providers)}: policy.providers may bring new ones"
            yield ("providers", name), text
        region = row.region if row else None
        if region is not None and region not in shape.regions:
            yield ("providers", name, "region"), f"unknown region {region!r}{nearest(region, shape.regions)}"
        if row and sum(row.errors.values()) > 1:
            yield ("providers", name, "errors"), "come to more than all calls"
    for at, load in enumerate(shape.load):
        if load.tier is not None and load.tier not in policy.tiers:
            yield ("load", at, "tier"), f"unknown tier {load.tier!r}{nearest(load.tier, policy.tiers)}"
        if load.model is not None and catalog.find(load.model) is None:
            yield ("load", at, "model"), f"unknown model {load.model!r}{nearest(load.model, catalog.names())}"
        for which, ability in enumerate(load.abilities):
            known = [each.value for each in Ability]
            if ability not in known:
                yield ("load", at, "abilities", which), f"unknown ability {ability!r}{nearest(ability, known)}"


def _load_problems(shape: ScenarioShape) -> Iterator[Problem]:
    for at, load in enumerate(shape.load):
        said = [load.count, load.over, load.every]
        if load.count is None and None in said[1:]:
            yield ("load", at), "needs a count, or `over` and `every`"
        elif None not in said:
            yield ("load", at), "has count, over and every: two of them make the third"
        elif load.count is None and not 1 <= _count(load) <= MOST_TURNS:
            yield ("load", at), f"comes to {_count(load):,} turns: 1 to {MOST_TURNS:,} are possible"
    if (turns := sum(_count(load) * len(_who(load)) for load in shape.load)) > MOST_TURNS:
        yield ("load",), f"comes to {turns:,} turns: up to {MOST_TURNS:,} are possible"


def _claim_problems(shape: ScenarioShape) -> Iterator[Problem]:
    for at, claim in enumerate(shape.claims):
        said = [each for each in (claim.exactly, claim.at_least, claim.at_most) if each is not None]
        if not said:
            yield ("claims", at), "claims nothing: say exactly, at_least or at_most"
        if not claim.of:
            yield ("claims", at, "of"), "is empty: name a figure of the report, as failed or [providers, groq, share]"


def _count(load: LoadShape) -> int:
    if load.count is not None:
        return load.count
    return round((load.over or 0.0) / (load.every or 1.0))


def _loads(row: LoadShape) -> Iterator[Load]:
    count = _count(row)
    over = row.over if row.over is not None else count * (row.every or 0.0)
    for agent, persona in _who(row):
        yield Load(
            count=count,
            over=over,
            begins=row.begins,
            agent=agent,
            persona=persona,
            tier=row.tier,
            model=row.model,
            task_type=row.task_type,
            abilities=frozenset(Ability(ability) for ability in row.abilities),
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            max_output_tokens=row.max_output_tokens,
            spread=row.spread,
            deadline=row.deadline,
            arrivals=row.arrivals,
            phase=row.phase,
        )


def _who(row: LoadShape) -> Sequence[tuple[str | None, str | None]]:
    named = [*((agent, None) for agent in row.agents), *((None, persona) for persona in row.personas)]
    return named or [(None, None)]


def _behaviour(name: str, row: BehaviourShape | None, catalog: Catalog, problems: list[Problem]) -> Behaviour:
    row = row or BehaviourShape()
    latency = Latency(row.latency.first_token, row.latency.per_token, row.latency.spread)
    flaky = None if row.flaky is None else Flaky(row.flaky.share, row.flaky.mean, row.flaky.how)
    hidden = _hidden(name, row.hidden_limits, catalog, problems) if row.hidden_limits else ()
    return Behaviour(latency, row.errors, tuple(map(_outage, row.outages)), flaky, row.region, hidden)


def _hidden(name: str, rows: list[Any], catalog: Catalog, problems: list[Problem]) -> tuple[Limit, ...]:
    """Return the limits; what is wrong with them is told under `hidden_limits`."""
    if name == EVERY:
        problems.append((("providers", name, "hidden_limits"), "are those of one provider: name it"))
        return ()
    if name not in catalog.providers:
        return ()
    known = catalog.providers[name].limits
    rowed, wrong = catalog.overlay_partly({name: {"limits": rows}})
    problems += [((*path[:2], "hidden_limits", *path[3:]), text) for path, text in wrong]
    return tuple(limit for limit in rowed.providers[name].limits if limit not in known)


def _outage(row: OutageShape) -> Outage:
    return Outage(row.begins, row.lasts, row.how)


def _expectation(claim: ClaimShape) -> Expectation:
    return Expectation(claim.text, _keys(claim.of), _keys(claim.per), claim.exactly, claim.at_least, claim.at_most)


def _keys(said: Keys) -> tuple[str | int, ...]:
    return tuple(said.split(".")) if isinstance(said, str) else tuple(said)
