"""`simulate --tune`: the file that is tuned, the search, and the better file as a diff."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import ROUTING_FILE, environment, routing_file
from orchestrator.cli.recorded_load import RecordedLoad
from orchestrator.cli.ui.console import count
from orchestrator.cli.ui.traffic import compared
from orchestrator.forecast.figures import averaged
from orchestrator.forecast.moves import Knob, NothingToTune
from orchestrator.forecast.preview import RoutingInForce
from orchestrator.forecast.scenario import Forecast
from orchestrator.forecast.tuning import Search, Tuned
from orchestrator.squad.routing import load_routing
from providers.catalog.model import Catalog
from providers.documents.problems import Path as KeyPath
from providers.documents.unicode import printable
from providers.documents.yaml import ParsedFile, mapping_in, read_text
from providers.policy.environment import with_environment
from providers.simulation import Claim, Report, Scenario, shipped
from providers.simulation.scenario_file import parse_scenario

SIMULATED_TURNS = 600_000
"""That the simulations of a search come to together, where nothing is said: a minute or two."""
FEWEST, MOST = 8, 300
"""Simulations of a search: of a million turns each takes half a minute and more."""
FEW_SEEDS = 20_000
"""Turns from which on each policy is tried on one seed, and compared on one."""


@dataclass(frozen=True, slots=True)
class TunedFile:
    """The file that is tuned: its name, its text ("": there is none yet), where in it the policy stands, and how it
    becomes a scenario. `claims` are what a report of it claims, where the scenario does not say it."""

    name: str
    text: str
    root: KeyPath
    build: Callable[[str], Scenario]
    claims: Callable[[Report], Sequence[Claim]] | None = None

    @property
    def source(self) -> str:
        return self.name if self.text else "/dev/null"


def of_scenario(what: str, parsed: ParsedFile | None, scenario: Scenario, policy: str | None) -> TunedFile:
    """Return the file of a scenario's own policy; with a `policy` that routing file."""
    if policy is not None:

        def under(text: str) -> Scenario:
            rules, catalog = load_routing(policy, scenario.catalog, {policy: text})
            return replace(scenario, policy=rules, catalog=catalog)

        return TunedFile(policy, read_text(policy), (), under)
    if parsed is None:
        assert what in shipped(), "a name that is no file's"
        file = resources.files("providers.simulation") / "scenarios" / f"{what}.yaml"
        name, text = f"{what}.yaml", file.read_text("utf-8")
    else:
        name, text = parsed.file, parsed.text
    return TunedFile(name, text, ("policy",), lambda text: parse_scenario(mapping_in(text, name), Path(name).stem))


def of_squad(scenario: Scenario, forecast: Forecast, policy: str | None, settings: Settings) -> TunedFile:
    """Return the routing file under which the runs of a squad are simulated."""
    pinned = [name for load in scenario.load for name in (load.model, *load.chain)]

    def under(rules: RoutingInForce) -> Scenario:
        return replace(scenario, policy=rules.policy, catalog=rules.catalog.serving_pinned(pinned))

    return _routing(policy, settings, under, forecast.claims)


def of_traffic(load: RecordedLoad, policy: str | None, settings: Settings) -> TunedFile:
    """Return the routing file under which recorded traffic is simulated."""
    return _routing(policy, settings, load.trial.scenario, None)


def _routing(
    policy: str | None,
    settings: Settings,
    under: Callable[[RoutingInForce], Scenario],
    claims: Callable[[Report], Sequence[Claim]] | None,
) -> TunedFile:
    file = Path(policy) if policy is not None else routing_file(settings)
    name, environ = str(file or ROUTING_FILE), environment(settings)

    def build(text: str) -> Scenario:
        found: tuple[Any, Catalog] = load_routing(name if text.strip() else None, texts={name: text})
        return under(RoutingInForce(*with_environment(*found, environ)))

    return TunedFile(name, "" if file is None else read_text(file), (), build, claims)


