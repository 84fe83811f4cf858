"""Runs whose drivers die, whose jobs vanish, who are cancelled or wait for people, over a real PostgreSQL."""

from __future__ import annotations

import anyio
import pytest

from orchestrator import Squad
from orchestrator.events import RunFinished
from orchestrator.run.approvals import answer_question
from tests.orchestrator.chaos import Chaos, answered, approve, chaos, fanned, named
from tests.orchestrator.crashes import PATTERNS, agent, swept_seeds
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
LONG = [
    pytest.param(squad, marks=pytest.mark.sweep)
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


async def until_status(made: Chaos, status: str) -> None:
    async def is_so() -> bool:
        return await made.cluster.status() == status

    await made.cluster.until(is_so)


@pytest.mark.long
@pytest.mark.parametrize("seed", swept_seeds(1, 6))
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


@pytest.mark.parametrize("queue", ["runs", pytest.param("tasks", marks=pytest.mark.sweep)])
async def test_jobs_are_deleted(postgres_url: str, queue: str) -> None:
    async with chaos(postgres_url, fanned(6), slow_s=0.1) as made:
        if queue == "tasks":
            made.cluster.start(1, tasks=2)
            await made.until_turns(1)
        assert await rows(made, f"{_LOSE} RETURNING 1", f"%.{queue}")
        made.cluster.start(1)
        await made.audited()


@pytest.mark.long
@pytest.mark.parametrize("waits", ["at work", pytest.param("before a worker", marks=pytest.mark.sweep)])
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


@pytest.mark.sweep
@pytest.mark.parametrize("squad", ["large", "nested", *LONG])
async def test_every_kind_of_squad_ends_as_alone(postgres_url: str, squad: str) -> None:
    await work(postgres_url, squad, 0, 0)


@pytest.mark.long
@pytest.mark.parametrize("seed", swept_seeds(1, 4))
@pytest.mark.parametrize("squad", ["large", pytest.param("nested", marks=pytest.mark.sweep), *LONG])
async def test_every_kind_of_squad_ends_as_alone_where_workers_die(postgres_url: str, squad: str, seed: int) -> None:
    await work(postgres_url, squad, seed, 3)


@pytest.mark.parametrize("seed", swept_seeds(1, 4))
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


def asking(timeout: str) -> Squad:
    gate = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": timeout, "on_timeout": "approve"}
    end = {"agent": "ann", "needs": ["gate"], "description": "End."}
    tasks = {"gate": {"approval": gate}, "end": end}
    return Squad.from_mapping({"version": 1, "name": "asking", "agents": {"ann": agent()}, "tasks": tasks})


async def test_an_answer_is_taken_long_before_the_question_s_time_is_up(postgres_url: str) -> None:
    async with chaos(postgres_url, lambda _: asking("7d"), ask=approve) as made:
        made.cluster.start()
        await until_status(made, "waiting")
        database = made.cluster.database
        await answer_question(database.journal, "r", "gate", "approve")
        await database.drive("r")
        await until_status(made, "done")


@pytest.mark.long
@pytest.mark.parametrize("clock_s", [0, *(pytest.param(ahead, marks=pytest.mark.sweep) for ahead in (300, -300))])
async def test_a_question_s_time_is_up_while_nobody_is_there(postgres_url: str, clock_s: float) -> None:
    """Its worker is killed before, and the one that comes later may have another clock: by its own, time is left."""
    async with chaos(postgres_url, lambda _: asking("3s"), ask=approve) as made:
        worker = made.cluster.start()[0]
        await until_status(made, "waiting")
        made.cluster.kill(worker)
        made.cluster.start(1, clock_s=clock_s)
        await until_status(made, "done")
        answers = [event.data.by for event in await made.cluster.events() if event.type == "gate.answered"]
    assert answers == ["timeout"]
