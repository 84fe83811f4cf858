"""What runs asked of providers is told by the next server, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.server.past_traffic import look_back
from tests.orchestrator.server.served import asking_at, served
from tests.orchestrator.server.test_api import squad, until_state

pytestmark = pytest.mark.anyio


async def test_what_runs_asked_within_the_hour_outlives_a_restart(loopback: Any, tmp_path: Path) -> None:
    addresses = loopback.url("500"), loopback.url("ok")
    async with asking_at(*addresses) as first, served(first, tmp_path, None, [squad()]) as server:
        await server.http.post("/api/runs", json={"squad": "notes", "run_id": "one"})
        await until_state(server, "one", "waiting")
        async with asking_at(*addresses) as again:
            await look_back(again, server.state.journal)
    told, known = (each.traffic.over(3600.0, first.clock()) for each in (again, first))
    assert told.endpoints["p1/m"].answered == known.endpoints["p1/m"].answered == 1
    assert told.endpoints["p1/m"].output_tokens == known.endpoints["p1/m"].output_tokens == 7
    assert told.endpoints["p0/m"].errors == known.endpoints["p0/m"].errors == {"ServerFault": 1}
    assert (told.served, told.failovers, [*told.tiers]) == (known.served, known.failovers, [*known.tiers])
    assert again.traffic.last_errors["p0/m"].error == "ServerFault"
