"""Worker processes to be killed, frozen and stopped, and a supervisor that starts them again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.settings import EXIT_FENCED, EXIT_STUCK, WorkerTimes
from orchestrator.units import Unit
from tests.orchestrator.dispatch.cluster.worker_process import perform
from tests.patience import PATIENCE_S
from tests.processes import Forked

ROOT = Path(__file__).parents[4]
TIMES = WorkerTimes(heartbeat_s=0.5, timeout_s=5.0, grace_s=1.0, sweep_s=1.0, poll_s=0.25, tick_s=0.25)
POLL_S = 0.02
SUPERVISED = (EXIT_FENCED, EXIT_STUCK)
"""Exit codes after which a supervisor starts a worker again. On a busy machine any worker may be taken for dead."""


class Said(NamedTuple):
    """One line that a handler wrote. `at` is the machine's monotonic clock."""

    at: float
    pid: int
    what: str
    task: str


@dataclass
class Workers:
    """Worker processes on one database, whose handlers write into one file what they do."""

    url: str
    folder: Path
    times: WorkerTimes = TIMES
    slots: int = 3
    processes: dict[int, Any] = field(default_factory=dict)
    """Each is a `Forked`, or a `subprocess.Popen`."""
    is_supervised: bool = True

    def start(self, *, clock_s: float = 0.0, freezes: bool = False, **times: float) -> int:
        """Start one whose clock is so many seconds ahead, and return its process id. It may freeze at a sweep."""
        order = {
            "url": self.url,
            "log": str(self.log),
            "slots": self.slots,
            "times": asdict(replace(self.times, **times)),
            "clock_s": clock_s,
            "freezes": freezes,
        }
        if clock_s:  # it is set before anything is imported
            command = [sys.executable, "-m", "tests.orchestrator.dispatch.cluster.worker_process", json.dumps(order)]
            with (self.folder / "stderr").open("ab") as errors:
                process: Any = subprocess.Popen(command, cwd=ROOT, stdout=errors, stderr=errors)
        else:
            process = Forked(perform, order, str(self.folder / "stderr"))
        self.processes[process.pid] = process
        return process.pid

    async def start_all(self, jobs: Any, count: int) -> list[int]:
        """Start so many and wait until all take jobs."""
        pids = [self.start() for _ in range(count)]

        async def are_there() -> bool:
            return {worker.pid for worker in (await jobs.status()).workers} >= set(pids)

        await eventually(are_there)
        return pids

    @property
    def log(self) -> Path:
        return self.folder / "said"

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text("utf-8", "replace")

    def said(self) -> list[Said]:
        if not self.log.exists():
            return []
        return [Said(*json.loads(line)) for line in self.log.read_text("utf-8").splitlines()]

    def tasks(self, what: str) -> list[str]:
        return [one.task for one in self.said() if one.what == what]

    def kill(self, pid: int) -> None:
        process = self.processes.pop(pid)
        process.kill()
        process.wait()

    def freeze(self, pid: int) -> None:
        self.processes[pid].send_signal(signal.SIGSTOP)

    def thaw(self, pid: int) -> None:
        self.processes[pid].send_signal(signal.SIGCONT)

    def stop(self, pid: int) -> None:
        """Ask it to stop."""
        self.processes[pid].send_signal(signal.SIGTERM)

    def exit_code(self, pid: int) -> int:
        code = self.processes[pid].wait(PATIENCE_S)
        del self.processes[pid]
        return code

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds, and start again whom a supervisor would."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"it does not come\n{self.said()}\n{self.errors}"
            for pid, process in list(self.processes.items()):
                if self.is_supervised and process.poll() in SUPERVISED:
                    del self.processes[pid]
                    self.start()
            await anyio.sleep(POLL_S)

    def overlaps(self, gone: dict[int, float] | None = None) -> list[str]:
        """Return the tasks that two handlers worked on at once. `gone` says when processes ended, or froze."""
        ended, at_work = gone or {}, dict[str, tuple[int, float]]()
        found = []
        for one in sorted(self.said()):
            if one.what == "begin":
                if one.task in at_work and ended.get(at_work[one.task][0], one.at) >= one.at:
                    found.append(one.task)
                at_work[one.task] = (one.pid, one.at)
            elif at_work.get(one.task, (0, 0.0))[0] == one.pid:
                del at_work[one.task]
        return found


def unit_job(task: str, seconds: float | str = 0.0, generation: int = 1) -> Job:
    """Return a job whose handler sleeps so long, or does what its key says."""
    return Job("r", Unit(task, str(seconds)), generation)


async def eventually(holds: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something holds that is asked for."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            if await holds():
                return
            await anyio.sleep(POLL_S)


@contextmanager
def cluster(url: str, folder: Path, **more: Any) -> Iterator[Workers]:
    workers = Workers(url, folder, **more)
    try:
        yield workers
    finally:
        for process in workers.processes.values():
            process.kill()
            process.wait()
        sys.stderr.write(workers.errors if (folder / "stderr").exists() else "")


@pytest.fixture
def workers(postgres_url: str, tmp_path: Path) -> Iterator[Workers]:
    with cluster(postgres_url, tmp_path) as found:
        yield found
