"""The folder that a run writes into: no configuration in it is written, and one run has it at a time."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.errors import FilesProtected, OutBusy
from orchestrator.events import GateAnswered
from orchestrator.journal.memory import MemoryJournal
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio

WRITES = {"agent": "ann", "description": "x", "output_file": "a.md"}
GATE = {"needs": ["a"], "approval": {"prompt": "?"}}


def calling(*calls: tuple[str, str]) -> Answers:
    """A manager whose first answer calls `write_file` with each (path, content)."""

    def answer(agent: str, request: Request) -> Any:
        if len(request.messages) > 2:
            return "done"
        parts = [
            ToolCall(f"c{i}", "write_file", f'{{"path": "{path}", "content": "{text}"}}')
            for i, (path, text) in enumerate(calls)
        ]
        return Response(Message("assistant", tuple(parts)), FinishReason.TOOL_CALLS, Usage(1, output=1), "f", "f", 0)

    return Answers(answer)


def told(manager: Answers) -> str:
    return str([part for message in manager.asked[-1][1].messages for part in message.parts])


def writer(**more: Any) -> Squad:
    person = {
        "persona": {"name": "W", "role": "x", "tier": "worker"},
        "tools": [{"name": "write_file", "approval": "never"}],
    }
    return squad({"a": {"agent": "ann", "description": "x"}, **more}, people={"ann": person})


async def test_a_model_writes_no_configuration_with_the_working_folder_as_out(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("name: other")
    manager = calling(
        *(("agent_routing.yaml", "x"), (".env", "x"), ("other.yaml", "x"), ("AGENT_ROUTING.yaml", "x"), ("ok.md", "x"))
    )
    with chdir(tmp_path):
        result, _ = await run(writer(), manager, out=".", overwrite=True)
    assert result.status == "done"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ok.md", "other.yaml"]
    assert (tmp_path / "other.yaml").read_text() == "name: other"
    assert told(manager).count("only people write") == 4


@pytest.mark.parametrize(
    "path", ["squad.yaml", "SQUAD.yaml", "mine.yaml", "routing/r.yaml", ".github/x.yml", "${{ inputs.f }}"]
)
async def test_an_output_file_that_would_be_configuration_stops_the_run_before_it_starts(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("name: Mine\nrole: x\ntier: worker\n")
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing" / "r.yaml").write_text("{}")
    (tmp_path / "squad.yaml").write_text(
        f"name: s\ninputs: {{f: {{default: squad.yaml}}}}\nagents: {{a: {{persona: ./mine.yaml}}}}\n"
        f"tasks: {{a: {{agent: a, description: x, output_file: '{path}'}}}}\n"
    )
    given, manager = Squad.from_file(tmp_path / "squad.yaml", routing=tmp_path / "routing" / "r.yaml"), Answers()
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link"):
        with pytest.raises(FilesProtected, match="only people write"):
            await run(given, manager, out=out, overwrite=True)
    assert manager.asked == []


async def test_a_tool_replaces_its_own_files_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("mine")
    manager, journal = calling(("new.md", "1"), ("mine.md", "x")), MemoryJournal()
    given = writer(g=GATE)
    async with open_run(given, run_id="r", manager=manager, journal=journal, out=tmp_path) as opened:
        events = [event async for event in opened]
    assert [(e.path, e.size) for e in of_type(events, "file.written")] == [("new.md", 1)]
    assert "this run did not write it" in told(manager)
    assert (tmp_path / "mine.md").read_text() == "mine"
    more = writer(g=GATE, b={"agent": "ann", "needs": ["g"], "description": "y"})
    manager = calling(("new.md", "2"))

    async def approve(gate: Any) -> Any:
        return GateAnswered(gate.task, "approve", "", "terminal")

    async with resume_run(more, "r", manager=manager, journal=journal, ask=approve, edited=True) as opened:
        async for _ in opened:
            pass
    assert (opened.result.status, (tmp_path / "new.md").read_text()) == ("done", "2")


async def test_a_second_run_in_the_same_folder_is_told_which_run_has_it(tmp_path: Path) -> None:
    given, manager = squad({"a": WRITES, "g": GATE}), Answers()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    second = squad({"a": {**WRITES, "output_file": "b.md"}})
    async with open_run(given, run_id="first", manager=manager, out=tmp_path / "out") as opened:
        for out in (tmp_path / "out", tmp_path / "link", tmp_path / "x" / ".." / "out"):
            with pytest.raises(OutBusy, match="the run first is at work in"):
                await run(second, manager, out=out)
        result, _ = await run(second, Answers(), out=tmp_path / "other")
        assert result.status == "done"
        async for _ in opened:
            pass
    assert [agent for agent, _ in manager.asked] == ["ann"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.md"], "the lock leaves nothing there"
    result, _ = await run(second, manager, out=tmp_path / "out")
    assert result.status == "done"
