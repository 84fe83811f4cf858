"""Record a run of examples/sprint.yaml as docs/images/run.svg: `PYTHONPATH=. .venv/bin/python docs/images/record.py`.

The run is a real one, by `orchestrator run --json`. It asks two providers on this machine, which take their time, and
one of them refuses calls past its limit: behind them answers the offline stub (`orchestrator serve --offline`). Each
frame is what the live table draws of the events that had come by then. Needs the extra `server`.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from rich.console import Console

from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.live import render
from orchestrator.cli.ui.progress import Progress

ROOT = Path(__file__).parents[2]
OUT = Path(__file__).with_name("run.svg")
COMMAND = "orchestrator run examples/sprint.yaml"
CAPTION = "a recorded run of eight agents on two providers; all answers are canned, cost included"
CAPS = Caps(cost=5.0, tokens=2_000_000, seconds=7200)
WIDTH, HEIGHT = 100, 26
CELL, LINE = 8.0, 18.0
"""Pixels of a character's width and of a line's height."""
STEP_S, HOLD_S, END_S = 0.5, 2.5, 5.0
"""Seconds between two frames, before the first and after the last one."""
COLORS = {"cyan": "#39c5cf", "green": "#3fb950", "red": "#ff7b72", "yellow": "#d29922"}
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
INK, DIM, PAPER = "#e6edf3", "#8b949e", "#0d1117"

ROUTING = """\
version: 1
tiers:
  boss: [swift/large, steady/large]
  worker: [swift/large, steady/large]
  creative: [steady/large, swift/large]
  fallback: [steady/large]
last_resort: []
providers:
  swift:
    dialect: openai-chat
    base_url: http://127.0.0.1:PORT/swift/v1
    models:
      large: {context: 200000, max_output: 8000, tools: true, json_schema: true, price: {input: 0.2, output: 0.8}}
  steady:
    dialect: openai-chat
    base_url: http://127.0.0.1:PORT/steady/v1
    models:
      large: {context: 200000, max_output: 8000, tools: true, json_schema: true, price: {input: 1, output: 4}}
"""

Event = Mapping[str, Any]
Line = tuple[tuple[str, str], ...]
"""Pieces of a line: its text and its color."""
Frame = tuple[float, tuple[Line, ...]]
"""When a screen was shown first, in seconds after the beginning, and its lines."""


def screen(progress: Progress, now: float) -> tuple[Line, ...]:
    """Return the live table as it is drawn at an instant."""
    console = Console(width=WIDTH, height=HEIGHT, color_system="standard", force_terminal=True, legacy_windows=False)
    lines = console.render_lines(render(progress, CAPS, now, WIDTH, HEIGHT), console.options, pad=False)
    return tuple(tuple(_joined(line)) for line in lines)


def _color(style: Any) -> str:
    name = style.color.name if style is not None and style.color is not None else ""
    return COLORS.get(name, INK)


def _joined(line: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a line, those of one color together: spaces belong to what stands before them."""
    text, color = "", INK
    for piece in line:
        own = _color(piece.style) if piece.text.strip() else color
        if own != color and text:
            yield text, color
            text = ""
        text, color = text + piece.text, own
    if text.strip():
        yield text.rstrip(), color


def frames(events: Sequence[Event]) -> list[Frame]:
    """Return what the table shows of a run, each screen once, at most one each `STEP_S`."""
    progress, made = Progress(), list[Frame]()
    began, ended = events[0]["at"], events[-1]["at"]
    left, steps = list(events), int((ended - began) / STEP_S) + 2
    for number in range(1, steps):
        now = began + number * STEP_S
        while left and left[0]["at"] <= now:
            progress.apply(left.pop(0))
        lines = screen(progress, min(now, ended))
        if not made or made[-1][1] != lines:
            made.append(((number - 1) * STEP_S, lines))
    return made


