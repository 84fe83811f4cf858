"""A small scenario with a cluster, in which nothing is short until a test makes it so."""

from __future__ import annotations

from typing import Any

from providers.simulation import Scenario
from providers.simulation.scenario_file import parse_scenario

PLENTY = ({"metric": "requests", "amount": 100_000, "window": "1m"},)


def clustered(
    turns: int = 4000,
    over: str = "2m",
    limits: tuple[dict[str, Any], ...] = PLENTY,
    spread: float = 0.4,
    more: tuple[str, ...] = (),
    **cluster: Any,
) -> Scenario:
    """Return `turns` turns `over` a time, at one limited provider (and `more`, which have no limit)."""
    models = ["groq/openai/gpt-oss-20b", *more]
    latency = {"first_token": "300ms", "per_token": "2ms", "spread": spread}
    return parse_scenario(
        {
            "title": "A cluster",
            "policy": {"tiers": {"worker": models}, "providers": {"groq": {"limits": list(limits)}}},
            "providers": {model.split("/")[0]: {"latency": latency} for model in models},
            "load": [{"count": turns, "over": over, "arrivals": "random", "output_tokens": 300}],
            "cluster": {"runs": 50, **cluster},
        },
        "clustered",
    )
