"""`explain --request`: for each turn of a run the bytes that went out, whoever spoke and whatever happened between."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from agents.events import HistoryFitted, HistorySummarised
from orchestrator import GateAnswered, GateOpened, RunResult, Squad
from orchestrator.cli.commands.explain import explanation, the_one
from orchestrator.cli.exits import NothingSelected
from orchestrator.events import to_json
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.rerun.replay import read_record, replay
from orchestrator.rerun.requests import attempts_of, body_of
from orchestrator.runtime import open_run, resume_run
from tests.loopback import Loopback, Seen, Served

pytestmark = pytest.mark.anyio
LONG = partial(pytest.param, marks=pytest.mark.long)
PEOPLE = ("ann", "bob", "cay")
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
ROUTING = """\
tiers: {{worker: [lab/m]}}
last_resort: []
providers:
  lab:
    dialect: openai-chat
    base_url: {url}
    models: {{m: {{context: 100000, max_output: 1000, tools: true, prefill: true, json_schema: true}}}}
"""
TALKS: dict[str, Any] = {
    "ring": {
        "pattern": "round_robin",
        "participants": ["ann", "bob"],
        "moderator": "cay",
        "terminate": {"max_turns": 4},
    },
    "plain": {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": 3}},
    "crowd": {"pattern": "party", "participants": ["ann", "bob"], "moderator": "cay", "terminate": {"max_turns": 7}},
    "long": {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": 10}},
    "open": {"pattern": "round_robin", "participants": ["ann", "human", "bob"], "terminate": {"max_turns": 6}},
}
SHAPE = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def said(text: str, finish: str = "stop", calls: list[Any] | None = None) -> Served:
    message = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
    return Served(
        200, {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    )


class Lab:
    """Answers by number, calls a tool where one is offered and none was called, and keeps what it was asked."""

    def __init__(self, loopback: Loopback) -> None:
        self.loopback, self.count, self.lock = loopback, 0, threading.Lock()
        self.hangs, self.stuck = 0, threading.Event()
        self.padding = ""
        self.cut: Callable[[Seen], bool] = lambda seen: False
        self.url = loopback.by(self.answer)

    def answer(self, seen: Seen) -> Served | str:
        self.count += 1
        if self.count == self.hangs:
            self.stuck.set()
            return "hang"
        last = seen.body["messages"][-1]
        if seen.body.get("tools") and last["role"] == "user":
            call = {"id": f"c{self.count}", "type": "function"}
            arguments = json.dumps({"path": "none.md"})
            return said("", "tool_calls", [{**call, "function": {"name": "read_file", "arguments": arguments}}])
        if "JSON" in str(seen.body):
            return said('{"ok": true}')
        if last["role"] == "assistant":
            return said(f" and more {self.count}", "length" if last["content"].count("more") < 2 else "stop")
        if self.cut(seen):
            return said(f"Half “{self.count}” \n", "length")
        text = f"Answer {self.count}.{self.padding}"
        return said(f"{text}\nNEXT: bob" if self.count % 2 else text)

    @property
    def bodies(self) -> list[bytes]:
        return [seen.raw for seen in self.loopback.to(self.url)]


async def speak(gate: GateOpened) -> GateAnswered | None:
    return GateAnswered(gate.task, "say", "A person's words.", "terminal")


def squad_of(folder: Path, url: str, tasks: dict[str, Any], context: int = 100_000, **more: Any) -> Squad:
    routing = ROUTING.format(url=url).replace("context: 100000", f"context: {context}")
    (folder / "agent_routing.yaml").write_text(routing)
    persona = {"name": "T", "role": "Answers.", "tier": "worker"}
    agents = {one: {"persona": {**persona, "name": one.title()}} for one in PEOPLE}
    used = {name: talk for name, talk in TALKS.items() if f"'{name}'" in str(tasks)}
    text = {"version": 1, "name": "t", "agents": agents, "conversations": used, "tasks": tasks, **more}
    return Squad.from_text(yaml.safe_dump(text), routing=folder / "agent_routing.yaml")


async def go(given: Squad, journal: Journal, ask: Any = None, stuck: threading.Event | None = None) -> RunResult | None:
    """Begin the run or go on with it, and cut it off once a request of it is stuck."""

    async def cut_off() -> None:
        if stuck is not None:
            await anyio.to_thread.run_sync(stuck.wait)
            tasks.cancel_scope.cancel()

    options: Any = {"environ": {"LAB_API_KEY": "k"}, "ask": ask, "trust": lambda _: True}
    if await journal.runs():
        opened = resume_run(given, "r", journal=journal, **options)
    else:
        opened = open_run(given, run_id="r", journal=journal, **options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cut_off)
        async with opened as run:
            async for _ in run:
                pass
        if stuck is not None:
            stuck.set()  # it should have been: the test fails, and waits for nothing
        return run.result
    return None


async def made_again(journal: Journal) -> list[bytes]:
    record = await read_record(journal, "r")
    return [await body_of(record, sent) for sent in attempts_of(record)]


ALONE = {"a": {"agent": "ann", "description": "x"}}
SHORT = ("a person between", "tools")
WORK: dict[str, dict[str, Any]] = {
    "round robin with a conclusion": {"a": {"conversation": "ring", "description": "x"}},
    "round robin alone": {"a": {"conversation": "plain", "description": "x"}},
    "a shape asked for after the talk": {"a": {"conversation": "ring", "description": "x", "output_schema": SHAPE}},
    "party": {"a": {"conversation": "crowd", "description": "x"}},
    "a person between": {"a": {"conversation": "open", "description": "x"}},
    "elements that talk": {
        "a": {
            "conversation": "ring",
            "for_each": "${{ ['x', 'y z'] }}",
            "key": "${{ item }}",
            "description": "About ${{ item }}.",
        }
    },
    "steps with a talk": {
        "a": {
            "steps": [
                {"id": "one", "agent": "ann", "description": "x"},
                {"id": "two", "conversation": "crowd", "description": "${{ steps.one.output }}"},
                {"id": "three", "agent": "bob", "description": "${{ steps.two.transcript }}"},
            ],
            "repeat": {"until": "${{ false }}", "max_attempts": 2},
        }
    },
    "tools": {"a": {"agent": "ann", "tools": ["read_file"], "description": "x"}},
}


@pytest.mark.parametrize("name", [one if one in SHORT else LONG(one) for one in WORK])
async def test_each_request_is_made_again_byte_for_byte(name: str, tmp_path: Path, loopback: Loopback) -> None:
    lab, journal = Lab(loopback), MemoryJournal()
    result = await go(squad_of(tmp_path, lab.url, WORK[name]), journal, speak)
    assert result is not None
    assert result.status in ("done", "failed"), result.errors
    assert sorted(await made_again(journal)) == sorted(lab.bodies)
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize("turns", [1, LONG(6)])
async def test_answers_that_were_continued_are_made_again_each_with_what_it_continued(
    turns: int, tmp_path: Path, loopback: Loopback
) -> None:
    lab, journal = Lab(loopback), MemoryJournal()
    lab.cut = lambda seen: True
    tasks = {
        "a": {"conversation": "ring", "description": "x"},
        "b": {"agent": "ann", "needs": ["a"], "description": "y"},
    }
    result = await go(squad_of(tmp_path, lab.url, tasks if turns > 1 else ALONE), journal)
    assert result is not None
    assert result.status == "done", result.errors
    assert sum(json.loads(body)["messages"][-1]["role"] == "assistant" for body in lab.bodies) == 3 * turns
    assert sorted(await made_again(journal)) == sorted(lab.bodies)


@pytest.mark.parametrize("name", ["a person between", *map(LONG, ["elements that talk", "party", "steps with a talk"])])
async def test_after_kills_each_part_makes_its_own_requests_again(
    name: str, tmp_path: Path, loopback: Loopback
) -> None:
    lab, journal = Lab(loopback), MemoryJournal()
    given = squad_of(tmp_path, lab.url, WORK[name])
    for _ in range(2):
        lab.hangs = lab.count + 2
        assert await go(given, journal, speak, lab.stuck) is None
        lab.stuck.clear()
    assert await go(given, journal, speak) is not None
    made, sent = Counter(await made_again(journal)), Counter(lab.bodies)
    assert not made - sent
    assert (sent - made).total() <= 4, "what was in flight"
    assert made.total() >= 3
    assert (await replay(journal, "r")).is_equal


async def test_where_a_person_spoke_that_is_said(tmp_path: Path, loopback: Loopback) -> None:
    lab, journal = Lab(loopback), MemoryJournal()
    await go(squad_of(tmp_path, lab.url, WORK["a person between"]), journal, speak)
    record = await read_record(journal, "r")
    attempts, steps = list(attempts_of(record)), record.answers.steps
    place = "a/try-1/round-2/human"
    with pytest.raises(NothingSelected, match=f"no model was asked for '{place}': a person spoke at {place}"):
        the_one(attempts, place, None, None, steps)
    with pytest.raises(NothingSelected, match="4 turns; choose one"):
        the_one(attempts, "a", None, None, steps)
    with pytest.raises(NothingSelected, match="no model was asked for 'b' in this run"):
        the_one(attempts, "b", None, None, steps)
    assert json.loads(await body_of(record, the_one(attempts, "a/try-1/round-2/bob", 1, None, steps)))["messages"]


async def test_a_turn_that_was_continued_or_made_again_after_a_kill_is_one_turn(
    tmp_path: Path, loopback: Loopback
) -> None:
    lab, journal = Lab(loopback), MemoryJournal()
    lab.cut, lab.hangs = lambda seen: True, 2
    given = squad_of(tmp_path, lab.url, ALONE)
    assert await go(given, journal, stuck=lab.stuck) is None
    assert await go(given, journal) is not None
    lines = list(explanation([to_json(event) for event in await journal.events("r")], "a", 1))
    assert [line for line in lines if not line.startswith(" ")] == ["a/try-1, turn 1"]
    assert sum("continued a text of" in line for line in lines) >= 3


@pytest.mark.parametrize(("summarised", "event"), [(None, HistoryFitted), LONG(600, HistorySummarised)])
async def test_requests_that_were_fitted_are_made_again_as_they_were_sent(
    summarised: int | None, event: type, tmp_path: Path, loopback: Loopback
) -> None:
    lab, journal = Lab(loopback), MemoryJournal()
    lab.padding = " and so on" * 30
    tasks = {"a": {"conversation": "long", "description": "x"}}
    more = {"defaults": {"history": {"summarise_over_tokens": summarised}}} if summarised else {"context": 1000}
    result = await go(squad_of(tmp_path, lab.url, tasks, **more), journal)
    assert result is not None
    assert result.status == "done", result.errors
    assert any(isinstance(one.data, event) for one in await journal.events("r"))
    assert sorted(await made_again(journal)) == sorted(lab.bodies)
    assert (await replay(journal, "r")).is_equal
