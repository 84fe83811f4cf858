"""The page of one run: where it stands, what it asks, its tasks, what was said, made and paid, what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any
from urllib.parse import quote, urlencode

from orchestrator.errors import OrchestratorError, RunNotFound, RunOver
from orchestrator.run.history import history_of
from orchestrator.run.standing import OVER, state_in
from orchestrator.server import taking_up
from orchestrator.server.pages.graph_svg import graph_svg
from orchestrator.server.pages.page import PageMissing, PageRequest
from orchestrator.server.pages.questions import answered, questions_shown
from orchestrator.server.pages.run_parts import Shown, costs, files_of, selected_task, task_rows
from orchestrator.server.pages.timeline_svg import timeline_shown
from orchestrator.server.views.graph import MOST_DRAWN, GraphNode, collapsed, graph_of
from orchestrator.server.views.tasks import TaskView, as_it_stands
from orchestrator.server.watching import WatchedRun
from providers.documents.problems import ProblemsFound

MOST_LANES = 40
MOST_SAID = 60
MOST_CALLS = 50
MOST_WARNINGS = 50
MOST_FAILURES, MOST_WHY = 3, 300
GOES_ON = ("unfinished", "interrupted", "paused", "waiting")
"""States of a run that may be gone on with."""


@dataclass(frozen=True, slots=True)
class RunLinks:
    """Addresses of a run's page with another choice of what it shows."""

    run: str
    query: Mapping[str, str]

    @property
    def path(self) -> str:
        return f"/runs/{quote(self.run, safe='')}"

    def to(self, place: str = "", **changes: str | None) -> str:
        """Return the address with these choices instead; None takes one away."""
        wanted = {name: value for name, value in {**self.query, **changes}.items() if value}
        return f"{self.path}{'?' + urlencode(wanted) if wanted else ''}{'#' + place if place else ''}"

    def all_of(self, part: str) -> str:
        """Return the address at which all of a part is shown."""
        return self.to(part, all=",".join(sorted({*filter(None, self.query.get("all", "").split(",")), part})))


async def watched_run(asked: PageRequest) -> WatchedRun:
    """Return the run that a path names. Raise `PageMissing`."""
    run = asked.path["run"]
    try:
        return await asked.state.views.of(asked.state.journal, run)
    except RunNotFound as error:
        raise PageMissing(f"There is no run {run}.") from error


