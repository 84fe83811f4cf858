"""Memory in a run: what agents keep and are told, also after a kill, in a replay, and by several agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.memory.database import MemoryUnusable
from agents.memory.records import made_record
from agents.memory.store import MemoryStore
from orchestrator import Squad
from orchestrator.errors import PlanError
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


def with_knowledge(folder: Path, knowledge: Any = "docs/", description: str = "Plan the deploys.") -> Squad:
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "deploys.md").write_text("# Deploys\n\nThe zebra deploys on Tuesdays.\n")
    text = f"""\
name: test
knowledge: {json.dumps(knowledge)}
agents:
  ann: {{persona: {{name: Tester, role: Answers., tier: worker}}}}
tasks:
  a: {{agent: ann, description: {json.dumps(description)}}}
"""
    return Squad.from_text(text, str(folder / "squad.yaml"))


async def test_documents_beside_the_squad_are_told_and_searched_with_file_and_lines(tmp_path: Path) -> None:
    model, journal = once("search_knowledge", query="zebras"), MemoryJournal()
    given = with_knowledge(tmp_path)
    (tmp_path / "docs" / "image.png").write_bytes(b"\0")
    result, events = await run(given, model, journal=journal, run_id="r", state=tmp_path / "state")
    assert result.status == "done"
    first, _ = model.prompts("ann")
    [ended] = [event.data for event in events if event.type == "task.ended"]
    assert "# Knowledge" in first
    assert "[docs/deploys.md:1-3; Deploys]" in first
    assert "The zebra deploys on Tuesdays." in first
    assert ended.output.startswith("[docs/deploys.md:1-3; Deploys]")
    [read] = [event.data for event in events if event.type == "knowledge.read"]
    assert (read.files, read.unread) == (1, ("docs/image.png: it is binary",))
    assert [path.name[:10] for path in sorted((tmp_path / "state").glob("*.db"))] == ["knowledge-"]
    (tmp_path / "docs" / "deploys.md").unlink()
    assert (await replay(journal, "r")).is_equal


async def test_a_knowledge_folder_that_is_missing_or_outside_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    for wrong in ("nowhere", "../", "/etc", ["docs", {"path": "docs/none.md"}], ".env"):
        with pytest.raises(PlanError, match="cannot be read"):
            with_knowledge(tmp_path, wrong)


async def test_a_knowledge_folder_that_is_gone_when_the_run_starts_ends_it_before_anything_is_spent(
    tmp_path: Path,
) -> None:
    given, model = with_knowledge(tmp_path), Answers()
    (tmp_path / "docs" / "deploys.md").unlink()
    (tmp_path / "docs").rmdir()
    with pytest.raises(MemoryUnusable, match="the knowledge docs cannot be used: No such file"):
        await run(given, model)
    assert model.asked == []
