"""What it takes to look at a journal of many runs: what they cost, which are the latest.

`python -m benchmarks.many_runs [RUNS] [--tasks N] [--keep FOLDER]` records RUNS runs (10,000) of three or four turns,
and one of N tasks (1,000), in a folder of its own, and measures the CPU of each look: medians of five.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event, RunFinished, RunStarted, TaskEnded, TaskStarted
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.units import Unit
from providers.events import AttemptEnded, AttemptStarted, RouteChosen
from providers.messages import FinishReason, Usage

NOW = 1_795_176_000.0
DAYS = 90
AT_ONCE = 200
SQUADS = ("sprint", "support-triage", "research", "weekly-report")
AGENTS = ("boss", "analyst", "coder", "reviewer", "writer", "clerk")
MODELS = (
    ("openai", "gpt-6-luna"),
    ("anthropic", "claude-haiku-4-5"),
    ("groq", "llama-3.3-70b-versatile"),
    ("lab", "m"),
)
TIMES = 5


def events_of(run: str, squad: str, tasks: int, began: float, dice: random.Random, ended: bool) -> Iterator[Event]:
    """Yield the events of one run as its driver records them."""
    names = tuple(f"task-{number}" for number in range(1, tasks + 1))
    at, cost, used = began, 0, Usage()
    yield Event(run, None, (), 0, 1, at, RunStarted(squad, names, False, None))
    for name in names:
        unit, step, agent = Unit(name), ("try-1",), dice.choice(AGENTS)
        provider, model = dice.choice(MODELS)
        at += dice.random() * 5
        yield Event(run, unit, (), 0, 1, at, TaskStarted(name, 1, agent))
        route = RouteChosen(tuple(f"{p}/{m}" for p, m in MODELS), {"gemini/gemini-3-flash": "no key is set"})
        bill = None if provider == "lab" else dice.randrange(200, 90_000)
        usage = Usage(dice.randrange(200, 9_000), cache_read=dice.randrange(900), output=dice.randrange(20, 2_000))
        told = [TurnStarted(agent, 1), route, AttemptStarted(1, provider, model)]
        if dice.random() < 0.05:
            told.append(AttemptEnded(1, provider, model, "failed", "BadReply", "no JSON", 900.0, None, 1, usage, bill))
            told.append(AttemptStarted(2, provider, model))
        told.append(AttemptEnded(1, provider, model, "ok", None, None, 1_234.5, "ab" * 32))
        told.append(TurnEnded(agent, 1, provider, model, usage, bill, FinishReason.STOP))
        for number, data in enumerate(told, 1):
            yield Event(run, unit, step, 1, number, at + number / 10, data)
        cost, used = cost + (bill or 0), used + usage
        yield Event(run, unit, (), 0, 2, at + 2, TaskEnded(name, "ok", f"what {agent} wrote " * 20))
    if ended:
        finished = RunFinished(run, "done", {"text": "done"}, {}, used, cost, dict.fromkeys(names, "ok"), False)
        yield Event(run, None, (), 0, 2, at + 3, finished)


async def fill(journal: SqliteJournal, runs: int, tasks: int) -> None:
    """Record the runs: the last one is the large one, and one of a hundred was killed."""
    dice = random.Random(1)
    made = [(f"run-{number:05}", 3 + number % 2, number % 100 != 7) for number in range(runs)]
    for start in range(0, runs, AT_ONCE):
        async with anyio.create_task_group() as group:
            for number, (run, size, ended) in enumerate(made[start : start + AT_ONCE], start):
                squad, began = dice.choice(SQUADS), NOW - DAYS * 86_400 * (1 - number / runs)
                events = list(events_of(run, squad, size, began, dice, ended))
                manifest = RunManifest(squad, f"{squad}.yaml", f"name: {squad}\n" * 20, created_at=began)
                group.start_soon(journal.create, run, manifest, events)
    events = list(events_of("large", "sprint", tasks, NOW, dice, False))
    await journal.create("large", RunManifest("sprint", "sprint.yaml", "name: sprint", created_at=NOW), events)


def cpu_of(command: Sequence[str], folder: Path) -> float:
    """Return the seconds of CPU that a command takes: the median."""
    took = []
    for _ in range(TIMES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(took)


LOOKS = (
    ("--version",),
    ("spending",),
    ("spending", "--by", "day", "--timezone", "Europe/Berlin"),
    ("spending", "--by", "run"),
    ("spending", "--json", "--since", "2026-11-13"),
    ("runs", "ls"),
    ("runs", "ls", "--limit", "100"),
    ("runs", "ls", "--status", "unfinished"),
    ("runs", "ls", "--squad", "sprint"),
)


async def make(folder: Path, runs: int, tasks: int) -> None:
    async with SqliteJournal(folder / "journal.db") as journal:
        await fill(journal, runs, tasks)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=int, nargs="?", default=10_000)
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--keep", type=Path, help="a folder whose journal is made once and stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "journal.db").exists():
            began = time.process_time()
            anyio.run(make, folder, given.runs, given.tasks)
            print(f"{'recording them':60} {time.process_time() - began:8.2f} s")
        print(f"{'the journal':60} {(folder / 'journal.db').stat().st_size / 1e6:8.1f} MB")
        for look in LOOKS:
            command = [sys.executable, "-m", "orchestrator", "--state", str(folder), *look]
            print(f"{' '.join(look):60} {1000 * cpu_of(command, folder):8.0f} ms")


if __name__ == "__main__":
    main()
