"""Every case is put through whole answers and streams, on asyncio and on trio."""

from __future__ import annotations

import pytest

from tests.loopback import Loopback
from tests.providers.exam.lab import Lab


@pytest.fixture(params=["complete", "stream"])
def lab(request: pytest.FixtureRequest, loopback: Loopback) -> Lab:
    """A bench, fresh for each case."""
    return Lab(loopback, request.param)
