"""How much the model takes that is asked first: looked up once for a piece of work, and recorded."""

from __future__ import annotations

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


async def room_of(request: Request, manager: Complete, turn: int, ctx: RunContext) -> int | None:
    """Return how many tokens of input a request may have before turn `turn`, None where that is not known.

    It is a durable step: what follows from it is the same when the policy, or a model's window, has changed since.
    """

    async def look() -> int | None:
        return manager.room(request) if isinstance(manager, TellsRoom) else None

    found: int | None = await ctx.do(StepKey(ctx.step, turn, ROOM), b"", look)
    return found
