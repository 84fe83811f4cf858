"""What the run tests share: a manager that answers from a function, and squads built from few words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from orchestrator import RunResult, Squad
from orchestrator.events import Event
from orchestrator.runtime import open_run
from providers.budgets import CallSize
from providers.emit import ignore
from providers.messages import FinishReason, Message, Request, Response, Text, Usage

PERSONA = {"extends": "", "name": "Tester", "role": "Answers.", "tier": "worker"}


class Answers:
    """A manager: `answer(agent, request)` returns the text, a `Response`, or raises. It keeps what it was asked."""

    def __init__(self, answer: Callable[[str, Request], Any] | None = None, *, cost: int | None = 10) -> None:
        self.answer = answer or (lambda agent, request: f"{agent}: done")
        self.cost = cost
        self.asked: list[tuple[str, Request]] = []
        self.at_work = 0
        self.most_at_work = 0

    async def complete(
        self, request: Request, *, emit: Any = ignore, budgets: Any = None, accept: Any = None
    ) -> Response:
        agent = request.needs.agent or request.needs.tier or ""
        hold = await budgets.reserve(CallSize(self.cost or 0, 15)) if budgets is not None else None
        try:
            self.asked.append((agent, request))
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
            await anyio.lowlevel.checkpoint()
            made = self.answer(agent, request)
            made = await made if inspect.isawaitable(made) else made
        except BaseException:
            if hold is not None:
                hold.release()
            raise
        finally:
            self.at_work -= 1
        if hold is not None:
            hold.settle(self.cost or 0, 15)
        if isinstance(made, Response):
            return made
        message = Message("assistant", (Text(made),))
        return Response(message, FinishReason.STOP, Usage(10, output=5), "fake", "fake", self.cost)

    def prompts(self, agent: str) -> list[str]:
        return ["\n".join(m.text for m in request.messages) for name, request in self.asked if name == agent]


def squad(tasks: Mapping[str, Any], agents: str = "ann bob", tools: Any = (), **more: Any) -> Squad:
    """A squad of plain agents. A task given as a text is agent ann's work on it."""
    full = {name: {"agent": "ann", "description": t} if isinstance(t, str) else t for name, t in tasks.items()}
    used = str(full) + str(more.get("conversations", ""))
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    roles = {name: {"persona": persona} for name in agents.split() if f"'{name}'" in used}
    roles.update(more.pop("people", {}))
    return Squad.from_mapping({"version": 1, "name": "test", "agents": roles, "tasks": full, **more}, tools=tools)


async def run(given: Squad, manager: Answers | None = None, **options: Any) -> tuple[RunResult, list[Event]]:
    async with open_run(given, manager=manager or Answers(), **options) as opened:
        events = [event async for event in opened]
    return opened.result, events


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def of_type(events: list[Event], name: str) -> list[Any]:
    return [event.data for event in events if event.type == name]
