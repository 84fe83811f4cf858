"""Makes `whole-N.db`, a journal of this release in which everything that a run can record stands:
`python -m tests.orchestrator.samples.whole`.

Run it before a change to what is recorded: the next release's tests open, show, resume, replay and fork what this one
has written. In it stand `ended`; `waiting`, whose approval is open; `revised`, which was interrupted, then resumed with
an edited squad; and `cut`, whose process was killed while two elements of its fan-out had a call in flight.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import yaml

from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.schema import MIGRATIONS
from orchestrator.runtime import open_run, resume_run
from providers.emit import ignore
from providers.errors import AllAttemptsFailed, RateLimited
from providers.events import AttemptEnded, AttemptStarted, RouteChosen
from providers.messages import FinishReason, Message, Request, Response, Text, ToolCall, Usage

HERE = Path(__file__).parent
KEYS = ("S/1", "S[2]#2")
"""An element's key may hold any character, those of a path among them."""


def _agent(*tools: str) -> dict[str, Any]:
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    return {"persona": persona, **({"tools": list(tools)} if tools else {})}


SQUAD: dict[str, Any] = {
    "version": 1,
    "name": "whole",
    "budget": {"max_turns": 200},
    "inputs": {"stories": {"type": "list", "default": list(KEYS)}},
    "agents": {"ann": _agent(), "bob": _agent(), "sam": _agent(), "dev": _agent("list_files", "write_file")},
    "conversations": {
        "meeting": {
            "pattern": "party",
            "participants": ["ann", "bob"],
            "moderator": "sam",
            "speakers_per_round": 1,
            "independent_first_round": True,
            "terminate": {"max_turns": 5},
        },
        "review": {"pattern": "round_robin", "participants": ["human", "ann"], "terminate": {"max_turns": 2}},
    },
    "tasks": {
        "brief": {
            "agent": "ann",
            "description": "Study it.",
            "output_file": "brief.md",
            "retry": {"max_attempts": 3, "on": ["rate_limit"]},
        },
        "talk": {"conversation": "meeting", "needs": ["brief"], "description": "Agree."},
        "gate": {
            "needs": ["talk"],
            "approval": {"prompt": "Build?", "show": ["brief"], "choices": ["approve", "revise", "reject"]},
            "on_revise": {"rerun": ["talk"], "max_attempts": 2},
        },
        "build": {
            "needs": ["gate"],
            "context": ["brief"],
            "for_each": "${{ inputs.stories }}",
            "as": "story",
            "key": "${{ story }}",
            "max_parallel": 2,
            "steps": [
                {"id": "code", "agent": "dev", "description": "Code ${{ story }}."},
                {"id": "check", "agent": "bob", "description": "Check ${{ story }}."},
            ],
            "repeat": {"until": "${{ 'well' in steps.check.output }}", "max_attempts": 3},
        },
        "closing": {"conversation": "review", "needs": ["build"], "description": "Look back."},
        "docs": {"agent": "bob", "needs": ["closing"], "description": "Write it down.", "output_file": "docs/guide.md"},
    },
    "outputs": {"docs": "${{ tasks.docs.output }}", "built": "${{ tasks.build.output }}"},
}
TEXT: str = yaml.safe_dump(SQUAD, sort_keys=False)
EDITED: str = yaml.safe_dump(
    {**SQUAD, "tasks": {**SQUAD["tasks"], "docs": {**SQUAD["tasks"]["docs"], "description": "Write all of it down."}}},
    sort_keys=False,
)
LONG = " and so on" * 40


