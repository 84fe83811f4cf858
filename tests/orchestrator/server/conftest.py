"""The server runs on asyncio, as uvicorn does; what needs no more than anyio may ask for virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.event_loops import event_loop


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str | tuple[str, dict[str, Any]]:
    return event_loop(str(request.param))
