"""The processes of `benchmarks.gateway`: the upstream, the gateways before it, and what the kernel counts of each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

UPSTREAM_PORT = 9100
UPSTREAMS = {
    "whole": "-",
    "n20": "n20",
    "n220": "n220",
    "paced20": "n20,g2000",
    "paced220": "n220,g2000",
    "slow": "d200",
}
"""What the upstream does, by the model that stands for it: `nN` chunks of a stream, `gN` us apart, after `dN` ms."""
KEY = "sk-benchmark"
START_S = 180.0
PROCESS_CLOCK = 2
"""Linux' clock of what a process has run for, to the nanosecond: `/proc` tells hundredths of a second."""


@dataclass(frozen=True)
class Gateway:
    """One that listens. `ports` are by the name of an upstream, the processes of each."""

    name: str
    key: str
    processes: Mapping[str, subprocess.Popen[bytes]]
    ports: Mapping[str, int]
    prefix: str = ""

    def path(self, upstream: str) -> str:
        return "/v1/chat/completions" if self.name != "direct" else f"/{UPSTREAMS[upstream]}/v1/chat/completions"

    def model(self, upstream: str) -> str:
        return f"{self.prefix}{upstream}"

    def cpu_s(self, upstream: str) -> float:
        """Return the CPU that its process has taken, all threads, user and system."""
        return time.clock_gettime(~self.processes[upstream].pid << 3 | PROCESS_CLOCK)

    def rss_mb(self, upstream: str = "whole") -> float:
        status = Path(f"/proc/{self.processes[upstream].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def alone_in_the_network() -> bool:
    """Return whether nothing but loopback can be reached, and nobody but this machine can reach us."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


@contextmanager
def started(
    command: list[str],
    folder: Path,
    log: str,
    more: Mapping[str, str] = {},
) -> Iterator[subprocess.Popen[bytes]]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with (folder / log).open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env={**environ, **more}, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once something answers there. Raise `RuntimeError` where the process ends, or nothing does."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}: {process.args}")


def base(upstream: str) -> str:
    return f"http://127.0.0.1:{UPSTREAM_PORT}/{UPSTREAMS[upstream]}/v1"


@contextmanager
def upstream(server: Path, folder: Path) -> Iterator[Gateway]:
    with started([str(server), str(UPSTREAM_PORT)], folder, "upstream.log") as process:
        await_answer(f"http://127.0.0.1:{UPSTREAM_PORT}/__reset", process)
        yield Gateway("direct", KEY, dict.fromkeys(UPSTREAMS, process), dict.fromkeys(UPSTREAMS, UPSTREAM_PORT))


def routing() -> str:
    """Return a routing file whose provider `up-NAME` is the upstream that does what NAME says."""
    model = {"context": 128_000, "max_output": 4096, "price": {"input": 0.15, "output": 0.6}}
    rows = {
        f"up-{name}": {"dialect": "openai-chat", "base_url": base(name), "models": {"gpt-4o-mini": model}}
        for name in UPSTREAMS
    }
    worker = [f"{name}/gpt-4o-mini" for name in rows]
    tiers = {name: [f"up-{name}/gpt-4o-mini"] for name in UPSTREAMS}
    return json.dumps({"version": 1, "tiers": {"worker": worker, **tiers}, "providers": rows})  # YAML, too


@contextmanager
def ours(folder: Path, port: int = 9310, more: Sequence[str] = ()) -> Iterator[Gateway]:
    """`orchestrator serve`, whose clients ask a tier of one provider each. `more` are arguments of the command."""
    (folder / "routing.json").write_text(routing())
    command = [sys.executable, "-m", "orchestrator", "serve", "--port", str(port), "--trust"]
    command += ["--routing", "routing.json", "--state", "state", *more]
    with started(command, folder, "ours.log", {"PYTHONPATH": str(Path.cwd())}) as process:
        await_answer(f"http://127.0.0.1:{port}/health/live", process)
        said = (folder / "ours.log").read_text().split()
        key = next(word for word in said if word.startswith("sk-orch-"))
        yield Gateway("ours", key, dict.fromkeys(UPSTREAMS, process), dict.fromkeys(UPSTREAMS, port), "tier/")


@contextmanager
def litellm(python: Path, folder: Path, port: int = 9320) -> Iterator[Gateway]:
    """LiteLLM's proxy, one worker, as quiet as ours: no callbacks, no database, nothing asked for elsewhere."""
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": "openai/gpt-4o-mini", "api_base": base(name), "api_key": KEY},
        }
        for name in UPSTREAMS
    ]
    settings = {"model_list": models, "general_settings": {"master_key": KEY}, "litellm_settings": {"telemetry": False}}
    (folder / "litellm.yaml").write_text(json.dumps(settings))
    command = [str(python.parent / "litellm"), "--config", "litellm.yaml", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with started(command, folder, "litellm.log", quiet) as process:
        await_answer(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield Gateway("litellm", KEY, dict.fromkeys(UPSTREAMS, process), dict.fromkeys(UPSTREAMS, port))


@contextmanager
def ferrogw(binary: Path, folder: Path, port: int = 9330) -> Iterator[Gateway]:
    """ferrogw, a compiled gateway: a process for each upstream, as it knows one address. It listens everywhere."""
    (folder / "ferrogw.yaml").write_text("strategy: {mode: single}\ntargets: [{virtual_key: openai}]\n")
    with _each_ferrogw(binary, folder, list(UPSTREAMS), port) as processes:
        ports = {name: port + number for number, name in enumerate(UPSTREAMS)}
        yield Gateway("ferrogw", KEY, processes, ports)


@contextmanager
def _each_ferrogw(
    binary: Path, folder: Path, names: list[str], port: int
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    if not names:
        yield {}
        return
    name, *others = names
    more = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": base(name),
        "GATEWAY_CONFIG": "ferrogw.yaml",
        "MASTER_KEY": KEY,
        "PORT": str(port),
        "LOG_LEVEL": "error",
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
        "FERRO_MODEL_CATALOG_TIMEOUT": "0",
    }
    with started([str(binary), "serve"], folder, f"ferrogw-{name}.log", more) as process:
        await_answer(f"http://127.0.0.1:{port}/healthz", process)
        with _each_ferrogw(binary, folder, others, port + 1) as rest:
            yield {name: process, **rest}
