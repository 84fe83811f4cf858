"""A run of 1,000 units of five turns of 50 ms on several worker processes, beside DBOS on the same PostgreSQL.

`python -m benchmarks.cluster_throughput [--workers 1,2,3,4] [--dbos PYTHON] [--units N] [--rounds N]`: both record each
turn before the next one, and write one line a turn into the same log of what was paid, by which it is counted. Each
worker has 50 slots. Needs Debian's `postgresql`, and a DBOS in an environment of its own (`pip install dbos
'psycopg[binary]'`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio

from benchmarks.durable_load import DELAY_S, TURNS, prose
from orchestrator import Squad
from orchestrator.cluster.opening import ClusterDatabase, open_cluster
from orchestrator.cluster.serving import serve_worker
from orchestrator.cluster.submission import submit_run
from orchestrator.dispatch.cluster.job import RUNS, TASKS
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.timing import ClusterTiming
from orchestrator.options import RunOptions
from providers.messages import FinishReason, Message, Request, Response, Text, Usage
from tests.postgres import PostgresServer, binaries

SLOTS = 50
HERE = Path(__file__).parent
SAID = prose(500, 0)


class Paying:
    """Answers after 50 ms, and writes what was paid."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def complete(self, request: Request, **_: Any) -> Response:
        await anyio.sleep(DELAY_S)
        os.write(self._log, b"paid\n")
        return Response(
            Message("assistant", (Text(SAID),)), FinishReason.STOP, Usage(100, output=100), "fake", "fake", 10
        )


def squad(units: int) -> Squad:
    steps = [{"id": f"s{n}", "agent": "ann", "description": f"Part {n} of ${{{{ item }}}}."} for n in range(TURNS)]
    return Squad.from_mapping(
        {
            "version": 1,
            "name": "crowd",
            "max_parallel": units,
            "agents": {"ann": {"persona": {"name": "Tester", "role": "Answers.", "tier": "worker"}}},
            "inputs": {"items": {"type": "list"}},
            "tasks": {
                "t": {
                    "for_each": "${{ inputs.items }}",
                    "key": "${{ item }}",
                    "max_parallel": units,
                    "steps": steps,
                }
            },
        }
    )


async def work(url: str, log: Path) -> None:
    options = RunOptions(manager=Paying(log))
    async with open_cluster(url, timing=ClusterTiming(retry_s=None)) as database:
        await serve_worker(database, squad_of, options, {TASKS: SLOTS, RUNS: 5}, stop=anyio.Event())


def squad_of(manifest: RunManifest) -> Squad:
    return Squad.from_text(manifest.text, manifest.file, where_gone=manifest.sources)


async def ready(database: ClusterDatabase, workers: int) -> None:
    while len((await database.queue.status()).workers) < workers:  # noqa: ASYNC110  # others come
        await anyio.sleep(0.1)


async def ours(url: str, log: Path, workers: int, units: int, server: PostgresServer) -> dict[str, float]:
    """Return turns a second from the submission to the run's last event, and what CPU a turn took."""
    command = [sys.executable, "-m", "benchmarks.cluster_throughput", "--work", url, "--log", str(log)]
    async with open_cluster(url) as database:
        processes = [subprocess.Popen(command, cwd=HERE.parent) for _ in range(workers)]  # noqa: ASYNC220  # they stay
        try:
            await ready(database, workers)
            before, began = Cpu.of(processes, server), time.perf_counter()
            items = {"items": [f"S-{number}" for number in range(units)]}
            run = await submit_run(squad(units), RunOptions(inputs=items), database.record_new)
            while (await database.journal.runs(1))[0].status == "running":  # noqa: ASYNC110  # others work
                await anyio.sleep(0.05)
            took = time.perf_counter() - began
            took_cpu = Cpu.of(processes, server).since(before, units * TURNS)
            line = (await database.journal.runs(1))[0]
            assert (line.run, line.status, line.cost) == (run, "done", units * TURNS * 10), line
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return {"turns a second": units * TURNS / took, **took_cpu}


def dbos(python: str, url: str, log: Path, workers: int, units: int, server: PostgresServer) -> dict[str, float]:
    command = [python, str(HERE / "cluster_dbos.py"), url, str(log)]
    processes = [subprocess.Popen([*command, "work"]) for _ in range(workers)]
    try:
        time.sleep(6)  # they start: nothing tells that they listen
        before = Cpu.of(processes, server)
        said = subprocess.run([*command, "submit", str(units)], stdout=subprocess.PIPE, check=True, text=True).stdout
        took_cpu = Cpu.of(processes, server).since(before, units * TURNS)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {"turns a second": units * TURNS / float(said.split()[-1]), **took_cpu}


class Cpu(NamedTuple):
    """CPU seconds that the workers and PostgreSQL have taken so far."""

    workers: float
    server: float

    @classmethod
    def of(cls, processes: Sequence[subprocess.Popen[Any]], server: PostgresServer) -> Self:
        return cls(sum(map(cpu_of, processes)), cpu_of_server(server))

    def since(self, before: Self, turns: int) -> dict[str, float]:
        """Return what was taken since `before`, a turn."""
        return {
            "us of CPU a turn": (self.workers - before.workers) / turns * 1e6,
            "us of PostgreSQL's a turn": (self.server - before.server) / turns * 1e6,
        }


def cpu_of_server(server: PostgresServer) -> float:
    """Return the CPU seconds of PostgreSQL: those of sessions that have ended, and of those that have not."""
    parent = server.process
    assert parent is not None, "it runs"
    pids = subprocess.run(["pgrep", "-P", str(parent.pid)], stdout=subprocess.PIPE, check=False, text=True).stdout
    found = 0.0
    for pid in (parent.pid, *map(int, pids.split())):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found += sum(map(int, fields[11:13] if pid != parent.pid else fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return found


def cpu_of(process: subprocess.Popen[Any]) -> float:
    """Return the CPU seconds of a process that runs."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="3")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--dbos")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        return anyio.run(work, given.work, Path(given.log))
    folder = binaries()
    if folder is None:
        sys.exit("it needs PostgreSQL: apt-get install postgresql")
    server = PostgresServer(folder, fsync=True)
    server.start()
    found: dict[str, list[dict[str, float]]] = {}
    try:
        for _ in range(given.rounds):
            for workers in map(int, given.workers.split(",")):
                for name in ("ours", "dbos") if given.dbos else ("ours",):
                    with server.database() as url, tempfile.TemporaryDirectory() as to:
                        log = Path(to) / "paid"
                        one = (
                            anyio.run(ours, url, log, workers, given.units, server)
                            if name == "ours"
                            else dbos(given.dbos, url, log, workers, given.units, server)
                        )
                        paid = len(log.read_bytes().splitlines())
                        assert paid == given.units * TURNS, f"{paid} turns were paid"
                        found.setdefault(f"{name}, {workers} workers", []).append(one)
                        print(f"{name}, {workers} workers: {one}", flush=True)
    finally:
        server.remove()
    for name, runs in found.items():
        figures = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
        print(name, {what: round(figure) for what, figure in figures.items()})
    return None


if __name__ == "__main__":
    main()
