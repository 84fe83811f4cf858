"""How a server ends, by signals and by kills, and what of its runs the next one finds. Real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.loopback import Loopback, Seen
from tests.orchestrator.cli.test_at_server import started, until
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are others there"),
]
SQUAD = """
name: slow
agents: {ann: {persona: analyst}}
tasks:
  a: {agent: ann, description: Wait.}
  b: {agent: ann, needs: [a], description: Tell it.}
"""


@contextmanager
def server(folder: Path, upstream: str, *more: str) -> Iterator[tuple[subprocess.Popen[str], str, dict[str, str]]]:
    """Start a server whose models are asked at `upstream`; yield it, its address, and the headers that let in."""
    (folder / "slow.yaml").write_text(SQUAD)
    keys = {"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": upstream}
    process = started(folder, "serve", "slow.yaml", "--port", "0", "--trust", *more, **keys)
    try:
        address = until(process, "login?token=").partition("/login")[0]
        token = (folder / ".orchestrator/server-token").read_text()
        yield process, address, {"authorization": f"Bearer {token}"}
    finally:
        process.kill()
        process.communicate()


def begin(address: str, headers: dict[str, str]) -> None:
    begun = httpx2.post(f"{address}/api/runs", json={"squad": "slow", "run_id": "one"}, headers=headers)
    assert begun.status_code == 201, begun.text


def at_work(address: str, headers: dict[str, str], loopback: Loopback) -> None:
    """Begin a run, and wait until its first call is in flight."""
    before = len(loopback.requests)
    begin(address, headers)
    deadline = time.monotonic() + PATIENCE_S
    while len(loopback.requests) == before:
        assert time.monotonic() < deadline, "its call never came"
        time.sleep(0.02)


def test_a_signal_ends_streams_with_a_word_and_leaves_runs_to_be_gone_on_with(
    tmp_path: Path, loopback: Loopback
) -> None:
    with server(tmp_path, loopback.url("hang"), "--grace", "1s") as (process, address, headers):
        at_work(address, headers, loopback)
        heard = []
        with httpx2.stream("GET", f"{address}/api/runs/one/events", headers=headers, timeout=PATIENCE_S) as stream:
            for line in stream.iter_lines():
                if not heard:
                    process.send_signal(signal.SIGTERM)
                heard.append(line)
        assert "event: stopping" in heard
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "stopping within 1 s: 1 run end their calls in flight; a second signal stops now" in err
        assert "one is unfinished: `orchestrator runs resume one` goes on with it" in err
        assert not (tmp_path / ".orchestrator/server-address.json").exists()


def test_a_second_signal_ends_at_once(tmp_path: Path, loopback: Loopback) -> None:
    with server(tmp_path, loopback.url("hang"), "--grace", "1h") as (process, address, headers):
        at_work(address, headers, loopback)
        process.send_signal(signal.SIGTERM)
        assert "stopping" in until(process, "stopping within", of="stderr")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 143


def test_calls_in_flight_end_and_are_recorded_before_the_server_does(tmp_path: Path, loopback: Loopback) -> None:
    came, may_answer = threading.Event(), threading.Event()

    def answer(_: Seen) -> str:
        came.set()
        assert may_answer.wait(PATIENCE_S)
        return "ok"

    with server(tmp_path, loopback.by(answer), "--grace", "1h") as (process, address, headers):
        begin(address, headers)
        assert came.wait(PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        until(process, "stopping within", of="stderr")
        may_answer.set()
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, "one is interrupted" in err) == (0, True), err
    shown = started(tmp_path, "runs", "show", "one").communicate(timeout=PATIENCE_S)[0]
    assert shown.startswith("one: interrupted")
    with server(tmp_path, loopback.url("ok"), "--resume") as (process, address, headers):
        assert end_of(address, headers) == "done"
    assert len(loopback.requests) == 2, "what was recorded is not paid for again"


def end_of(address: str, headers: dict[str, str], run: str = "one") -> str:
    """Return how a run ends that was begun before."""
    states = []
    with httpx2.stream("GET", f"{address}/api/runs/{run}/events", headers=headers, timeout=PATIENCE_S) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and (told := json.loads(line[6:]))["type"] == "run.finished":
                states.append(told["status"])
                if told["status"] != "cancelled":
                    break
    return states[-1]


def test_after_a_kill_the_next_server_tells_what_was_cut_short_and_goes_on_with_it(
    tmp_path: Path, loopback: Loopback
) -> None:
    with server(tmp_path, loopback.url("hang")) as (process, address, headers):
        at_work(address, headers, loopback)
        process.kill()
        process.wait()
    with server(tmp_path, loopback.url("ok")) as (process, _, headers):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert "one is unfinished: `orchestrator runs resume one` goes on with it, or start with --resume" in err
    with server(tmp_path, loopback.url("ok"), "--resume") as (process, address, headers):
        assert end_of(address, headers) == "done"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, "unfinished" in err, "interrupted" in err) == (0, False, False), err
