"""Code that blocks, in a thread that keeps no process alive: nobody can stop a thread, so one that hangs is left."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread


async def in_thread(work: Callable[[], Any]) -> Any:
    """Return what `work` returns, or raise what it raises, having run it in a thread of its own.

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

    async with anyio.to_thread.current_default_thread_limiter():  # given back where nobody waits any more
        threading.Thread(target=run, name="tool", daemon=True).start()
        await over.wait()
    if failure:
        raise failure[0]
    return result[0]
