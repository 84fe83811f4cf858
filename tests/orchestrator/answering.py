"""A run that asks people many questions, and what drives and answers it: in this process, or in processes of their own.

Each tool's call writes its argument to a file before it ends, so what ran is known whatever was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import anyio

from agents import tool
from orchestrator import RunResult, Squad
from orchestrator.__main__ import main
from orchestrator.events import Event
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.squads import Answers, squad

HOUR = 3600.0
PERSONA = {"name": "T", "role": "r", "tier": "worker"}


def asking(folder: Path, on_timeout: str) -> Squad:
    """A squad with an approval that has a time, two asking calls beside a plain one in one turn, a fan-out of asking
    calls, and a conversation with a person."""

    @tool(approval="ask")
    async def pay(to: str) -> str:
        """Pay."""
        return _done(folder, to)

    @tool()
    async def note(to: str) -> str:
        """Note."""
        return _done(folder, to)

    ask = {"agent": "ann", "description": "two"}
    gate = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": "1h", "on_timeout": on_timeout}
    tasks: dict[str, Any] = {
        "gate": {"approval": gate},
        "both": ask,
        "each": {"for_each": "${{ ['x', 'y'] }}", "key": "${{ item }}", "agent": "ann", "description": "${{ item }}"},
        "talk": {"conversation": "m", "description": "Talk."},
        "after": {"agent": "bob", "description": "done", "needs": ["gate", "both", "each", "talk"]},
    }
    people = {"ann": {"persona": PERSONA, "tools": ["pay", "note"]}, "bob": {"persona": PERSONA}}
    talk = {"pattern": "round_robin", "participants": ["bob", "human"], "terminate": {"max_turns": 4}}
    return squad(tasks, tools=(pay, note), people=people, conversations={"m": talk}, max_parallel=3)


def _done(folder: Path, what: str) -> str:
    with (folder / "effects").open("a") as file:
        file.write(f"{what}\n")
    return f"did {what}"


def effects(folder: Path) -> list[str]:
    return (folder / "effects").read_text().split() if (folder / "effects").exists() else []


def words(agent: str, request: Request) -> Any:
    results = [part.content for m in request.messages if m.role == "tool" for part in m.parts]  # type: ignore[union-attr]
    if agent != "ann" or results:
        return " | ".join(results) or "done"
    about = request.messages[-1].text.split()[-1]
    made = [("pay", "one"), ("pay", "two"), ("note", "three")] if about == "two" else [("pay", about)]
    calls = tuple(ToolCall(f"c{i}", name, json.dumps({"to": to})) for i, (name, to) in enumerate(made))
    return Response(Message("assistant", calls), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)


async def drive(folder: Path, on_timeout: str, hours: float, when: Callable[[int, Event], bool]) -> RunResult | None:
    """Begin the run, or go on with it, by a clock that is `hours` ahead. Be gone once `when` says so of an event, and
    its number: None then."""
    given, manager = asking(folder, on_timeout), Answers(words)
    options: dict[str, Any] = {"manager": manager, "clock": lambda: hours * HOUR + anyio.current_time()}
    async with SqliteJournal(folder / "journal.db") as journal:
        is_new = not await journal.runs()
        opening = open_run if is_new else resume_run
        named = {"run_id": "r"} if is_new else {}
        positional = () if is_new else ("r",)
        async with opening(given, *positional, journal=journal, **named, **options) as run:  # type: ignore[operator]
            number = 0
            async for event in run:
                number += 1
                if when(number, event):
                    return None
        return run.result


def drive_and_die(folder: str, on_timeout: str, hours: float, last: int) -> None:
    """Drive it in this process, which is killed at its event number `last`."""

    def die(number: int, _: Event) -> bool:
        if number == last:
            os._exit(9)
        return False

    anyio.run(drive, Path(folder), on_timeout, hours, die)


def answer(folder: str, command: tuple[str, ...]) -> int:
    """Answer by the real command line, and return its exit code."""
    return main(["approvals", *command, "--db", f"sqlite:///{folder}/journal.db"])


def answer_and_exit(folder: str, command: tuple[str, ...]) -> None:
    os._exit(answer(folder, command))


def answer_at_once(folder: str, command: tuple[str, ...], together: Any, told: str) -> None:
    """Answer when all others that wait for `together` do, write to the file `told` what is said, and exit."""
    together.wait()
    with Path(told).open("w") as file, redirect_stderr(file):
        code = answer(folder, command)
    os._exit(code)
