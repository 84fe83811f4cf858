"""What one unit does: its task's work, with steps, repeats, retries and time limits.

The work of agents themselves is in `crew.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from agents import OutputInvalid, RunContext, ToolFault
from agents.fences import without_fence
from agents.untrusted import joined
from orchestrator.errors import NotATable, RepeatExhausted, SquadFailed, TaskTimedOut
from orchestrator.events import (
    CaseChosen,
    CutText,
    TaskRepeated,
    TaskRetried,
)
from orchestrator.run.accounts import AccountScope
from orchestrator.run.artifacts import Artifacts
from orchestrator.run.assignment import Assignment, UnitResult
from orchestrator.run.crew import Crew
from orchestrator.run.retries import backoff_s, causes_of
from orchestrator.run.taint import Fed, Sources
from orchestrator.run.task_state import paragraphs
from orchestrator.run.truncation import in_words
from orchestrator.run.work_clock import time_limit
from orchestrator.squad.choosing import with_case
from orchestrator.squad.conditions import holds
from orchestrator.squad.elements import as_text
from orchestrator.squad.plan import (
    AgentWork,
    CaseSquad,
    ConversationWork,
    Steps,
    Switch,
    TaskBody,
    TaskPlan,
    local,
)
from orchestrator.squad.schemas import table_delimiter
from providers.documents.tables import csv_text
from providers.errors import RoutingError

SENT_BACK = "your last result, which the reviewer sent back"


@dataclass(slots=True)
class TaskRunner:
    """Does the tasks of a run with its `crew`. `files` are those that they write."""

    crew: Crew
    files: Artifacts = field(default_factory=Artifacts)
    pause: Callable[[float], Awaitable[None]] = anyio.sleep
    """Waits so many seconds before a task is tried once more."""

    async def perform(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        """Do the unit's work and write its file. Raises what the work raises, after the plan's retries."""
        budgets: AccountScope = ctx.budgets  # type: ignore[assignment]  # the run hands every unit a scope of ours
        account = self.crew.accounts.of_task(task, given, ctx.step)
        for around in self.crew.accounts.of_squads(task.squad, self.crew.plan):
            budgets = budgets.within(around)
        ctx = self.crew.within(ctx, given.unit).at(budgets=budgets.within(account))
        if task.output_file is None:
            return await self._with_retries(task, given, ctx)
        path = str(task.output_file.render(given.values))
        self.files.claim(path, given.unit)  # known before anything is paid for
        is_its_own = any(call.unit == given.unit for call in self.crew.paid)  # the file may be: of before a crash
        if not is_its_own:
            await self.files.look(path)
        try:
            done = await self._with_retries(task, given, ctx)
        except RepeatExhausted as error:
            if error.last is not None:
                await self.files.write(path, self._text_of(error.last, path), ctx.emit, error.last.untrusted)
                error.last = replace(error.last, output_file=path)
            raise
        await self.files.write(path, self._text_of(done, path), ctx.emit, done.untrusted)
        return replace(done, output_file=path)

    def _text_of(self, done: UnitResult, path: str) -> str:
        """Return what the file holds. Raise `NotATable` for a value that a table's file cannot hold."""
        delimiter = table_delimiter(path)
        if delimiter and not isinstance(done.output, str):
            try:
                return csv_text(done.output, delimiter)
            except ValueError as error:
                raise NotATable(path, str(error)) from None
        return without_fence(done.text, path) if self.crew.plan.edition > 1 else done.text

    async def _with_retries(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        with ExitStack() as around:
            for which, most, left in given.time_limits:
                around.enter_context(time_limit(left, None, which, given.clock, most))
            return await self._tried(task, given, ctx)
        raise AssertionError("a time limit lets through what it surrounds, or raises")

    async def _tried(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        attempt = given.tried + 1
        budgets: AccountScope = ctx.budgets  # type: ignore[assignment]  # as in perform
        below = budgets.without("squad")  # when the run's own time is up, the driver ends all of it
        while True:
            here = self.crew.below(ctx, given.unit, f"try-{attempt}")
            try:
                with time_limit(task.timeout, below, f"task {task.id}", given.clock):
                    done = await self._repeat(task, given, here)
                if not done.truncated or "truncated" not in task.retry.on or attempt >= task.retry.max_attempts:
                    return done
                ctx.emit(TaskRetried(task.id, attempt, in_words(done.truncated)))
            except (OutputInvalid, ToolFault, TaskTimedOut, RoutingError) as error:
                if not causes_of(error) & task.retry.on or attempt >= task.retry.max_attempts:
                    raise
                ctx.emit(TaskRetried(task.id, attempt, str(error)))
                await self.pause(backoff_s(error, attempt, self.crew.clock()))
            attempt += 1

    async def _repeat(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        if task.repeat is None:
            return (await self._do(task, given, {}, ctx))[0]
        earlier: dict[str, Fed] = {}
        done: UnitResult | None = None
        for attempt in range(1, task.repeat.max_attempts + 1):
            done, steps = await self._do(task, given, earlier, self.crew.below(ctx, given.unit, f"repeat-{attempt}"))
            until = task.repeat.until.render({**given.values, "steps": steps, "output": done.output})
            if holds(until, "until", self.crew.plan.edition):
                return done
            ctx.emit(TaskRepeated(task.id, attempt))
            texts = {f"{name}, attempt {attempt}": as_text(made["output"]) for name, made in steps.items()}
            texts = texts or {f"attempt {attempt}": done.text}
            earlier = {title: Fed(text, done.untrusted) for title, text in texts.items()}
        # Where later tasks go on without it, they go on with what there is.
        last = done if task.continue_on_error and self.crew.plan.edition > 1 else None
        raise RepeatExhausted(f"`until` of {task.id} did not hold in {task.repeat.max_attempts} attempts", last)

    async def _do(
        self, task: TaskPlan, given: Assignment, earlier: Mapping[str, Fed], ctx: RunContext
    ) -> tuple[UnitResult, dict[str, Any]]:
        """Do the work once. Returns what was made, and each step's own output."""
        body = task.work
        if isinstance(body, Switch):
            cases = tuple(body.cases)
            case, chosen = with_case(body, given.values, task.id)
            ctx.emit(CaseChosen(task.id, case, cases))
            if isinstance(chosen, CaseSquad):
                inside = local(task.squad, chosen.task)
                made_there = made_by_squad(inside, given.values)
                return replace(made_there, untrusted=given.taint.of([("tasks", inside, "output")])), {}
            ctx = ctx.at(untrusted=joined(ctx.untrusted, given.taint.of(body.on.names)))
            body = chosen
        context = {**self._context(task, given), **self._sent_back(body, given), **earlier}
        if not isinstance(body, Steps):
            assert isinstance(body, AgentWork | ConversationWork), "a gate is no work for a unit"
            return await self.crew.do(body, given, context, ctx), {}
        made: dict[str, Any] = {}
        results: dict[str, UnitResult] = {}
        cuts: list[CutText] = []
        taint, sources = given.taint, Sources()
        for step in body.steps:
            inner = replace(given, values={**given.values, "steps": made}, taint=taint)
            condition = True if step.condition is None else step.condition.render(inner.values)
            if not holds(condition, "if", self.crew.plan.edition):
                made[step.id] = {"output": None, "status": "skipped", "transcript": None}
                continue
            with time_limit(step.timeout, None, f"step {step.id} of task {task.id}", given.clock):
                done = await self.crew.do(step.work, inner, context, self.crew.below(ctx, given.unit, step.id))
            results[step.id] = done
            made[step.id] = {"output": done.output, "status": "ok", "transcript": paragraphs(done.transcript)}
            cuts += done.truncated
            context = {**context, step.id: Fed(done.text, done.untrusted)}
            taint, sources = taint.plus(("steps", step.id), done.untrusted), joined(sources, done.untrusted)
        if body.result is not None:  # what the other steps read and lost counts too, as they led to this result
            return replace(results[body.result], transcript=None, truncated=tuple(cuts), untrusted=sources), made
        outputs = {name: step["output"] for name, step in made.items()}
        text = "\n\n".join(f"## {name}\n\n{as_text(output)}" for name, output in outputs.items() if output is not None)
        return UnitResult(outputs, text, truncated=tuple(cuts), untrusted=sources), made

    def _context(self, task: TaskPlan, given: Assignment) -> dict[str, Fed]:
        """Return the outputs that feed the task. A need that is not named in `context` only orders it."""
        ended = given.values["tasks"]
        context = [local(task.squad, name) for name in task.context]
        made = {name: ended[name]["output"] for name in context if name in ended}
        texts = {name: as_text(output) for name, output in made.items() if output is not None}
        return {name: Fed(text, given.taint.of([("tasks", name, "output")])) for name, text in texts.items()}

    def _sent_back(self, body: TaskBody, given: Assignment) -> dict[str, Fed]:
        """Return what the unit had made when a reviewer asked for changes: a comment is about a text that is read."""
        made, untrusted = given.review.output, given.review.untrusted
        if made is None or self.crew.plan.edition < 4:
            return {}
        is_of_steps = isinstance(body, Steps) and body.result is None and isinstance(made, Mapping)
        parts = {f"{SENT_BACK}: {name}": one for name, one in made.items()} if is_of_steps else {SENT_BACK: made}
        return {title: Fed(as_text(one), untrusted) for title, one in parts.items() if one is not None}


def made_by_squad(task: str, values: Mapping[str, Any]) -> UnitResult:
    """Return what the sub-squad of a case has made. Raise `SquadFailed` where it failed."""
    ended = values["tasks"][task]
    if ended["status"] != "ok":
        raise SquadFailed(task)
    return UnitResult(ended["output"], as_text(ended["output"]))
