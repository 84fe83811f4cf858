"""What PostgreSQL and Redis take for what a cluster asks of them: the figures of the simulator's model.

`python -m benchmarks.cluster_costs [--seconds N]` starts both servers on loopback, in a temporary folder, and prints
for each kind of operation the CPU of the server (which does not depend on what else the machine does), the median time
of one alone, and how many a second came through with 16 at once. Needs Debian's `postgresql` and `redis-server`, and
`pip install squad-orchestrator[cluster,redis]`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agents.events import TurnEnded, TurnStarted
from agents.run_context import StepKey
from orchestrator.events import Event
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import Journal, RunManifest
from orchestrator.units import Unit
from providers.events import AttemptEnded, AttemptStarted
from providers.limits.counter import LimitKey
from providers.limits.ledger.redis import RedisLedger
from providers.messages import FinishReason, Usage
from providers.windows import Rolling

AT_ONCE = 16
RESULT = "x" * 1000
TICK = os.sysconf("SC_CLK_TCK")
TABLES = """
CREATE TABLE steps (run text, unit text, key text, fence bigint, hash text, result text, usage jsonb,
                    PRIMARY KEY (run, unit, key));
CREATE TABLE events (run text, seq bigserial, at double precision, data text, PRIMARY KEY (run, seq));
CREATE TABLE units (run text, unit text, fence bigint, owner text, PRIMARY KEY (run, unit));
CREATE TABLE beats (worker bigint PRIMARY KEY, at timestamptz);
CREATE TABLE counts (key text PRIMARY KEY, used double precision, buckets text);
INSERT INTO counts VALUES ('hot', 0, repeat('1.0,', 60)), ('hot too', 0, repeat('1.0,', 60));
INSERT INTO beats SELECT n, now() FROM generate_series(0, 99) n;
INSERT INTO units SELECT 'r', n::text, 1, 'w' FROM generate_series(0, 99) n;
"""
BEGIN = """WITH own AS (SELECT fence FROM units WHERE run = 'r' AND unit = %(unit)s AND fence = 1)
INSERT INTO steps (run, unit, key, fence, hash) SELECT 'r', %(unit)s, %(key)s, fence, 'h' FROM own"""
FINISH = """WITH done AS (UPDATE steps SET result = %(text)s, usage = '{"input": 600}'
                          WHERE run = 'r' AND unit = %(unit)s AND key = %(key)s AND fence = 1 RETURNING 1),
