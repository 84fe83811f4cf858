"""How many files the process may have open: each connection is one, and beyond the limit none can be taken."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from orchestrator.server.connections import ConnectionLimits

BESIDE = 200
"""Files beside connections: journals, the record of answers, tools at work."""


def within_open_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Let the process open as many files as its connections take, and return limits that fit where it may not.

    A process that may open no more cannot take connections, and asyncio tells so in its log without end.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * limits.most + limits.spare + BESIDE  # one to the client, one to the provider
    if _is_less(soft, needed):
        raised = needed if not _is_less(hard, needed) else hard
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return within(limits, soft) if _is_less(soft, needed) else limits


def within(limits: ConnectionLimits, files: int) -> ConnectionLimits:
    """Return limits that so many open files are enough for."""
    spare = min(limits.spare, files // 8)
    beside = min(BESIDE, files // 4)
    return replace(limits, most=min(limits.most, max(1, (files - spare - beside) // 2)), spare=spare)


def _is_less(limit: int, needed: int) -> bool:
    return 0 <= limit < needed  # no limit is -1
