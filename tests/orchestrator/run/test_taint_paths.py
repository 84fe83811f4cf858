"""Every road by which one agent's words reach another: what others wrote is known as theirs at its end, too.

`ann` reads a page, her own or one that others wrote; by some road `bob` learns of it and calls a risky tool. Of her own
page the call is made; of the others' a person is asked first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agents import MemoryStore, RunContext, ToolContext, tool
from agents.events import FileOrigin
from agents.toolbox import builtin
from agents.toolbox.workspace import Workspace
from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from orchestrator.session import Session
from providers.documents.scalars import write_tree
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.squads import Answers, run

pytestmark = pytest.mark.anyio


@tool(risk="read_only", blocking=False)
def own_page() -> str:
    """Read a page of our own."""
    return "The page."


@tool(untrusted=True, risk="read_only", blocking=False)
def their_page() -> str:
    """Read a page of others."""
    return "The page."


class Road(NamedTuple):
    """A squad's tasks, and what stands beside them. `ann` and `bob` are added; `says` is what they say at last."""

    tasks: dict[str, Any]
    more: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    says: dict[str, str] = {}  # noqa: RUF012
    calls: dict[str, tuple[str, dict[str, Any]]] = {}  # noqa: RUF012
    """What others than ann and bob call."""
    ann: dict[str, Any] = {}  # noqa: RUF012
    bob: dict[str, Any] = {}  # noqa: RUF012


READS = [pytest.param("own_page", marks=pytest.mark.long), "their_page"]
"""That her own page holds nobody back is the control."""
READ = {"agent": "ann", "description": "Read."}
ACT = {"agent": "bob", "description": "Act."}
PICKED = {"type": "object", "properties": {"who": {"enum": ["bob", "eve"]}}, "required": ["who"]}
TALK = {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}
EVE = {"role": "Helps."}

