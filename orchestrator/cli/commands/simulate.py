"""`simulate`: a scenario, or a squad as the load, on a virtual clock. Nothing is sent and nothing is spent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, get_args

import anyio
import click

from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, settings_of
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.file_kind import kind_of
from orchestrator.cli.files import environment, policy_over
from orchestrator.cli.inputs import GivenInputs, given_inputs
from orchestrator.cli.journals import read_db_option
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.recorded_load import RECORDED, RecordedLoad, recorded_load, routing_of_file
from orchestrator.cli.squad_files import squad_of_file
from orchestrator.cli.tuned import TunedFile, of_scenario, of_squad, of_traffic, render_tuned, tuned_document
from orchestrator.cli.tuned import tune as tune_file
from orchestrator.cli.ui.arguments import Since, SinceOption, TimeZoneOption, split_inputs
from orchestrator.cli.ui.cluster import capacity_document, render_capacity
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.simulation import Case, render, render_compared
from orchestrator.cli.ui.traffic import render_traffic, traffic_document
from orchestrator.errors import CannotWrite
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.moves import Knob
from orchestrator.forecast.scenario import forecast
from providers.documents.problems import nearest
from providers.documents.yaml import ParsedFile, parse_file
from providers.policy.environment import with_environment
from providers.simulation import Report, Scenario, load_scenario, shipped, simulate
from providers.simulation.chart import to_png, to_svg
from providers.simulation.cluster.advice import advice
from providers.simulation.cluster.capacity import capacity_of
from providers.simulation.cluster.shape import MOST_WORKERS
from providers.simulation.scenario_file import parse_scenario

OWN = "own"
"""The policy that a scenario, or a squad's routing file, brings itself."""
WEEK = Since("7d", seconds=7 * 86_400.0)
MANY_TURNS, MOST_TURNS = 100_000, 10_000_000
"""Turns from which on a simulation takes seconds, and says that it works; and how many are taken on of a squad."""


class SquadLoad(NamedTuple):
    """How a squad is made into load. None: as usual."""

    inputs: GivenInputs
    number: int | None
    per_hour: float | None
    assumed: tuple[str, ...]
    all_providers: bool


