"""Runs that survive, beside peers: `python benchmarks/durable.py --dbos PYTHON --langgraph PYTHON [--runs N]`.

Each measure is a process of its own in its system's interpreter, on files of a fresh folder; the systems take turns,
so that a noisy moment hits all alike. Prints medians, their spread, and ratios. `README.md` tells what is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HALF = "2500"
"""Turns after which a crowd is killed, to be recovered."""
Found = dict[str, list[dict[str, Any]]]


def child(python: str, script: str, measure: str, folder: Path, *more: str) -> dict[str, Any]:
    """Return what the process reports; one that killed itself reports nothing."""
    began = time.time()
    ended = subprocess.run(
        [python, HERE / f"{script}.py", measure, folder, *more], stdout=subprocess.PIPE, check=False, text=True
    )
    if ended.returncode not in (0, -9):
        raise SystemExit(f"{script} {measure} ended with {ended.returncode}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1]) if ended.stdout else {}
    return {**found, "began": began}


def recovered(python: str, script: str, folder: Path) -> dict[str, Any]:
    child(python, script, "crowd", folder, HALF)
    found = child(python, script, "recover", folder)
    return {**found, "recovery_s": found["first_turn_at"] - found["began"]}


def measure_once(found: Found, given: argparse.Namespace) -> None:
    ours = (sys.executable, "durable_ours")

    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=given.folder))

    for name in ("bare", "memory", "crowd"):
        found[f"ours {name}"].append(child(*ours, name, fresh()))
    found["ours recover"].append(recovered(*ours, fresh()))
    found["ours journal_cpu"].append(child(*ours, "journal_cpu", fresh()))
    found["ours memory, no delay"].append(child(*ours, "memory", fresh(), "0"))
    found["ours bare, no delay"].append(child(*ours, "bare", fresh(), "0"))
    for kind in ("prose", "noise"):
        found[f"ours storage {kind}"].append(child(*ours, "storage", fresh(), kind))
        for shape in ("chat", "loop") if given.langgraph else ():
            langgraph = child(given.langgraph, "durable_langgraph", "storage", fresh(), kind, shape)
            found[f"langgraph storage {kind} {shape}"].append(langgraph)
    if given.dbos:
        found["dbos crowd"].append(child(given.dbos, "durable_dbos", "crowd", fresh()))
        found["dbos recover"].append(recovered(given.dbos, "durable_dbos", fresh()))


def show(found: Found) -> dict[str, float]:
    """Print each figure's median and its range; return the medians."""
    medians: dict[str, float] = {}
    for name, runs in found.items():
        for what, values in figures(runs).items():
            medians[f"{name} {what}"] = middle = statistics.median(values)
            print(f"{name:28} {what:15} {middle:14,.3f}   ({min(values):,.3f} to {max(values):,.3f})")
    return medians


def figures(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    told: dict[str, list[float]] = {}
    if "recovery_s" in runs[0]:
        return {"recovery s": [run["recovery_s"] for run in runs], "CPU s": [run["cpu_s"] for run in runs]}
    if "stored" in runs[0]:
        told["stored bytes"] = [run["stored"] for run in runs]
    told["turns/s"] = [run["turns"] / run["wall_s"] for run in runs]
    told["CPU us/turn"] = [run["cpu_s"] / run["turns"] * 1e6 for run in runs]
    told["peak MB"] = [run["peak_mb"] for run in runs]
    return told


def ratios(medians: dict[str, float], has_dbos: bool, has_langgraph: bool) -> None:
    def show_ratio(text: str, one: str, other: str) -> None:
        print(f"{text}: {medians[one] / medians[other]:.3f}")

    print()
    over = medians["ours crowd peak MB"] - medians["ours bare peak MB"]
    print(f"peak memory over the bare run, MB: {over:.1f}")
    engine = medians["ours memory, no delay CPU us/turn"] - medians["ours bare, no delay CPU us/turn"]
    print(f"engine and memory journal over the bare calls, us CPU a turn: {engine:.1f}")
    if has_dbos:
        show_ratio("turns/s beside DBOS", "ours crowd turns/s", "dbos crowd turns/s")
        show_ratio("CPU a turn beside DBOS", "ours crowd CPU us/turn", "dbos crowd CPU us/turn")
        show_ratio("recovery beside DBOS", "ours recover recovery s", "dbos recover recovery s")
        show_ratio("CPU of a recovery beside DBOS", "ours recover CPU s", "dbos recover CPU s")
    for kind in ("prose", "noise") if has_langgraph else ():
        for shape in ("chat", "loop"):
            one, other = f"ours storage {kind} stored bytes", f"langgraph storage {kind} {shape} stored bytes"
            show_ratio(f"storage beside LangGraph, {kind}, {shape}", one, other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dbos", help="an interpreter that has dbos")
    parser.add_argument("--langgraph", help="an interpreter that has langgraph-checkpoint-sqlite")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    found: Found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        given.folder = folder
        for _ in range(given.runs):
            measure_once(found, given)
    ratios(show(found), bool(given.dbos), bool(given.langgraph))


if __name__ == "__main__":
    main()
