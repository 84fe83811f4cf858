"""The provider manager and the simulator ask the same candidates of the same providers, instant by instant."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from contextlib import suppress

import anyio
import pytest
from trio.testing import MockClock

from providers.adapters import HttpReply, HttpRequest
from providers.catalog.model import Candidate
from providers.client.manager import ProviderManager
from providers.errors import ProviderError, RoutingError, TimedOut
from providers.events import AttemptEnded
from providers.messages import Request, Response
from providers.simulation import Scenario, simulate
from providers.simulation.load import arrivals, dice, kinds
from providers.simulation.modelled import modelled_providers
from providers.simulation.present import candidates_of
from providers.simulation.scenario_file import parse_scenario
from providers.simulation.terms import AllTerms

pytestmark = pytest.mark.anyio
EASY = {"latency": {"first_token": "400ms", "per_token": "3ms", "spread": 0.4}}
TROUBLED = EASY | {"errors": {"server": 0.1, "overloaded": 0.05, "malformed": 0.05}}
UNEVEN = {"latency": {"first_token": "500ms", "per_token": "1ms", "spread": 1.0}}
SCENARIOS = {
    "errors": {"providers": {"groq": TROUBLED, "cerebras": TROUBLED, "mistral": EASY}},
    "outages": {
        "providers": {
            "groq": EASY | {"outages": [{"begins": "60s", "lasts": "90s", "how": "hangs"}]},
            "cerebras": EASY | {"outages": [{"begins": "100s", "lasts": "60s", "how": "refuses"}]},
            "mistral": EASY | {"outages": [{"begins": "110s", "lasts": "20s", "how": "errors"}]},
        }
    },
    "refusals": {
        "providers": {
            "groq": EASY
            | {"errors": {"refused": 0.2}, "outages": [{"begins": "120s", "lasts": "40s", "how": "blocks"}]},
            "cerebras": EASY | {"outages": [{"begins": "100s", "lasts": "60s", "how": "retires"}]},
            "mistral": EASY | {"errors": {"refused": 0.05}},
        }
    },
    "burst": {
        "providers": {
            "groq": EASY | {"outages": [{"begins": "0s", "lasts": "60s", "how": "errors"}]},
            "cerebras": EASY | {"outages": [{"begins": "0s", "lasts": "40s", "how": "refuses"}]},
            "mistral": EASY,
        },
        "load": [{"count": 300, "over": "500ms", "arrivals": "random", "deadline": "20s"}],
    },
    "recovery": {
        "providers": {
            "groq": EASY | {"outages": [{"begins": "5s", "lasts": "45s", "how": "errors"}]},
            "cerebras": EASY | {"outages": [{"begins": "5s", "lasts": "20s", "how": "refuses"}]},
            "mistral": EASY | {"outages": [{"begins": "5s", "lasts": "60s", "how": "errors"}]},
        },
        "load": [
            {"count": 150, "over": "80s", "arrivals": "random", "deadline": "10s"},
            {"count": 150, "over": "80s", "arrivals": "random", "deadline": "60s"},
        ],
    },
    "hedges": {
        "providers": {"groq": TROUBLED, "cerebras": UNEVEN, "mistral": UNEVEN},
        "policy": {
            "attempts": {"hedge_after": "800ms"},
            "providers": {"cerebras": {"limits": [{"metric": "requests", "amount": 20, "window": "1m"}]}},
        },
    },
    "limits": {
        "providers": {"groq": EASY, "cerebras": EASY, "mistral": EASY},
        "policy": {
            "providers": {
                "groq": {"limits": [{"metric": "requests", "amount": 10, "window": "1m"}]},
                "cerebras": {"limits": [{"metric": "total", "amount": 9000, "window": "1m", "fixed": True}]},
                "mistral": {"limits": [{"metric": "requests", "spacing": "2500ms", "burst": 2}]},
            }
        },
    },
}


def scenario(name: str, strategy: str) -> Scenario:
    policy = SCENARIOS[name].get("policy", {}) | {
        "strategy": strategy,
        "weights": {"groq": 2, "cerebras": 1, "mistral": 1},
        "tiers": {"worker": ["groq/openai/gpt-oss-20b", "cerebras/gpt-oss-120b", "mistral/mistral-small-latest"]},
    }
    load = [
        {"count": 150, "over": "240s", "arrivals": "random", "deadline": "40s"},
        {"count": 60, "over": "240s", "arrivals": "random", "deadline": "40s", "input_tokens": 1500},
    ]
    whole = {"title": name, "starts": 1000.0, "seed": 5, "load": load} | SCENARIOS[name] | {"policy": policy}
    return parse_scenario(whole, name)


def simulated(world: Scenario) -> dict[int, list[tuple[str, str]]]:
    """Return by turn whom it asked and how that ended, out of the decision log."""
    log = io.BytesIO()
    simulate(world, log=log)
    text, asked = log.getvalue().decode(), defaultdict(list)
    orders = dict(re.findall(r"^(o\d+) = (\S+)", text, re.MULTILINE))
    for turn, order, how in re.findall(r" t(\d+) #\d+ (o\d+) (\S+) ", text):
        asked[int(turn)].append((orders[order], how))
    return asked


class Dialect:
    """The answer travels beside the reply: nothing is encoded here."""

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        return HttpRequest("POST", candidate.name, {}, str(id(request)).encode())

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
        return ANSWERS[id(request)].response

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        raise AssertionError(reply)


ANSWERS = {}
"""The kind of turn by its request's identity."""


