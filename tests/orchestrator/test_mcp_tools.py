"""Squads whose agents call tools of a real MCP server: in a run, after a death, on resume, in a replay, changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.replay import replay
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.squads import Answers, of_type, run, squad

SERVER = Path(__file__).parents[1] / "mcp_servers" / "tools_server.py"
PERSONA = {"name": "T", "role": "r", "tier": "worker"}


def served(tools: list[Any], *, env: Mapping[str, str] | None = None, **more: Any) -> Squad:
    server = {"command": [sys.executable, str(SERVER), "stdio"], "env": dict(env or {}), **more}
    people = {"ann": {"persona": PERSONA, "tools": tools}}
    return squad({"work": "Work."}, people=people, mcp={"t": server}, outputs={"work": "${{ tasks.work.output }}"})


def calling(*calls: tuple[str, dict[str, Any]]) -> Answers:
    """A model that makes these calls, one each turn, and then tells all results."""

    def answer(agent: str, request: Request) -> Any:
        results = [part.content for m in request.messages if m.role == "tool" for part in m.parts]  # type: ignore[union-attr]
        if len(results) == len(calls):
            return " | ".join(results)
        name, arguments = calls[len(results)]
        call = ToolCall(f"c{len(results)}", name, json.dumps(arguments))
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    return Answers(answer)


@pytest.mark.anyio
async def test_a_run_calls_the_tools_of_a_server_which_dies_and_is_started_again(tmp_path: Path) -> None:
    manager = calling(("t__echo", {"text": "hi"}), ("t__die", {}), ("t__echo", {"text": "again"}))
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        made = served(["t/*"])
        result, events = await run(made, manager, journal=journal, run_id="r")
        again = await replay(journal, "r")
    assert result.status == "done"
    first, died, last = result.outputs["work"].split(" | ")
    assert (first, last) == ("hi", "again")
    assert "t__die failed" in died
    assert "MCP server 't'" in died
    assert [ended.ok for ended in of_type(events, "tool.ended")] == [True, False, True]
    offered = [tool.name for tool in manager.asked[0][1].tools]
    assert offered[0] == "t__echo"
    assert "t__stall" in offered
    assert again.is_equal
