"""Memory in a run: what agents keep and are told, also after a kill, in a replay, and by several agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.memory.records import made_record
from agents.memory.store import MemoryStore
from orchestrator import Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from providers.messages import FinishReason, Message, Request, Response, ToolCall, ToolResult, Usage
from tests.orchestrator.squads import Answers, run, squad, types

pytestmark = pytest.mark.anyio


def calling(name: str, **arguments: Any) -> Response:
    call = ToolCall("c1", name, json.dumps(arguments))
    return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)


def with_memory(memory: Any = True, description: str = "Plan the deploys.", **more: Any) -> Squad:
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    return squad({"a": description}, people={"ann": {"persona": persona, "memory": memory}}, **more)


def once(name: str, **arguments: Any) -> Answers:
    """Return a model that calls a tool in its first turn, and repeats its result in the second."""

    def answer(_: str, request: Request) -> Any:
        results = [p.content for message in request.messages for p in message.parts if isinstance(p, ToolResult)]
        return results[-1] if results else calling(name, **arguments)

    return Answers(answer)


async def test_what_is_remembered_in_one_run_is_told_in_the_next_as_notes_with_their_source(tmp_path: Path) -> None:
    state, given = tmp_path / "state", with_memory()
    result, _ = await run(given, once("remember", text="Deploys go out on Tuesdays."), state=state, run_id="r1")
    assert result.status == "done", result
    listener = Answers()
    _, events = await run(given, listener, state=state)
    [prompt] = listener.prompts("ann")
    assert "# Memory" in prompt
    assert "noted by an agent; from ann in r1" in prompt
    assert "Deploys go out on Tuesdays." in prompt
    assert "memory.recalled" in types(events)


async def test_an_agent_without_memory_is_asked_as_before() -> None:
    plain = Answers()
    _, events = await run(squad({"a": "Plan the deploys."}), plain)
    [prompt] = plain.prompts("ann")
    assert "Memory" not in prompt
    assert "memory.recalled" not in types(events)
    assert plain.asked[0][1].tools == ()


async def test_a_replay_reads_no_memory_and_is_equal(tmp_path: Path) -> None:
    store, journal = MemoryStore.open(), MemoryJournal()
    store.remember([made_record("Deploys go out on Tuesdays.", "test", "untrusted", 1e9)], 1e9)
    model = once("search_memory", query="deploys")
    result, _ = await run(with_memory(), model, memory=store, journal=journal, run_id="r")
    assert result.status == "done"
    assert "UNTRUSTED" in model.prompts("ann")[1]
    store.close()
    assert (await replay(journal, "r")).is_equal
