"""One decision among twelve candidates: `python benchmarks/choice.py [BATCHES]`.

Prints the microseconds of CPU of one `choose`, as medians of batches of 2,000, for fleets as they stand in use. Each
decision is of a request of its own: a conversation that has grown by one message since.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from random import Random

from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import ServerFault
from providers.messages import Capability, Message, Needs, Request, assistant, system, user
from providers.policy.model import Policy
from providers.routing.choice import choose
from providers.routing.fleet import Fleet
from providers.routing.ranking import Route

NOW = 1_800_000_000.0
COUNT = 2000
NAMES = [f"provider-{number}/model-{number}" for number in range(12)]
ALL = frozenset(Capability)


def fleet(**policy: object) -> Fleet:
    """Return a fleet of twelve providers with a model each, all of one tier, that nobody has asked yet."""
    made = []
    for number, name in enumerate(NAMES):
        provider, _, model = name.partition("/")
        price = Price(0.15 * (number + 1), 0.6 * (number + 1))
        made.append(Candidate(Provider(provider, "openai-chat", "", None, {}), Model(model, 128_000, 8192, ALL, price)))
    given = {"tiers": {"worker": tuple(NAMES)}, "last_resort": ()} | policy
    return Fleet(made, Policy(**given))  # type: ignore[arg-type]  # by name


def measured(fleet: Fleet) -> Fleet:
    dice = Random(1)
    for name in NAMES:
        for second in range(20):
            fleet.started(name)
            error = ServerFault("500") if dice.random() < 0.05 else None
            fleet.ended(name, error, NOW - 20 + second, dice.uniform(0.3, 3.0))
    return fleet


def with_limits(fleet: Fleet) -> Fleet:
    for number, name in enumerate(NAMES):
        fleet.states[name].left(number / 12, NOW + 30)
        if number % 4 == 0:
            fleet.states[name].block(NOW + 20, "60 requests a minute are used")
    return fleet


def failing(fleet: Fleet) -> Fleet:
    for name in NAMES[:3]:
        for _ in range(6):
            fleet.started(name)
            fleet.ended(name, ServerFault("500"), NOW - 1, 0.2)
    return fleet


def requests(needs: Needs) -> list[Request]:
    said: list[Message] = [system("You review code. " * 40)]
    for number in range(10):
        said += [user(f"Look at part {number}. " * 20), assistant("It is fine, but for one thing. " * 30)]
    return [Request((*said, user(f"{number} And now? " * 30)), needs=needs) for number in range(COUNT)]


def cost_us(fleet: Fleet, needs: Needs, batches: int) -> float:
    taken = []
    for _ in range(batches):
        asked = requests(needs)
        for request in asked[:100]:
            assert isinstance(choose(fleet, request, NOW, draw=0.5), Route)
        began = time.process_time()
        for request in asked[100:]:
            choose(fleet, request, NOW, draw=0.5)
        taken.append((time.process_time() - began) / (COUNT - 100) * 1e6)
    return statistics.median(taken)


def main() -> None:
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    worker = Needs(tier="worker")
    cases: dict[str, Callable[[], tuple[Fleet, Needs]]] = {
        "fresh": lambda: (fleet(), worker),
        "measured": lambda: (measured(fleet()), worker),
        "measured, limits": lambda: (with_limits(measured(fleet())), worker),
        "measured, limits, three failing": lambda: (failing(with_limits(measured(fleet()))), worker),
        "measured, limits, by speed": lambda: (
            with_limits(measured(fleet())),
            Needs(tier="worker", task_type="speed"),
        ),
        "measured, limits, by price": lambda: (with_limits(measured(fleet(by_price=True))), worker),
        "weighted": lambda: (measured(fleet(strategy="weighted")), worker),
        "latency": lambda: (measured(fleet(strategy="latency")), worker),
    }
    for name, made in cases.items():
        given, needs = made()
        print(f"{name:34} {cost_us(given, needs, batches):6.1f} us of CPU a decision")


if __name__ == "__main__":
    main()
