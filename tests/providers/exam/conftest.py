"""Every case is put through whole answers, streams, and whole answers that are told of as they come: on asyncio over
sockets, on trio over httpx2.

A plain run has each case once: of some it is the whole answer over sockets, of the others the stream over httpx2. The
others are `long`.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from tests.loopback import Loopback
from tests.providers.exam.lab import Lab

HERE = f"{Path(__file__).parent}/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not str(item.path).startswith(HERE):
            continue
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if (given.get("anyio_backend"), given.get("lab")) in (
            ("asyncio", "stream"),
            ("asyncio", "relay"),
            ("trio", "relay"),
            ("trio", "complete"),
            _left_out(item.name.partition("[")[0]),
        ):
            item.add_marker(pytest.mark.long)


def _left_out(case: str) -> tuple[str, str]:
    return ("asyncio", "complete") if crc32(case.encode()) % 2 else ("trio", "stream")


@pytest.fixture(params=["complete", "stream", "relay"])
def lab(request: pytest.FixtureRequest, loopback: Loopback) -> Lab:
    """A bench, fresh for each case."""
    return Lab(loopback, request.param)
