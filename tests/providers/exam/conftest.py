"""Every case is put through whole answers and streams: on asyncio over sockets, on trio over httpx2.

A plain run has each case twice: whole over sockets, streamed over httpx2. The other two are `long`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.providers.exam.lab import Lab

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if HERE in item.path.parents and (given.get("anyio_backend"), given.get("lab")) in (
            ("asyncio", "stream"),
            ("trio", "complete"),
        ):
            item.add_marker(pytest.mark.long)


@pytest.fixture(params=["complete", "stream"])
def lab(request: pytest.FixtureRequest, loopback: Loopback) -> Lab:
    """A bench, fresh for each case."""
    return Lab(loopback, request.param)
