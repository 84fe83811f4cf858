"""Worker processes over a real PostgreSQL: what their runs come to, also where workers die at random instants."""

from __future__ import annotations

import pytest

from tests.orchestrator.chaos import chaos, fanned
from tests.orchestrator.crashes import swept_seeds

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]


async def test_a_run_is_done_by_two_workers(postgres_url: str) -> None:
    async with chaos(postgres_url, fanned(8)) as made:
        made.cluster.start(2)
        table = await made.audited()
    assert table.figures["paid again"] == 0


async def kill(postgres_url: str, seed: int, *, units: int, kills: int, slow_s: float) -> None:
    async with chaos(postgres_url, fanned(units), seed=seed, slow_s=slow_s) as made:
        made.cluster.start(3)
        await made.until_turns(1)
        for _ in range(kills):
            made.cluster.kill(made.rng.choice(made.cluster.workers))
            made.cluster.start()
            await made.pause(0.0, 2.0)
        await made.audited()


@pytest.mark.parametrize("seed", swept_seeds(1, 3))
async def test_workers_are_killed_and_replaced(postgres_url: str, seed: int) -> None:
    await kill(postgres_url, seed, units=12, kills=3, slow_s=0.1)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(6))
async def test_twelve_kills_over_80_units(postgres_url: str, seed: int) -> None:
    await kill(postgres_url, seed, units=80, kills=12, slow_s=2.0)
