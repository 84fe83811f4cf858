"""Agents that call tools of MCP servers: in a run, after a death or a kill, on resume, in a replay, changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents.mcp.errors import McpFault
from orchestrator import GateAnswered, GateOpened, PlanError, SpecError, Squad
from orchestrator.fork import fork_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.mcp_pins import McpPins
from orchestrator.mcp_tools import mcp_opened
from orchestrator.options import RunOptions
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from orchestrator.trust import CodeNotTrusted
from tests import processes
from tests.components import installed
from tests.mcp_servers.starting import LIAR, SERVER, is_there, until
from tests.orchestrator.killed import at_records, records
from tests.orchestrator.mcp_runs import PERSONA, calling, drive, drive_and_die, lines, of_server
from tests.orchestrator.squads import of_type, run, squad
from tests.patience import PATIENCE_S

installed("mcp", "mcp")
pytestmark = pytest.mark.anyio


async def allowed(gate: GateOpened) -> GateAnswered:
    return GateAnswered(gate.name, "approve", "", "test")


@pytest.mark.long
async def test_a_run_calls_the_tools_of_a_real_server_which_dies_and_is_started_again(tmp_path: Path) -> None:
    server = {"command": [sys.executable, str(SERVER), "stdio"]}
    people = {"ann": {"persona": PERSONA, "mcp": ["t"]}}
    made = squad({"work": "W."}, people=people, mcp={"t": server}, outputs={"work": "${{ tasks.work.output }}"})
    manager = calling(("t__echo", {"text": "hi"}), ("t__die", {}), ("t__echo", {"text": "again"}))
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        result, events = await run(made, manager, journal=journal, run_id="r", ask=allowed)
        again = await replay(journal, "r")
    assert result.status == "done"
    first, died, last = result.outputs["work"].split(" | ")
    assert (first, last) == ("hi", "again")
    assert died == "t__die failed: MCP server 't': it ended"
    assert [ended.ok for ended in of_type(events, "tool.ended")] == [True, False, True]
    # Its tools are risky as far as is known: once one has told what others wrote, a person allows each.
    assert [gate.prompt for gate in of_type(events, "gate.opened")] == [
        f"Run the tool t__{name}? The agent has read text that others wrote (t__echo{more})."
        for name, more in (("die", ""), ("echo", ", t__die"))
    ]
    offered = [tool.name for tool in manager.asked[0][1].tools]
    assert offered[0] == "t__echo"
    assert "t__stall" in offered
    assert again.is_equal


@pytest.mark.long
@at_records
async def test_a_run_that_is_killed_at_each_of_its_events_ends_the_same_and_repeats_no_call_untold(
    tmp_path: Path, step: int
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    number, outputs = await drive(whole, None)
    assert (outputs, len(lines(whole / "calls"))) == ({"work": "well | well"}, 2)
    for last in records(step, number):
        folder = tmp_path / str(last)
        folder.mkdir()
        assert processes.end(processes.start(drive_and_die, str(folder), last)) == 9
        left = [int(pid) for pid in lines(folder / "calls")]
        await until(lambda left=left: not any(map(is_there, left)))  # its closed input ended it
        if last < number:
            _, ended = await drive(folder, None)
            assert ended == outputs
        # The second call is asked about in any case: its agent has read what the first one told.
        assert len(lines(folder / "calls")) <= 1 + len(lines(folder / "asked"))


async def test_a_resumed_run_goes_on_by_the_tools_of_its_record_and_is_told_of_others(tmp_path: Path) -> None:
    journal = MemoryJournal()
    begun = of_server(env={"SAYS": "Reads."})
    async with open_run(begun, journal=journal, manager=calling(("t__t", {})), run_id="r") as opened:
        async for event in opened:
            if event.type == "tool.ended":
                break
    with pytest.raises(McpFault) as caught:
        async with resume_run(_saying("Sends."), "r", journal=journal, manager=calling()):
            pass
    assert (caught.value.kind, caught.value.message) == (
        "changed",
        "its tools changed since the run began: t: another description",
    )
    async with resume_run(begun, "r", journal=journal, manager=calling(("t__t", {}))) as opened:
        async for _ in opened:
            pass
    assert opened.result.outputs == {"work": "well"}


def _saying(words: str) -> Squad:
    return of_server(env={"SAYS": words})


@pytest.mark.long
async def test_a_run_that_is_over_is_forked_and_edited_by_the_tools_of_its_record() -> None:
    journal = MemoryJournal()
    given = of_server()
    await run(given, calling(("t__t", {})), journal=journal, run_id="r")
    manager = calling(("t__t", {}))
    async with fork_run(given, "r", journal=journal, manager=manager, run_id="f") as forked:
        async for _ in forked:
            pass
    assert forked.result.outputs == {"work": "well"}
    assert manager.asked == []  # all was taken over


async def test_definitions_are_pinned_at_first_use_and_others_are_refused_until_accepted(tmp_path: Path) -> None:
    first = of_server(env={"SAYS": "Reads."})
    await run(first, calling(("t__t", {})), state=tmp_path)
    pins, spec = McpPins(tmp_path), first.spec.mcp["t"]
    (accepted,) = pins.accepted("t", spec) or ()
    assert accepted.description == "Reads."
    pins.accept("t", spec, [accepted.__class__("t", "Read.", accepted.schema)])
    with pytest.raises(McpFault) as caught:
        await run(first, calling(), state=tmp_path)
    assert caught.value.message == "its tools changed since they were accepted: t: another description"
    assert "orchestrator mcp accept" in caught.value.hint
    pins.accept("t", spec, [accepted])
    result, _ = await run(first, calling(("t__t", {})), state=tmp_path)
    assert result.status == "done"
    pins.file.write_text("damaged")
    assert pins.accepted("t", spec) is None


async def test_nobody_is_started_that_the_user_did_not_allow() -> None:
    with pytest.raises(CodeNotTrusted) as caught:
        await run(of_server(env={"LOG": "${HOME}"}), calling(), trust=lambda use: False)
    (use,) = caught.value.uses
    assert "MCP server 't', given HOME" in str(use)


async def test_a_variable_that_is_not_set_is_told_before_anything_starts() -> None:
    with pytest.raises(McpFault, match="NO_SUCH is not set") as caught:
        await run(of_server(env={"TOKEN": "${NO_SUCH}"}), calling(), environ={})
    assert caught.value.kind == "no_variable"


async def test_a_secret_that_a_server_is_given_is_taken_out_of_what_it_says() -> None:
    env = {"TOKEN": "${MINE}", "LEVEL": "verbose"}
    made = of_server(how="echo-secret", env=env)
    result, _ = await run(made, calling(("t__t", {})), environ={"MINE": "s3cret-value"})
    assert result.outputs == {"work": "it is ***, says verbose"}


async def test_a_tool_that_the_server_does_not_have_is_a_mistake_in_its_place() -> None:
    with pytest.raises(PlanError) as caught:
        await run(of_server(["t/nix"]), calling())
    (problem,) = caught.value.problems
    assert (problem.code, problem.message) == ("unknown-tool", "the server 't' has no tool 'nix'; it has: t")
    assert problem.line > 0


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("tools", "more", "offered"),
    [
        (["t/*"], {}, {"t__t": ("never", "risky", True)}),
        ([{"name": "t/t", "approval": "ask"}], {}, {"t__t": ("ask", "risky", True)}),
        (["t/*"], {"read_only": ["t"]}, {"t__t": ("never", "read_only", True)}),
        (["t/*"], {"tools": ["other"]}, {}),
        (["t/*"], {"trust_annotations": True}, {"t__t": ("never", "risky", True)}),
        (["t/*", "read_file"], {}, {"read_file": ("never", "read_only", False), "t__t": ("never", "risky", True)}),
    ],
)
async def test_what_an_agent_is_offered(
    tools: list[Any], more: Mapping[str, Any], offered: Mapping[str, tuple[str, str, bool]]
) -> None:
    with anyio.fail_after(PATIENCE_S):
        async with mcp_opened(of_server(tools, **more), RunOptions()) as (bound, live):
            agent = bound.plan().agents["ann"]
            found = {one.name: (one.approval, one.risk, one.untrusted) for one in agent.tools}
            assert dict(sorted(found.items())) == offered
            assert {one.name for one in live} == {name for name in offered if name.startswith("t__")}


@pytest.mark.long
async def test_a_sub_squad_has_the_servers_that_its_file_names(tmp_path: Path) -> None:
    inner = f"""
