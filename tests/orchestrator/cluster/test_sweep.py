"""What a sweep of the cluster submits, and what it leaves alone."""

from __future__ import annotations

import pytest

from orchestrator.cluster.opening import open_cluster
from orchestrator.dispatch.cluster.job import Job
from orchestrator.journal.protocols import RunManifest

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]


async def test_a_sweep_leaves_chats_and_cancelled_runs_alone(postgres_url: str) -> None:
    async with open_cluster(postgres_url) as database:
        await database.journal.create("talk", RunManifest("t", options={"chat": True}))
        await database.journal.create("over", RunManifest("t"))
        await database.journal.request_cancel("over")
        await database.journal.create("lost", RunManifest("t"))
        await database.sweep()
        assert [await database.live(run) for run in ("talk", "over", "lost")] == [set(), set(), {Job("lost")}]


async def test_a_sweep_leaves_runs_alone_that_are_driven(postgres_url: str) -> None:
    async with open_cluster(postgres_url) as database:
        await database.journal.create("r", RunManifest("t"))
        async with database.journal.driving("r"):
            await database.sweep()
            assert await database.live("r") == set()
        await database.sweep()
        assert await database.live("r") == {Job("r")}
