"""See the server's pages alive, with one command and no key: canned providers on this machine, a server, runs.

.venv/bin/pip install -c constraints.txt -e ".[server]"
.venv/bin/python examples/serve-demo/demo.py              # until Ctrl-C
.venv/bin/python examples/serve-demo/demo.py --runs 1     # begins one run, then leaves the server on

The answers are canned. Limits, refusals, failover, budgets and approvals are the real ones.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PLACES = ("the old harbour", "the botanical garden", "the tram museum", "the upper town")
SENTENCES = (
    "The light was lit in 1783, and it has not gone out since.",
    "Most visitors ask where to eat before they ask for the way.",
    "Begin at the bridge, where the water is loudest. 🚲",
    "Keep to the shade after eleven.",
    "Three stops are enough; a fourth one tires people.",
    "The market closes at two, so it comes first.",
)
BREAK_S, DOWN_S = 45, 15
"""The frail provider is down for 15 s of every 45 s."""
EVERY_S = 12
MOST_WAITING = 3
NEEDED = ("anyio", "fastapi", "uvicorn")


class Provider(BaseHTTPRequestHandler):
    """Speaks OpenAI's chat completions. The first part of the path says which provider it is."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = self.path.split("/")[1]
        if name == "frail" and time.time() % BREAK_S < DOWN_S:
            return self._say(503, {"error": {"message": "the service is overloaded", "type": "server_error"}})
        text = " ".join(random.sample(SENTENCES, 3))
        words = re.findall(r"\S+\s*", text)
        pause = {"swift": 0.04, "steady": 0.12, "frail": 0.07}[name]
        usage = {"prompt_tokens": len(str(asked["messages"])) // 4, "completion_tokens": len(text) // 4}
        usage["total_tokens"] = sum(usage.values())
        if not asked.get("stream"):
            time.sleep(pause * len(words))
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self._say(200, {"id": "canned", "model": "canned", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for word in words:
            self._tell({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            time.sleep(pause)
        self._tell({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True
        return None

    def _tell(self, piece: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps({"id": "canned", "model": "canned", **piece}).encode() + b"\n\n")

    def _say(self, status: int, body: dict[str, Any]) -> None:
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def ask(address: str, token: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the server's API as any program does."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    asked = urllib.request.Request(address, json.dumps(body).encode() if body is not None else None, headers)  # noqa: S310
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  # its own server
        return json.load(answer)


def keep_busy(address: str, token: str, most: int) -> None:
    """Begin runs. Where too many await approval, the oldest one is approved: the others are for who looks on."""
    try:
        for begun in range(most):
            waiting = ask(f"{address}/api/approvals", token)["approvals"]
            if len(waiting) >= MOST_WAITING:
                oldest = f"{address}/api/approvals/{waiting[-1]['run_id']}"
                ask(oldest, token, {"choice": "approve", "comment": "by demo.py"})
            place = PLACES[begun % len(PLACES)]
            ask(f"{address}/api/runs", token, {"squad": "tour", "inputs": {"place": place}})
            time.sleep(EVERY_S)
    except OSError as error:
        print(f"no more runs begin: {error}", file=sys.stderr)


def main() -> int:
    """Start all, and stop with the server."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=8700, help="the server's port (8700); 0 is any")
    options.add_argument("--state", type=Path, help="where it keeps its record (a temporary folder)")
    options.add_argument("--runs", type=int, default=10**9, help="how many runs it begins (until Ctrl-C)")
    chosen = options.parse_args()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        hint = "hint: .venv/bin/pip install -c constraints.txt -e '.[server]', then start me by .venv/bin/python"
        print(f"error: {sys.executable} has no package `{missing[0]}`\n{hint}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary, ThreadingHTTPServer(("127.0.0.1", 0), Provider) as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        state = chosen.state or Path(temporary) / "state"
        routing = Path(temporary) / "agent_routing.yaml"
        written = (HERE / "agent_routing.yaml").read_text("utf-8").replace("PORT", str(provider.server_port))
        routing.write_text(written, "utf-8")
        command = [sys.executable, "-m", "orchestrator", "--state", str(state), "--routing", str(routing)]
        command += ["serve", str(HERE / "squad.yaml"), "--port", str(chosen.port)]
        root = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        environ = {**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            signal.signal(signal.SIGTERM, lambda *_: server.terminate())  # it ends with me, however I am ended
            try:
                for line in server.stdout:
                    print(line, end="", flush=True)
                    if found := re.match(r"(http://\S+?)/login", line):
                        token = (state / "server-token").read_text("utf-8").strip()
                        print(f"runs begin by themselves, one every {EVERY_S} s; Ctrl-C stops", flush=True)
                        threading.Thread(target=keep_busy, args=(found[1], token, chosen.runs), daemon=True).start()
            except KeyboardInterrupt:
                pass  # the server has it too, and ends what it has to
            code = server.wait()
            if not chosen.state:
                print("the record of these runs was the demo's, and is gone: --state FOLDER keeps one", flush=True)
            return code


if __name__ == "__main__":
    sys.exit(main())
