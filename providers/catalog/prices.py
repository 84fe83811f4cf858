"""What an answer costs where the catalog has no price: `genai-prices`, if it is installed (`[prices]`).

Offline: its table is part of the package. It is imported when the first such answer comes, which takes some 0.2 s.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING
from typing import Any

from providers.catalog.model import Candidate, Price
from providers.messages import Usage


def cost_of(candidate: Candidate, usage: Usage, now: float) -> int | None:
    """Return micro-USD, rounded up; None where the price is unknown: that is never free.

    `now`, epoch seconds UTC, picks the price: some differ by the hour. The vendor is found by its base URL, so a
    provider that the user named as they like is found, and one behind a proxy of their own is not. An answer
    whose tokens were not counted has an unknown cost too, unless it is free.
    """
    price = candidate.model.price
    if price is not None and (usage.total or _is_free(price)):
        return price.cost(usage)
    if price is not None or not usage.total or not candidate.provider.hosted:
        return None
    try:
        import genai_prices
    except ImportError:
        return None
    try:
        found = genai_prices.calc_price(
            _counted(genai_prices, usage),
            candidate.model.name,
            provider_api_url=candidate.provider.base_url,
            genai_request_timestamp=datetime.fromtimestamp(now, UTC),
        )
    except LookupError:
        return None
    return int((found.total_price * 1_000_000).to_integral_value(ROUND_CEILING))


def _is_free(price: Price) -> bool:
    return not any((price.input, price.output, price.cache_read, price.cache_write))


def _counted(library: Any, usage: Usage) -> Any:
    """Return `usage` as the library counts: what was cached is part of the input, what was thought of the output."""
    return library.Usage(
        input_tokens=usage.input + usage.cache_read + usage.cache_write,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output + usage.reasoning,
    )
