"""Fixtures that every test may use."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from tests.llama import llama as llama
from tests.loopback import loopback as loopback

VIRTUAL = "virtual time"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str | tuple[str, dict[str, Any]]:
    """Async tests run on both event loops; those marked `virtual_time` on trio's clock, which jumps over sleeps."""
    if request.param == VIRTUAL:
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return str(request.param)
