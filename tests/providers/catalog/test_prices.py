"""What an answer costs where the catalog does not know: the table that `genai-prices` brings, or nobody knows."""

from __future__ import annotations

import pytest

from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.catalog.prices import cost_of
from providers.messages import Usage
from tests.components import imported

NOW = 1_795_000_000.0  # 2026-11-18
USAGE = Usage(input=700, cache_read=200, cache_write=100, output=60, reasoning=40)


def candidate(url: str, model: str, price: Price | None = None, hosted: bool = True) -> Candidate:
    row = Model(model, 8000, 1000, price=price)
    return Candidate(Provider("mine", "openai-chat", url, None, {model: row}, hosted=hosted), row)


def test_the_catalogs_price_comes_first():
    assert cost_of(candidate("https://api.openai.com/v1", "gpt-6-luna", Price(1, 2)), USAGE, NOW) == 1000 + 200


@pytest.mark.parametrize(
    "unknown",
    [
        candidate("https://openrouter.ai/api/v1", "openrouter/auto"),
        candidate("https://integrate.api.nvidia.com/v1", "z-ai/glm-5.2"),
        candidate("https://proxy.example/v1", "gpt-6-luna"),
        candidate("http://127.0.0.1:8080/v1", "gpt-6-luna", hosted=False),
    ],
)
def test_unknown_is_unknown(unknown: Candidate):
    assert cost_of(unknown, USAGE, NOW) is None


@pytest.mark.parametrize("name", ["openai/gpt-6-luna", "anthropic/claude-haiku-5-5", "groq/openai/gpt-oss-120b"])
def test_the_table_agrees_with_the_catalog_that_was_made_of_it(name: str):
    imported("genai_prices", "prices")
    provider, model = load_catalog().find(name)
    assert model.price is not None
    assert cost_of(candidate(provider.base_url, model.name), USAGE, NOW) == model.price.cost(USAGE)


def test_an_answer_without_usage_has_no_known_cost():
    assert cost_of(candidate("https://api.openai.com/v1", "gpt-6-luna"), Usage(), NOW) is None
