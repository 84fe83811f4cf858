"""What an event says was billed. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from agents.events import TextsEmbedded, TurnEnded
from providers.events import AttemptEnded
from providers.messages import Usage


class Bill(NamedTuple):
    """What was billed: tokens, and micro-USD (None: unknown)."""

    usage: Usage
    cost: int | None


def bill_of(payload: Any) -> Bill | None:
    """Return what an event says was billed, None for one that says nothing of it.

    A turn's event carries the cost of the attempt that answered it, and each other attempt carries its own: their sum
    is all that was billed.
    """
    is_lost = isinstance(payload, AttemptEnded) and payload.usage is not None
    if is_lost or isinstance(payload, TurnEnded | TextsEmbedded):
        return Bill(payload.usage or Usage(), payload.cost)
    return None
