"""Whether the gateway grows: its memory while it answers many requests, whole and in streams.

    python -m benchmarks.gateway.soak --server mockllm [--requests 10000] [--per-minute N]

Without `--per-minute` they go out as fast as 16 clients get answers; with it a tenth of them at a time, at that pace.
After each tenth stands what the process holds; the slope is of those after the first fifth, in which caches fill.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression

from benchmarks.gateway.__main__ import load
from benchmarks.gateway.processes import ours, upstream

PARTS = 10


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", type=Path, required=True)
    options.add_argument("--requests", type=int, default=10_000)
    options.add_argument("--per-minute", type=int)
    given = options.parse_args()
    part, held = given.requests // PARTS, list[tuple[int, float]]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(upstream(given.server.resolve(), folder))
        gateway = stack.enter_context(ours(folder))
        began = time.monotonic()
        for number in range(1, PARTS + 1):
            load(gateway, "whole", part * 4 // 5, 16)
            load(gateway, "n20", part // 5, 16, stream=True)
            if given.per_minute:
                time.sleep(max(0.0, began + number * part * 60 / given.per_minute - time.monotonic()))
            held.append((number * part, gateway.rss_mb()))
            print(f"{number * part:>8,} requests: {held[-1][1]:.1f} MB", flush=True)
    later = held[PARTS // 5 - 1 :]
    slope = linear_regression([at for at, _ in later], [mb for _, mb in later]).slope
    took, busy = time.monotonic() - began, os.getloadavg()[0]
    print(f"{slope * 1000 * 1024:+.0f} kB for each 1,000 requests after the first fifth; {took:.0f} s; load {busy:.1f}")


if __name__ == "__main__":
    main()
