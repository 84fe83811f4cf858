"""A provider in this process whose tokens cost a thousandth of a USD each, at a clock that a test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from orchestrator.server.gateway.keys import Key, KeyBudget
from providers.adapters import LocalAdapter
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.limits.ledger import Ledger
from providers.messages import Capability, FinishReason, Message, Request, Response, Text, Usage
from providers.policy.model import Policy

PRICE = Price(1000, 1000)
NOON = 1_800_000_000.0
ASK: Any = {"model": "tier/worker", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}


class Answers(LocalAdapter):
    """Answers each request with ten tokens for five, as `text` says."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.text = "Hi there"
        self.finish = FinishReason.STOP

    def respond(self, request: Request, candidate: Candidate) -> Response:  # its own
        self.requests.append(request)
        return Response(Message("assistant", (Text(self.text),)), self.finish, Usage(input=5, output=10))


def priced(
    answers: LocalAdapter,
    prices: Mapping[str, Price | None] = {"m": PRICE},  # nobody changes it
    *,
    ledger: Ledger | None = None,
    clock: Callable[[], float] = lambda: NOON,
    order: Iterable[str] = (),
) -> ProviderManager:
    """Return a manager of one provider, `local`, with models of these prices."""
    capabilities = frozenset(Capability) - {Capability.PREFILL}
    models = {name: Model(name, 100_000, 1_000, capabilities, price=price) for name, price in prices.items()}
    provider = Provider("local", "local", "", None, models)
    known = [Candidate(provider, model) for model in models.values()]
    policy = Policy({"worker": tuple(order) or tuple(one.name for one in known)}, last_resort=())
    return ProviderManager(known, policy, adapters={"local": answers}, rng=Random(0), ledger=ledger, clock=clock)


def key(**more: Any) -> Key:
    """Return a key that no file holds."""
    return Key("web", "0" * 64, **more)


def budget(usd: float, per: Any = "day") -> dict[str, Any]:
    return {"budgets": (KeyBudget(usd, per),)}
