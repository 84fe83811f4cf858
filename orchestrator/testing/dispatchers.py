"""A test-suite for a dispatcher of one's own: real worker processes, which are killed, frozen and stopped.

    class TestMine(DispatcherConformance):
        factory = "my_package.queue:MyQueue"      # called with a place: an asynchronous context manager of a dispatcher

        @pytest.fixture
        def place(self) -> str:
            return "postgresql://..."             # an empty place, as text, that other processes reach too

pytest then runs each test of the class. The workers' handlers do what a unit's key says: sleep so many seconds, fail,
or find themselves fenced; they write into a file what they do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest

from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.dispatch.jobs import JobDispatcher
from orchestrator.testing.dispatcher_worker import FAILS, FENCED, FENCED_CODE, opened
from orchestrator.units import Unit

HOSTILE = ("a/b#2", "\0", "\ud800", "Zoë 🐟", "'; DROP TABLE x; --", "]#2", "", "%s %(a)s {b}", "x" * 9000)
"""Keys of elements: any text may be one."""
POLL_S = 0.05
OF_JOBS = ("begin", "end", "failed", "cancelled")


class HandlerLine(NamedTuple):
    """What a handler wrote: `at` by the machine's monotonic clock (seconds), begin, end, failed or cancelled."""

    at: float
    pid: int
    what: str
    task: str


