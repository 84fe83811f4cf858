"""Whole-process start-up beside its floors: `python benchmarks/startup.py [RUNS] [--instructions]`.

With `--instructions` each case runs once below cachegrind (it needs valgrind), which counts what it takes: by that two
versions can be told apart on a machine that others use too. Compile both first (`python -m compileall`). Without, it
prints medians of CPU milliseconds (user + system of the child) and ratios: the command line beside a bare argparse
program, imports beside the interpreter alone. Run it on a quiet machine and quote the ratios.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys

ARGPARSE = """
import argparse
parser = argparse.ArgumentParser(description="bare")
parser.add_argument("--version", action="version", version="0")
parser.add_argument("file", nargs="?")
parser.parse_args({})
"""
CASES: dict[str, list[str]] = {
    "python alone": ["-c", "pass"],
    "argparse --version": ["-c", ARGPARSE.format(["--version"])],
    "argparse --help": ["-c", ARGPARSE.format(["--help"])],
    "orchestrator --version": ["-m", "orchestrator", "--version"],
    "orchestrator --help": ["-m", "orchestrator", "--help"],
    "import orchestrator": ["-c", "import orchestrator"],
    "from agents import Agent, tool": ["-c", "from agents import Agent, tool"],
    "orchestrator validate": ["-m", "orchestrator", "validate", "examples/sprint.yaml"],
    "from orchestrator import Squad, run_squad": ["-c", "from orchestrator import Squad, run_squad"],
}
RATIOS = [
    ("orchestrator --version", "argparse --version"),
    ("orchestrator --help", "argparse --help"),
]


def cpu_ms(arguments: list[str]) -> float:
    """CPU of one child process, in milliseconds."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0  # wait4 has reaped it
    return (used.ru_utime + used.ru_stime) * 1000


def instructions(arguments: list[str]) -> int:
    """Return the instructions of one process, in millions."""
    counter = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [*counter, sys.executable, *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return round(int(re.findall(r"I\s+refs:\s+([\d,]+)", said.stderr)[0].replace(",", "")) / 1e6)


def main() -> None:
    if "--instructions" in sys.argv:
        for name, arguments in CASES.items():
            print(f"{name:45} {instructions(arguments):7,} million")
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    found: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(runs + 1):  # in turn, so that a noisy moment hits all alike; the first is a warm-up
        for name, arguments in CASES.items():
            spent = cpu_ms(arguments)
            if number:
                found[name].append(spent)
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, value in medians.items():
        print(f"{name:45} {value:7.1f} ms")
    for ours, floor in RATIOS:
        print(f"{ours} / {floor}: {medians[ours] / medians[floor]:.2f}x")


if __name__ == "__main__":
    main()
