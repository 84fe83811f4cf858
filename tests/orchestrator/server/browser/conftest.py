from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.orchestrator.server.browser.dashboard import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for the tests of this folder; each has a context of its own.

    Playwright keeps an event loop running in the thread that started it, so it ends before any test that runs a loop of
    its own: those of other folders that the same worker takes up later.
    """
    with chromium() as opened:
        yield opened
    assert asyncio._get_running_loop() is None, "Playwright left its event loop running: later tests cannot run theirs"
