"""See for yourself what README claims: each word runs an experiment on this machine, without a key.

python examples/claims.py budget        # many calls at once, and a budget for some of them
python examples/claims.py failover      # one of two providers is down
python examples/claims.py utf8          # a stream that is cut inside an emoji, between any two bytes
python examples/claims.py cut           # a stream that ends without its end
python examples/claims.py limits        # four processes, one limit

A provider on loopback counts what it answers. The exit code is 1 where a claim does not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parents[1]
TEXT = "Grüße, 日本語, 👩‍🚀 and 🇪🇺"
SQUAD = """\
version: 1
name: claims
inputs: {{names: {{type: list, default: [{elements}]}}}}
{budget}
agents: {{ann: {{instructions: Answer shortly., max_output_tokens: 100}}}}
tasks:
  work:
    for_each: ${{{{ inputs.names }}}}
    key: ${{{{ item }}}}
    max_parallel: 32
    agent: ann
    description: Work on ${{{{ item }}}}.
"""
ROUTING = """\
version: 1
tiers: {{boss: [{chain}], worker: [{chain}], creative: [{chain}], fallback: [{chain}]}}
last_resort: []
providers:
{providers}"""
ROW = """\
  {name}:
    dialect: openai-chat
    base_url: http://127.0.0.1:{port}/{name}/v1
    {limits}
    models: {{m: {{context: 100000, max_output: 100, price: {{input: 1, output: 10}}}}}}
"""
PRICE_IN, PRICE_OUT = 1e-6, 10e-6
"""USD of a token, as in ROW."""


class Provider(BaseHTTPRequestHandler):
    """Speaks OpenAI's chat completions. The first part of the path says which provider it is: `down` refuses all calls,
    `bytes` streams TEXT a byte at a time, `cut` ends a stream in the middle, others answer."""

    came: ClassVar[Counter[str]] = Counter()
    billed: ClassVar[list[float]] = []

    def do_POST(self) -> None:
        json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = self.path.split("/")[1]
        self.came[name] += 1
        if name in ("bytes", "cut"):
            return self._stream(is_cut=name == "cut")
        if name == "down":
            return self._say(503, {"error": {"message": "the service is overloaded", "type": "server_error"}})
        time.sleep(0.05)
        usage = {"prompt_tokens": 60, "completion_tokens": 90, "total_tokens": 150}
        self.billed.append(60 * PRICE_IN + 90 * PRICE_OUT)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Done."}, "finish_reason": "stop"}
        return self._say(200, {"id": "1", "choices": [choice], "usage": usage})

    def _say(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, *, is_cut: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for piece in (TEXT[:9], TEXT[9:]):
            delta = {"id": "1", "choices": [{"index": 0, "delta": {"content": piece}}]}
            for byte in f"data: {json.dumps(delta, ensure_ascii=False)}\n\n".encode():
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            if is_cut:
                return
        end = {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        self.wfile.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = (sys.executable, "-m", "orchestrator", "--trust", *words)
    return subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def lay_out(folder: Path, port: int, *names: str, elements: int = 1, budget: str = "", limits: str = "") -> None:
    """Write a squad of so many calls, and a routing file whose chain is these providers."""
    rows = "".join(ROW.format(name=name, port=port, limits=limits) for name in names)
    chain = ", ".join(f"{name}/m" for name in names)
    (folder / "agent_routing.yaml").write_text(ROUTING.format(chain=chain, providers=rows), "utf-8")
    listed = ", ".join(f"n{number}" for number in range(elements))
    (folder / "squad.yaml").write_text(SQUAD.format(elements=listed, budget=budget), "utf-8")


def budget(folder: Path, port: int) -> bool:
    lay_out(folder, port, "well", elements=32, budget="budget: {max_cost: 0.01, on_exceed: stop}")
    process = start(folder, "run", "squad.yaml")
    process.communicate()
    spent = sum(Provider.billed)
    print(f"32 calls at once, a budget of $0.0100: the provider billed {len(Provider.billed)} calls, ${spent:.4f}")
    return 0 < spent <= 0.01 and process.returncode == 6


def failover(folder: Path, port: int) -> bool:
    lay_out(folder, port, "down", "well", elements=1)
    process = start(folder, "run", "squad.yaml")
    process.communicate()
    print(f"the first provider is down and was asked {Provider.came['down']}×, the next one {Provider.came['well']}×")
    return process.returncode == 0 and Provider.came == {"down": 1, "well": 1}


def utf8(folder: Path, port: int) -> bool:
    lay_out(folder, port, "bytes")
    told, _ = start(folder, "ask", "Greet.", "--model", "bytes/m", "--stream").communicate()
    print(f"sent a byte at a time:   {TEXT}\nput together again:      {told.strip()}")
    return told.strip() == TEXT


def cut(folder: Path, port: int) -> bool:
    lay_out(folder, port, "cut")
    process = start(folder, "ask", "Greet.", "--model", "cut/m", "--stream")
    told, why = process.communicate()
    print(f"came, and broke off: {told.strip()}\nexit code {process.returncode}: {why.strip()}")
    return process.returncode not in (0, None)


def limits(folder: Path, port: int) -> bool:
    lay_out(folder, port, "well", elements=5, limits="limits: [{metric: requests, amount: 10, window: 1h}]")
    processes = [start(folder, "run", "squad.yaml", "--run-id", f"run-{number}") for number in range(4)]
    for process in processes:
        process.communicate()
    print(f"four processes wanted 20 calls, the limit is 10 an hour: the provider was asked {Provider.came['well']}×")
    return Provider.came["well"] == 10


CLAIMS: dict[str, Callable[[Path, int], bool]] = {
    "budget": budget,
    "failover": failover,
    "utf8": utf8,
    "cut": cut,
    "limits": limits,
}


def main(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in CLAIMS:
        print(__doc__, file=sys.stderr)
        return 2
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        holds = CLAIMS[words[0]](Path(name), server.server_address[1])
    print("the claim holds" if holds else "THE CLAIM DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