name: inner
mcp: {{t: {{command: [{sys.executable}, {LIAR}, well]}}}}
agents: {{ann: {{persona: {{name: A, role: r}}, mcp: [t]}}}}
tasks: {{work: {{agent: ann, description: Work.}}}}
outputs: {{said: "${{{{ tasks.work.output }}}}"}}
"""
    outer = """
name: outer
tasks: {all: {squad: inner.yaml}}
outputs: {said: "${{ tasks.all.output.said }}"}
"""
    (tmp_path / "inner.yaml").write_text(inner)
    (tmp_path / "outer.yaml").write_text(outer)
    given = Squad.from_file(tmp_path / "outer.yaml")
    assert given.servers() == ["t"]
    assert [use.folder for use in given.code_uses()] == [str(tmp_path.resolve())]
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        result, _ = await run(given, calling(("t__t", {})), journal=journal, run_id="r")
        assert result.outputs == {"said": "well"}
        assert (await replay(journal, "r")).is_equal
    other = outer.replace("tasks:", f"mcp: {{t: {{command: [{sys.executable}]}}}}\ntasks:")
    (tmp_path / "outer.yaml").write_text(other)
    with pytest.raises((PlanError, SpecError), match="which is another one here"):
        Squad.from_file(tmp_path / "outer.yaml")


def test_reading_a_squad_starts_nothing_and_shows_what_a_run_would_start() -> None:
    made = of_server(["t/*"], "exits")
    assert [tool.name for tool in made.plan().agents["ann"].tools] == ["t/*"]
    assert made.servers() == ["t"]


TWO = {"version": 1, "name": "x", "tasks": {"work": {"agent": "ann", "description": "W."}}}


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("server", "code"),
    [
        ({}, "one-of"),
        ({"command": ["a"], "url": "https://h/mcp"}, "one-of"),
        ({"command": "uvx mcp-server-git"}, "invalid-value"),
        ({"command": []}, "invalid-value"),
        ({"command": ["a"], "headers": {"X": "y"}}, "misplaced-field"),
        ({"command": ["a"], "env": {"A B": "c"}}, "invalid-name"),
        ({"command": ["a"], "env": {"API_KEY": "abc123"}}, "secret-in-file"),
        ({"url": "https://h/mcp", "cwd": "x"}, "misplaced-field"),
        ({"url": "ftp://h/mcp"}, "bad-address"),
        ({"url": "https://user:secret@h/mcp"}, "bad-address"),
        ({"url": "http://example.com/mcp", "headers": {"Authorization": "Bearer ${T}"}}, "bad-address"),
        ({"url": "https://h/mcp", "headers": {"Host": "x"}}, "bad-header"),
        ({"url": "https://h/mcp", "headers": {"Authorization": "Bearer sk-abcdefghijkl123"}}, "secret-in-file"),
        ({"url": "https://h/mcp", "type": "http"}, "unknown-field"),
    ],
)
def test_a_server_that_is_written_wrong(server: Mapping[str, Any], code: str) -> None:
    people = {"ann": {"persona": PERSONA, "mcp": ["t"]}}
    with pytest.raises((PlanError, SpecError)) as caught:
        Squad.from_mapping({**TWO, "agents": people, "mcp": {"t": server}})
    assert [problem.code for problem in caught.value.problems] == [code]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("agent", "code"),
    [
        ({"mcp": ["u"]}, "unknown-server"),
        ({"tools": ["u/log"]}, "unknown-server"),
        ({"tools": ["t/log"]}, "unknown-tool"),
    ],
)
def test_a_server_that_is_named_wrong(agent: Mapping[str, Any], code: str) -> None:
    server = {"command": ["a"], "tools": ["diff"]}
    with pytest.raises((PlanError, SpecError)) as caught:
        Squad.from_mapping({**TWO, "agents": {"ann": {"persona": PERSONA, **agent}}, "mcp": {"t": server}})
    assert code in [problem.code for problem in caught.value.problems]


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["1st", "a__b", "a b", "ż", "x" * 33])
def test_a_server_is_named_so_that_its_tools_can_be(name: str) -> None:
    people = {"ann": {"persona": PERSONA}}
    with pytest.raises((PlanError, SpecError)) as caught:
        Squad.from_mapping({**TWO, "agents": people, "mcp": {name: {"command": ["a"]}}})
    assert "invalid-name" in [problem.code for problem in caught.value.problems]
