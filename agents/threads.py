"""Code that blocks, in a thread that keeps no process alive: nobody can stop a thread, so one that hangs is left."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

MOST_LEFT = 8
"""Threads that may be left at work for one tool: one that hangs each time must not take all memory."""


class GivenUp(Exception):
    """The time was up before the work ended: its thread is left alone."""


class ThreadEnded(Exception):
    """What ran in a thread raised what would end a program, or a generator: `error`, which ends the thread alone."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def is_own_cancellation() -> bool:
    """Return whether code cancelled itself, as by waiting for a task of its own that was cancelled.

    On trio none can.
    """
    asyncio = sys.modules.get("asyncio")  # who runs on it has loaded it, and it is slow to load
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # trio
        return False
    return task is not None and task.cancelling() == 0


def still_left(threads: list[threading.Thread]) -> int:
    """Return how many of the threads that were left are still at work; the others are taken out."""
    threads[:] = [one for one in threads if one.is_alive()]
    return len(threads)


async def in_thread(
    work: Callable[[], Any], timeout_s: float | None = None, left: list[threading.Thread] | None = None
) -> Any:
    """Return what `work` returns, or raise what it raises, having run it in a thread of its own.

    Raises `GivenUp` after `timeout_s`, which count from when there is a thread for it. `left` takes its thread where
    nobody waits for that any more.

    Cancelled, it returns at once; the thread goes on alone, and ends with the process at the latest. The interpreter
    waits at its exit for the threads of `anyio.to_thread` on asyncio, so a function that never returns would keep a
    process whose work is done.
    """
    token, over = anyio.lowlevel.current_token(), anyio.Event()
    result: list[Any] = []
    failure: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result.append(context.run(work))
        except BaseException as error:  # noqa: BLE001  # raised again below, where it is waited for
            failure.append(error)
        with suppress(RuntimeError):  # nobody waits any more, and the event loop is closed
            anyio.from_thread.run_sync(over.set, token=token)

    thread = threading.Thread(target=run, name="tool", daemon=True)
    async with anyio.to_thread.current_default_thread_limiter():  # given back where nobody waits any more
        thread.start()
        try:
            with anyio.move_on_after(timeout_s):
                await over.wait()
        finally:
            if left is not None and not (result or failure):
                left.append(thread)
    if not (result or failure):
        raise GivenUp
    if failure:
        raise failure[0]
    return result[0]
