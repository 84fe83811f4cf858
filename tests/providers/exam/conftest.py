"""Every case is put through whole answers and streams: on asyncio over sockets, on trio over httpx2."""

from __future__ import annotations

import pytest

from tests.loopback import Loopback
from tests.providers.exam.lab import Lab


@pytest.fixture(params=["complete", "stream"])
def lab(request: pytest.FixtureRequest, loopback: Loopback) -> Lab:
    """A bench, fresh for each case."""
    return Lab(loopback, request.param)
