"""The event loops that async tests run on."""

from __future__ import annotations

from typing import Any

from trio.testing import MockClock

VIRTUAL = "virtual time"


def event_loop(name: str) -> str | tuple[str, dict[str, Any]]:
    """Return what anyio takes for a loop of this name: asyncio, trio, or trio on a clock that jumps over sleeps."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if name == VIRTUAL else name
