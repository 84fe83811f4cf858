"""How much the model takes that is asked first: looked up once for a piece of work, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agents.run_context import Complete, RunContext, StepKey
from providers.messages import Request

ROOM = "room"
"""The call by which it is recorded."""


@runtime_checkable
class TellsRoom(Protocol):
    """Who knows how much those take that it asks."""

    def room(self, request: Request) -> int | None:
        """Return how many tokens of input the largest takes of those that are asked first; None: it is not known."""


async def room_of(requests: Sequence[Request], manager: Complete, turn: int, ctx: RunContext) -> int | None:
    """Return how many tokens of input each of these requests may have before turn `turn`, None where that is not known.

    It is a durable step: what follows from it is the same when the policy, or a model's window, has changed since.
    """

    async def look() -> int | None:
        if not isinstance(manager, TellsRoom):
            return None
        rooms = [manager.room(request) for request in requests]
        return min((room for room in rooms if room is not None), default=None)

    found: int | None = await ctx.do(StepKey(ctx.step, turn, ROOM), b"", look)
    return found
