"""Sub-squads with a workspace of their own: whose files their tools read and write, and whose words these hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.events import FileOrigin
from agents.run_context import RunContext
from agents.tool_context import ToolContext
from orchestrator import GateAnswered, GateOpened, PlanError
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from orchestrator.session import Session
from providers.messages import FinishReason, Message, Request, Response, ToolCall, ToolResult, Usage
from tests.orchestrator.mcp_runs import bare
from tests.orchestrator.squads import Answers, run
from tests.orchestrator.subsquads import PEOPLE, made

pytestmark = pytest.mark.anyio

WHO = PEOPLE["ann"]
TOOLS = ["read_file", *({"name": name, "approval": "never"} for name in ("write_file", "edit_file"))]


def calling(name: str, **arguments: Any) -> Response:
    call = ToolCall("c1", name, json.dumps(arguments))
    return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)


def told(agent: str, request: Request) -> Any:
    """Call the tool that the brief names (`write_file {...}`), and answer with what it told."""
    last = request.messages[-1].parts[-1]
    if isinstance(last, ToolResult):
        return bare(last)
    name, _, arguments = request.messages[-1].text.splitlines()[-1].partition(" ")
    return calling(name, **json.loads(arguments))


def worker(*briefs: str, tools: Any = TOOLS, **more: Any) -> dict[str, Any]:
    """A squad whose tasks call tools, one after the other; its outputs are what they told."""
    tasks = {
        f"t{at}": {"agent": "ann", "description": brief, "context": [], **({"needs": [f"t{at - 1}"]} if at else {})}
        for at, brief in enumerate(briefs)
    }
    outputs = {name: f"${{{{ tasks.{name}.output }}}}" for name in tasks}
    return {"name": "worker", "agents": {"ann": {**WHO, "tools": tools}}, "tasks": tasks, "outputs": outputs, **more}


def folders(tmp_path: Path, *names: str) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.md").write_text(f"in {name}")


READ = 'read_file {"path": "a.md"}'


async def test_each_squad_reads_and_writes_in_its_own_workspace(tmp_path: Path) -> None:
    folders(tmp_path, "docs", "low/notes", "low/deep/own")
    deep = worker(READ, 'write_file {"path": "b.md", "content": "x"}', workspace="own")
    low = worker(READ, 'write_file {"path": "b.md", "content": "from low"}', workspace={"path": "notes", "write": True})
    low["tasks"] |= {"deep": {"squad": "deep/deep.yaml"}, "plain": {"squad": "plain.yaml"}}
    low["outputs"] |= {one: f"${{{{ tasks.{one}.output.t0 }}}}" for one in ("deep", "plain")}
    low["outputs"]["refused"] = "${{ tasks.deep.output.t1 }}"
    outer = worker(READ, 'write_file {"path": "b.md", "content": "x"}', workspace="docs")
    outer["tasks"]["low"] = {"squad": "low/low.yaml"}
    outer["tasks"]["plain"] = {"squad": "plain.yaml"}
    files = {
        "low/low.yaml": low,
        "low/deep/deep.yaml": deep,
        "low/plain.yaml": worker(READ),
        "plain.yaml": worker(READ),
    }
    outputs = {name: f"${{{{ tasks.{name}.output }}}}" for name in outer["tasks"]}
    squad = made(tmp_path, outer["tasks"], files, agents=outer["agents"], workspace="docs", outputs=outputs)
    journal = MemoryJournal()
    result, _ = await run(squad, Answers(told), journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert result.outputs["t0"] == result.outputs["plain"]["t0"] == "in docs"
    assert result.outputs["low"]["t0"] == result.outputs["low"]["plain"] == "in low/notes"
    assert result.outputs["low"]["deep"] == "in low/deep/own"
    for refused in (result.outputs["t1"], result.outputs["low"]["refused"]):
        assert "read-only" in refused
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("b.md")] == ["low/notes/b.md"]
    assert (await replay(journal, "r")).is_equal


async def test_sub_squads_of_elements_work_in_theirs_also_where_the_run_is_resumed(tmp_path: Path) -> None:
    folders(tmp_path, "low/notes")
    write = 'write_file {"path": "${{ inputs.n }}.md", "content": "n"}'
    low = worker(READ, write, workspace={"path": "notes", "write": True}, inputs={"n": {"type": "string"}})
    low["tasks"]["go"] = {"approval": {"prompt": "Go on?"}, "needs": ["t0"]}
    low["tasks"]["t1"]["needs"] = ["go"]
    tasks = {"each": {"for_each": "${{ ['x', 'y'] }}", "key": "${{ item }}", "squad": "low/low.yaml"}}
    tasks["each"]["with"] = {"n": "${{ item }}"}
    squad = made(tmp_path, tasks, {"low/low.yaml": low}, agents={}, outputs={"all": "${{ tasks.each.output }}"})
    journal = MemoryJournal()
    result, _ = await run(squad, Answers(told), journal=journal, run_id="r")
    assert result.status == "waiting", result.errors

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "approve", "", "terminal")

    async with resume_run(squad, "r", journal=journal, manager=Answers(told), ask=ask) as opened:
        async for _ in opened:
            pass
    wrote = [{"t0": "in low/notes", "t1": f"wrote 1 bytes to {name}.md"} for name in "xy"]
    assert (opened.result.status, opened.result.outputs) == ("done", {"all": wrote}), opened.result.errors
    assert sorted(file.name for file in (tmp_path / "low" / "notes").iterdir()) == ["a.md", "x.md", "y.md"]
    (tmp_path / "low" / "notes").rename(tmp_path / "gone")
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize("outer", [{}, {"workspace": {"path": ".", "write": True}}])
async def test_a_file_holds_the_same_words_for_all_who_may_read_it(tmp_path: Path, outer: dict[str, Any]) -> None:
    folders(tmp_path, "low/notes")
    own = {"workspace": {"path": "notes", "write": True}}
    files = {"low/one.yaml": worker(READ, **own), "low/two.yaml": worker(READ, workspace={"path": ".", "write": True})}
    tasks = {"one": {"squad": "low/one.yaml"}, "two": {"squad": "low/two.yaml"}}
    tools = made(tmp_path, tasks, files, agents={}, **outer).builtin(None)
    events: list[Any] = []

    async def call(scope: str, name: str, untrusted: tuple[str, ...] = (), **arguments: Any) -> bool:
        ctx = ToolContext(around=RunContext(emit=events.append, untrusted=untrusted))
        result = await tools.of(scope)[name].call(ToolCall("1", name, json.dumps(arguments)), ctx)
        assert not result.is_error, result.content
        return bool(result.fence)

    await call("one", "write_file", ("fetch",), path="A.md", content="x")
    assert await call("two", "read_file", path="notes/A.md")
    assert not outer or await call("", "read_file", path="low/notes/A.md")
    await call("two", "write_file", path="notes/A.md", content="y")
    assert not await call("one", "read_file", path="A.md")
    where = "the workspace" if outer else "the squad's folder"
    noted = [(one.path, one.folder, one.untrusted) for one in events if isinstance(one, FileOrigin)]
    assert noted == [("low/notes/A.md", where, ("fetch",)), ("low/notes/A.md", where, ())]


async def test_what_configures_the_run_is_not_written_there_and_a_bad_folder_is_told(tmp_path: Path) -> None:
    write = 'write_file {"path": "low.yaml", "content": "name: evil"}'
    files = {"low/low.yaml": worker(write, workspace={"write": True})}
    squad = made(
        tmp_path, {"low": {"squad": "low/low.yaml"}}, files, agents={}, outputs={"o": "${{ tasks.low.output }}"}
    )
    result, _ = await run(squad, Answers(told))
    assert "only people write" in result.outputs["o"]["t0"]
    with pytest.raises(PlanError, match="there is no folder 'nowhere' beside"):
        made(tmp_path, {"low": {"squad": "l.yaml"}}, {"l.yaml": worker(READ, workspace="nowhere")}, agents={})


async def test_who_is_talked_to_works_in_the_workspaces_too(tmp_path: Path) -> None:
    folders(tmp_path, "docs", "low/notes")
    tasks = {**worker(READ)["tasks"], "low": {"squad": "low/low.yaml"}}
    agents = {"ann": {**WHO, "tools": TOOLS}}
    files = {"low/low.yaml": worker(READ, workspace="notes")}
    async with Session(made(tmp_path, tasks, files, agents=agents, workspace="docs"), manager=Answers(told)) as chat:
        assert (await chat.say(READ)).answer == "in docs"
        assert (await chat.say(READ, to="low.ann")).answer == "in low/notes"