@app.command("simulate")
@argument("what", required=False, metavar="SCENARIO|FILE", help="A scenario's name or file, or a squad file.")
@click.option("--list", "listing", is_flag=True, help="List the scenarios that come with the program.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Seed of the random numbers (the scenario's).")
@click.option(
    "--policy", "policies", multiple=True, metavar="FILE", help="Use this routing file; give two to compare them."
)
@click.option("--chart", metavar="FILE.svg|.png", help="Draw which provider answered when. PNG needs [charts].")
@click.option("--log", metavar="FILE", help="Write the decision log: one line per decision.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="Squad: an input; may be repeated.")
@click.option("--runs", "count_", type=click.IntRange(1, 10_000), metavar="N", help="Squad: runs to simulate (20).")
@click.option("--rate", "per_hour", type=click.FloatRange(0.001, 1e6), metavar="N", help="Squad: runs an hour (10).")
@click.option("--assume", "assumed", multiple=True, metavar="KEY=N", help="Squad: another assumption; see the report.")
@click.option("--all-providers", is_flag=True, help="Squad, traffic: as if every provider of the catalog had a key.")
@click.option("--traffic", type=click.Choice([RECORDED]), help="Simulate the requests of recorded runs.")
@click.option(
    "--since", type=SinceOption(), metavar="WHEN", help="Traffic: the start: 12h, 2026-11-21, yesterday (7d)."
)
@click.option(
    "--timezone",
    "zone",
    type=TimeZoneOption(),
    default="UTC",
    metavar="NAME",
    help="Traffic: time zone of the days (UTC).",
)
@read_db_option
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), metavar="N", help="Cluster: the number of workers.")
@click.option("--capacity", is_flag=True, help="Cluster: what it carries, by formulas, with 1 to 10,000 workers.")
@click.option("--tune", type=click.Choice(get_args(Knob)), help="Search for a better routing file; print it as a diff.")
@click.option(
    "--budget-runs", type=click.IntRange(8, 100_000), metavar="N", help="Tune: maximum number of simulations."
)
@click.option("--budget-seconds", type=click.FloatRange(1), metavar="N", help="Tune: stop the search after this time.")
@click.pass_context
def simulate_command(
    context: click.Context,
    what: str | None,
    listing: bool,
    seed: int | None,
    policies: tuple[str, ...],
    chart: str | None,
    log: str | None,
    as_json: bool,
    inputs: tuple[str, ...],
    count_: int | None,
    per_hour: float | None,
    assumed: tuple[str, ...],
    all_providers: bool,
    traffic: str | None,
    since: Since | None,
    zone: tzinfo,
    db: str | None,
    workers: int | None,
    capacity: bool,
    tune: Knob | None,
    budget_runs: int | None,
    budget_seconds: float | None,
) -> int:
    """Simulate a shipped SCENARIO, a scenario FILE, or runs of a squad FILE. Spends nothing.

    With --traffic recorded, simulate the requests of recorded runs, and report how far the simulation is from what
    really happened. Routing, limits and failover are those of live turns; only the providers are modelled. The exit
    code is 1 if a claim of the scenario, or a budget of the squad, did not hold.

    With --tune, search for weights, an order of the tiers or amounts of limits that hold the claims, else fail less,
    cost less and answer sooner, and print the better file as a diff that `patch` takes.
    """
    if listing:
        return _list(as_json)
    settings, load = settings_of(context), SquadLoad(given_inputs(inputs), count_, per_hour, assumed, all_providers)
    _check(what or traffic, policies, chart, log)
    if (workers is not None or capacity) and (traffic is not None or tune is not None):
        raise Unusable("--workers and --capacity are for a scenario with a cluster, without --traffic and --tune")
    search = TuningOptions(tune or "order", seed, budget_runs, budget_seconds)
    if tune is not None and (len(policies) > 1 or chart is not None or log is not None):
        raise Unusable("--tune takes one --policy, and neither --chart nor --log")
    if tune is None and (budget_runs, budget_seconds) != (None, None):
        raise Unusable("--budget-runs and --budget-seconds are for a search", "add --tune weights, order or limits")
    policy = None if policies[:1] in ((), (OWN,)) else policies[0]
    if traffic is not None:
        if what is not None:
            raise Unusable(f"--traffic {traffic} takes the place of {what}", f"leave out {what}, or --traffic")
        _refuse_options_of_squads(load._replace(all_providers=False), "recorded traffic has its own turns")
        recorded = anyio.run(
            partial(recorded_load, settings, db, since or WEEK, zone, time.time(), all_providers=all_providers)
        )
        if tune is not None:
            return _tune(of_traffic(recorded, policy, settings), search, settings, as_json=as_json)
        return _recorded(recorded, policies, settings, seed or 1, chart, log, as_json=as_json)
    if since is not None or db is not None:
        raise Unusable("--since and --db are for recorded traffic", "add --traffic recorded")
    assert what is not None, "checked"
    if tune is not None:
        return _tune(_tuned_file(what, policy, load, settings), search, settings, as_json=as_json)
    cases = [_sized(case, workers, capacity) for case in _cases(what, policies or (OWN,), load, settings)]
    if capacity:
        return _capacity(cases[-1].scenario, as_json=as_json)
    console = Console(settings)
    reports = [_simulate(case, seed, log, console) for case in cases]
    if chart is not None:
        _draw(chart, cases, reports)
    if as_json:
        print_json(_document(cases, reports))
    else:
        click.echo(render(cases[0], reports[0]) if len(cases) == 1 else render_compared(cases, reports))
    return Exit.DONE if all(report.held for report in reports) else Exit.FAILED


@interrupts_held()
def _list(as_json: bool) -> Exit:

    scenarios = [load_scenario(name) for name in shipped()]
    if as_json:
        print_json([{"schema_version": 1, "name": s.name, "title": s.title, "about": s.about} for s in scenarios])
    else:
        click.echo(columns([("SCENARIO", "SHOWS"), *((s.name, s.title) for s in scenarios)]))
    return Exit.DONE


def _check(what: str | None, policies: Sequence[str], chart: str | None, log: str | None) -> None:
    """Raise `Unusable` for what makes no sense together, before anything is simulated."""
    if what is None:
        raise Unusable("name a scenario, or a file", "`orchestrator simulate --list` lists the scenarios")
    if len(policies) > 2:
        raise Unusable(f"--policy is given {len(policies)} times", "once: that policy; twice: the two are compared")
    if log is not None and len(policies) > 1:
        raise Unusable("--log holds the decisions of one policy", "give --policy once")
    for policy in policies:
        if policy != OWN and not Path(policy).is_file():
            raise Unusable(f"there is no routing file {policy}", f"a file's name, or {OWN!r}")
    for option, file in (("--chart", chart), ("--log", log)):
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise CannotWrite(f"{option} {file}", f"there is no folder {Path(file).parent}")
        if file is not None and Path(file).is_dir():
            raise CannotWrite(f"{option} {file}", "it is a folder")
    if chart is None:
        return
    kind = Path(chart).suffix.lower()
    if kind not in (".svg", ".png"):
        raise Unusable(f"--chart {chart}: a chart is an .svg or a .png")
    if kind == ".png" and find_spec("resvg_py") is None:
        raise Unusable("a PNG needs resvg-py", "pip install 'squad-orchestrator[charts]', or write an .svg")


