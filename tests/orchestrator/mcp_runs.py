"""Squads whose agents call the tools of an MCP server, a model that calls them, and runs of them that are killed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.mcp_servers.starting import LIAR
from tests.orchestrator.squads import Answers, squad

PERSONA = {"name": "T", "role": "r", "tier": "worker"}


def of_server(
    uses: Sequence[Any] = ("t/*",), how: str = "well", env: Mapping[str, str] | None = None, **more: Any
) -> Squad:
    """A squad with one agent, which has tools of a server without a library: it starts at once."""
    server = {"command": [sys.executable, str(LIAR), how], "env": dict(env or {}), **more}
    people = {"ann": {"persona": PERSONA, "tools": list(uses)}}
    outputs = {"work": "${{ tasks.work.output }}"}
    return squad({"work": "Work."}, people=people, mcp={"t": server}, outputs=outputs)


def bare(part: Any) -> str:
    """What a tool told, without the fence that a model reads it in."""
    content: str = part.content
    return content.partition(f"<untrusted {part.fence}>\n")[2].rpartition("\n</untrusted")[0] if part.fence else content


def calling(*calls: tuple[str, dict[str, Any]]) -> Answers:
    """A model that makes these calls, one each turn, and then tells all results."""

    def answer(agent: str, request: Request) -> Any:
        results = [bare(part) for m in request.messages if m.role == "tool" for part in m.parts]
        if len(results) == len(calls):
            return " | ".join(results)
        name, arguments = calls[len(results)]
        call = ToolCall(f"c{len(results)}", name, json.dumps(arguments))
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    return Answers(answer)


async def drive(folder: Path, last: int | None) -> tuple[int, Any]:
    """Begin the run, or go on with it; die at its event number `last`. Return how many events there were, and what it
    made. Each question for a person is noted, and answered with yes."""
    log = folder / "calls"
    given, manager = of_server(env={"LOG": str(log)}), calling(("t__t", {}), ("t__t", {}))

    async def allow(gate: GateOpened) -> GateAnswered | None:
        with (folder / "asked").open("a") as file:
            file.write(f"{gate.name}\n")
        return GateAnswered(gate.name, "approve", "", "test")

    number = 0
    async with SqliteJournal(folder / "journal.db") as journal:
        if await journal.runs():
            opening = resume_run(given, "r", journal=journal, manager=manager, ask=allow)
        else:
            opening = open_run(given, journal=journal, manager=manager, ask=allow, run_id="r")
        async with opening as run:
            async for _ in run:
                number += 1
                if number == last:
                    os._exit(9)
    return number, run.result.outputs


def drive_and_die(folder: str, last: int) -> None:
    anyio.run(drive, Path(folder), last)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
