"""Runs whose drivers die, whose jobs vanish, who are cancelled or wait for people, over a real PostgreSQL."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.events import RunFinished
from tests.orchestrator.chaos import Chaos, answered, approve, chaos, fanned, named
from tests.orchestrator.crashes import PATTERNS, seeds
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
LONG = [
    pytest.param(squad, marks=pytest.mark.long)
    for squad in ("small", "aside", "compacted", "helped", *PATTERNS, "elements", "repeated")
]
_DRIVER = """
    SELECT w.pid FROM procrastinate_jobs j JOIN orchestrator_workers w ON w.id = j.worker_id
    WHERE j.status = 'doing' AND j.queue_name LIKE '%%.runs'"""
_LOSE = "DELETE FROM procrastinate_jobs WHERE status = 'todo' AND queue_name LIKE %s"


async def rows(made: Chaos, query: str, *given: str) -> list[tuple[int]]:
    async with made.cluster.database.queue._pool.connection() as connection:
        done = await connection.execute(query, given)
        return list(await done.fetchall()) if done.description else []


@pytest.mark.parametrize("seed", seeds(1, 6))
async def test_the_driver_is_killed_at_random_instants(postgres_url: str, seed: int) -> None:
    async with chaos(postgres_url, fanned(10), seed=seed, slow_s=0.2) as made:
        made.cluster.start(3)
        await made.until_turns(1)
        for _ in range(2):
            for (pid,) in await rows(made, _DRIVER):
                for driver in [one for one in made.cluster.workers if one.pid == pid]:
                    made.cluster.kill(driver)
                    made.cluster.start()
            await made.pause(0.0, 6.0)
        await made.audited()


@pytest.mark.parametrize("queue", ["tasks", "runs"])
async def test_jobs_are_deleted(postgres_url: str, queue: str) -> None:
    async with chaos(postgres_url, fanned(6), slow_s=0.1) as made:
        if queue == "tasks":
            made.cluster.start(1, tasks=2)
            await made.until_turns(1)
        assert await rows(made, f"{_LOSE} RETURNING 1", f"%.{queue}")
        made.cluster.start(1)
        await made.audited()


@pytest.mark.parametrize("waits", ["before a worker", "at work"])
async def test_a_run_is_cancelled(postgres_url: str, waits: str) -> None:
    async with chaos(postgres_url, fanned(20), slow_s=0.5) as made:
        if waits == "at work":
            made.cluster.start(2, tasks=3)
            await made.until_turns(4)
        await made.cluster.database.journal.request_cancel("r")
        await made.cluster.database.drive("r")
        if waits != "at work":
            made.cluster.start(1)
        finished: RunFinished = await made.cluster.ended()
        paid, recorded = made.provider.answered.total(), await made.turns()
        await anyio.sleep(1)
        assert made.provider.answered.total() == paid, "nothing goes on"
    assert finished.status == "cancelled"
    assert paid == recorded < 20 * 5
    assert finished.cost == 7 * recorded


async def work(postgres_url: str, squad: str, seed: int, kills: int) -> None:
    """Have a squad of `crashes.py` done by workers that are killed, and its questions answered from here."""
    async with chaos(postgres_url, named(squad), seed=seed, squad=squad, ask=approve, slow_s=0.2) as made:
        made.cluster.start(3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answered, made)
            await made.until_turns(1)
            for _ in range(kills):
                made.cluster.kill(made.rng.choice(made.cluster.workers))
                made.cluster.start()
                await made.pause(0.0, 3.0)
            await made.audited(but="waiting")
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("squad", ["nested", *LONG])
async def test_every_kind_of_squad_ends_as_alone(postgres_url: str, squad: str) -> None:
    await work(postgres_url, squad, 0, 0)


@pytest.mark.parametrize("seed", seeds(1, 4))
@pytest.mark.parametrize("squad", ["large", *LONG])
async def test_every_kind_of_squad_ends_as_alone_where_workers_die(postgres_url: str, squad: str, seed: int) -> None:
    await work(postgres_url, squad, seed, 3)


@pytest.mark.parametrize("seed", seeds(1, 4))
async def test_answers_come_while_nobody_is_there_and_the_database_restarts(
    postgres_url: str, postgres_server: PostgresServer, seed: int
) -> None:
    async with chaos(postgres_url, named("small"), seed=seed, squad="small", ask=approve) as made:
        worker = made.cluster.start()[0]
        assert (await made.cluster.ended()).status == "waiting"
        made.cluster.kill(worker)
        postgres_server.kill()
        await anyio.to_thread.run_sync(postgres_server.start)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answered, made)
            await made.pause(0.0, 1.0)
            made.cluster.start(2)
            await made.audited(but="waiting")
            tasks.cancel_scope.cancel()