def tune(
    file: TunedFile, knob: Knob, seed: int | None, budget: int | None, seconds: float | None
) -> tuple[Tuned, Sequence[Claim], Sequence[Claim]]:
    """Return what the search found, and the claims before and after, each held where it does on every seed.

    Raise `Unusable` where there is nothing to tune.
    """
    base = file.build(file.text)
    turns = max(1, sum(load.count for load in base.load))
    few = turns > FEW_SEEDS
    ends = None if seconds is None else time.monotonic() + seconds
    search = Search(
        text=file.text,
        root=file.root,
        build=file.build,
        knob=knob,
        seed=base.seed if seed is None else seed,
        budget=budget or min(MOST, max(FEWEST, SIMULATED_TURNS // turns)),
        seeds=1 if few else 2,
        held_out=1 if few else 3,
        may_go_on=lambda: ends is None or time.monotonic() < ends,
        claims=None if file.claims is None else _unheld(file.claims),
    )
    try:
        found = search.run()
    except NothingToTune as nothing:
        raise Unusable(f"--tune {knob}: {nothing}", _hint(knob, file)) from nothing
    return found, _claims(file, found.before), _claims(file, found.after)


def _unheld(claims: Callable[[Report], Sequence[Claim]]) -> Callable[[Report], float]:
    return lambda report: float(sum(not claim.held for claim in claims(report)))


def _claims(file: TunedFile, reports: Sequence[Report]) -> Sequence[Claim]:
    each = [file.claims(report) if file.claims else report.claims for report in reports]
    return [next((claim for claim in same if not claim.held), same[0]) for same in zip(*each, strict=True)]


def _hint(knob: Knob, file: TunedFile) -> str:
    if knob == "limits":
        return "state one: `providers: {groq: {limits: [{metric: requests, amount: 30, window: 1m}]}}`"
    if file.root:
        return "name another provider of its tiers among the scenario's `providers`"
    return "set the key of another provider that a tier names, or add --all-providers"


def diff_of(file: TunedFile, text: str) -> str:
    """Return the change from the file's text to another one, as `patch` takes it."""
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", each) for each in (file.text, text))
    lines = difflib.unified_diff(before, after, file.source, file.name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def render_tuned(file: TunedFile, knob: Knob, found: Tuned, before: Sequence[Claim], after: Sequence[Claim]) -> str:
    """Return what was found, and the better file as a diff at the end."""
    seeds = len(found.before)
    tried = f"{count(found.tried, 'file')} tried in {count(found.runs, 'simulation')}"
    tried += " (the budget is used up: --budget-runs and --budget-seconds allow more)" * found.stopped
    if found.text is None:
        why = "; the best of them was no better on other seeds" if found.overfit else ""
        return printable(f"nothing better was found for {file.name} by its {knob}: {tried}{why}")
    head = f"{knob} of {file.name}: {tried}; compared on {seeds} seeds that the search did not see"
    figures = [("before", averaged(found.before)), ("after", averaged(found.after))]
    moved = [
        f"claim {_told(held=new.held, before=old.held)}: {old.text} ({new.measured})"
        for old, new in zip(before, after, strict=True)
        if not (old.held and new.held)
    ]
    parts = filter(None, [head, compared(figures, moved=True), "\n".join(moved)])
    return "\n\n".join([*map(printable, parts), diff_of(file, found.text).rstrip("\n")])


def _told(*, held: bool, before: bool) -> str:
    return "holds now" if held else "no longer holds" if before else "still does not hold"


def tuned_document(
    file: TunedFile, knob: Knob, found: Tuned, before: Sequence[Claim], after: Sequence[Claim]
) -> Mapping[str, Any]:
    """Return all of it as plain data."""
    return {
        "schema_version": 1,
        "tuned": knob,
        "file": file.name,
        "better": found.text is not None,
        "overfit": found.overfit,
        "stopped": found.stopped,
        "held": all(claim.held for claim in after),
        "tried": found.tried,
        "runs": found.runs,
        "before": averaged(found.before).to_json(),
        "after": averaged(found.after).to_json(),
        "claims": [
            {"text": old.text, "before": old.held, "after": new.held} for old, new in zip(before, after, strict=True)
        ],
        "diff": "" if found.text is None else diff_of(file, found.text),
    }
