"""Fixtures that every test may use."""

from __future__ import annotations

import pytest

from tests.llama import llama as llama
from tests.loopback import loopback as loopback


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Async tests run on both event loops."""
    return str(request.param)


@pytest.fixture
def autojump(anyio_backend: object) -> None:
    """Marks a test that runs on trio's virtual clock: see `anyio_backend_options`."""
