"""Ctrl-C while code and files are still loaded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block is left; it takes a fraction of a second.

    An interrupt is an exception at any instant, and C code that calls back into Python drops it: PyYAML as it loads,
    pydantic as it compiles a pattern, which then matches nothing. Python itself makes it a RuntimeError inside
    `__set_name__`. Windows cannot hold a signal.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
