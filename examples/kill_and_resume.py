"""Kill a run at any instant and see that nothing is paid twice: a provider on loopback counts what it answers.

python examples/kill_and_resume.py            # kills after 0.35 s, then resumes
python examples/kill_and_resume.py 0.8        # another instant
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

SQUAD = """\
version: 1
name: experiment
agents: {mary: {persona: analyst}, paige: {persona: tech-writer}}
tasks:
  north: {agent: mary, description: Study the north.}
  south: {agent: mary, description: Study the south.}
  east: {agent: mary, description: Study the east., needs: [north]}
  west: {agent: mary, description: Study the west., needs: [south]}
  report: {agent: paige, description: Report., needs: [north, south, east, west], output_file: report.md}
outputs: {report: "${{ tasks.report.output }}"}
"""
ROUTING = """\
tiers: {{boss: [near/model], worker: [near/model], creative: [near/model], fallback: [near/model]}}
last_resort: []
providers:
  near:
    dialect: openai-chat
    base_url: http://127.0.0.1:{port}/v1
    models: {{model: {{context: 100000, max_output: 4000, price: {{input: 1, output: 1}}}}}}
"""
THINKS_S = 0.2


class Provider(BaseHTTPRequestHandler):
    answered: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = asked["messages"][-1]["content"].splitlines()[-1]
        time.sleep(THINKS_S)
        self.answered[question] += 1
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": f"Done: {question}"},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        body = json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode()
        try:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            return  # the run that asked was killed meanwhile

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[1]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    words = (sys.executable, "-m", "orchestrator", *words)
    return subprocess.Popen(words, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True)  # our own


def main(instant: float) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "squad.yaml").write_text(SQUAD)
        (folder / "agent_routing.yaml").write_text(ROUTING.format(port=server.server_address[1]))
        first = command(folder, "run", "squad.yaml", "--run-id", "trial")
        while not Provider.answered and first.poll() is None:
            time.sleep(0.01)
        time.sleep(instant)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        print(f"killed; the provider has answered {Provider.answered.total()} calls\n", file=sys.stderr)
        print(command(folder, "runs", "show", "trial").communicate()[0], file=sys.stderr)
        report, _ = command(folder, "runs", "resume", "trial").communicate()
    print(f"\n{report.strip()}\n")
    twice = ", ".join(question for question, times in Provider.answered.items() if times > 1)
    print(f"{Provider.answered.total()} answers to {len(Provider.answered)} questions; twice: {twice or 'none'}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.35)
