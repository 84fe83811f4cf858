"""The factors that a score adds up, with their default points, and the strategies that an order may follow."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Strategy = Literal["tier", "chain", "weighted", "latency"]

POINTS: Mapping[str, float] = MappingProxyType(
    {"cost": 30, "quota": 20, "health": 30, "latency": 10, "task": 15, "environment": 20}
)
"""What each factor's value is multiplied by where the policy says nothing else."""
