"""How a scenario's file becomes a `Scenario`, or every mistake in it with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from providers.catalog.file import lay_over, load_catalog
from providers.catalog.model import Catalog, Limit
from providers.documents.findings import Findings
from providers.documents.models import validated
from providers.documents.nodes import Node, tree_of
from providers.documents.problems import Problem, SpecError, nearest
from providers.documents.yaml import mapping_in, read_text
from providers.errors import CatalogError
from providers.messages import Capability
from providers.policy.model import Policy
from providers.policy.parse import read_policy
from providers.simulation.cluster.shape import check_cluster, cluster_of
from providers.simulation.scenario import EVERY, Behaviour, Expectation, Flaky, Latency, Load, Outage, Scenario
from providers.simulation.scenario_shape import (
    MOST_TURNS,
    BehaviourShape,
    ClaimShape,
    Keys,
    LoadShape,
    OutageShape,
    ScenarioShape,
)

SUFFIX = ".yaml"


def shipped() -> Sequence[str]:
    """Return the names of the packaged scenarios, sorted."""
    folder = resources.files("providers.simulation") / "scenarios"
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


def load(source: str | Path) -> Scenario:
    """Return the scenario; see `load_scenario`."""
    if isinstance(source, str) and source in shipped():
        text = (resources.files("providers.simulation") / "scenarios" / f"{source}{SUFFIX}").read_text("utf-8")
        return _parsed(text, source, source)
    path = Path(source)
    if not path.exists():
        known = shipped()
        hint = nearest(str(path), known)
        if not hint.startswith("did you mean"):
            hint = f"shipped are {', '.join(known)}"
        message = "no scenario has this name, and there is no such file"
        raise SpecError([Problem(str(path), 1, 1, 0, "unreadable-file", message, hint=hint)])
    return _parsed(read_text(path), str(path), path.stem)


def _parsed(text: str, file: str, name: str) -> Scenario:
    read: list[Problem] = []
    return parse_scenario(mapping_in(text, file, read), name, read)


def parse_scenario(data: Mapping[str, Any] | Node, name: str, read: Sequence[Problem] = ()) -> Scenario:
    """Return the scenario that a file's tree says, or Python objects that hold the same.

    Raise `CatalogError` with every mistake, those that were `read` among them.
    """
    root = data if isinstance(data, Node) else tree_of(data)
    shape, wrong = validated(ScenarioShape, root, read)
    findings = Findings.after(root, wrong)
    policy, catalog = _policy(root, findings)
    _check_providers(shape, catalog, findings)
    _check_loads(shape, catalog, policy, findings)
    _check_claims(shape, findings)
    if shape.cluster is not None:
        _check_lasting(shape, findings)
        check_cluster(shape.cluster, shape.instances, shape.message_delay, findings)
    providers = {who: _behaviour(who, row, catalog, findings) for who, row in shape.providers.items()}
    if findings.found:
        raise CatalogError(findings.found)
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
        cluster=None if shape.cluster is None else cluster_of(shape.cluster),
    )


def _policy(root: Node, findings: Findings) -> tuple[Policy, Catalog]:
    written = root.child("policy")
    is_readable = written is not None and isinstance(written.value, Mapping)
    policy, catalog, found = read_policy(written if written and is_readable else tree_of({}), load_catalog())
    findings.add(problem.under(("policy",)) for problem in found)
    return policy, catalog


def _check_providers(shape: ScenarioShape, catalog: Catalog, findings: Findings) -> None:
    """Report names of providers and regions that lead nowhere, and errors that come to more than all calls."""
    for name, row in shape.providers.items():
        path = ("providers", name)
        if name != EVERY and name not in catalog.providers:
            hint = nearest(name, catalog.providers) or "policy.providers may bring new ones"
            findings.error(path, "unknown-provider", f"no provider is called '{name}'", hint, key=True)
        region = row.region if row else None
        if region is not None and region not in shape.regions:
            findings.unknown((*path, "region"), "region", region, shape.regions)
        if row and sum(row.errors.values()) > 1:
            findings.error((*path, "errors"), "out-of-range", "'errors' add up to more than 100 %", key=True)


def _check_loads(shape: ScenarioShape, catalog: Catalog, policy: Policy, findings: Findings) -> None:
    """Report names of tiers, models and capabilities that lead nowhere, and numbers of turns that cannot be."""
    known = [each.value for each in Capability]
    for at, load in enumerate(shape.load):
        path = ("load", at)
        if load.tier is not None and load.tier not in policy.tiers:
            findings.unknown((*path, "tier"), "tier", load.tier, policy.tiers)
        if load.model is not None and catalog.find(load.model) is None:
            findings.unknown((*path, "model"), "model", load.model, catalog.names())
        for which, capability in enumerate(load.abilities):
            if capability not in known:
                findings.unknown((*path, "abilities", which), "capability", capability, known)
        _check_count(load, at, findings)
    if (turns := sum(_count(load) * len(_who(load)) for load in shape.load)) > MOST_TURNS:
        message = f"the loads come to {turns:,} turns: up to {MOST_TURNS:,} are possible"
        findings.error(("load",), "out-of-range", message, key=True)


def _check_count(load: LoadShape, at: int, findings: Findings) -> None:
    path, said = ("load", at), [load.count, load.over, load.every]
    if load.count is None and None in said[1:]:
        findings.lacks(path, "one-of", "a load needs a count, or `over` and `every`")
    elif None not in said:
        findings.lacks(path, "one-of", "a load has count, over and every: two of them make the third")
    elif load.count is None and not 1 <= _count(load) <= MOST_TURNS:
        message = f"the load comes to {_count(load):,} turns: 1 to {MOST_TURNS:,} are possible"
        findings.error(path, "out-of-range", message)


def _check_claims(shape: ScenarioShape, findings: Findings) -> None:
    for at, claim in enumerate(shape.claims):
        if claim.exactly is None and claim.at_least is None and claim.at_most is None:
            findings.lacks(("claims", at), "one-of", "the claim claims nothing: say exactly, at_least or at_most")
        if not claim.of:
            hint = "name a figure of the report, as failed or [providers, groq, share]"
            findings.error(("claims", at, "of"), "out-of-range", "'of' is empty", hint)


def _check_lasting(shape: ScenarioShape, findings: Findings) -> None:
    """Report loads that come all at once: what a cluster carries in an hour is measured while a load comes."""
    for at, load in enumerate(shape.load):
        if load.over is None and load.every is None:
            findings.lacks(
                ("load", at), "one-of", "with a cluster a load needs a time that it lasts: `over` or `every`"
            )


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
            capabilities=frozenset(Capability(capability) for capability in row.abilities),
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


def _behaviour(name: str, row: BehaviourShape | None, catalog: Catalog, findings: Findings) -> Behaviour:
    row = row or BehaviourShape()
    latency = Latency(row.latency.first_token, row.latency.per_token, row.latency.spread)
    flaky = None if row.flaky is None else Flaky(row.flaky.share, row.flaky.mean, row.flaky.how)
    hidden = _hidden(name, catalog, findings) if row.hidden_limits else ()
    return Behaviour(latency, row.errors, tuple(map(_outage, row.outages)), flaky, row.region, hidden)


def _hidden(name: str, catalog: Catalog, findings: Findings) -> tuple[Limit, ...]:
    """Return the limits that only the provider knows of; they are read as those of a catalog's row are."""
    path = ("providers", name, "hidden_limits")
    if name == EVERY:
        findings.error(path, "misplaced-field", "'hidden_limits' are those of one provider: name it", key=True)
        return ()
    if name not in catalog.providers or findings.is_broken(path):
        return ()
    known, written = catalog.providers[name].limits, findings.node.at(path)
    row = Findings(tree_of({"providers": {name: {"limits": written}}}))
    laid = lay_over(catalog, row)
    findings.add(replace(problem, path=(*path, *problem.path[3:])) for problem in row.found)
    return tuple(limit for limit in laid.providers[name].limits if limit not in known)


def _outage(row: OutageShape) -> Outage:
    return Outage(row.begins, row.lasts, row.how)


def _expectation(claim: ClaimShape) -> Expectation:
    return Expectation(claim.text, _keys(claim.of), _keys(claim.per), claim.exactly, claim.at_least, claim.at_most)


def _keys(said: Keys) -> tuple[str | int, ...]:
    return tuple(said.split(".")) if isinstance(said, str) else tuple(said)