def _cases(what: str, policies: Sequence[str], load: SquadLoad, settings: Settings) -> Iterator[Case]:
    parsed = None if what in shipped() else _parsed(what)
    if parsed is not None and kind_of(parsed.keys, parsed.file) == "squad":
        for policy in policies:
            yield _squad_case(parsed, policy, load, settings)
        return
    _refuse_options_of_squads(load, f"{what} is a scenario")
    scenario = _scenario(what, parsed)
    for policy in policies:
        if policy == OWN:
            yield Case(OWN, scenario)
        else:
            rules, catalog = policy_over(policy, scenario.catalog)
            yield Case(policy, replace(scenario, policy=rules, catalog=catalog))


def _sized(case: Case, workers: int | None, capacity: bool) -> Case:
    """Return the case with so many workers; raise `Unusable` where it has none."""
    if workers is None and not capacity:
        return case
    cluster = case.scenario.cluster
    if cluster is None:
        raise Unusable("--workers and --capacity are for a scenario with a cluster", "add `cluster:` to the scenario")
    sized = replace(cluster, workers=workers or cluster.workers)
    if cluster.deaths and (dead := sum(death.workers for death in cluster.deaths)) >= sized.workers:
        raise Unusable(f"--workers {sized.workers}: {dead} of {sized.workers} workers die", "one has to be left")
    return case._replace(scenario=replace(case.scenario, cluster=sized))


def _capacity(scenario: Scenario, *, as_json: bool) -> Exit:
    """Print what so many workers carry: as many as the scenario has, and powers of ten."""
    own = scenario.cluster
    assert own is not None, "checked"
    sizes = sorted({own.workers, *(10**power for power in range(5))})
    rows = [(workers, capacity_of(scenario, replace(own, workers=workers))) for workers in sizes]
    advised = list(advice(own, dict(rows)[own.workers]))
    if as_json:
        print_json(capacity_document(rows, advised))
    else:
        click.echo(render_capacity(rows, own.workers, advised))
    return Exit.DONE


def _refuse_options_of_squads(load: SquadLoad, why: str) -> None:
    if load != SquadLoad(given_inputs(()), None, None, (), all_providers=False):
        raise Unusable("-i, --runs, --rate, --assume and --all-providers are for squads", why)


def _recorded(
    load: RecordedLoad,
    policies: Sequence[str],
    settings: Settings,
    seed: int,
    chart: str | None,
    log: str | None,
    *,
    as_json: bool,
) -> Exit:
    """Simulate recorded traffic under the policy in use, and under the others."""
    others = {policy: routing_of_file(policy, settings) for policy in policies if policy != OWN}
    routings = {OWN: load.own, **others}
    cases = [Case(name, load.trial.scenario(routing, seed)) for name, routing in routings.items()]
    console = Console(settings)
    reports = [_simulate(case, seed, log if case is cases[-1] else None, console) for case in cases]
    if chart is not None:
        _draw(chart, cases, reports)
    found = [(case.policy, load.trial.figures(report)) for case, report in zip(cases, reports, strict=True)]
    if as_json:
        print_json(traffic_document(load, found))
    else:
        click.echo(render_traffic(load, found))
    return Exit.DONE


class TuningOptions(NamedTuple):
    """How a better file is searched for."""

    knob: Knob
    seed: int | None
    runs: int | None
    seconds: float | None


def _tuned_file(what: str, policy: str | None, load: SquadLoad, settings: Settings) -> TunedFile:
    parsed = None if what in shipped() else _parsed(what)
    if parsed is not None and kind_of(parsed.keys, parsed.file) == "squad":
        case = _squad_case(parsed, policy or OWN, load, settings)
        assert case.forecast is not None, "it is a squad's"
        return of_squad(case.scenario, case.forecast, policy, settings)
    _refuse_options_of_squads(load, f"{what} is a scenario")
    return of_scenario(what, parsed, _scenario(what, parsed), policy)


def _tune(file: TunedFile, search: TuningOptions, settings: Settings, *, as_json: bool) -> Exit:
    console = Console(settings)
    console.say(f"searching for better {search.knob} of {file.name} ...")
    found, before, after = tune_file(file, *search)
    if as_json:
        print_json(tuned_document(file, search.knob, found, before, after))
    else:
        click.echo(render_tuned(file, search.knob, found, before, after))
        if found.text is not None:
            console.say(f"`patch {file.name} SAVED` applies it, where SAVED holds what is printed here")
    return Exit.DONE if all(claim.held for claim in after) else Exit.FAILED


