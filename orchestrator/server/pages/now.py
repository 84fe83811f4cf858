"""The page Now: one sentence of state, what awaits approval, what is at work, which providers are sick, what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.run.standing import state_in
from orchestrator.server.pages.approvals import all_questions
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.provider_view import why_not
from orchestrator.server.state import ServerState

LATEST = 10
UNDECIDED = ("waiting", "running", "paused")
MOST_OPEN = 100
MOST_NAMED = 4
MOST_SICK = 12


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a list. `cost` is micro-USD, None: unknown."""

    id: str
    squad: str
    state: str
    cost: int | None
    began: float


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that is at work. `cost` and `cap` are micro-USD, `elapsed` is seconds; `who` are at work now.

    `is_chat`: it is a chat, whose tasks are its messages.
    """

    id: str
    squad: str
    began: float
    elapsed: float
    tasks: int
    ended: int
    failed: int
    cost: int
    unknown: int
    cap: int | None
    who: str
    at: str
    is_chat: bool


@dataclass(frozen=True, slots=True)
class Sick:
    """A model that cannot be asked now."""

    name: str
    why: str


async def now_values(asked: PageRequest) -> dict[str, Any]:
    """Return what the page shows."""
    state = asked.state
    latest = [await row_of(state, line) for line in await state.journal.runs(LATEST)]
    questions = await all_questions(state, MOST_OPEN)
    open_runs = await state.journal.runs(MOST_OPEN, statuses=UNDECIDED)
    live = [await _live(state, line.run) for line in open_runs if await state.journal.is_driven(line.run)]
    state.manager.look()  # at what operators changed since the last turn
    now, fleet = state.manager.clock(), state.manager.fleet
    whys = {name: why_not(state.manager, one, now)[0] for name, one in fleet.states.items()}
    sick = [Sick(name, state.mask(why)) for name, why in whys.items() if why]
    return {
        "sentence": sentence(len(live), len(questions), len(sick)),
        "approvals": questions,
        "live_runs": live,
        "latest": latest,
        "sick": sick[:MOST_SICK],
        "sick_left": max(len(sick) - MOST_SICK, 0),
        "providers": len(state.manager.configured),
        "can_begin": asked.may_change and bool(state.squads),
    }


async def _live(state: ServerState, run: str) -> LiveRun:
    watched = await state.views.of(state.journal, run)
    view, planned = watched.view, await watched.planned(state.squads)
    at_work = list(view.work.at_work())
    return LiveRun(
        run,
        view.squad or watched.manifest.squad,
        watched.manifest.created_at,
        max(state.clock() - watched.manifest.created_at, 0.0),
        len(view.tasks),
        view.work.ended(),
        view.work.counts().get("failed", 0),
        view.spent.cost,
        view.spent.unknown,
        planned.max_cost,
        ", ".join(dict.fromkeys(task.who for task in at_work if task.who)),
        ", ".join(task.id for task in at_work[:MOST_NAMED]) + (" …" if len(at_work) > MOST_NAMED else ""),
        bool(watched.manifest.options.get("chat")),
    )


async def row_of(state: ServerState, line: Any) -> RunRow:
    """Return a recorded run as a list shows it."""
    standing, cost = await state_in(state.journal, line.run, line.status), line.cost
    if cost is None and standing == "running":  # the record has the sum of a run that is over
        cost = (await state.views.of(state.journal, line.run)).view.spent.cost
    if standing == "waiting" and (await state.journal.manifest(line.run)).options.get("chat"):
        standing = "chat"  # it awaits words, if any come, and no answer to a question
    return RunRow(line.run, line.squad, standing, cost, line.created_at)


def sentence(live: int, approvals: int, sick: int) -> str:
    """Return the state of all in one sentence."""
    said: Sequence[str] = (
        f"{live} {'run is' if live == 1 else 'runs are'} at work" if live else "No run is at work",
        f"{approvals} {'question awaits' if approvals == 1 else 'questions await'} your answer" if approvals else "",
        f"{sick} {'model cannot' if sick == 1 else 'models cannot'} be asked" if sick else "",
    )
    return f"{', '.join(filter(None, said))}."
