"""The load that every system of `durable.py` gets, and how a process reports what it took. Imports no system."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS, TURNS = 1000, 5
DELAY_S = 0.05
ANSWER = 500
"""Characters of an answer in the crowd."""
WORDS = """
    the a plan review says that our users need one page where each story shows its state cost and owner before work
    starts because teams lose hours when answers differ between documents so we keep every decision in one record
""".split()  # noqa: SIM905  # easier to read than a list


def prose(size: int, seed: int) -> str:
    """Return `size` characters of words: what a model writes, as far as a compressor sees it."""
    dice = random.Random(seed)
    said = ""
    while len(said) < size:
        said += dice.choice(WORDS) + (str(dice.randrange(1000)) if dice.random() < 0.1 else "") + " "
    return said[:size]


def answers() -> list[str]:
    """Return what is answered in the crowd: no two alike, and made before any clock runs."""
    seed = prose(ANSWER, 0)
    return [f"{number} {seed}"[:ANSWER] for number in range(TASKS * TURNS)]


def noise(size: int, seed: int) -> str:
    """Return `size` random hexadecimal digits: text that hardly becomes smaller."""
    return random.Random(seed).randbytes(size // 2 + 1).hex()[:size]


class Counter:
    """Counts turns. After `kill_after` of them the process kills itself; with `first_only` it ends at the first."""

    def __init__(self, kill_after: int = 0, first_only: bool = False) -> None:
        self.turns = 0
        self._kill_after = kill_after
        self._first_only = first_only

    def begun(self) -> None:
        if self._first_only:
            report(first_turn_at=time.time(), cpu_s=time.process_time())
            os._exit(0)

    def ended(self) -> None:
        self.turns += 1
        if self.turns == self._kill_after:
            os.kill(os.getpid(), 9)


class Stopwatch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall_s": time.perf_counter() - self._wall, "cpu_s": time.process_time() - self._cpu}


def report(**found: Any) -> None:
    """Print the process's one line of results, its peak of resident memory with it."""
    print(json.dumps({**found, "peak_mb": peak_mb()}), flush=True)


def peak_mb() -> float:
    # Not getrusage: its peak is inherited from the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def stored(folder: Path) -> int:
    """Return the bytes of all files below `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(measures: dict[str, Callable[..., None]]) -> None:
    """Run the measure that the command line names, with its folder and its number or word."""
    name, folder, *more = sys.argv[1:]
    measures[name](Path(folder), *more)
