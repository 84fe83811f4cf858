"""This project under the load of `durable.py`: whole squads, through the engine, with each journal."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import anyio
from durable_load import (
    ANSWER,
    DELAY_S,
    TASKS,
    TURNS,
    Counter,
    Stopwatch,
    answers,
    main,
    noise,
    prose,
    report,
    stored,
)

from orchestrator import Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, Text, Usage

PERSONA = {"name": "Tester", "role": "Answers.", "tier": "worker"}


class Manager:
    """Answers after a while, as a provider would."""

    def __init__(self, delay_s: float, say: Any, counter: Counter) -> None:
        self._delay_s, self._say, self._counter = delay_s, say, counter

    async def complete(self, request: Request, **_: Any) -> Response:
        self._counter.begun()
        if self._delay_s:
            await anyio.sleep(self._delay_s)
        number = self._counter.turns
        self._counter.ended()
        message = Message("assistant", (Text(self._say(number)),))
        return Response(message, FinishReason.STOP, Usage(100, output=100), "fake", "fake", 10)


def crowd_squad() -> Squad:
    """A task for each element of a list, and in it a step a turn."""
    steps = [{"id": f"s{n}", "agent": "ann", "description": f"Part {n} of ${{{{ item }}}}."} for n in range(TURNS)]
    return Squad.from_mapping(
        {
            "version": 1,
            "name": "crowd",
            "max_parallel": TASKS,
            "agents": {"ann": {"persona": PERSONA}},
            "inputs": {"items": {"type": "list"}},
            "tasks": {
                "t": {
                    "for_each": "${{ inputs.items }}",
                    "key": "${{ item }}",
                    "max_parallel": TASKS,
                    "steps": steps,
                }
            },
        }
    )


ITEMS = {"items": list(range(TASKS))}
ANSWERS = answers()


async def drive(run: Any) -> None:
    async with run as opened:
        async for _ in opened:
            pass
    assert opened.result.status == "done"


def crowd(folder: Path, kill_after: str = "0", delay_s: str = str(DELAY_S)) -> None:
    async def go() -> None:
        counter = Counter(int(kill_after))
        squad, watch = crowd_squad(), Stopwatch()
        async with SqliteJournal(folder / "journal.db") as journal:
            manager = Manager(float(delay_s), ANSWERS.__getitem__, counter)
            await drive(open_run(squad, inputs=ITEMS, run_id="r", journal=journal, manager=manager))
            report(**watch.read(), turns=counter.turns)

    anyio.run(go)


def memory(folder: Path, delay_s: str = str(DELAY_S)) -> None:
    async def go() -> None:
        counter = Counter()
        manager = Manager(float(delay_s), ANSWERS.__getitem__, counter)
        squad, watch = crowd_squad(), Stopwatch()
        await drive(open_run(squad, inputs=ITEMS, run_id="r", manager=manager))
        report(**watch.read(), turns=counter.turns)

    anyio.run(go)


def bare(folder: Path, delay_s: str = str(DELAY_S)) -> None:
    """The same calls as plain tasks that keep their answers: no engine, no journal."""

    async def go() -> None:
        counter = Counter()
        manager = Manager(float(delay_s), ANSWERS.__getitem__, counter)
        crowd_squad()
        request, watch = Request(()), Stopwatch()

        async def task() -> list[Response]:
            return [await manager.complete(request) for _ in range(TURNS)]

        kept = await asyncio.gather(*(task() for _ in range(TASKS)))
        report(**watch.read(), turns=counter.turns, kept=len(kept))

    anyio.run(go)


def recover(folder: Path) -> None:
    async def go() -> None:
        manager = Manager(DELAY_S, ANSWERS.__getitem__, Counter(first_only=True))
        async with SqliteJournal(folder / "journal.db") as journal:
            await drive(resume_run(crowd_squad(), "r", journal=journal, manager=manager))

    anyio.run(go)


def journal_cpu(folder: Path, turns: str = "20000") -> None:
    """CPU of the memory journal alone: what one turn asks of it, `begin` with one event and `finish` with one."""
    from agents.events import TurnEnded, TurnStarted
    from agents.run_context import StepKey
    from orchestrator.events import Event
    from orchestrator.units import Unit

    async def go() -> None:
        journal, count = MemoryJournal(), int(turns)
        answer = Response(Message("assistant", (Text("x" * ANSWER),)), FinishReason.STOP, Usage(100, output=100))
        fence = await journal.claim("r", Unit("a"), "me") or 0
        watch = Stopwatch()
        for n in range(count):
            began = Event("r", Unit("a"), (), n, 1, time.time(), TurnStarted("ann", n))
            await journal.begin("r", Unit("a"), StepKey((), n, "model"), b"h" * 32, fence, [began])
            turn = TurnEnded("ann", n, "p", "m", answer.usage, 10, answer.finish)
            ended = Event("r", Unit("a"), (), n, 2, time.time(), turn)
            await journal.finish("r", Unit("a"), StepKey((), n, "model"), fence, answer, [ended])
        report(**watch.read(), turns=count)

    anyio.run(go)


def storage(folder: Path, kind: str, turns: str = "200", size: str = "1000") -> None:
    """A conversation of so many turns: each is one message, and sees all before it."""
    say = {"prose": prose, "noise": noise}[kind]
    squad = Squad.from_mapping(
        {
            "version": 1,
            "name": "talk",
            "agents": {name: {"persona": PERSONA} for name in ("ann", "bob")},
            "conversations": {
                "talk": {
                    "pattern": "round_robin",
                    "participants": ["ann", "bob"],
                    "terminate": {"max_turns": int(turns)},
                }
            },
            "tasks": {"talk": {"conversation": "talk", "description": "Talk."}},
        }
    )

    async def go() -> None:
        counter, watch = Counter(), Stopwatch()
        async with SqliteJournal(folder / "journal.db") as journal:
            manager = Manager(0.0, lambda n: say(int(size), n), counter)
            await drive(open_run(squad, run_id="r", journal=journal, manager=manager))
        report(**watch.read(), turns=counter.turns, stored=stored(folder))

    anyio.run(go)


if __name__ == "__main__":
    main(
        {
            "crowd": crowd,
            "memory": memory,
            "bare": bare,
            "recover": recover,
            "journal_cpu": journal_cpu,
            "storage": storage,
        }
    )
