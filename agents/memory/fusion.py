"""Two rankings as one. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

BY_WORDS, BY_MEANING = 0.5, 1.0
"""Weights of the two rankings, found on paraphrases and identifiers: words alone miss the first, meaning some of the
second."""
FLATNESS = 60
"""The larger, the less the first ranks stand out (reciprocal rank fusion: Cormack, Clarke, Büttcher, 2009)."""


def fused(rankings: Sequence[tuple[float, Sequence[T]]]) -> list[tuple[T, float]]:
    """Return what several rankings (weight, the best first) have, ranked together, each with its score."""
    scores: dict[T, float] = {}
    for weight, ranked in rankings:
        for rank, one in enumerate(ranked, 1):
            scores[one] = scores.get(one, 0.0) + weight / (FLATNESS + rank)
    return sorted(scores.items(), key=lambda scored: -scored[1])