@interrupts_held()
def _parsed(file: str) -> ParsedFile:
    """Return the file, parsed. Raise `Unusable` where there is none, or it cannot be a load."""
    if not Path(file).is_file():
        hint = nearest(file, shipped()) or "`orchestrator simulate --list` lists them"
        raise Unusable(f"there is no scenario and no file called {file}", hint)
    parsed = parse_file(file)
    match kind_of(parsed.keys, parsed.file):
        case "routing":
            hint = f"orchestrator simulate SCENARIO --policy {file}"
            raise Unusable(f"{file} is a routing file: it says which models answer, not what is asked", hint)
        case "persona":
            raise Unusable(f"{file} is a persona: it says who speaks, not what is asked", "name a scenario or a squad")
    return parsed


@interrupts_held()
def _scenario(what: str, parsed: ParsedFile | None) -> Scenario:
    if parsed is None:
        return load_scenario(what)
    return parse_scenario(parsed.mapping(), Path(parsed.file).stem, parsed.found)


def _squad_case(parsed: ParsedFile, policy: str, load: SquadLoad, settings: Settings) -> Case:

    squad = squad_of_file(parsed, settings if policy == OWN else settings._replace(routing=policy))
    plan = squad.plan(load.inputs.of(squad)) if load.inputs else squad.outline()
    environ = environment(settings)
    rules, catalog = with_environment(squad.policy, squad.catalog, environ)
    if load.all_providers:
        names = [name for name, row in catalog.providers.items() if not row.opt_in]
    else:
        names = list(dict.fromkeys(candidate.provider.name for candidate in catalog.candidates(environ)))
    if not names:
        hint = "set a key, or simulate with --all-providers as if every provider had one"
        raise Unusable("no provider is configured here, so no model could answer", hint)
    made = forecast(
        plan,
        rules,
        catalog,
        names,
        runs=load.number or 20,
        per_hour=load.per_hour or 10.0,
        assumed=_assumptions(load.assumed),
    )
    if (turns := made.runs * len(made.outlook.turns)) > MOST_TURNS:
        raise Unusable(
            f"{made.runs:,} runs come to {turns:,} turns; {MOST_TURNS:,} are simulated at most", "fewer --runs"
        )
    return Case(policy, made.scenario, made)


def _assumptions(pairs: Sequence[str]) -> Assumptions:

    known, changed = Assumptions.__dataclass_fields__, {}
    for key, value in split_inputs(pairs, "--assume", "an assumption"):
        if key not in known:
            raise Unusable(f"--assume {key}: there is no such assumption", nearest(key, known))
        if not value.isdecimal() or not 0 < int(value) <= 1_000_000:
            raise Unusable(f"--assume {key}={value}: it is a whole number from 1 to 1,000,000")
        changed[key] = int(value)
    return Assumptions(**changed)


def _simulate(case: Case, seed: int | None, log: str | None, console: Console) -> Report:

    turns = sum(load.count for load in case.scenario.load)
    if turns >= MANY_TURNS:
        console.say(f"simulating {turns:,} turns ...")
    with _opened(log) as file:
        report = simulate(case.scenario, seed=seed, log=file)
    return report if case.forecast is None else replace(report, claims=case.forecast.claims(report))


@contextmanager
def _opened(file: str | None) -> Iterator[BinaryIO | None]:
    if file is None:
        yield None
        return
    try:
        with Path(file).open("wb") as opened:
            yield opened
    except OSError as error:
        raise CannotWrite(f"--log {file}", error.strerror or str(error)) from error


def _draw(file: str, cases: Sequence[Case], reports: Sequence[Report]) -> None:

    labels = [case.policy if len(cases) > 1 else "" for case in cases]
    svg = to_svg(cases[0].scenario, list(zip(labels, reports, strict=True)))
    data = to_png(svg) if file.lower().endswith(".png") else svg.encode()
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise CannotWrite(f"--chart {file}", error.strerror or str(error)) from error


def _document(cases: Sequence[Case], reports: Sequence[Report]) -> Mapping[str, Any]:
    forecast = cases[0].forecast
    return {
        "schema_version": 1,
        "held": all(report.held for report in reports),
        "runs": None if forecast is None else forecast.runs,
        "assumptions": [] if forecast is None else list(forecast.assumptions),
        "reports": [{"policy": case.policy, **report.to_json()} for case, report in zip(cases, reports, strict=True)],
    }
