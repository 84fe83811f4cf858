"""Commands over a cluster: a real PostgreSQL, workers that are processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Ended, forked_beside, orchestrator, started, without_traceback
from tests.orchestrator.cli.conftest import GATED, SQUAD
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, PostgresServer
from tests.processes import Forked

TIMES = ("--heartbeat", "1s", "--timeout", "4s", "--grace", "10s")
FAN = """\
name: fan
offline: always
max_parallel: 4
inputs: {items: {type: list, default: [ITEMS]}}
agents: {ann: {persona: dev}}
tasks:
  all:
    for_each: ${{ inputs.items }}
    key: ${{ item }}
    steps:
      - {id: one, agent: ann, description: "Do ${{ item }}."}
      - {id: two, agent: ann, description: "Check ${{ item }}."}
  end: {agent: ann, needs: [all], description: End., output_file: docs/end.md}
outputs: {end: "${{ tasks.end.output }}"}
""".replace("ITEMS", ", ".join(f"S-{number}" for number in range(30)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    for name, text in {"squad": SQUAD, "gated": GATED, "fan": FAN}.items():
        (tmp_path / f"{name}.yaml").write_text(text.replace("offline: auto", "offline: always"))
    return tmp_path


@pytest.fixture
def call(folder: Path, postgres_url: str) -> Callable[..., Ended]:
    """Return a function that runs a command over the cluster; it fails where a password or a traceback is shown."""

    def run(*words: str, env: dict[str, str] | None = None) -> Ended:
        ended = orchestrator(*words, cwd=folder, env={"ORCHESTRATOR_DB": postgres_url, **(env or {})})
        assert without_traceback(ended), ended.err
        assert PASSWORD not in ended.err + ended.out
        return ended

    return run


@contextmanager
def worker(folder: Path, url: str, *more: str) -> Iterator[Forked]:
    """Start a worker. What it says is in `worker.log`."""
    log, env = folder / "worker.log", {"ORCHESTRATOR_DB": url}
    with forked_beside("worker", *TIMES, *more, cwd=folder, env=env, log=log, memory=4 << 30) as one:
        yield one


def until(what: Callable[[], Any]) -> Any:
    """Return what a function returns once that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def asked(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and the body that a probe gets; 0: nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.long
def test_a_run_goes_on_at_another_worker_when_one_is_killed(call: Any, folder: Path, postgres_url: str) -> None:
    with worker(folder, postgres_url) as first, worker(folder, postgres_url):
        env = {"ORCHESTRATOR_DB": postgres_url}
        with started("run", "fan.yaml", "--run-id", "r", "--json", cwd=folder, env=env) as run:
            assert run.stdout is not None
            seen: list[dict[str, Any]] = []
            while sum(event["type"] == "element.ended" for event in seen) < 5:
                seen.append(json.loads(run.stdout.readline()))
            first.send_signal(signal.SIGKILL)
            seen += [json.loads(line) for line in run.stdout]
            assert run.wait(PATIENCE_S) == 0, (folder / "worker.log").read_text()
    assert seen[-1]["status"] == "done"
    ended = [event["key"] for event in seen if event["type"] == "element.ended"]
    assert sorted(ended) == sorted(f"S-{number}" for number in range(30))
    places = [json.dumps(event["place"]) for event in seen if event["type"] == "turn.ended"]
    assert len(places) == len(set(places)) == 61
    assert (folder / "out/r/docs/end.md").read_text() == seen[-1]["outputs"]["end"]
    assert call("runs", "replay", "r").code == 0
    assert PASSWORD not in (folder / "worker.log").read_text()


def test_a_run_is_answered_watched_forked_and_exported_from_anywhere(
    call: Any, folder: Path, postgres_url: str
) -> None:
    with worker(folder, postgres_url):
        assert call("run", "gated.yaml", "--run-id", "g", "--detach").out == "g\n"
        assert call("runs", "watch", "g").code == 0
        assert until(lambda: "waiting" in call("runs", "ls").out)
        assert json.loads(call("approvals", "ls", "--json").out)[0]["task"] == "approve"
        assert "the next free worker goes on" in call("approvals", "approve", "g", "approve").err
        ended = call("runs", "watch", "g", "--json")
        assert [event["status"] for event in ended.of_type("run.finished")] == ["waiting", "done"]
        forked = call("runs", "fork", "g", "--from", "research", "--run-id", "h", "--approve", "auto")
        assert forked.code == 0, forked.err
        assert call("runs", "export", "h", "h.db").code == 0
        assert call("runs", "replay", "h.db").code == 0
        assert call("explain", "h", "research").code == 0
        assert call("runs", "resume", "h").code == 5
        assert "add --edited" in call("runs", "resume", "h", "--squad", "squad.yaml").err
        text = (folder / "gated.yaml").read_text()
        (folder / "elsewhere.yaml").write_text(text.replace("Good enough?", "Ship it?"))
        words = ("runs", "resume", "h", "--edited", "--squad", "elsewhere.yaml")
        previewed = call(*words, "--dry-run")
        assert ("edited: task approve" in previewed.out, "kept" in previewed.out) == (True, True), previewed.err
        assert "Ship it?" not in call("runs", "show", "h", "--json").out
        resumed = call(*words, "--approve", "auto", "--json")
        assert resumed.code == 0, resumed.err
        assert [event["type"] for event in resumed.of_type("run.edited")] == ["run.edited"]
        assert [event["prompt"] for event in resumed.of_type("gate.opened")] == ["Ship it?"]
        assert resumed.of_type("turn.ended") == []
        removed = call("runs", "rm", "g", "--yes")
        assert removed.out == "g\n"


def test_what_waits_for_a_worker_says_so_and_can_be_cancelled(call: Any, folder: Path, postgres_url: str) -> None:
    nothing = call("cluster", "status")
    assert nothing.code == 5
    queued = call("run", "squad.yaml", "--run-id", "q", "--detach", "--priority", "-7")
    assert "queued: no worker serves `runs` and `tasks`; start one: orchestrator worker\n" in queued.err
    assert "runs watch q" in queued.err
    status = call("cluster", "status", "--json")
    assert status.code == 1
    told = json.loads(status.out)
    assert (told["healthy"], told["queues"]["runs"]["waiting"], told["workers"]) == (False, 1, [])
    assert told["queues"]["runs"]["by_priority"] == {"-7": 1}
    assert "1 of -7" in call("cluster", "status").out
    assert {problem["code"] for problem in told["problems"]} == {"no_worker"}
    assert "queued" in call("runs", "ls").out
    shown = call("runs", "show", "q").out
    assert "q: queued" in shown
    assert "priority: -7" in shown
    assert call("runs", "cancel", "q").code == 0
    assert "cancelled" in call("runs", "ls").out
    with worker(folder, postgres_url):
        until(lambda: call("cluster", "status").code == 0)
        until(lambda: json.loads(call("cluster", "status", "--json").out)["queues"]["runs"]["waiting"] == 0)
    assert call("runs", "show", "q", "--json").of_type("task.started") == []


@pytest.mark.long
def test_a_run_that_no_worker_can_do_says_so(call: Any, folder: Path, postgres_url: str) -> None:
    (folder / "online.yaml").write_text(SQUAD.replace("offline: auto", "offline: never"))
    env = {"ORCHESTRATOR_DB": postgres_url}
    with worker(folder, postgres_url), started("run", "online.yaml", cwd=folder, env=env) as run:
        assert run.stderr is not None
        while b"workers could not go on with some runs" not in run.stderr.readline():
            assert run.poll() is None
    assert "no provider is configured" in (folder / "worker.log").read_text()


@pytest.mark.long
def test_ctrl_c_leaves_the_run_to_the_workers(call: Any, folder: Path, postgres_url: str) -> None:
    env = {"ORCHESTRATOR_DB": postgres_url}
    with started("run", "squad.yaml", "--run-id", "c", cwd=folder, env=env) as run:
        assert run.stderr is not None
        while b"queued: no worker" not in run.stderr.readline():
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        said = run.stderr.read().decode()
        assert run.wait(PATIENCE_S) == 130
    assert "c goes on at postgresql://" in said
    assert "orchestrator runs watch c" in said
    assert PASSWORD not in said
    with worker(folder, postgres_url):
        assert call("runs", "watch", "c").code == 0


@pytest.mark.long
def test_probes_tell_how_a_worker_is_and_drain_it(folder: Path, postgres_url: str, postgres_server: Any) -> None:
    port = free_port()
    with worker(folder, postgres_url, "--health", str(port), "--queues", "tasks=3,runs=2") as one:
        assert until(lambda: asked(port, "/healthz")[0] == 200)
        assert until(lambda: asked(port, "/readyz") == (200, "ready\n"))
        until(lambda: 'orchestrator_cluster_slots{queue="tasks"} 3.0' in asked(port, "/metrics")[1])
        postgres_server.stop()
        assert asked(port, "/readyz") == (503, "the database cannot be reached\n")
        assert asked(port, "/healthz")[0] == 200
        assert "orchestrator_cluster_database_up 0.0" in asked(port, "/metrics")[1]
        postgres_server.start()
        until(lambda: asked(port, "/readyz")[0] == 200)
        assert asked(port, "/drain")[0] == 405
        assert asked(port, "/drain", "POST") == (202, "draining\n")
        assert one.wait(PATIENCE_S) == 0
    log = (folder / "worker.log").read_text()
    assert PASSWORD not in log
    assert "3 of `tasks`, 2 of `runs` at a time" in log
    assert "no provider is configured here" in log


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_worker_that_is_told_to_stop_ends_well(
    folder: Path, postgres_url: str, postgres_server: PostgresServer, number: int
) -> None:
    with worker(folder, postgres_url) as one:
        until(lambda: "serves postgresql" in (folder / "worker.log").read_text())
        # Before any call is made: the roles of other workers may not be able to.
        made = (
            "SELECT count(*) FROM pg_namespace WHERE nspname IN ('orchestrator', 'orchestrator_queue', 'squad_ledger')"
        )
        assert postgres_server.run(made, postgres_url.rpartition("/")[2]) == [(3,)]
        one.send_signal(number)
        assert one.wait(PATIENCE_S) == 0


@pytest.mark.long
def test_a_second_signal_stops_a_worker_at_once_and_its_log_is_one_document_a_line(
    folder: Path, postgres_url: str
) -> None:
    (folder / "online.yaml").write_text(SQUAD.replace("offline: auto", "offline: never"))
    assert orchestrator("run", "online.yaml", "--detach", cwd=folder, env={"ORCHESTRATOR_DB": postgres_url}).code == 0
    with worker(folder, postgres_url, "--log-format", "json", "--grace", "1000s") as one:
        until(lambda: "job_is_for_others" in (folder / "worker.log").read_text())
        one.send_signal(signal.SIGTERM)
        until(lambda: "a second signal" in (folder / "worker.log").read_text() or one.poll() is not None)
        one.send_signal(signal.SIGTERM)
        # It may have handed everything over by then: the signal finds it on its way out, or after it.
        assert one.wait(PATIENCE_S) in (0, 143, -signal.SIGTERM)
    said = [json.loads(line) for line in (folder / "worker.log").read_text().splitlines()]
    (failed, *_) = [line for line in said if line["event"] == "job_is_for_others"]
    assert "no provider is configured" in failed["error"]
    assert all({"level", "timestamp"} <= line.keys() for line in said)


def test_what_cannot_be_is_told_before_anything_is_done(call: Any, folder: Path, postgres_url: str) -> None:
    away = postgres_url.replace(postgres_url.rpartition(":")[2].partition("/")[0], "1")
    for words in (("run", "squad.yaml"), ("worker",), ("cluster", "status"), ("runs", "ls")):
        ended = call(*words, env={"ORCHESTRATOR_DB": away})
        assert ended.code == 2, (words, ended.err)
        assert "cannot" in ended.err, (words, ended.err)
    for words, said in {
        ("worker", "--queues", "taks=3"): "did you mean tasks?",
        ("worker", "--queues", "tasks=x"): "write tasks=50",
        ("worker", "--queues", "tasks=0"): "serves one queue at least",
        ("worker", "--health", "x"): "write a port",
        ("worker", "--heartbeat", "5s", "--timeout", "6s"): "at least two heartbeats",
        ("worker", "--db", "sqlite:///x.db"): "a cluster is in a PostgreSQL database",
        ("run", "squad.yaml", "--detach", "--db", "sqlite:///x.db"): "--detach leaves the run",
        ("run", "squad.yaml", "--priority", "5", "--db", "sqlite:///x.db"): "--priority orders the runs of a cluster",
        ("run", "squad.yaml", "--priority", "101"): "101 is not in the range -100<=x<=100",
    }.items():
        ended = call(*words)
        assert ended.code == 2, (words, ended.err)
        assert said in ended.err.replace("\n", " "), (words, ended.err)
    os.environ.pop("ORCHESTRATOR_DB", None)
    assert "which cluster?" in orchestrator("cluster", "status", cwd=folder).err
