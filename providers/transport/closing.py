"""How what must be done is done to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio


async def undisturbed(work: Callable[[], Awaitable[object]], seconds: float = math.inf) -> None:
    """Do `work`, for so many seconds at most, however often the caller is cancelled; a cancellation is raised after it.

    A shield keeps off what cancel scopes send, and not what `Task.cancel` of asyncio does: that meets only the task
    which waits here for another one.
    """

    async def shielded() -> None:
        with anyio.move_on_after(seconds, shield=True):
            await work()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shielded)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