told AS (INSERT INTO events (run, at, data) SELECT 'r', 1.0, left(%(text)s, 200) FROM done, generate_series(1, 4))
SELECT 1"""
SUBMIT = """SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('tasks', 't', 0, %(key)s, %(key)s, '{}', NULL)
::procrastinate_job_to_defer_v1])"""
EMPTY = "SELECT id FROM procrastinate_fetch_job_v2(ARRAY['tasks'], NULL)"
TAKE = f"SELECT procrastinate_finish_job_v1(id, 'succeeded', true) FROM ({EMPTY}) AS job WHERE id IS NOT NULL"
MANY = """SELECT procrastinate_defer_jobs_v1(array_agg(ROW('tasks', 't', 0, n::text, n::text, '{}', NULL)
::procrastinate_job_to_defer_v1)) FROM generate_series(1, 3000) AS n"""
EMPTIED = "DELETE FROM procrastinate_jobs"
BEAT = "UPDATE beats SET at = now() WHERE worker = %(worker)s"
CHECK = """WITH held AS (SELECT key FROM counts ORDER BY key FOR UPDATE)
UPDATE counts SET used = used + 1, buckets = repeat('1.0,', 60) FROM held WHERE counts.key = held.key"""


class Cost(NamedTuple):
    """Milliseconds of the server's CPU for one operation, of one alone from end to end, and operations a second."""

    cpu: float
    alone: float
    rate: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def until_there(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not start")


@contextmanager
def server(command: list[str], port: int, **how: Any) -> Iterator[int]:
    """Run a server until the end of the block; yield its process's id."""
    with subprocess.Popen([*command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how) as process:
        try:
            until_there(port)
            yield process.pid
        finally:
            process.terminate()


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a PostgreSQL that flushes what it commits; yield its address and process."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise SystemExit("there is no PostgreSQL: apt-get install postgresql")
    how: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # it refuses to be run by root
        how |= {"user": "nobody", "extra_groups": ()}
        shutil.chown(folder, "nobody")
    data, port = folder / "data", free_port()
    made = [str(binaries[-1] / "initdb"), "-A", "trust", "-U", "postgres", "-D", str(data), "--no-locale", "-E", "UTF8"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **how)
    command = [str(binaries[-1] / "postgres"), "-D", str(data), f"--port={port}", "-c", "max_connections=100"]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=128MB"]
    with server(command, port, **how) as pid:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres", pid


def cpu_of(parent: int) -> float:
    """Return the seconds of CPU that a process and those that it started have taken; they have to run still."""
    spent = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if parent in (int(stat.parent.name), int(fields[1])):
            spent += (int(fields[11]) + int(fields[12])) / TICK
    return spent


def measure_postgres(url: str, pid: int, statement: str, seconds: float, setup: str = "") -> Cost:
    """Run one statement a transaction, first alone and then `AT_ONCE` at once, for so many seconds each."""
    import psycopg

    connections = [psycopg.connect(url, autocommit=True) for _ in range(AT_ONCE)]
    if setup:
        connections[0].execute(setup)
        connections[0].execute("VACUUM ANALYZE procrastinate_jobs")  # as autovacuum does; till then fetches are slow

    def loop(worker: int, until: float, took: list[float]) -> None:
        number, connection = 0, connections[worker]
        while time.perf_counter() < until:
            number += 1
            given = {"unit": str(worker), "key": f"{worker}/{until}/{number}", "worker": worker, "text": RESULT}
            if statement is FINISH:
                connection.execute(BEGIN, given, prepare=True)
            began = time.perf_counter()
            connection.execute(statement, given, prepare=True)
            took.append(time.perf_counter() - began)

    alone: list[float] = []
    loop(0, time.perf_counter() + seconds, alone)
    before, began, every = cpu_of(pid), time.perf_counter(), [list[float]() for _ in connections]
    threads = [threading.Thread(target=loop, args=(worker, began + seconds, took)) for worker, took in enumerate(every)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu, wall, count = cpu_of(pid) - before, time.perf_counter() - began, sum(map(len, every))
    for connection in connections:
        connection.close()
    return Cost(cpu / count * 1000, statistics.median(alone) * 1000, count / wall)


async def measure_journal(url: str, pid: int, seconds: float) -> Iterable[tuple[str, Cost]]:
    """Record turns in the project's own journal, each as a worker does: begin, then finish with what it tells.

    Figures are of a whole turn; first of the server, then of this process.
    """
    usage, at = Usage(600, output=200), time.time()
    told = [TurnStarted("ann", 1), AttemptStarted(1, "lab", "m"), AttemptEnded(1, "lab", "m", "ok", None, "", 9.0)]
    told.append(TurnEnded("ann", 1, "lab", "m", usage, 9, FinishReason.STOP))

    async def unit(journal: Journal, run: str, until: float, took: list[float]) -> None:
        await journal.create(run, RunManifest("crowd"))
        fence, turn = await journal.claim(run, Unit("a"), "w"), 0
        assert fence is not None
        while time.perf_counter() < until:
            turn, began = turn + 1, time.perf_counter()
            key = StepKey((), turn, "model")
            await journal.begin(run, Unit("a"), key, b"h", fence)
            events = [Event(run, Unit("a"), (), 0, 10 * turn + number, at, each) for number, each in enumerate(told)]
            result = {"said": f"{turn} {run} {RESULT}"}
            await journal.finish(run, Unit("a"), key, fence, result, events)
            took.append(time.perf_counter() - began)

    async with open_journal(url) as journal:
        alone: list[float] = []
        await unit(journal, "alone", time.perf_counter() + seconds, alone)
        every = [list[float]() for _ in range(AT_ONCE)]
        before, own, began = cpu_of(pid), time.process_time(), time.perf_counter()
        runs = (unit(journal, f"r{number}", began + seconds, took) for number, took in enumerate(every))
        await asyncio.gather(*runs)
        server, spent, wall = cpu_of(pid) - before, time.process_time() - own, time.perf_counter() - began
    count, one = sum(map(len, every)), statistics.median(alone) * 1000
    found = Cost(server / count * 1000, one, count / wall)
    return [
        ("journal: a whole turn, at the server", found),
        ("journal: a whole turn, in this process", found._replace(cpu=spent / count * 1000)),
    ]


async def measure_redis(url: str, seconds: float) -> Cost:
    """Ask the ledger of the router for room under two limits, and settle it: figures are of one of the two messages."""
    from redis.asyncio import Redis

    ledger, asked = RedisLedger(url), Redis.from_url(url)
    amounts = [(LimitKey(f"k{n}", 1e12, Rolling(60.0)), 1.0) for n in range(2)]

    async def loop(worker: int, until: float, took: list[float]) -> None:
        number = 0
        while time.perf_counter() < until:
            number += 1
            lease, began = f"{until}/{worker}/{number}", time.perf_counter()
            await ledger.reserve(amounts, lease, time.time(), 60.0)
            reserved = time.perf_counter()
            await ledger.settle(amounts, lease, time.time())
            took += (reserved - began, time.perf_counter() - reserved)

    async def cpu() -> float:
        told = await asked.info("cpu")
        return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])

    alone: list[float] = []
    await loop(0, time.perf_counter() + seconds, alone)
    before, began, every = await cpu(), time.perf_counter(), [list[float]() for _ in range(AT_ONCE)]
    await asyncio.gather(*(loop(worker, began + seconds, took) for worker, took in enumerate(every)))
    count, wall = sum(map(len, every)), time.perf_counter() - began
    spent = await cpu() - before
    await ledger.aclose()
    await asked.aclose()
    return Cost(spent / count * 1000, statistics.median(alone) * 1000, count / wall)


def tell(name: str, cost: Cost) -> None:
    print(f"{name:44} {cost.cpu:8.3f} {cost.alone:10.2f} {cost.rate:12,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What PostgreSQL and Redis take.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (4)")
    seconds = parser.parse_args().seconds
    print(f"{'':44} {'CPU, ms':>8} {'alone, ms':>10} {f'a second x{AT_ONCE}':>12}")
    with tempfile.TemporaryDirectory(prefix="cluster-costs-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with postgres(Path(name)) as (url, pid):
            import psycopg
            from procrastinate.schema import SchemaManager

            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(TABLES)
                connection.execute(SchemaManager.get_schema())
            tell("postgres: begin of a turn", measure_postgres(url, pid, BEGIN, seconds))
            tell("postgres: begin and finish (1 kB, 4 events)", measure_postgres(url, pid, FINISH, seconds))
            tell("queue: submit of a job", measure_postgres(url, pid, SUBMIT, seconds))
            tell("queue: fetch and end of a job", measure_postgres(url, pid, TAKE, seconds, MANY))
            tell("queue: fetch that finds nothing", measure_postgres(url, pid, EMPTY, seconds, EMPTIED))
            tell("postgres: heartbeat", measure_postgres(url, pid, BEAT, seconds))
            tell("postgres: limit check, two hot rows", measure_postgres(url, pid, CHECK, seconds))
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ALTER DATABASE postgres SET synchronous_commit = off")
            tell("postgres: limit check, not flushed", measure_postgres(url, pid, CHECK, seconds))
            for told, cost in asyncio.run(measure_journal(url, pid, seconds)):
                tell(told, cost)
        port = free_port()
        with server(["redis-server", "--port", str(port), "--save", "", "--dir", name], port):
            tell("redis: limit check or settlement", asyncio.run(measure_redis(f"redis://127.0.0.1:{port}/0", seconds)))


if __name__ == "__main__":
    main()