class World:
    """A transport whose far side is the simulation's own providers."""

    def __init__(self, scenario: Scenario, candidates: tuple[Candidate, ...]) -> None:
        self.modelled_providers = modelled_providers(
            scenario.providers, scenario.regions, scenario.starts, scenario.seed
        )
        self.terms = AllTerms({}, scenario.policy.budget, scenario.starts)
        self.candidates = {candidate.name: candidate for candidate in candidates}
        self.starts = scenario.starts

    def now(self) -> float:
        return self.starts + anyio.current_time()

    async def send(self, request: HttpRequest, *, first_byte_s: float, **limits: float) -> HttpReply:
        candidate, kind = self.candidates[request.url], ANSWERS[int(request.body)]
        vendor = self.modelled_providers[candidate.provider.name]
        seconds, error = vendor.answer(self.now(), candidate.model.name, kind.usage.output, None)
        await anyio.sleep(min(seconds, first_byte_s))
        if seconds > first_byte_s:
            raise TimedOut("late", phase="first_token")
        if error is not None:
            raise error
        vendor.answered(None, self.now())
        return HttpReply(200, {}, b"{}")


async def lived(scenario: Scenario) -> dict[int, list[tuple[str, str]]]:
    """Return the same of a real manager, its turns arriving at the same instants on a clock that jumps."""
    candidates = candidates_of(scenario.catalog, scenario.providers)
    world = World(scenario, candidates)
    dialects = {candidate.provider.dialect: Dialect() for candidate in candidates}
    manager = ProviderManager(
        candidates,
        scenario.policy,
        adapters=dialects,
        transport=world,
        clock=world.now,
        rng=dice(scenario.seed, "router", 0),
    )
    loads = [kinds(each, at, {})[0] for at, each in enumerate(scenario.load)]
    ANSWERS.update({id(kind.request): kind for kind in loads})
    instants = sorted(
        (at, number)
        for number, load in enumerate(scenario.load)
        for at in arrivals(load, scenario.starts, dice(scenario.seed, "load", number))
    )
    asked = defaultdict(list)

    async def turn(number: int, at: float, request: Request) -> None:
        def hear(event: object) -> None:
            if isinstance(event, AttemptEnded):
                how = "dropped" if event.outcome == "cancelled" else event.error or "ok"
                asked[number].append((f"{event.provider}/{event.model}", how))

        await anyio.sleep(at - world.now())
        with suppress(RoutingError, ProviderError):
            await manager.complete(request, emit=hear)

    async with anyio.create_task_group() as tasks:
        for number, (at, load) in enumerate(instants, 1):
            tasks.start_soon(turn, number, at, loads[load].request)
    return asked


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.mark.parametrize(
    "strategy",
    ["tier", pytest.param("weighted", marks=pytest.mark.long), pytest.param("latency", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.few(4)
async def test_each_turn_asks_the_same_candidates_live_and_simulated(name, strategy):
    world = scenario(name, strategy)
    live, virtual = await lived(world), simulated(world)
    assert len(live) > 150
    assert live == virtual
    assert len({asked for turns in live.values() for asked in turns}) >= 3, "there was something to choose"
    dropped = sum(how == "dropped" for turns in live.values() for _, how in turns)
    assert (dropped > 10) is (name == "hedges")
