"""A cluster on this machine, whose workers are killed while you watch: PostgreSQL, Redis, three workers, the server.

    python examples/cluster/demo.py                 # --stories 200 --kills 5 --seed 1, --keep to look at it afterwards

No key is needed: the offline stub answers. It needs `pip install 'squad-orchestrator[cluster,redis,server]'` and
Debian's `postgresql` (and, where it is to count limits, `redis-server`); both run in a temporary folder that goes
with them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

SQUAD = Path(__file__).with_name("squad.yaml")
WORKERS = 3
PASSWORD = "demo"  # noqa: S105  # of a server that lives as long as this script, on this machine alone
COMMAND = [sys.executable, "-m", "orchestrator"]
QUICK = ["--heartbeat", "1s", "--timeout", "4s", "--grace", "5s"]
"""So that a worker that was killed is missed within seconds; the defaults suit a network better."""


def main() -> int:
    """Run the demo; 0 where the audit finds nothing wrong."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--stories", type=int, default=200, metavar="N")
    asked.add_argument("--kills", type=int, default=5, metavar="N")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--keep", action="store_true", help="Leave everything running until Ctrl-C.")
    given = asked.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        folder.chmod(0o755)
        env = {
            **os.environ,
            "ORCHESTRATOR_DB": stack.enter_context(postgres(folder)),
            "ORCHESTRATOR_LOCAL_SERVERS": "off",
        }
        if redis_url := stack.enter_context(redis(folder)):
            env["ORCHESTRATOR_LEDGER"] = redis_url
        stack.enter_context(server(folder, env))
        return show(given, folder, env, stack)


def show(given: argparse.Namespace, folder: Path, env: Mapping[str, str], stack: ExitStack) -> int:
    """Submit the run, kill workers in it, and print the audit."""
    workers = [stack.enter_context(process("worker", *QUICK, folder=folder, env=env)) for _ in range(WORKERS)]
    stories = folder / "inputs.json"
    stories.write_text(json.dumps({"stories": [f"story {number + 1}" for number in range(given.stories)]}))
    began = time.monotonic()
    said(
        "run", str(SQUAD), "--offline", "--inputs", str(stories), "--run-id", "demo", "--detach", folder=folder, env=env
    )
    tell(f"the run `demo` is submitted: {given.stories} stories, {WORKERS} workers; {given.kills} of them are killed")
    dice, killed, events = random.Random(given.seed), 0, list[dict[str, Any]]()  # noqa: S311  # an order of kills
    for event in watched(folder, env, stack):
        events.append(event)
        done = count(events, "element.ended")
        if killed < given.kills and done > killed * given.stories // (given.kills + 1):
            victim = workers.pop(dice.randrange(len(workers)))
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            workers.append(stack.enter_context(process("worker", *QUICK, folder=folder, env=env)))
            killed += 1
            tell(f"worker {victim.pid} is killed; {done} stories are done; another one starts")
    is_well = audit(events, given.stories, killed, time.monotonic() - began)
    if given.keep:
        tell("Ctrl-C ends it")
        signal.sigwait([signal.SIGINT, signal.SIGTERM])
    return 0 if is_well else 1


def audit(events: list[dict[str, Any]], stories: int, kills: int, seconds: float) -> bool:
    """Print what the record says, and return whether nothing is wrong with it."""
    turns = Counter(json.dumps(event["place"], sort_keys=True) for event in events if event["type"] == "turn.ended")
    final = Counter(event["key"] for event in events if event["type"] == "element.ended")
    twice = sum(number - 1 for number in turns.values())
    in_doubt = sum(len(event.get("in_flight") or ()) for event in events if event["type"] == "run.resumed")
    rows = [
        ("status", events[-1]["status"], "done"),
        ("stories that ended", str(len(final)), str(stories)),
        ("stories that ended twice", str(sum(final.values()) - len(final)), "0"),
        ("turns recorded", str(len(turns)), str(3 * stories + 2)),
        ("recorded turns paid twice", str(twice), "0"),
    ]
    print(f"\n{'':28}{'FOUND':>10}{'WANTED':>10}")
    for name, found, wanted in rows:
        print(f"{name:28}{found:>10}{wanted:>10}{'' if found == wanted else '  <- wrong'}")
    figures = {"workers killed": str(kills), "calls in flight at kills": str(in_doubt), "seconds": f"{seconds:.1f}"}
    for name, found in figures.items():
        print(f"{name:28}{found:>10}")
    return all(found == wanted for _, found, wanted in rows)


