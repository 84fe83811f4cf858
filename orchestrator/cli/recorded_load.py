"""Recorded traffic as a load: what the journal has of the time that was asked for, ready to be simulated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import NamedTuple

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.files import configured, environment, routing_file
from orchestrator.cli.journals import RecordedRuns, open_records
from orchestrator.cli.ui.arguments import Since
from orchestrator.cli.ui.console import count
from orchestrator.forecast.preview import PolicyTrial, RoutingInForce
from orchestrator.forecast.traffic import MOST_TURNS, OFFLINE, RecordedTraffic
from orchestrator.recorded_traffic import recorded_traffic
from orchestrator.server.gateway.store import turns_in_folder
from orchestrator.squad.routing import load_routing
from providers.documents.secrets import recordable
from providers.documents.yaml import read_text
from providers.policy.environment import with_environment

RECORDED = "recorded"


class RecordedLoad(NamedTuple):
    """The turns since an instant (epoch seconds UTC), and the policy that holds now."""

    trial: PolicyTrial
    own: RoutingInForce
    since: float
    until: float
    zone: tzinfo
    notes: tuple[str, ...]

    @property
    def traffic(self) -> RecordedTraffic:
        return self.trial.traffic

    @property
    def title(self) -> str:
        """What it is of, in a line."""
        turns = self.traffic.turns
        of = []
        if runs := len({turn.run for turn in turns if turn.run}):
            of.append(count(runs, "run"))
        if clients := sum(not turn.run for turn in turns):
            of.append(count(clients, "request") + " to the gateway")
        first, last = (f"{datetime.fromtimestamp(at, self.zone):%F %H:%M}" for at in (turns[0].at, turns[-1].at))
        return f"{count(len(turns), 'turn')} of {' and '.join(of)}, from {first} to {last} ({self.zone})"


async def recorded_load(
    settings: Settings, db: str | None, since: Since, zone: tzinfo, now: float, *, all_providers: bool
) -> RecordedLoad:
    """Return the recorded load. Raise `NothingSelected` where nothing was recorded that tells of providers."""
    began = since.instant(now, zone)
    async with open_records(settings, db) as records:
        clients = turns_in_folder(settings.state_folder, began, now, MOST_TURNS) if db is None else []
        traffic = await recorded_traffic(records.journal, began, now, clients=clients)
        if not traffic.turns:
            raise await _nothing(records, traffic, since)
    policy, catalog, environ = configured(settings)
    if all_providers:
        names = [name for name, row in catalog.providers.items() if not row.opt_in]
    else:
        names = list(dict.fromkeys(candidate.provider.name for candidate in catalog.candidates(environ)))
    own = RoutingInForce(policy, catalog)
    trial = PolicyTrial(traffic, own, names)
    if not trial.observed.providers:
        asked = sorted({call.provider for turn in traffic.turns for call in turn.calls})
        hint = "name the routing file of that time with --routing, or add --all-providers"
        raise Unusable(f"no provider that was asked then is in the catalog: {', '.join(asked)}", hint)
    return RecordedLoad(trial, own, began, now, zone, tuple(_notes(settings, traffic)))


def routing_of_file(file: str, settings: Settings) -> RoutingInForce:
    """Return what would be in force under another routing file. Raise `SpecError` with its mistakes."""
    return RoutingInForce(*with_environment(*load_routing(file), environment(settings)))


async def _nothing(records: RecordedRuns, traffic: RecordedTraffic, since: Since) -> NothingSelected:
    offline = traffic.left_out.get(OFFLINE, 0)
    if offline:
        told = f"no provider was asked since {since.told}: {count(offline, 'turn')} came from the offline stub"
        return NothingSelected(told, "it tells nothing of providers: run a squad without --offline, with a key")
    latest = await records.journal.runs(1)
    if not latest:
        return NothingSelected("no run is recorded here", "`orchestrator run squad.yaml` records one")
    day = datetime.fromtimestamp(latest[0].created_at, tz=None).astimezone().date()
    return NothingSelected(
        f"no turn that asked a provider is recorded since {since.told}",
        f"the latest run began on {day}: `--since {day}` looks back as far",
    )


def _notes(settings: Settings, traffic: RecordedTraffic) -> Iterator[str]:
    """Yield what makes the model's error larger than the model is to blame for."""
    if traffic.left_out:
        yield "left out: " + ", ".join(f"{number:,} {why}" for why, number in traffic.left_out.items())
    file = routing_file(settings)
    now = "" if file is None else recordable(read_text(file))
    changed = [squad for squad, text in traffic.routings.items() if text != now]
    if changed:
        squads = count(len(changed), "squad")
        yield f"{squads} ran under another routing file than the one in use: the model's error holds that, too"