async def run_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows."""
    state, watched = asked.state, await watched_run(asked)
    view, manifest = watched.view, watched.manifest
    standing = await state_in(state.journal, view.id, view.status)
    planned = await watched.planned(state.squads)
    query = {name: asked.query.get(name, "")[:300] for name in ("task", "show", "page", "all")}
    links, whole = RunLinks(view.id, query), set(query["all"].split(","))
    show = Shown(state.mask)
    tasks = as_it_stands(view.tasks, standing)
    chosen = query["task"] if query["task"] in tasks else ""
    now = state.clock() if standing == "running" else view.at
    nodes = graph_of(planned.tasks, tasks)
    drawn = nodes if "graph" in whole else collapsed(nodes, MOST_DRAWN, (query["task"],))
    calls = [call for call in view.calls.all if chosen in ("", call.task)]
    talks = [talk for talk in view.talks.all.values() if chosen in ("", talk.task)]
    said = None if "talk" in whole else MOST_SAID
    is_chat = bool(manifest.options.get("chat"))
    return {
        "run": view,
        "squad": manifest.squad,
        "standing": standing,
        "created": manifest.created_at,
        "took": (now if view.ended is None else view.ended) - manifest.created_at,
        "out": view.out,
        "max_cost": planned.max_cost,
        "failures": _failures(tasks, show) if standing == "failed" else [],
        "error": show.text(state.host.failed.get(view.id, "")),
        "is_chat": is_chat,
        "address": links,
        "query": query,
        "questions": await questions_shown(state, watched),
        "told": "",
        "draft": {},
        "graph": graph_svg(drawn, lambda node: _href(node, links), query["task"]) if nodes else "",
        "graph_left": len(nodes) - len(drawn),
        "rows": task_rows(
            tasks, {one.id: one.who for one in planned.tasks}, view.money.by_task, query["show"], query["page"], show
        ),
        "ended_tasks": sum(task.status in ("ok", "failed", "skipped", "cancelled") for task in tasks.values()),
        "counts": _counts(tasks),
        "chosen": selected_task(tasks[chosen], view, show) if chosen else None,
        "timeline": timeline_shown(view.timeline, now, None if "timeline" in whole else MOST_LANES),
        "talks": [show.talk(talk, said) for talk in talks],
        "chat": show.transcript([one for exchange in view.talks.chat.values() for one in exchange]),
        "calls": [show.call(call) for call in (calls if "calls" in whole else calls[-MOST_CALLS:])],
        "calls_left": 0 if "calls" in whole else max(len(calls) - MOST_CALLS, 0),
        "files": files_of(view, show),
        "costs": costs(view, show),
        "warnings": [(one.task, show.text(one.text)) for one in view.warnings.all[-MOST_WARNINGS:]],
        "warnings_left": max(len(view.warnings.all) - MOST_WARNINGS, 0),
        "outputs": show.outputs(view),
        "is_over": standing in (*OVER, "cancelled"),
        "is_here": view.id in state.host.running,
        "may_cancel": standing not in (*OVER, "cancelled"),
        "may_resume": standing in GOES_ON and not is_chat,
    }


def _href(node: GraphNode, links: RunLinks) -> str:
    if node.many or not node.of:
        return links.to("tasks", show=node.status, page=None)
    if len(node.of) > 1:
        return links.to("tasks", show=f"in:{node.id}", page=None)
    return links.to("task", task=node.of[0])


def _failures(tasks: Mapping[str, TaskView], show: Shown) -> list[tuple[str, str]]:
    """Return the tasks that failed first, and why."""
    failed = sorted((task for task in tasks.values() if task.status == "failed"), key=lambda task: task.ended or inf)
    return [(task.id, show.text(task.error, MOST_WHY)) for task in failed[:MOST_FAILURES]]


def _counts(tasks: Mapping[str, Any]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for task in tasks.values():
        counts[task.status] = counts.get(task.status, 0) + 1
    return list(counts.items())


async def run_act(asked: PageRequest) -> str | Mapping[str, Any]:
    """Do what a form of the page asks for: answer a question, cancel the run, go on with it."""
    run = (await watched_run(asked)).view.id
    match asked.form.get("do"):
        case "answer":
            told = await answered(asked, run)
            draft = dict(asked.form)
        case "cancel":
            told, draft = await _cancel(asked, run), {}
        case "resume":
            told, draft = await _resume(asked, run), {}
        case _:
            told, draft = "This form belongs to another version of the page: reload the page.", {}
    return {"told": told, "draft": draft} if told else RunLinks(run, {}).path


async def _cancel(asked: PageRequest, run: str) -> str:
    past = history_of(await asked.state.journal.events(run))
    if past.is_over:
        return f"There is nothing to cancel: the run is over, {past.status}."
    await asked.state.journal.request_cancel(run)
    return ""


async def _resume(asked: PageRequest, run: str) -> str:
    more: dict[str, Any] = {}
    if cap := asked.form.get("max_cost_usd", "").strip().removeprefix("$"):
        try:
            more["max_cost_usd"] = float(cap)
        except ValueError:
            return f"“{cap[:40]}” is not an amount: write it like 2.50."
        if not 0 < more["max_cost_usd"] < 1e9:
            return "The cap is an amount above 0."
    try:
        await taking_up.resume(asked.state, run, **more)
    except RunOver as error:
        return f"{error}."
    except (OrchestratorError, ProblemsFound) as error:
        hint = getattr(error, "hint", "")
        return asked.state.mask(f"The run does not go on here: {error}{f' ({hint})' if hint else ''}")
    return ""