def count(events: list[dict[str, Any]], kind: str) -> int:
    return sum(event["type"] == kind for event in events)


def watched(folder: Path, env: Mapping[str, str], stack: ExitStack) -> Iterator[dict[str, Any]]:
    """Yield the events of the run as they are recorded, to its end."""
    words = [*COMMAND, "runs", "watch", "demo", "--json"]
    with (folder / "watch.log").open("ab") as log:
        one = subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    stack.callback(ended, one)
    assert one.stdout is not None
    yield from map(json.loads, one.stdout)


def said(*words: str, folder: Path, env: Mapping[str, str]) -> str:
    """Run a command to its end, and return what it wrote."""
    done = subprocess.run([*COMMAND, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


@contextmanager
def process(*words: str, folder: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside this one; it is over when the block is."""
    with (folder / f"{words[0]}.log").open("ab") as log:
        one = subprocess.Popen([*COMMAND, *words], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield one
    finally:
        ended(one)


@contextmanager
def server(folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Run the server, and tell where the dashboard is."""
    with process("serve", str(SQUAD), "--offline", "--port", str(free_port()), folder=folder, env=env) as one:
        log = folder / "serve.log"
        while not (links := [line for line in log.read_text().splitlines() if "/login?token=" in line]):
            if one.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.1)
        tell(f"the dashboard, by this link once: {links[0]}   (then: Cluster, Runs)")
        yield


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL of our own, and yield the URL of a database in it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    binaries = found[-1] if found else Path(shutil.which("initdb") or sys.exit("needs PostgreSQL")).resolve().parent
    home, port = folder / "postgres", free_port()
    home.mkdir()
    (home / "password").write_text(PASSWORD)
    who: dict[str, Any] = {"cwd": home}
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        who |= {"user": "nobody", "extra_groups": ()}
        for path in (home, home / "password"):
            shutil.chown(path, "nobody")
    options = ["--username=demo", "--auth=scram-sha-256", "--pwfile=password", "--encoding=UTF8", "--pgdata=data"]
    subprocess.run([binaries / "initdb", *options], check=True, capture_output=True, **who)
    with (folder / "postgres.log").open("ab") as log:
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(port)]
        one = subprocess.Popen([binaries / "postgres", "-D", "data", *settings], stdout=log, stderr=log, **who)
    try:
        until_listening(port, one)
        tell(f"PostgreSQL listens at 127.0.0.1:{port}")
        yield f"postgresql://demo:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        ended(one, signal.SIGINT)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis that counts the limits of all workers; yield an empty text where none is installed."""
    if (binary := shutil.which("redis-server")) is None:
        tell("no redis-server is installed: each worker counts limits by itself")
        yield ""
        return
    port = free_port()
    words = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with (folder / "redis.log").open("ab") as log:
        one = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until_listening(port, one)
        tell(f"Redis listens at 127.0.0.1:{port}")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        ended(one)


def until_listening(port: int, one: subprocess.Popen[bytes]) -> None:
    while one.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)  # PostgreSQL listens a moment before it lets anybody in
                return
        time.sleep(0.05)
    raise SystemExit(f"{one.args!r} ended")


def ended(one: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    if one.poll() is None:
        one.send_signal(how)
        try:
            one.wait(20)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
