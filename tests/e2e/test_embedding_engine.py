"""Vectors of a real engine: llama.cpp with `--embedding`, through the manager and in a squad's memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import pytest

from agents.memory.records import made_record
from agents.memory.store import MemoryStore
from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
from providers.policy.parse import parse_policy
from providers.transport.over_httpx2 import HttpxTransport
from tests.components import imported
from tests.llama import MODEL, TEMPLATE, WIDTH, Llama, serving
from tests.orchestrator.run.test_memory_by_provider import Both, remembering
from tests.orchestrator.squads import of_type, run

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.anyio]
imported("numpy", "embeddings")
FACT = "Every invoice is due in 30 days."


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    yield from serving(tmp_path_factory.mktemp("embedding"), TEMPLATE, "--embedding")


async def test_a_real_engine_makes_vectors_in_order_and_counts_tokens(engine: Llama) -> None:
    texts = [f"text {n} of many, 東 é" for n in range(40)]
    policy, catalog = parse_policy({}, load_catalog())
    environ = {"LOCAL_BASE_URL": engine.base_url}
    async with HttpxTransport() as net, open_manager(policy, catalog, environ, transport=net) as manager:
        made = await manager.embed(texts, model=f"local/{MODEL}")
        alone = await manager.embed(texts[-1:], model=f"local/{MODEL}")
        events: list[Any] = []
        with MemoryStore.open() as store:
            store.remember([made_record(FACT, "test", "user", 1e9)], 1e9)
            result, events = await run(remembering({"model": f"local/{MODEL}"}), Both(manager), memory=store)
            assert store.without_vector(MODEL) == []
    assert [len(vector) for vector in made.vectors] == [WIDTH] * 40
    assert _cosine(made.vectors[-1], alone.vectors[0]) == pytest.approx(1, abs=1e-3)
    assert made.usage.input > 400
    assert (made.cost, len(made.attempts)) == (0, 2)
    assert (result.status, sum(one.texts for one in of_type(events, "texts.embedded"))) == ("done", 2)


def _cosine(one: Any, other: Any) -> float:
    def length(vector: Any) -> float:
        return sqrt(sum(x * x for x in vector))

    return sum(a * b for a, b in zip(one, other, strict=True)) / length(one) / length(other)
