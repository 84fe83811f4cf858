"""Writes `openapi.json` beside it, the description of the server's API: `python docs/reference/generate_openapi.py`.

A test compares the file with what this makes, so it cannot drift from the code.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions, steady
from orchestrator.server.access import Access
from orchestrator.server.app import routed
from orchestrator.server.gateway.store import gateway_store
from orchestrator.server.hosting import hosting
from orchestrator.server.openapi import document
from orchestrator.server.pages.live import live_pages
from orchestrator.server.state import ServerState
from orchestrator.testing import scripted

PAGE = Path(__file__).with_name("openapi.json")


def page() -> str:
    """Return the whole document."""
    with TemporaryDirectory() as folder:
        return anyio.run(partial(_document, Path(folder)))


async def _document(folder: Path) -> str:
    journal, clock = MemoryJournal(), steady()
    host_of = hosting(journal, RunOptions(clock=clock))
    async with scripted() as manager, gateway_store(folder, clock) as store, host_of as host, live_pages() as live:
        state = ServerState(manager, journal, host, {}, {}, None, clock, str, folder, store)
        app, _ = routed(state, Access(folder, clock), live)
        made = document(app)
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