ROADS = {
    "context": Road({"read": READ, "act": {**ACT, "needs": ["read"]}}),
    "description": Road(
        {"read": READ, "act": {"agent": "bob", "description": "${{ tasks.read.output }}", "needs": ["read"]}}
    ),
    "expected output": Road(
        {"read": READ, "act": {**ACT, "expected_output": "${{ tasks.read.output }}", "needs": ["read"], "context": []}}
    ),
    "over another task": Road(
        {
            "read": READ,
            "sum": {"agent": "eve", "description": "Sum up.", "needs": ["read"]},
            "act": {**ACT, "needs": ["sum"]},
        },
        {"agents": {"eve": EVE}},
    ),
    "part of a structured output": Road(
        {
            "read": {**READ, "output_schema": PICKED},
            "act": {"agent": "bob", "description": "${{ tasks.read.output.who }}", "needs": ["read"], "context": []},
        },
        says={"ann": '{"who": "bob"}'},
    ),
    "the choice of an agent": Road(
        {
            "read": {**READ, "output_schema": PICKED},
            "act": {
                "agent": "${{ tasks.read.output.who }}",
                "description": "Act.",
                "needs": ["read"],
                "context": [],
            },
        },
        {"agents": {"eve": EVE}},
        says={"ann": '{"who": "bob"}'},
    ),
    "the choice of a case": Road(
        {
            "read": {**READ, "output_schema": PICKED},
            "act": {
                "switch": {
                    "on": "${{ tasks.read.output.who }}",
                    "cases": {"bob": ACT, "default": {"agent": "ann", "description": "Read."}},
                },
                "needs": ["read"],
                "context": [],
            },
        },
        says={"ann": '{"who": "bob"}'},
    ),
    "steps": Road({"both": {"steps": [{"id": "read", **READ}, {"id": "act", **ACT}]}}),
    "elements": Road(
        {
            "read": {**READ, "output_schema": {"type": "array", "items": {"type": "string"}, "maxItems": 2}},
            "act": {
                "agent": "bob",
                "for_each": "${{ tasks.read.output }}",
                "key": "${{ item }}",
                "description": "${{ item }}",
                "needs": ["read"],
            },
        },
        says={"ann": '["one"]'},
    ),
    "a failed attempt": Road(
        {
            "read": {**READ, "repeat": {"until": "${{ false }}", "max_attempts": 1}, "continue_on_error": True},
            "act": {**ACT, "needs": ["read"]},
        }
    ),
    "an utterance": Road({"talk": {"conversation": "c", "description": "Talk."}}, {"conversations": {"c": TALK}}),
    "the end of a conversation": Road(
        {"talk": {"conversation": "c", "description": "Talk."}, "act": {**ACT, "needs": ["talk"]}},
        {"agents": {"eve": EVE}, "conversations": {"c": {**TALK, "participants": ["ann", "eve"]}}},
    ),
    "a transcript": Road(
        {
            "talk": {"conversation": "c", "description": "Talk."},
            "act": {"agent": "bob", "description": "${{ tasks.talk.transcript }}", "needs": ["talk"], "context": []},
        },
        {"agents": {"eve": EVE}, "conversations": {"c": {**TALK, "participants": ["ann", "eve"]}}},
    ),
    "a handover": Road(
        {"talk": {"conversation": "c", "description": "Talk."}},
        {"conversations": {"c": {**TALK, "pattern": "handoff"}}},
        says={"ann": "It is yours.\nHANDOFF: bob"},
    ),
    "a delegation": Road(
        {"talk": {"conversation": "c", "description": "Talk."}},
        {"conversations": {"c": {"pattern": "hierarchical", "participants": ["bob"], "moderator": "ann", "rounds": 1}}},
        says={"ann": "DELEGATE bob: do it"},
    ),
    "a conversation inside another": Road(
        {"talk": {"conversation": "c", "description": "Talk."}},
        {
            "agents": {"eve": EVE},
            "conversations": {
                "c": {**TALK, "participants": ["inner", "bob"]},
                "inner": {**TALK, "participants": ["ann", "eve"]},
            },
        },
    ),
    "the answer of an agent that is a tool": Road(
        {"act": ACT},
        calls={"bob": ("ann", {"task": "Read it."})},
        bob={"tools": [{"agent": "ann"}, "send"]},
    ),
    "the answer of a tool's own tool": Road(
        {"act": ACT},
        {"agents": {"eve": {**EVE, "tools": [{"agent": "ann"}]}}},
        calls={"bob": ("eve", {"task": "Have it read."}), "eve": ("ann", {"task": "Read it."})},
        bob={"tools": [{"agent": "eve"}, "send"]},
    ),
    "a task for an agent that is a tool": Road(
        {"read": READ}, calls={"ann": ("bob", {"task": "Act."})}, ann={"tools": [{"agent": "bob"}]}
    ),
    "memory, told beforehand": Road(
        {"read": READ, "act": {"agent": "bob", "description": "The page?", "needs": ["read"], "context": []}},
        calls={"ann": ("remember", {"text": "The page is long."})},
        ann={"memory": True},
        bob={"memory": True},
    ),
    "memory, searched": Road(
        {"read": READ, "act": {**ACT, "needs": ["read"], "context": []}},
        calls={"ann": ("remember", {"text": "The page is long."}), "bob": ("search_memory", {"query": "page"})},
        ann={"memory": True},
        bob={"memory": {"recall": 0}},
    ),
    "a file that a tool writes": Road(
        {"read": READ, "act": {**ACT, "needs": ["read"], "context": []}},
        calls={"ann": ("write_file", {"path": "a.md", "content": "A."}), "bob": ("read_file", {"path": "./a.md"})},
        ann={"tools": ["write_file"]},
        bob={"tools": ["read_file", "send"]},
    ),
    "a file of a task": Road(
        {"read": {**READ, "output_file": "a.md"}, "act": {**ACT, "needs": ["read"], "context": []}},
        calls={"bob": ("search_files", {"pattern": "so"})},
        bob={"tools": ["search_files", "send"]},
    ),
    "memory of an agent that is a tool": Road(
        {"read": READ, "act": {**ACT, "needs": ["read"], "context": []}},
        {"agents": {"eve": {**EVE, "memory": {"recall": 0}}}},
        calls={
            "ann": ("remember", {"text": "The page is long."}),
            "bob": ("eve", {"task": "Look."}),
            "eve": ("search_memory", {"query": "page"}),
        },
        ann={"memory": True},
        bob={"tools": [{"agent": "eve"}, "send"]},
    ),
}


def speaking(reads: str, road: Road) -> Answers:
    """Return agents of which each makes its calls, one a turn, and then says what it says."""
    own: dict[str, list[tuple[str, dict[str, Any]]]] = {name: [call] for name, call in road.calls.items()}
    own["ann"] = [(reads, {}), *own.get("ann", [])]
    own["bob"] = [*own.get("bob", []), ("send", {"to": "eve"})]

    def answer(agent: str, request: Request) -> Any:
        made = sum(len(message.tool_calls) for message in request.messages)
        calls = own.get(agent, [])
        if made < len(calls) and request.tool_choice != "none":
            name, arguments = calls[made]
            call = ToolCall(f"c{made}", name, json.dumps(arguments))
            return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)
        return road.says.get(agent, f"{agent} says so")

    return Answers(answer)


def squad_of(road: Road, reads: str, into: list[str], workspace: Path | None = None) -> Squad:
    @tool(risk="risky", blocking=False)
    def send(to: str) -> str:
        """Send a mail."""
        into.append(to)
        return f"sent to {to}"

    ann = {"role": "Reads.", **road.ann, "tools": [reads, *road.ann.get("tools", [])]}
    agents = {"ann": ann, "bob": {"role": "Acts.", "tools": ["send"], **road.bob}, **road.more.get("agents", {})}
    told = {"version": 1, "name": "roads", "tasks": road.tasks, **road.more, "agents": agents}
    if workspace is None:
        return Squad.from_mapping(told, tools=[own_page, their_page, send])
    file = workspace / "roads.yaml"
    file.write_text(write_tree({**told, "workspace": {"path": ".", "write": True}}))
    return Squad.from_file(file, tools=[own_page, their_page, send])


