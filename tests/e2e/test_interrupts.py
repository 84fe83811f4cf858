"""Ctrl-C and SIGTERM at any moment: what was finished stays, nothing else does."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.command import Ended, files_below, orchestrator, started
from tests.e2e.files import write_routing, write_squad
from tests.loopback import ANSWER, Loopback
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")

TASKS: dict[str, Any] = {
    name: {"agent": "ann", "description": name, "needs": needs, "output_file": f"docs/{name}.md"}
    for name, needs in {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}.items()
}
EVENTS = 34
"""Some of the events of a run of these tasks."""


class Running:
    """A run at work, whose events are read as they come."""

    def __init__(self, child: subprocess.Popen[bytes], folder: Path, mark: str) -> None:
        self.child, self.folder, self._mark = child, folder, mark
        self.events: list[dict[str, Any]] = []

    def read(self, enough: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        """Wait for the next event of which `enough` holds, or for the end of the events."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.events.append(json.loads(line))
            if enough(self.events[-1]):
                return

    def hear(self, word: str) -> None:
        """Wait for a line on stderr."""
        assert self.child.stderr is not None
        assert any(word.encode() in line for line in self.child.stderr)

    def loads(self, library: str) -> None:
        """Wait until the process has a shared library open: a moment within its imports."""
        maps = Path(f"/proc/{self.child.pid}/maps")
        while library not in maps.read_text() and self.child.poll() is None:
            pass

    def ends(self) -> Ended:
        """Wait for the end, and hold that it was a tidy one."""
        out, err = self.child.communicate(timeout=PATIENCE_S)
        self.events += [json.loads(line) for line in out.splitlines()]
        ended = Ended(self.child.returncode, out, err)
        assert "Traceback" not in ended.err
        assert "internal error" not in ended.err
        assert processes_with(self._mark) == []
        written = files_below(self.folder / "out") if (self.folder / "out").exists() else {}
        assert all(data == ANSWER.encode() for data in written.values()), "whole files only, none of them temporary"
        told = {e["path"]: e["sha256"] for e in self.events if e["type"] == "artifact.written"}
        assert told.items() <= {path: hashlib.sha256(data).hexdigest() for path, data in written.items()}.items()
        return ended


def processes_with(mark: str) -> list[str]:
    """Return the processes that inherited this mark in their environment and still live."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:  # gone by now
            continue
    return found


@contextmanager
def running(folder: Path, address: str, tasks: dict[str, Any] = TASKS) -> Iterator[Running]:
    write_squad(folder / "squad.yaml", tasks)
    write_routing(folder / "agent_routing.yaml", {"only": address})
    mark = f"run-{uuid.uuid4()}"
    command = ("run", "squad.yaml", "--out", "out", "--json")
    with started(*command, cwd=folder, env={"MARK": mark}) as child:
        yield Running(child, folder, mark)


def is_attempt(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "attempt.started")


def test_the_first_interrupt_lets_the_calls_in_flight_end(loopback: Loopback, tmp_path: Path):
    with running(tmp_path, loopback.url("ok", "slow=0.5")) as run:
        for _ in "abc":
            run.read(is_attempt)
        run.child.send_signal(signal.SIGINT)
        ended = run.ends()
    assert ended.code == 130, ended.err
    assert "stopping: waiting for the calls in flight of b, c; Ctrl-C again stops now" in ended.err
    assert sorted(files_below(tmp_path / "out")) == ["docs/a.md", "docs/b.md", "docs/c.md"]
    last = run.events[-1]
    assert (last["type"], last["status"]) == ("run.finished", "cancelled")
    assert last["tasks"] == {"a": "ok", "b": "ok", "c": "ok", "d": "waiting"}
    assert not any(seen.left.is_set() for seen in loopback.requests)


@pytest.mark.long
def test_the_second_interrupt_stops_at_once(loopback: Loopback, tmp_path: Path):
    with running(tmp_path, loopback.url("ok", "hang")) as run:
        for _ in "abc":
            run.read(is_attempt)
        run.child.send_signal(signal.SIGINT)
        run.hear("stopping: waiting")
        run.child.send_signal(signal.SIGINT)
        ended = run.ends()
    assert ended.code == 130
    assert sorted(files_below(tmp_path / "out")) == ["docs/a.md"]
    assert all(seen.left.wait(PATIENCE_S) for seen in loopback.requests[1:]), "its calls were cut off"


@pytest.mark.long
def test_sigterm_stops_at_once(loopback: Loopback, tmp_path: Path):
    with running(tmp_path, loopback.url("ok", "hang")) as run:
        for _ in "abc":
            run.read(is_attempt)
        run.child.send_signal(signal.SIGTERM)
        ended = run.ends()
    assert ended.code == 143
    assert ended.err.splitlines()[-1] == "error: terminated"
    assert sorted(files_below(tmp_path / "out")) == ["docs/a.md"]
    assert all(seen.left.wait(PATIENCE_S) for seen in loopback.requests[1:]), "its calls were cut off"


@pytest.mark.long
@pytest.mark.parametrize(
    "instant",
    [
        at if at % 5 == 0 else pytest.param(at, marks=pytest.mark.long)
        for at in sorted(Random(7).sample(range(EVENTS), 20))
    ],
)
@pytest.mark.few(1)
def test_at_any_instant_an_interrupt_leaves_whole_files_only(loopback: Loopback, tmp_path: Path, instant: int):
    with running(tmp_path, loopback.url("slow=0.02")) as run:
        for _ in range(instant + 1):
            run.read()
        run.child.send_signal(signal.SIGINT)
        if instant % 3 == 0:  # a second one, at some later instant
            run.read()
            run.child.send_signal(signal.SIGINT)
        ended = run.ends()
    last = run.events[-1] if run.events else {}
    finished = {0} if last.get("status") == "done" else set()
    # One that comes after all is written, while the interpreter ends, ends the process itself: shells say 130, too.
    over = {-signal.SIGINT} if last.get("type") == "run.finished" else set()
    assert ended.code in {130} | finished | over, ended.err


@pytest.mark.long
@pytest.mark.parametrize("library", ["_json", "_yaml", "pydantic_core"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.few(2)
def test_a_signal_while_it_still_loads_is_no_crash(loopback: Loopback, tmp_path: Path, library: str, number: int):
    with running(tmp_path, loopback.url("hang")) as run:
        run.loads(library)
        run.child.send_signal(number)
        ended = run.ends()
    # Where the signal itself ended it, shells say 128 + its number, too.
    assert ended.code in (128 + number, -number), ended.err


@pytest.mark.long
def test_a_reader_that_leaves_ends_the_run_as_interrupted(loopback: Loopback, tmp_path: Path):
    with running(tmp_path, loopback.url("ok", "hang")) as run:
        run.read()
        assert run.child.stdout is not None
        run.child.stdout.close()
        _, err = run.child.communicate(timeout=PATIENCE_S)
    assert run.child.returncode == 130
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


@pytest.mark.long
def test_the_next_run_starts_clean_after_an_interrupted_one(loopback: Loopback, tmp_path: Path):
    with running(tmp_path, loopback.url("ok", "hang")) as run:
        for _ in "abc":
            run.read(is_attempt)
        run.child.send_signal(signal.SIGTERM)
        run.ends()
    write_routing(tmp_path / "agent_routing.yaml", {"only": loopback.url("ok", "ok")})
    ended = orchestrator("run", "squad.yaml", "--out", "out", "--overwrite", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert sorted(files_below(tmp_path / "out")) == [f"docs/{name}.md" for name in TASKS]
