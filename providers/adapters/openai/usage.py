"""What a Chat Completions reply says of its tokens and its cost. Odd figures are unknown ones, never an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from providers.adapters.shapes import NoCount, count, figures, part_of
from providers.messages import Usage

MAX_USD = 1000.0
"""More than any call costs."""


def usage_in(*places: Mapping[str, Any]) -> Any:
    """Return the first usage that stands in one of the places or beside it, None where there is none."""
    for place in places:
        groq = place.get("x_groq")
        if raw := place.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None):
            return raw
    return None


def read_usage(raw: Any, timings: Any) -> Usage | None:
    """Return the ledger, None where what stands there cannot be one. Parts of a known total are told apart by it."""
    try:
        return _ledger(figures(raw), timings)
    except NoCount:
        return None


def _ledger(raw: Mapping[str, Any], timings: Any) -> Usage:
    """Return the ledger. Prompt tokens include the cached ones here, completion tokens the reasoning.

    A part may not exceed its whole, but for one: OpenRouter was seen with 11 reasoning of 10 completion tokens. Both
    cost the same, and the whole holds.
    """
    prompt, completion = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    if total := count(raw.get("total_tokens")):
        # xAI and Google leave the reasoning out of the completion, but bill it and count it in the total.
        completion += total - prompt - part_of(completion, total - prompt)
    details = figures(raw.get("prompt_tokens_details"))
    local = timings.get("cache_n") if isinstance(timings, dict) else None
    if isinstance(local, int) and local < 0:  # llama.cpp's "not measured"
        local = None
    places = (
        details.get("cached_tokens"),
        raw.get("prompt_cache_hit_tokens"),  # DeepSeek
        raw.get("num_cached_tokens"),  # Mistral
        raw.get("cached_tokens"),  # Together
        local,  # llama.cpp
    )
    read = part_of(max([count(told) for told in places if told is not None], default=0), prompt)
    write = part_of(count(details.get("cache_write_tokens")), prompt - read)
    thought = count(figures(raw.get("completion_tokens_details")).get("reasoning_tokens"))
    reasoning = min(thought, completion)
    return Usage(prompt - read - write, read, write, completion - reasoning, reasoning)


def read_cost(raw: Any) -> int | None:
    """Return micro-USD, rounded up, of the provider's own figure, where it sends one (OpenRouter does).

    With a key of one's own upstream OpenRouter's `cost` is its fee alone; the upstream bill stands beside it, and
    without that nothing is known.
    """
    if not isinstance(raw, dict):
        return None
    own, details = raw.get("is_byok") is True, raw.get("cost_details")
    usd = _usd(raw.get("cost"))
    if usd is not None and own:
        upstream = _usd(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
        usd = usd + upstream if upstream else None
    return None if usd is None else math.ceil(round(usd * 1e6, 6))


def _usd(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_USD
    return float(value) if known else None
