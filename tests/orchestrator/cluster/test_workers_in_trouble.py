"""Workers that freeze, stop, join, disagree or lose their database, over a real PostgreSQL: the run ends as alone."""

from __future__ import annotations

import anyio
import pytest

from tests.orchestrator.chaos import approve, chaos, fanned, named
from tests.orchestrator.cluster_workers import TIMES
from tests.orchestrator.crashes import swept_seeds
from tests.orchestrator.dispatch.cluster.test_partition import Wire
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
LONGER_S = TIMES.timeout_s + 2


@pytest.mark.long
@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("seed", swept_seeds(1, 4))
async def test_a_frozen_worker_thaws_after_its_work_was_given_to_others(
    postgres_url: str, seed: int, is_killed: bool
) -> None:
    async with chaos(postgres_url, fanned(10), seed=seed, slow_s=0.3) as made:
        made.cluster.start(2)
        await made.until_turns(made.rng.randrange(1, 20))
        frozen = made.rng.choice(made.cluster.workers)
        made.cluster.freeze(frozen)
        await anyio.sleep(LONGER_S)
        made.cluster.thaw(frozen)
        if is_killed:
            await made.pause(0.0, 0.5)
            if frozen in made.cluster.workers:
                made.cluster.kill(frozen)
                made.cluster.start()
        await made.audited()


@pytest.mark.parametrize(
    ("away_s", "seed"),
    [(0, 0), *(pytest.param(*case, marks=pytest.mark.sweep) for case in ((0, 1), (8, 0), (8, 1), (40, 0)))],
)
async def test_the_database_is_away(
    postgres_url: str, postgres_server: PostgresServer, away_s: float, seed: int
) -> None:
    async with chaos(postgres_url, fanned(10), seed=seed, slow_s=0.3) as made:
        made.cluster.start(2)
        await made.until_turns(made.rng.randrange(1, 20))
        postgres_server.kill() if away_s == 0 else postgres_server.stop()
        await anyio.sleep(away_s)
        await anyio.to_thread.run_sync(postgres_server.start)
        await made.audited()
        assert not made.cluster.exits, "no worker was taken for dead"


@pytest.mark.long
@pytest.mark.parametrize("seed", swept_seeds(1, 4))
async def test_all_workers_are_replaced_one_by_one(postgres_url: str, seed: int) -> None:
    async with chaos(postgres_url, fanned(10), seed=seed, slow_s=0.3) as made:
        old = made.cluster.start(2)
        await made.until_turns(made.rng.randrange(1, 10))
        for worker in old:
            made.cluster.start()
            await made.pause(0.0, 1.0)
            assert await made.cluster.stop(worker) == 0
        table = await made.audited()
    assert table.figures["paid again"] == 0, "a worker that stops lets its calls end"


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(3))
async def test_of_two_versions_the_one_that_the_run_began_with_goes_on(postgres_url: str, seed: int) -> None:
    async with chaos(postgres_url, named("helped"), seed=seed, squad="helped", ask=approve) as made:
        made.cluster.start(1, note="It notes something else.")
        await made.pause(0.0, 2.0)
        made.cluster.start(1)
        await made.audited()


@pytest.mark.sweep
@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("seed", range(2))
async def test_a_worker_is_cut_off_from_the_database_and_comes_back(
    postgres_url: str, postgres_server: PostgresServer, seed: int, silently: bool
) -> None:
    wire = Wire(postgres_server.port)
    async with wire.laid(), chaos(postgres_url, fanned(10), seed=seed, slow_s=0.5) as made:
        made.cluster.start(1)
        far = made.cluster.start(1, url=postgres_url.replace(f":{postgres_server.port}/", f":{wire.port}/"))[0]
        await made.until_turns(made.rng.randrange(1, 20))
        await wire.cut(silently=silently)
        await anyio.sleep(LONGER_S)
        wire.heal()
        await made.audited()
        if far in made.cluster.workers:
            made.cluster.kill(far)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(2))
async def test_clocks_differ_by_minutes_and_workers_die(postgres_url: str, seed: int) -> None:
    async with chaos(postgres_url, fanned(10), seed=seed, slow_s=0.3) as made:
        ahead, behind = made.cluster.start(1, clock_s=300) + made.cluster.start(1, clock_s=-300)
        await made.until_turns(5)
        made.cluster.kill(ahead)
        made.cluster.start(1, clock_s=200)
        await made.pause(0.0, 3.0)
        made.cluster.kill(behind)
        made.cluster.start(1, clock_s=-200)
        await made.audited()
