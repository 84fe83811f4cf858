"""Our gateway beside LiteLLM's proxy and ferrogw: one loopback upstream, one client, one worker each, in turn.

    python -m benchmarks.gateway --server mockllm [--litellm PYTHON] [--ferrogw BINARY] [--rounds 3] [--requests 300]

`mockllm` is the loopback model server of the neutral benchmark that `../README.md` names; the peers stand each in an
environment of its own (`pip install 'litellm[proxy]'`, `pip install ferrogw`). Starts itself anew in a network
namespace with loopback alone (Linux, `unshare`, `ip`): ferrogw listens on all interfaces, and LiteLLM would ask
for prices elsewhere.
CPU is the gateway's whole process, from /proc; the client and the upstream are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.gateway.processes import Gateway, alone_in_the_network, ferrogw, litellm, ours, upstream

CHUNKS = 200
Figures = dict[str, float]
TARGETS = (
    ("CPU a request, 1 at once", "cpu_1_ms", "litellm", 0.08, False),
    ("CPU a request, 64 at once", "cpu_64_ms", "litellm", 0.08, False),
    ("CPU a request, 1 at once", "cpu_1_ms", "ferrogw", 3.0, False),
    ("CPU a request, 64 at once", "cpu_64_ms", "ferrogw", 3.0, False),
    ("p50 added, 1 at once", "added_1_ms", "litellm", 0.1, False),
    ("p50 added, 64 at once", "added_64_ms", "litellm", 0.1, False),
    ("requests a second, 100 at once", "rps_100", "litellm", 10.0, True),
    ("RSS", "rss_mb", "litellm", 0.35, False),
    ("CPU a chunk, in one write", "chunk_us", "litellm", 0.1, False),
    ("CPU a chunk, 2 ms apart", "paced_chunk_us", "litellm", 0.1, False),
)
ROWS = {
    "cpu_1_ms": "CPU a request, 1 at once, ms",
    "cpu_64_ms": "CPU a request, 64 at once, ms",
    "p50_1_ms": "p50, 1 at once, ms",
    "added_1_ms": "p50 added, 1 at once, ms",
    "p50_64_ms": "p50, 64 at once, ms",
    "added_64_ms": "p50 added, 64 at once, ms",
    "rps_100": "requests a second, 100 at once",
    "cpu_stream_ms": "CPU a stream of 20 chunks, ms",
    "chunk_us": "CPU a chunk, in one write, us",
    "paced_chunk_us": "CPU a chunk, 2 ms apart, us",
    "rss_mb": "RSS after it all, MB",
}


def load(gateway: Gateway, upstream: str, requests: int, at_once: int, *, stream: bool = False) -> Figures:
    """Return what the client saw, and the gateway's CPU a request."""
    asking = [str(gateway.ports[upstream]), gateway.path(upstream), gateway.model(upstream)]
    if gateway.name == "ferrogw":
        asking[2] = "gpt-4o-mini"
    command = [sys.executable, "-m", "benchmarks.gateway.load", *asking, "--key", gateway.key]
    command += ["--requests", str(requests), "--at-once", str(at_once), *(["--stream"] if stream else [])]
    before = gateway.cpu_s(upstream)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{gateway.name}, {upstream}: {done.stderr[-600:]}")
    return {**json.loads(done.stdout), "cpu_ms": (gateway.cpu_s(upstream) - before) / requests * 1000}


def measured(gateway: Gateway, requests: int) -> Figures:
    """Return the figures of one round."""
    one, many = load(gateway, "whole", requests, 1), load(gateway, "whole", 2 * requests, 64)
    hundred = load(gateway, "whole", 2 * requests, 100)
    streams = max(20, requests // 5)
    cpu = {
        name: load(gateway, name, streams, 4, stream=True)["cpu_ms"] for name in ("n20", "n220", "paced20", "paced220")
    }
    return {
        "cpu_1_ms": one["cpu_ms"],
        "cpu_64_ms": many["cpu_ms"],
        "p50_1_ms": one["p50_ms"],
        "p50_64_ms": many["p50_ms"],
        "rps_100": hundred["rps"],
        "cpu_stream_ms": cpu["n20"],
        "chunk_us": (cpu["n220"] - cpu["n20"]) / CHUNKS * 1000,
        "paced_chunk_us": (cpu["paced220"] - cpu["paced20"]) / CHUNKS * 1000,
        "rss_mb": gateway.rss_mb(),
    }


def report(seen: dict[str, list[Figures]], loads: list[float]) -> str:
    middle = {who: {what: median(one[what] for one in rounds) for what in rounds[0]} for who, rounds in seen.items()}
    for figures in middle.values():
        for at in ("1", "64"):
            figures[f"added_{at}_ms"] = figures[f"p50_{at}_ms"] - middle["direct"][f"p50_{at}_ms"]
    lines = [
        f"Medians of {len(loads)} rounds; load average {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores.",
        "",
        f"| measure | {' | '.join(middle)} |",
        f"|---|{'---|' * len(middle)}",
    ]
    for what, words in ROWS.items():
        lines.append(f"| {words} | {' | '.join(f'{figures[what]:,.2f}' for figures in middle.values())} |")
    lines += ["", "| ours to | of | ratio | target | |", "|---|---|---|---|---|"]
    for words, what, peer, target, more in TARGETS:
        if peer in middle and middle[peer][what]:
            ratio = middle["ours"][what] / middle[peer][what]
            held = ratio >= target if more else ratio <= target
            wanted = f"{target:g} or {'more' if more else 'less'}"
            lines.append(f"| {peer} | {words} | {ratio:.3f} | {wanted} | {'held' if held else 'missed'} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", type=Path, required=True)
    options.add_argument("--litellm", type=Path)
    options.add_argument("--ferrogw", type=Path)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--requests", type=int, default=300)
    given = options.parse_args()
    if not alone_in_the_network():
        alone = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        os.execvp(alone[0], [*alone, sys.executable, "-m", "benchmarks.gateway", *sys.argv[1:]])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        known = [stack.enter_context(upstream(given.server.resolve(), folder)), stack.enter_context(ours(folder))]
        if given.litellm:
            known.append(stack.enter_context(litellm(given.litellm.absolute(), folder)))
        if given.ferrogw:
            known.append(stack.enter_context(ferrogw(given.ferrogw.resolve(), folder)))
        for gateway in known:
            load(gateway, "whole", 50, 8)  # warm
        seen, loads = defaultdict[str, list[Figures]](list), list[float]()
        for _ in range(given.rounds):
            for gateway in known:
                seen[gateway.name].append(measured(gateway, given.requests))
                print(gateway.name, json.dumps(seen[gateway.name][-1]), file=sys.stderr, flush=True)
            loads.append(os.getloadavg()[0])
    print(report(seen, loads))


if __name__ == "__main__":
    main()
