"""The shipped day of a million turns: `python benchmarks/simulated_day.py [TURNS]`.

Prints the CPU that it took on one core, by turn, and each claim with the figure behind it. With fewer TURNS the first
part of the day is simulated: its rate stays, and what its claims say of a whole day's limits need not hold.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from providers.simulation import load_scenario, simulate


def main() -> None:
    scenario = load_scenario("million-turn-day")
    (load,) = scenario.load
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else load.count
    began = time.process_time()
    report = simulate(scenario, load=[replace(load, count=turns, over=load.over * turns / load.count)])
    spent = time.process_time() - began
    print(f"{turns:,} turns, {report.decisions:,} decisions, digest {report.digest[:16]}")
    print(f"{spent:.1f} s of CPU: {spent / turns * 1e6:.1f} us a turn, {turns / spent:,.0f} turns a second")
    for claim in report.claims:
        print(f"{'held  ' if claim.held else 'BROKEN'} {claim.text}: {claim.measured}")


if __name__ == "__main__":
    main()