def svg(shown: Sequence[Frame]) -> str:
    """Return the frames as an animated picture: by CSS alone, without a font or a script of elsewhere.

    Where motion is not wanted it stands still at the last frame.
    """
    total = HOLD_S + shown[-1][0] + END_S
    rows = max(len(lines) for _, lines in shown)
    width, height = WIDTH * CELL + 32, (rows + 3) * LINE + 46
    texts: dict[Line, str] = {}
    groups, rules = [], []
    for number, (at, lines) in enumerate(shown):
        last = number + 1 == len(shown)
        start = (HOLD_S + at) / total * 100
        end = 100.0 if last else (HOLD_S + shown[number + 1][0]) / total * 100
        hidden = f"0%{{opacity:0}}{start:.2f}%{{opacity:1}}" if number else "0%{opacity:1}"
        gone = "100%{opacity:1}" if last else f"{end:.2f}%{{opacity:0}}100%{{opacity:0}}"
        rules.append(f"@keyframes f{number}{{{hidden}{gone}}}")
        rules.append(f"#f{number}{{animation:f{number} {total:g}s step-end infinite}}")
        used = [
            f'<use href="#{texts.setdefault(line, f"t{len(texts)}")}" y="{row * LINE:g}"/>'
            for row, line in enumerate(lines)
            if line
        ]
        groups.append(f'<g id="f{number}" class="{"last" if last else "f"}">{"".join(used)}</g>')
    defined = "\n".join(f'<text id="{name}">{"".join(_spans(line))}</text>' for line, name in texts.items())
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
            f"<title>The live table of a run: {CAPTION}</title>",
            "<style>",
            f"text{{font:13px {FONTS};fill:{INK};white-space:pre}}",
            ".f{opacity:0}",
            *rules,
            "@media (prefers-reduced-motion:reduce){.f,.last{animation:none!important}}",
            "</style>",
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}"/>',
            *(
                f'<circle cx="{20 + 18 * n}" cy="18" r="5" fill="{c}"/>'
                for n, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))
            ),
            f'<text x="{width / 2:g}" y="22" text-anchor="middle" style="fill:{DIM}">{escape(CAPTION)}</text>',
            f'<text x="16" y="54"><tspan style="fill:#3fb950">$</tspan> {escape(COMMAND)}</text>',
            f"<defs>{defined}</defs>",
            f'<g transform="translate(16 {54 + LINE:g})">',
            *groups,
            "</g></svg>\n",
        )
    )


def _spans(line: Line) -> Iterator[str]:
    """Yield the words of a line, each at its own column: so columns stand in any font."""
    column = 0
    for text, color in line:
        for word in re.finditer(r"\S+(?: \S+)*", text):
            x = (column + word.start()) * CELL
            fill = "" if color == INK else f' style="fill:{color}"'
            yield f'<tspan x="{x:g}" textLength="{len(word[0]) * CELL:g}"{fill}>{escape(word[0])}</tspan>'
        column += len(text)


class Provider(BaseHTTPRequestHandler):
    """Passes what it is asked on to the gateway, after a while. `swift` takes 6 calls in any 8 s."""

    upstream, key = "", ""
    dice, came, lock = random.Random(4), list[float](), threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_swift = self.path.startswith("/swift/")
        with self.lock:
            pause, now = self.dice.uniform(0.5, 1.3), time.monotonic()
            recent = [at for at in self.came if at > now - 8]
            if is_swift and len(recent) < 6:
                self.came.append(now)
        if is_swift and len(recent) >= 6:
            return self._say(429, b'{"error": {"message": "rate limit reached", "code": "rate_limit_exceeded"}}')
        time.sleep(pause if is_swift else 1.4 * pause)
        asked = urllib.request.Request(
            f"{self.upstream}/v1/chat/completions",
            json.dumps({**body, "model": "tier/worker"}).encode(),
            {"content-type": "application/json", "authorization": f"Bearer {self.key}"},
        )
        with urllib.request.urlopen(asked, timeout=60) as reply:
            return self._say(200, reply.read(), reply.headers["content-type"])

    def _say(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def providers(folder: Path) -> Iterator[int]:
    """Serve both providers on a port of this machine, which is given."""
    ours = [sys.executable, "-m", "orchestrator", "--state", str(folder / "gateway")]
    key = subprocess.run(
        [*ours, "gateway-keys", "add", "recorder"], capture_output=True, text=True, check=True, cwd=folder
    )
    gateway = subprocess.Popen(
        [*ours, "serve", "--offline", "--port", "0"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        told = next(line for line in gateway.stdout or () if "http://" in line)
        Provider.upstream = "http://" + told.partition("http://")[2].split("/")[0]
        Provider.key = next(word for word in key.stdout.split() if word.startswith("sk-orch-"))
        with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_port
            server.shutdown()
    finally:
        gateway.terminate()
        gateway.communicate()


def recorded() -> list[Event]:
    """Return the events of a run, each with `at`, its time in seconds."""
    with tempfile.TemporaryDirectory() as name, providers(Path(name)) as port:
        folder = Path(name)
        (folder / "routing.yaml").write_text(ROUTING.replace("PORT", str(port)), "utf-8")
        ours = [sys.executable, "-m", "orchestrator", "--trust", "--routing", str(folder / "routing.yaml")]
        command = [
            *ours,
            "run",
            str(ROOT / "examples/sprint.yaml"),
            "--json",
            "--state",
            str(folder / "state"),
            "--out",
        ]
        done = subprocess.run(
            [*command, str(folder / "out")], capture_output=True, text=True, env=os.environ, cwd=folder
        )
        if done.returncode:
            sys.exit(done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    OUT.write_text(svg(frames(recorded())), "utf-8")
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")
