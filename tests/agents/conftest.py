"""An agent on a scripted model, behind the real provider manager."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from agents import Agent
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.messages import Capability
from providers.policy.model import Policy
from providers.stub.scripted import Scripted


@dataclass
class Voice:
    """A persona of the least kind, which counts how often it is rendered."""

    name: str = "dev"
    tier: str = "worker"
    text: str = "You are a developer."
    rendered: list[Any] = field(default_factory=list)

    def instructions(self, values: Any) -> str:
        self.rendered.append(values)
        return self.text


@dataclass
class Bench:
    """Agents that share one script; `script.requests` holds what the model was asked."""

    script: Scripted
    manager: ProviderManager

    def agent(self, **more: Any) -> Agent:
        return Agent(**{"name": "amelia", "persona": Voice(), "manager": self.manager, **more})


@pytest.fixture
def scripted() -> Callable[..., Bench]:
    def make(*steps: Any, candidates: int = 1, price: Price | None = None) -> Bench:
        # Without prefill: a text that is cut off stays as the script has it.
        model = Model("m", 100_000, 1000, frozenset(Capability) - {Capability.PREFILL}, price)
        known = [Candidate(Provider(name, "local", "", None, {"m": model}), model) for name in "abc"[:candidates]]
        policy = Policy({"worker": tuple(c.name for c in known)}, last_resort=())
        script = Scripted(steps)
        return Bench(script, ProviderManager(known, policy, adapters={"local": script}, rng=Random(1)))

    return make


@pytest.fixture
def voice() -> Voice:
    return Voice()
