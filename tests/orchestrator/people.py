"""What tests of people's answers share: tools that ask, agents that call them, runs that begin and go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio

from agents import tool
from agents.tools import Tool
from orchestrator import GateOpened, RunResult, Squad
from orchestrator.journal.protocols import Journal
from orchestrator.run.approvals import questions_of
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.squads import Answers, squad

PERSONA = {"name": "T", "role": "r", "tier": "worker"}
TALK = {"pattern": "round_robin", "participants": ["human", "ann"], "terminate": {"max_turns": 4}}
A_TASK = {"agent": "ann", "description": "x"}
GATE = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": "1h"}


class Till:
    """Two tools that change the world, and what they did: `pay` asks before each call, `note` does not."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.done: list[str] = []
        self.noted = anyio.Event()
        self.hangs = hangs

        @tool(approval="ask")
        async def pay(to: str) -> str:
            """Pay."""
            self.done.append(to)
            if self.hangs:
                await anyio.sleep_forever()
            return f"paid {to}"

        @tool(timeout_s=None)
        async def note(what: str) -> str:
            """Note it, once that is allowed."""
            await self.noted.wait()
            self.done.append(what)
            return f"noted {what}"

        self.tools: tuple[Tool, ...] = (pay, note)

    def squad(self, **more: Any) -> Squad:
        people = {"ann": {"persona": PERSONA, "tools": ["pay", "note"]}, "bob": {"persona": PERSONA}}
        tasks = more.pop("tasks", {"a": "x"})
        used = {name: people[name] for name in people if name == "ann" or f"'{name}'" in str(tasks)}
        outputs = {"said": "${{ tasks.a.output }}"}
        return squad(tasks, tools=self.tools, people=used, outputs=outputs, **more)


def calls(*made: tuple[str, str]) -> Callable[[str, Request], Any]:
    """Return what answers agent ann's first turn with these calls, and her second with the tools' results."""

    def answer(agent: str, request: Request) -> Any:
        results = [part.content for m in request.messages if m.role == "tool" for part in m.parts]  # type: ignore[union-attr]
        if agent != "ann" or results:
            return " | ".join(results) or "done"
        fields = {"pay": "to", "note": "what"}
        parts = tuple(
            ToolCall(f"c{i}", name, json.dumps({fields[name]: value})) for i, (name, value) in enumerate(made)
        )
        return Response(Message("assistant", parts), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    return answer


async def begin(given: Squad, journal: Journal, manager: Answers, **options: Any) -> RunResult:
    async with open_run(given, run_id="r", journal=journal, manager=manager, **options) as run:
        async for _ in run:
            pass
    return run.result


async def go_on(given: Squad, journal: Journal, manager: Answers, **options: Any) -> RunResult:
    async with resume_run(given, "r", journal=journal, manager=manager, **options) as run:
        async for _ in run:
            pass
    return run.result


async def cut(given: Squad, journal: Journal, manager: Answers, kind: str, **options: Any) -> None:
    """Run it until an event of a kind, then be gone."""
    async with open_run(given, run_id="r", journal=journal, manager=manager, **options) as run:
        async for event in run:
            if event.type == kind:
                return
    raise AssertionError("it was over before")


async def names(journal: Journal) -> list[str]:
    return [gate.name for gate in (await questions_of(journal, "r")).open]


async def never(gate: GateOpened) -> None:
    await anyio.sleep_forever()
