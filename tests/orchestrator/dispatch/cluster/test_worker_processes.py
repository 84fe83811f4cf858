"""What a cluster does when workers are killed, frozen, stopped, or find their work taken over."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from orchestrator.dispatch.cluster.settings import EXIT_FENCED, EXIT_STUCK
from tests.orchestrator.dispatch.cluster.workers import TIMES, Workers, eventually, unit_job, workers

__all__ = ["workers"]

pytestmark = pytest.mark.anyio


async def all_gone(jobs: Any) -> None:
    async def none_left() -> bool:
        return not await jobs.live("r")

    await eventually(none_left)


@pytest.mark.long
async def test_what_a_killed_worker_ran_is_run_by_another(jobs: Any, workers: Workers) -> None:
    killed = workers.start()
    await jobs.submit([unit_job(f"t{number}", 1000) for number in range(3)])
    await workers.until(lambda: len(workers.tasks("begin")) == 3)
    workers.start()
    await jobs.submit([unit_job("other")])
    await workers.until(lambda: "other" in workers.tasks("end"))
    workers.kill(killed)
    at = time.monotonic()
    await workers.until(lambda: len(workers.tasks("begin")) >= 7)
    again = [one for one in workers.said() if one.pid != killed and one.task != "other"]
    assert {one.task for one in again} == {"t0", "t1", "t2"}
    assert min(one.at for one in again) > at + TIMES.timeout_s - TIMES.heartbeat_s - 1
    assert workers.overlaps({killed: at}) == []
    status = await jobs.status()
    assert status.queues["tasks"].running == 3
    assert killed not in {worker.pid for worker in status.workers}


@pytest.mark.long
async def test_a_frozen_worker_whose_jobs_were_taken_over_says_no_more_about_them(jobs: Any, workers: Workers) -> None:
    workers.is_supervised = False
    frozen = workers.start()
    await jobs.submit([unit_job("t", 3)])
    await workers.until(lambda: workers.tasks("begin"))
    workers.freeze(frozen)
    other = workers.start()
    await workers.until(lambda: [one for one in workers.said() if one.pid == other and one.what == "begin"])
    workers.thaw(frozen)
    assert workers.exit_code(frozen) == EXIT_FENCED
    assert "t" not in [one.task for one in workers.said() if one.pid == frozen and one.what == "end"] or (
        await jobs.live("r")
    ), "its handler may have ended, but the queue was not told"
    await workers.until(lambda: [one for one in workers.said() if one.pid == other and one.what == "end"])
    await all_gone(jobs)
    workers.stop(other)
    assert workers.exit_code(other) == 0


@pytest.mark.long
async def test_a_worker_that_freezes_with_the_reapers_lock_is_found_dead_too(jobs: Any, workers: Workers) -> None:
    workers.is_supervised = False
    other = workers.start()
    await eventually(lambda: _are_there(jobs, 1))
    frozen = workers.start(freezes=True)

    await eventually(lambda: _are_there(jobs, 2))
    await eventually(lambda: _are_there(jobs, 1))
    assert [worker.pid for worker in (await jobs.status()).workers] == [other]
    workers.thaw(frozen)
    assert workers.exit_code(frozen) == EXIT_FENCED


async def _are_there(jobs: Any, count: int) -> bool:
    return len((await jobs.status()).workers) == count


@pytest.mark.long
async def test_a_frozen_worker_that_nobody_took_over_goes_on(jobs: Any, workers: Workers) -> None:
    workers.is_supervised = False
    frozen = workers.start()
    await jobs.submit([unit_job("t", 2)])
    await workers.until(lambda: workers.tasks("begin"))
    workers.freeze(frozen)
    await anyio.sleep(TIMES.timeout_s + 2)
    workers.thaw(frozen)
    await workers.until(lambda: workers.tasks("end"))
    await all_gone(jobs)
    await jobs.submit([unit_job("next")])
    await workers.until(lambda: "next" in workers.tasks("end"))
    assert workers.tasks("begin") == ["t", "next"]
    workers.stop(frozen)
    assert workers.exit_code(frozen) == 0


@pytest.mark.parametrize("how", ["fenced", pytest.param("fenced in a group", marks=pytest.mark.long)])
async def test_a_fenced_worker_ends_before_the_queue_hears_of_its_job(jobs: Any, workers: Workers, how: str) -> None:
    workers.is_supervised = False
    fenced = workers.start()
    await jobs.submit([unit_job("t", how)])
    assert workers.exit_code(fenced) == EXIT_FENCED
    status = await jobs.status()
    assert (status.queues["tasks"].running, status.queues["tasks"].waiting) == (1, 0), "it is as it was"
    assert "hunter2" not in workers.errors


@pytest.mark.long
async def test_a_worker_whose_event_loop_stands_still_ends(jobs: Any, workers: Workers) -> None:
    workers.is_supervised = False
    stuck = workers.start()
    await jobs.submit([unit_job("t", "blocks"), unit_job("u", 1000)])
    assert workers.exit_code(stuck) == EXIT_STUCK
    assert "time.sleep(10_000)" in workers.errors, "the log says where"


@pytest.mark.long
async def test_a_stopping_worker_lets_short_jobs_end_and_hands_long_ones_over(jobs: Any, workers: Workers) -> None:
    leaving = workers.start(grace_s=4.0)
    await jobs.submit([unit_job("long", 1000), unit_job("short", 2)])
    await workers.until(lambda: len(workers.tasks("begin")) == 2)
    workers.stop(leaving)

    async def is_draining() -> bool:
        return all(worker.is_draining for worker in (await jobs.status()).workers)

    await eventually(is_draining)
    staying = workers.start()
    await jobs.submit([unit_job("new")])
    await workers.until(lambda: workers.tasks("begin").count("long") == 2)
    assert workers.exit_code(leaving) == 0
    said = workers.said()
    assert [one.what for one in said if one.task == "short"] == ["begin", "end"]
    assert [one.pid for one in said if one.task == "new"] == [staying, staying], "it takes no new job"
    assert [(one.what, one.pid) for one in said if one.task == "long"] == [
        ("begin", leaving),
        ("cancelled", leaving),
        ("begin", staying),
    ]
    assert workers.overlaps() == []


@pytest.mark.long
async def test_a_cancelled_job_of_a_stopping_worker_is_cancelled(jobs: Any, workers: Workers) -> None:
    leaving = workers.start(grace_s=1000.0)
    await jobs.submit([unit_job("long", 1000)])
    await workers.until(lambda: workers.tasks("begin"))
    workers.stop(leaving)

    async def is_draining() -> bool:
        return any(worker.is_draining for worker in (await jobs.status()).workers)

    await eventually(is_draining)
    # Its heartbeats go on: else others would take its jobs for a dead worker's.
    await anyio.sleep(TIMES.timeout_s + 1)
    assert [worker.is_stalled for worker in (await jobs.status()).workers] == [False]
    await jobs.cancel("r")
    assert workers.exit_code(leaving) == 0
    assert workers.tasks("cancelled") == ["long"]
    assert await jobs.live("r") == set()


@pytest.mark.long
async def test_workers_whose_clocks_differ_by_minutes_share_the_work(jobs: Any, workers: Workers) -> None:
    early, late = workers.start(clock_s=-300), workers.start(clock_s=300)
    await jobs.submit([unit_job(f"t{number}", 0.2) for number in range(30)])
    await jobs.submit([unit_job("fails", "fails")])
    await workers.until(lambda: len(workers.tasks("end")) >= 30)
    await workers.until(lambda: workers.tasks("begin").count("fails") >= 3)  # 1 s and 2 s later, by one clock
    await anyio.sleep(TIMES.timeout_s)
    assert {early, late} <= workers.processes.keys(), "neither was taken for dead"
    assert workers.overlaps() == []
    assert sorted(workers.tasks("end")) == sorted(f"t{number}" for number in range(30))
    workers.kill(early)
    await jobs.submit([unit_job(f"u{number}", 1000) for number in range(2)])
    await workers.until(lambda: {"u0", "u1"} <= set(workers.tasks("begin")))
    at = time.monotonic()
    workers.kill(late)
    last = workers.start(clock_s=-300)
    await workers.until(lambda: len([one for one in workers.said() if one.pid == last and one.task[0] == "u"]) >= 2)
    assert workers.overlaps({late: at}) == []
