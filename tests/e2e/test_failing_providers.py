"""Whole runs whose first provider fails in each way that providers fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RunResult, Squad
from orchestrator.events import Event
from orchestrator.runtime import run_squad
from tests.e2e.command import orchestrator
from tests.e2e.files import write_routing, write_squad
from tests.loopback import ANSWER, Loopback

pytestmark = pytest.mark.anyio

GREET = {"a": {"agent": "ann", "description": "Greet.", "output_file": "a.md"}}
TIMEOUTS = {"connect": "1s", "first_token": "300ms", "between_chunks": "300ms", "total": "1s"}

FAILURES = {
    "500": "ServerFault",
    "429=600": "RateLimited",
    "503": "Overloaded",
    "401": "AuthFailed",
    "reset": "Unreachable",
    "slow=3": "TimedOut",
    "hang": "TimedOut",
    "empty": "BadReply",
    "malformed": "BadReply",
    "html": "BadReply",
    "cut=1": "BadReply",
    "torn": "StreamBroken",
}
"""How the first provider behaves -> the error that its attempt is recorded with."""


async def run(
    folder: Path, tasks: Mapping[str, Any], addresses: Mapping[str, str], **policy: Any
) -> tuple[RunResult, list[Event]]:
    routing = write_routing(folder / "agent_routing.yaml", addresses, timeouts=TIMEOUTS, **policy)
    squad = Squad.from_file(write_squad(folder / "squad.yaml", tasks), routing=routing)
    events: list[Event] = []
    return await run_squad(squad, out=folder / "out", environ={}, on_event=events.append), events


def attempts(events: list[Event], task: str) -> list[tuple[str, str, str | None]]:
    """Return each attempt that a task's turns made: its provider, how it ended, and the error's name."""
    ended = [e.data for e in events if e.type == "attempt.ended" and e.unit.task == task]
    begun = [e.data for e in events if e.type == "attempt.started" and e.unit.task == task]
    assert [(e.number, e.provider) for e in begun] == [(e.number, e.provider) for e in ended]
    return [(e.provider, e.outcome, e.error) for e in ended]


@pytest.mark.parametrize("mode", FAILURES)
@pytest.mark.few(8)
async def test_a_run_ends_well_on_the_next_provider(loopback: Loopback, tmp_path: Path, mode: str):
    bad, good = loopback.url(mode), loopback.url("ok")
    result, events = await run(tmp_path, GREET, {"bad": bad, "good": good})

    assert (result.status, result.tasks) == ("done", {"a": "ok"})
    assert (tmp_path / "out/a.md").read_text("utf-8") == ANSWER
    assert attempts(events, "a") == [("bad", "failed", FAILURES[mode]), ("good", "ok", None)]
    assert [len(loopback.to(base)) for base in (bad, good)] == [1, 1]


@pytest.mark.parametrize("per_turn", [1, 3])
async def test_a_turn_makes_no_more_attempts_than_the_policy_allows(loopback: Loopback, tmp_path: Path, per_turn: int):
    one, two = loopback.url("500"), loopback.url("503")
    tasks = {"a": "Greet."}
    result, events = await run(tmp_path, tasks, {"one": one, "two": two}, attempts={"per_turn": per_turn})

    assert result.status == "failed"
    errors = [error for _, _, error in attempts(events, "a")]
    assert errors[:2] == ["ServerFault", "Overloaded"][:per_turn]
    assert set(errors[2:]) <= {"ServerFault", "Overloaded"}, "whose jittered wait was the shorter is asked again"
    assert len(errors) == len(loopback.requests) == per_turn


async def test_a_retried_task_starts_its_attempts_anew_and_they_stay_bounded(loopback: Loopback, tmp_path: Path):
    task = {"agent": "ann", "description": "Greet.", "retry": {"max_attempts": 2, "on": ["provider"]}}
    only = loopback.url("html")
    result, events = await run(tmp_path, {"a": task}, {"only": only}, attempts={"per_turn": 1})

    assert result.status == "failed"
    assert [e.path for e in events if e.type == "attempt.started"] == ["a/try-1", "a/try-2"]
    assert len(loopback.to(only)) == 2


async def test_a_provider_that_recovers_is_used_again(loopback: Loopback, tmp_path: Path):
    result, events = await run(tmp_path, {"a": "Greet."}, {"only": loopback.url("503", "ok")})
    assert result.status == "done"
    assert [error for _, _, error in attempts(events, "a")] == ["Overloaded", None]


async def test_what_was_finished_before_everyone_failed_stays(loopback: Loopback, tmp_path: Path):
    tasks = {**GREET, "b": {"agent": "ann", "needs": ["a"], "description": "Go on."}}
    result, _ = await run(tmp_path, tasks, {"only": loopback.url("ok", "401")})
    assert (result.status, result.tasks) == ("failed", {"a": "ok", "b": "failed"})
    assert (tmp_path / "out/a.md").read_text("utf-8") == ANSWER


def test_where_nobody_answers_the_command_line_names_every_cause(loopback: Loopback, tmp_path: Path):
    write_squad(tmp_path / "squad.yaml", GREET)
    addresses = {"down": loopback.url("503"), "web": loopback.url("html"), "gone": "http://127.0.0.1:9/v1"}
    write_routing(tmp_path / "agent_routing.yaml", addresses, attempts={"per_turn": 3})
    ended = orchestrator("run", "squad.yaml", cwd=tmp_path)

    assert ended.code == 8, ended.err
    last = next(line for line in ended.err.splitlines() if line.startswith("last failure:"))
    for cause in ("no capacity", "HTTP 503", "web/m: the reply is not JSON", "gone/m: "):
        assert cause in last
    assert ended.stdout == b""


def test_the_same_causes_stand_in_the_events_and_in_explain(loopback: Loopback, tmp_path: Path):
    write_squad(tmp_path / "squad.yaml", {"a": "Greet."})
    write_routing(
        tmp_path / "agent_routing.yaml",
        {"down": loopback.url("503"), "web": loopback.url("html")},
        attempts={"per_turn": 2},
    )
    ended = orchestrator("run", "squad.yaml", "--json", cwd=tmp_path)

    assert ended.code == 8, ended.err
    assert [(e["provider"], e["error"]) for e in ended.of_type("attempt.ended")] == [
        ("down", "Overloaded"),
        ("web", "BadReply"),
    ]
    assert [e["number"] for e in ended.of_type("attempt.started")] == [1, 2]
    assert ended.events[-1]["status"] == "failed"
    told = orchestrator("explain", "a", cwd=tmp_path)
    assert [line.split(" (")[0] for line in told.out.splitlines() if line.startswith("  attempt")] == [
        "  attempt 1: down/m: failed: Overloaded: no capacity",
        "  attempt 2: web/m: failed: BadReply: the reply is not JSON",
    ]


def test_keys_that_are_all_refused_are_the_operators_to_mend(loopback: Loopback, tmp_path: Path):
    write_squad(tmp_path / "squad.yaml", {"a": "Greet."})
    write_routing(tmp_path / "agent_routing.yaml", {"one": loopback.url("401"), "two": loopback.url("401", "401")})
    ended = orchestrator("run", "squad.yaml", cwd=tmp_path)
    assert ended.code == 4, ended.err
    assert "wrong key" in ended.err
