"""The page Now: one sentence of state, what awaits approval, what is at work, which providers are sick, what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.run.approvals import questions_of
from orchestrator.run.standing import state_in
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.run_view import RunView, view_of
from orchestrator.server.state import ServerState

LATEST = 10
UNDECIDED = ("waiting", "running", "paused")
ENDED = frozenset({"ok", "failed", "skipped"})


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a list. `cost` is micro-USD, None: unknown."""

    id: str
    squad: str
    state: str
    cost: int | None
    began: float
    tasks: int = 0
    ended: int = 0
    who: str = ""


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A question that awaits a person."""

    run: str
    question: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Sick:
    """A model that cannot be asked now."""

    name: str
    why: str


async def now_values(asked: PageRequest) -> dict[str, Any]:
    """Return what the page shows."""
    state = asked.state
    latest = [await row_of(state, line) for line in await state.journal.runs(LATEST)]
    open_runs = await state.journal.runs(100, statuses=UNDECIDED)
    approvals: list[Awaiting] = []
    live: list[RunRow] = []
    for line in open_runs:
        awaiting = (await questions_of(state.journal, line.run)).open
        approvals += [Awaiting(line.run, gate.name, state.mask(gate.prompt)) for gate in awaiting]
        if await state.journal.is_driven(line.run):
            live.append(_at_work(view_of(line.run, await state.journal.events(line.run)), line.created_at))
    now, sick = state.clock(), list[Sick]()
    for name, one in state.manager.fleet.states.items():
        if (why := state.manager.fleet.why_shut(one)) is not None:
            sick.append(Sick(name, state.mask(str(why))))
    return {
        "sentence": sentence(len(live), len(approvals), len(sick)),
        "approvals": approvals,
        "live_runs": live,
        "latest": latest,
        "sick": sick,
        "providers": len(state.manager.configured),
        "now": now,
    }


async def row_of(state: ServerState, line: Any) -> RunRow:
    """Return a recorded run as a list shows it."""
    standing = await state_in(state.journal, line.run, line.status)
    return RunRow(line.run, line.squad, standing, line.cost, line.created_at)


def _at_work(view: RunView, began: float) -> RunRow:
    ended = sum(task.status in ENDED for task in view.tasks.values())
    who = ", ".join(dict.fromkeys(task.who for task in view.tasks.values() if task.status == "running"))
    return RunRow(view.id, view.squad, "running", view.spent.cost, began, len(view.tasks), ended, who)


def sentence(live: int, approvals: int, sick: int) -> str:
    """Return the state of all in one sentence."""
    said: Sequence[str] = (
        f"{live} {'run is' if live == 1 else 'runs are'} at work" if live else "No run is at work",
        f"{approvals} {'question awaits' if approvals == 1 else 'questions await'} your answer" if approvals else "",
        f"{sick} {'model cannot' if sick == 1 else 'models cannot'} be asked" if sick else "",
    )
    return f"{', '.join(filter(None, said))}."