async def refused(gate: GateOpened) -> GateAnswered:
    is_a_file = gate.prompt.startswith("Run the tool write_file")
    return GateAnswered(gate.name, "approve" if is_a_file else "reject", "no", "test")


@pytest.mark.few(6)
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
async def test_what_others_wrote_is_known_as_theirs_at_the_end_of_each_road(
    road: Road, reads: str, tmp_path: Path
) -> None:
    into: list[str] = []
    store, journal = MemoryStore.open(), MemoryJournal()
    manager, given = speaking(reads, road), squad_of(road, reads, into)
    result, _ = await run(given, manager, ask=refused, memory=store, journal=journal, run_id="r", out=tmp_path)
    store.close()
    assert result.status == "done"
    asked = [call.name for _, request in manager.asked for message in request.messages for call in message.tool_calls]
    assert "send" in asked or road.ann.get("tools")  # an agent that may do risky things is not asked for them, either
    assert into == (["eve"] if reads == "own_page" else [])
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("is_undone", [False, True])
async def test_in_a_chat_it_goes_along_to_the_next_agent_until_it_is_undone(reads: str, is_undone: bool) -> None:
    into: list[str] = []
    manager, given = speaking(reads, Road({})), squad_of(Road({"read": READ, "act": ACT}), reads, into)
    journal = MemoryJournal()
    async with Session(given, manager=manager, ask=refused, journal=journal, id="chat") as session:
        await session.say("Read it.", to="ann")
        if is_undone:
            await session.undo()
    async with Session(given, manager=manager, ask=refused, journal=journal, id="chat") as session:
        await session.say("Mail it.", to="bob")
    assert into == (["eve"] if reads == "own_page" or is_undone else [])


async def test_in_a_chat_tools_for_files_work_on_the_workspace_and_know_whose_words_it_holds(tmp_path: Path) -> None:
    into: list[str] = []
    road = ROADS["a file that a tool writes"]
    manager, journal = speaking("their_page", road), MemoryJournal()
    for said, to in (("Read it.", "ann"), ("Mail it.", "bob")):
        given = squad_of(road, "their_page", into, tmp_path)
        async with Session(given, manager=manager, ask=refused, journal=journal, id="chat") as session:
            await session.say(said, to=to)
    assert into == []
    assert {path.name for path in tmp_path.iterdir()} == {"roads.yaml", "a.md"}


@pytest.mark.long
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("is_in_workspace", [False, True])
async def test_a_resumed_run_knows_whose_words_its_files_hold(
    reads: str, is_in_workspace: bool, tmp_path: Path
) -> None:
    into: list[str] = []
    tasks = {
        "read": READ,
        "ok": {"approval": {"prompt": "Go on?"}, "needs": ["read"]},
        "act": {**ACT, "needs": ["ok"], "context": []},
    }
    road = ROADS["a file that a tool writes"]._replace(tasks=tasks)
    workspace, out = (tmp_path, None) if is_in_workspace else (None, tmp_path)
    manager, given, journal = speaking(reads, road), squad_of(road, reads, into, workspace), MemoryJournal()

    async def ask(gate: GateOpened) -> GateAnswered | None:
        return None if gate.prompt == "Go on?" else await refused(gate)

    async def again(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.name, "approve", "", "test") if gate.prompt == "Go on?" else await refused(gate)

    result, _ = await run(given, manager, ask=ask, journal=journal, run_id="r", out=out)
    assert result.status == "waiting"
    afresh = squad_of(road, reads, into, workspace)
    async with resume_run(afresh, "r", journal=journal, manager=manager, ask=again, out=out) as opened:
        async for _ in opened:
            pass
    assert opened.result.status == "done"
    assert into == (["eve"] if reads == "own_page" else [])


async def test_whatever_reads_a_file_of_the_workspace_tells_whose_words_it_holds(tmp_path: Path) -> None:
    tools = {one.name: one for one in builtin(None, Workspace(tmp_path, can_write=True)).values()}
    events: list[Any] = []

    async def call(name: str, untrusted: tuple[str, ...] = (), **arguments: Any) -> bool:
        ctx = ToolContext(around=RunContext(emit=events.append, untrusted=untrusted))
        result = await tools[name].call(ToolCall("1", name, json.dumps(arguments)), ctx)
        assert not result.is_error, result.content
        return bool(result.fence)

    read = [
        ("read_file", {"path": "a.json"}),
        ("read_file", {"path": "./a.json", "first_line": 1, "lines": 1}),
        ("read_json", {"path": "././a.json"}),
        ("read_csv", {"path": "a.json"}),
        ("search_files", {"pattern": "b"}),
    ]
    await call("write_file", ("fetch",), path="a.json", content='["b"]')
    assert [await call(name, **arguments) for name, arguments in read] == [True] * 5
    await call("edit_file", path="a.json", old="b", new="c")
    assert await call("read_file", path="a.json")
    await call("write_file", path="a.json", content='["b"]')
    assert [await call(name, **arguments) for name, arguments in read] == [False] * 5
    assert [event.untrusted for event in events if isinstance(event, FileOrigin)] == [("fetch",), ()]
