"""What workers do while the database is away, and afterwards."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from tests.orchestrator.dispatch.cluster.workers import TIMES, Workers, eventually, unit_job, workers
from tests.postgres import PASSWORD, PostgresServer

__all__ = ["workers"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "away_s",
    [
        pytest.param(0, id="at-once"),
        pytest.param(8, id="8s", marks=pytest.mark.long),
        pytest.param(40, id="40s", marks=pytest.mark.long),
    ],
)
async def test_after_an_outage_all_goes_on_and_nobody_is_robbed(
    jobs: Any, workers: Workers, postgres_server: PostgresServer, away_s: float
) -> None:
    """Jobs end, fail and are cut short in the outage; all heartbeats look old after it."""
    pids = set(await workers.start_all(jobs, 2))
    await jobs.submit([unit_job(f"long{number}", away_s + 4) for number in range(2)])
    await jobs.submit([unit_job(f"within{number}", min(away_s, 1)) for number in range(2)])
    await jobs.submit([unit_job("fails", "fails")])
    await jobs.submit([unit_job(f"quick{number}", 0.1) for number in range(20)])
    await workers.until(lambda: {"long0", "long1", "within0", "within1"} <= set(workers.tasks("begin")))
    postgres_server.kill() if away_s == 0 else postgres_server.stop()
    at = time.monotonic()
    await anyio.sleep(away_s)
    postgres_server.start()
    await jobs.submit([unit_job("after")])
    back = time.monotonic()
    await workers.until(lambda: "after" in workers.tasks("end"))
    assert next(one.at for one in workers.said() if one.task == "after") < back + 10, "they try every second"

    async def only_the_failing_one() -> bool:
        return {job.unit.task for job in await jobs.live("r") if job.unit} == {"fails"}

    await eventually(only_the_failing_one)
    assert workers.processes.keys() == pids, "no worker ended"
    assert all(process.poll() is None for process in workers.processes.values())
    ended = workers.tasks("end")
    assert sorted(ended) == sorted(
        ["after", *(f"long{number}" for number in range(2)), *(f"within{number}" for number in range(2))]
        + [f"quick{number}" for number in range(20)]
    ), f"each once, in an outage of {away_s} s that began at {at}"
    status = await jobs.status()
    assert len(status.workers) == 2
    assert all(worker.heartbeat_age_s < TIMES.timeout_s for worker in status.workers)
    assert PASSWORD not in workers.errors


@pytest.mark.long
async def test_a_worker_that_dies_in_an_outage_is_found_after_it(
    jobs: Any, workers: Workers, postgres_server: PostgresServer
) -> None:
    dead, living = await workers.start_all(jobs, 2)
    await jobs.submit([unit_job(f"t{number}", 1000) for number in range(6)])
    await workers.until(lambda: len(workers.tasks("begin")) == 6)
    mine = [one.task for one in workers.said() if one.pid == dead]
    assert len(mine) == 3
    postgres_server.stop()
    workers.kill(dead)
    at = time.monotonic()
    await anyio.sleep(3)
    postgres_server.start()
    other = workers.start()
    await workers.until(lambda: len(workers.tasks("begin")) == 9)
    again = workers.said()[6:]
    assert sorted(one.task for one in again) == sorted(mine)
    assert {one.pid for one in again} == {other}, "the living one has no slot free, and keeps what it has"
    assert min(one.at for one in again) > at + TIMES.timeout_s
    assert workers.processes.keys() == {living, other}


@pytest.mark.long
async def test_a_worker_stops_in_an_outage_too(jobs: Any, workers: Workers, postgres_server: PostgresServer) -> None:
    stopping = workers.start()
    await jobs.submit([unit_job("t", 1000)])
    await workers.until(lambda: workers.tasks("begin"))
    postgres_server.stop()
    workers.stop(stopping)
    assert workers.exit_code(stopping) == 0
    assert workers.tasks("cancelled") == ["t"]
    postgres_server.start()
    workers.start()
    await workers.until(lambda: len(workers.tasks("begin")) == 2)
