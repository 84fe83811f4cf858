"""Worker processes over a real PostgreSQL: what their runs come to, also where workers die."""

from __future__ import annotations

import pytest

from tests.orchestrator.cluster_workers import STEPS, fan, worked_cluster
from tests.orchestrator.crashes import Counting
from tests.orchestrator.squads import of_type

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]


async def test_a_run_is_done_by_two_workers(postgres_url: str) -> None:
    with Counting().serving() as provider:
        async with worked_cluster(postgres_url, provider.port) as cluster:
            cluster.start(2)
            await cluster.submit(fan(8))
            finished = await cluster.ended()
            events = await cluster.events()
    assert finished.status == "done"
    assert finished.cost == 7 * (8 * STEPS + 1)
    assert provider.answered.total() == 8 * STEPS + 1
    assert len(of_type(events, "element.ended")) == 8