@dataclass
class WorkerProcesses:
    """The worker processes of one test. One that ends because it was taken for dead is started again, as a supervisor
    does."""

    factory: str
    place: str
    folder: Path
    times: WorkerTimes
    patience_s: float
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    is_supervised: bool = True

    def start(self, slots: int = 3, **times: float) -> int:
        """Start a worker and return its process id."""
        order = {
            "factory": self.factory,
            "place": self.place,
            "log": str(self.folder / "said"),
            "slots": slots,
            "times": asdict(replace(self.times, **times)),
        }
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "orchestrator.testing.dispatcher_worker", json.dumps(order)]
        with (self.folder / "errors").open("ab") as errors:
            process = subprocess.Popen(command, env=environ, stdout=errors, stderr=errors)  # noqa: S603  # ourselves
        self.running[process.pid] = process
        return process.pid

    def lines(self, *what: str) -> list[HandlerLine]:
        """Return what handlers wrote, in order: all of it, or lines of these kinds, of which one is `sweep`."""
        file = self.folder / "said"
        text = file.read_text("utf-8") if file.exists() else ""
        found = [HandlerLine(*json.loads(line)) for line in text.splitlines()]
        return [line for line in found if line.what in (what or OF_JOBS)]

    def tasks(self, *what: str) -> list[str]:
        return [line.task for line in self.lines(*what)]

    def kill(self, pid: int) -> None:
        process = self.running.pop(pid)
        process.kill()
        process.wait()

    def signal(self, pid: int, number: signal.Signals) -> None:
        self.running[pid].send_signal(number)

    def exit_code(self, pid: int) -> int:
        code = self.running[pid].wait(self.patience_s)
        del self.running[pid]
        return code

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + self.patience_s
        while not holds():
            errors = (self.folder / "errors").read_text("utf-8", "replace")[-4000:]
            assert time.monotonic() < deadline, f"it does not come; handlers said {self.lines()}\n{errors}"
            for pid, process in list(self.running.items()):
                if self.is_supervised and process.poll():
                    del self.running[pid]
                    self.start()
            await anyio.sleep(POLL_S)

    def end(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


def overlapping(lines: list[HandlerLine], gone: dict[int, float]) -> list[str]:
    """Return the tasks that two handlers were at work on at once; `gone` says when processes were killed or frozen."""
    at_work, found = dict[str, int](), list[str]()
    for line in sorted(lines):
        if line.what == "begin":
            owner = at_work.get(line.task)
            if owner is not None and gone.get(owner, line.at) >= line.at:
                found.append(line.task)
            at_work[line.task] = line.pid
        elif at_work.get(line.task) == line.pid:
            del at_work[line.task]
    return found


DispatcherCheck = Callable[[JobDispatcher, WorkerProcesses], Awaitable[None]]


class DispatcherConformance:
    """The tests. A subclass says what they test."""

    factory: ClassVar[str]
    times: ClassVar[WorkerTimes] = WorkerTimes(
        heartbeat_s=0.5, timeout_s=5.0, grace_s=1.0, sweep_s=1.0, poll_s=0.25, tick_s=0.25
    )
    patience_s: ClassVar[float] = 120.0

    @pytest.fixture
    def place(self) -> str:
        """Return an empty place for jobs."""
        raise NotImplementedError("a subclass of DispatcherConformance has a fixture `place`")

    @pytest.fixture
    def workers(self, place: str, tmp_path: Path) -> Iterator[WorkerProcesses]:
        found = WorkerProcesses(self.factory, place, tmp_path, self.times, self.patience_s)
        yield found
        found.end()

    def check(self, workers: WorkerProcesses, check: DispatcherCheck) -> None:
        async def run() -> None:
            async with opened(self.factory, workers.place) as dispatcher:
                await dispatcher.prepare()
                await check(dispatcher, workers)

        anyio.run(run)

    def test_each_job_reaches_a_handler_as_it_was_submitted(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            jobs = [Job("r"), *(Job("r", Unit("t", key, 2), 3) for key in HOSTILE)]
            await dispatcher.submit(jobs)
            assert await dispatcher.live("r") == set(jobs)
            workers.start()
            await workers.until(lambda: len(workers.tasks("end")) >= len(jobs))
            await _none_left(dispatcher, workers)
            assert sorted(workers.tasks("end")) == sorted(["", *(f"t {key!r} 2 3" for key in HOSTILE)])

        self.check(workers, check)

    def test_what_waits_is_submitted_again_without_effect(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            jobs = [_job(f"t{number}") for number in range(10)]
            for start in (0, 3, 7):
                await dispatcher.submit([*jobs[start:], *jobs[:start], jobs[0]])
            assert await dispatcher.live("r") == set(jobs)
            await dispatcher.prepare()
            assert await dispatcher.live("r") == set(jobs)
            workers.start()
            await _none_left(dispatcher, workers)
            assert sorted(workers.tasks("end")) == [f"t{number}" for number in range(10)]

        self.check(workers, check)

    def test_no_two_handlers_are_at_work_on_one_unit(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            workers.start()
            workers.start()
            jobs = [_job(f"t{number}", 0.05, generation) for generation in range(1, 6) for number in range(4)]
            await dispatcher.submit(jobs)
            await workers.until(lambda: len(workers.tasks("end")) >= len(jobs))
            await dispatcher.submit([_job("again", 2)])
            await workers.until(lambda: "again" in workers.tasks("begin"))
            await dispatcher.submit([_job("again", 2)])  # it may have looked before this was known
            await workers.until(lambda: workers.tasks("end").count("again") == 2)
            await _none_left(dispatcher, workers)
            assert overlapping(workers.lines(), {}) == []

        self.check(workers, check)

    def test_a_worker_runs_no_more_than_its_slots(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            await dispatcher.submit([_job(f"t{number}", 0.1) for number in range(12)])
            workers.start(slots=2)
            await workers.until(lambda: len(workers.tasks("end")) >= 12)
            at_work, most = 0, 0
            for line in sorted(workers.lines()):
                at_work += 1 if line.what == "begin" else -1
                most = max(most, at_work)
            assert most == 2

        self.check(workers, check)

    def test_higher_priorities_first_and_none_before_its_time(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            for name, priority in (("c", 0), ("d", 0), ("a", 5), ("b", 5), ("e", -1)):
                await dispatcher.submit([_job(name)], priority=priority)
            late = _job("late")
            await dispatcher.submit([late], priority=9, at=datetime.now(UTC) + timedelta(days=1))
            workers.start(slots=1)
            await workers.until(lambda: len(workers.tasks("end")) >= 5)
            assert workers.tasks("begin") == ["a", "b", "c", "d", "e"]
            assert await dispatcher.live("r") == {late}

        self.check(workers, check)

    def test_what_a_killed_worker_ran_is_run_by_another(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            # More than the other worker has slots for: those that are given to it wait there, and do not run twice.
            jobs = [_job(f"t{number}", 1 + number % 3) for number in range(20)]
            killed = workers.start(slots=len(jobs))
            for priority, job in enumerate(jobs):
                await dispatcher.submit([job], priority=priority)
            await workers.until(lambda: len(workers.tasks("begin")) == len(jobs))
            workers.start(slots=5)
            workers.kill(killed)
            at = time.monotonic()
            await workers.until(lambda: set(workers.tasks("end")) == {job.unit.task for job in jobs if job.unit})
            await _none_left(dispatcher, workers)
            assert overlapping(workers.lines(), {killed: at}) == []

        self.check(workers, check)

    def test_a_thawed_worker_changes_nothing_about_jobs_that_were_given_to_others(
        self, workers: WorkerProcesses
    ) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            workers.is_supervised = False
            frozen = workers.start()
            await dispatcher.submit([_job("t", 4)])
            await workers.until(lambda: workers.tasks("begin"))
            workers.signal(frozen, signal.SIGSTOP)
            other = workers.start()
            await workers.until(lambda: workers.tasks("begin").count("t") == 2)
            workers.signal(frozen, signal.SIGCONT)
            while not [line for line in workers.lines("end") if line.pid == other]:
                assert await dispatcher.live("r"), "the thawed worker ended another's job"
                await anyio.sleep(POLL_S)
            await _none_left(dispatcher, workers)

        self.check(workers, check)

    def test_cancelling_a_run_ends_its_jobs_and_no_others(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            workers.start(slots=1)
            await dispatcher.submit([_job(f"t{number}", 1000) for number in range(5)], priority=1)
            await dispatcher.submit([_job("other")._replace(run="other")])
            await workers.until(lambda: workers.tasks("begin"))
            assert await dispatcher.cancel("r") == 5
            await workers.until(lambda: "other" in workers.tasks("end"))
            await _none_left(dispatcher, workers)
            assert [(line.what, line.task[0]) for line in workers.lines()][:2] == [("begin", "t"), ("cancelled", "t")]
            assert await dispatcher.cancel("r") == 0

        self.check(workers, check)

    def test_a_stopping_worker_lets_jobs_end_for_a_while_and_leaves_the_rest_to_others(
        self, workers: WorkerProcesses
    ) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            leaving = workers.start(grace_s=4.0)
            await dispatcher.submit([_job("long", 1000), _job("short", 2)])
            await workers.until(lambda: len(workers.tasks("begin")) == 2)
            workers.signal(leaving, signal.SIGTERM)
            staying = workers.start()
            await workers.until(lambda: workers.tasks("begin").count("long") == 2)
            assert workers.exit_code(leaving) == 0
            assert [line.what for line in workers.lines() if line.task == "short"] == ["begin", "end"]
            long = [(line.what, line.pid) for line in workers.lines() if line.task == "long"]
            assert long == [("begin", leaving), ("cancelled", leaving), ("begin", staying)]

        self.check(workers, check)

    def test_a_handler_that_fails_gets_its_job_again(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            workers.start()
            await dispatcher.submit([_job("t", FAILS)])
            await workers.until(lambda: workers.tasks("failed").count("t") >= 2)
            assert await dispatcher.live("r") == {_job("t", FAILS)}
            await dispatcher.cancel("r")
            await _none_left(dispatcher, workers)

        self.check(workers, check)

    def test_a_fenced_worker_ends_before_it_says_anything_of_its_job(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
            workers.is_supervised = False
            fenced = workers.start()
            await dispatcher.submit([_job("t", FENCED)])
            assert workers.exit_code(fenced) == FENCED_CODE
            assert await dispatcher.live("r") == {_job("t", FENCED)}
            workers.start()
            await workers.until(lambda: workers.tasks("begin").count("t") == 2)

        self.check(workers, check)

    def test_lost_work_is_looked_for_again_and_again(self, workers: WorkerProcesses) -> None:
        async def check(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:  # noqa: ARG001
            workers.start()
            workers.start()
            await workers.until(lambda: len(workers.lines("sweep")) >= 3)
            times = [line.at for line in workers.lines("sweep")]
            assert times[2] - times[0] > self.times.sweep_s, "the workers share one sweep"

        self.check(workers, check)


def _job(task: str, does: float | str = 0, generation: int = 1) -> Job:
    return Job("r", Unit(task, str(does)), generation)


async def _none_left(dispatcher: JobDispatcher, workers: WorkerProcesses) -> None:
    with anyio.fail_after(workers.patience_s):
        while True:
            if not await dispatcher.live("r"):
                return
            await anyio.sleep(POLL_S)