class Manager:
    """Answers the same to the same request, and says what a provider manager says.

    A task's first call fails for a limit where the manager is `limited`. Once `dies_with` calls are in flight at the
    same time the process ends.
    """

    def __init__(self, *, limited: bool = False, dies_with: int = 99, stops_at: str = "") -> None:
        self.asked: list[str] = []
        self.run: Any = None
        self._limited = limited
        self._dies_with = dies_with
        self._stops_at = stops_at
        self._in_flight = 0

    async def complete(self, request: Request, *, emit: Any = ignore, **_: Any) -> Response:
        agent = request.needs.agent or ""
        self.asked.append(agent)
        emit(RouteChosen(("fake/one", "fake/two"), {"other/x": "no key"}))
        emit(AttemptStarted(1, "fake", "one"))
        limited, self._limited = self._limited, False
        if limited:
            error = RateLimited("slow down", retry_at=0.0)
            emit(AttemptEnded(1, "fake", "one", "failed", "RateLimited", "slow down", 1.0))
            raise AllAttemptsFailed("all attempts failed", [error])
        emit(AttemptEnded(1, "fake", "one", "cancelled", None, None, 2.0, usage=Usage(3, output=1), cost=2))
        emit(AttemptStarted(2, "fake", "two"))
        self._in_flight += 1
        if self._in_flight == self._dies_with:
            os._exit(9)
        for _round in range(3):
            await anyio.lowlevel.checkpoint()
        self._in_flight -= 1
        if self._stops_at and self._stops_at in request.messages[-1].text:
            self.run.stop()
        emit(AttemptEnded(2, "fake", "two", "ok", None, None, 3.0))
        parts = _answer(agent, request)
        return Response(Message("assistant", parts), FinishReason.STOP, Usage(10, output=5), "fake", "two", 7)


def _answer(agent: str, request: Request) -> tuple[Any, ...]:
    last = request.messages[-1]
    if request.tools and last.role != "tool":
        more = ToolCall("c2", "write_file", '{"path": "a.txt", "content": "x"}')
        return (ToolCall("c1", "list_files", "{}"), more)
    well = "well done" if "attempt 1" in last.text else "not yet"
    verdict = well if "Check" in last.text else f"{agent} has seen {len(request.messages)}"
    return (Text(f"{verdict}{LONG}"),)


class Clock:
    """Epoch seconds that go on by a hundredth with each look."""

    def __init__(self, start: float) -> None:
        self.now = start

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def answering(*choices: str) -> Any:
    """Return who is asked: takes these choices at the task `gate`, then leaves it open; lets each tool run."""
    left = list(choices)

    async def ask(gate: GateOpened) -> GateAnswered | None:
        if gate.choices == ("say",):
            return GateAnswered(gate.task, "say", f"I have read it{LONG}", "terminal")
        if gate.task != "gate":
            return GateAnswered(gate.task, "approve", "", "terminal")
        if not left:
            return None
        choice = left.pop(0)
        return GateAnswered(gate.task, choice, "say more" if choice == "revise" else "", "terminal")

    return ask


async def go(opening: Any, manager: Manager) -> None:
    async with opening as run:
        manager.run = run
        async for _ in run:
            pass


async def write(file: str) -> None:
    squad = Squad.from_text(TEXT, "whole.yaml")
    async with SqliteJournal(file) as journal:
        manager = Manager(limited=True)
        shared: dict[str, Any] = {"journal": journal, "manager": manager}
        ask = answering("revise", "approve")
        await go(open_run(squad, run_id="ended", ask=ask, clock=Clock(1000.0), **shared), manager)
        await go(open_run(squad, run_id="waiting", ask=answering(), clock=Clock(2000.0), **shared), manager)
        shared["manager"] = manager = Manager(stops_at="Code")
        await go(open_run(squad, run_id="revised", ask=answering("approve"), clock=Clock(3000.0), **shared), manager)
        shared["manager"] = manager = Manager()
        edited = Squad.from_text(EDITED, "whole.yaml")
        await go(resume_run(edited, "revised", ask=answering(), clock=Clock(4000.0), edited=True, **shared), manager)
        shared["manager"] = manager = Manager(dies_with=2)
        sequential = Squad.from_text(TEXT.replace("independent_first_round: true", "independent_first_round: false"))
        await go(open_run(sequential, run_id="cut", ask=answering("approve"), clock=Clock(5000.0), **shared), manager)


def main() -> None:
    if len(sys.argv) > 1:
        anyio.run(write, sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.db"
        ended = subprocess.run([sys.executable, "-m", "tests.orchestrator.samples.whole", str(file)], check=False)
        assert ended.returncode == 9, "it ends with two calls in flight"
        db = sqlite3.connect(file)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.close()
        shutil.copyfile(file, HERE / f"whole-{len(MIGRATIONS)}.db")


if __name__ == "__main__":
    main()
