"""The state of a run, folded from its own events. Pure: no clock, no I/O, no randomness.

`RunState.apply` takes each event in order; `actions.next_action` reads the state and returns the next event that may
happen now. The driver alternates the two, so a resumed run that folds its recorded events is in the state in which the
first process left it.

Each event costs what it changes, never the size of the plan: a task knows how many of its needs are unmet, and which
tasks wait for it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.events import (
    CutText,
    ElementEnded,
    ElementStarted,
    FileUnwritten,
    GateAnswered,
    GateOpened,
    RunEdited,
    RunResumed,
    RunStatus,
    TaskEnded,
    TaskExpanded,
    TaskParked,
    TaskReset,
    TaskStarted,
    TaskStatus,
)
from orchestrator.squad.graph import between
from orchestrator.squad.parts import works_of
from orchestrator.squad.plan import (
    Approval,
    ConversationWork,
    Plan,
    SquadEntry,
    SquadResult,
    Switch,
    TaskPlan,
    local,
)
from orchestrator.units import Unit


@dataclass(slots=True)
class Elements:
    """The fan-out of one `for_each`, in the order of its list."""

    items: dict[str, Any]
    pending: deque[str]
    running: int = 0
    ended: dict[str, ElementEnded] = field(default_factory=dict)


@dataclass(slots=True)
class TaskState:
    """The state of one task. `unmet` counts its needs that are not satisfied; `attempt` and `revisions` its reruns."""

    unmet: int
    status: TaskStatus = "waiting"
    attempt: int = 1
    output: Any = None
    elements: Elements | None = None
    revisions: int = 0
    comments: tuple[str, ...] = ()


class RunState:
    """The fold of a run's events over its plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tasks = {task.id: TaskState(len(task.needs)) for task in plan.tasks.values()}
        self.values: dict[str, Any] = {"inputs": plan.inputs, "tasks": {}}
        """What expressions see: kept as tasks end, never rebuilt."""
        self.scopes = {"": self.values, **{name: {"inputs": {}, "tasks": {}} for name in plan.squads}}
        """The same for each sub-squad, in which its tasks go by their names in it."""
        self.running = 0
        """Units at work."""
        self.stopping: RunStatus | None = None
        """Set once nothing new may start; the run ends so."""
        self.waiting: dict[str, str] = {}
        """Paused units and open approvals, each with its reason."""
        self.errors: dict[str, TaskEnded] = {}
        self.truncated: dict[str, tuple[CutText, ...]] = {}
        """By task: the texts in its output that are cut off."""
        self.untrusted: dict[str, tuple[str, ...]] = {}
        """By task: the sources of what was read for it that others wrote."""
        self._dependents: dict[str, list[str]] = {task: [] for task in plan.tasks}
        for task in plan.tasks.values():
            for need in task.needs:
                self._dependents[need].append(task.id)
        # Dicts serve as ordered sets: what became ready first starts first, and leaving a queue costs no search.
        # Approvals take no slot, so they have a queue of their own and never wait behind work.
        self.ready: dict[str, None] = {}
        self.gates: dict[str, None] = {}
        self.answers: dict[str, GateAnswered] = {}
        self.doomed: dict[str, str] = {}
        self.fanned: dict[str, None] = {}
        self.resets: deque[str] = deque()
        for task in plan.tasks.values():
            if not task.needs:
                self._make_ready(task.id)

    def apply(self, event: Any) -> None:
        """Fold one event in. Events that change no state are ignored."""
        match event:
            case TaskStarted(task):
                self._leave_ready(task, "running")
                self.running += 1
            case TaskEnded():
                self._end(event)
            case TaskExpanded(task, keys, items):
                self._leave_ready(task, "running")
                self.tasks[task].elements = Elements(dict(zip(keys, items, strict=True)), deque(keys))
                self.fanned[task] = None
            case ElementStarted(task, key):
                elements = self.elements_of(task)
                elements.pending.remove(key)
                elements.running += 1
                self.running += 1
            case ElementEnded():
                self._end_element(event)
            case TaskParked(task, key, reason, ends_run_as):
                self._park(task, key, reason)
                self.stopping = self.stopping or ends_run_as
            case FileUnwritten(task, _, reason):
                self.waiting[task] = reason
                self.stopping = self.stopping or "paused"
            case GateOpened(task) if self._is_gate(task):
                self._leave_ready(task, "gate")
                self.waiting[task] = "a person's answer"
            case GateAnswered(task) if self._is_gate(task):
                self._answer(event)
            case TaskReset(task):
                self._reset(task)
            case RunEdited(attempts=attempts):
                for task, attempt in attempts.items():
                    self.tasks[task].attempt = attempt
            case RunResumed():
                self._resume()

    def stop(self, status: RunStatus) -> None:
        """Start nothing more; what is at work may end. The run then ends as `status`."""
        self.stopping = self.stopping or status

    def verdict(self) -> RunStatus:
        """Return how the run ends if nothing more happens."""
        if self.stopping:
            return self.stopping
        if self.waiting:
            return "waiting"
        # What fails in a sub-squad fails it, or does not: its own end tells.
        failed = [e for name, e in self.errors.items() if _counts(self.plan.tasks[name])]
        if any(e.error_kind == "BudgetSpent" for e in failed):
            return "stopped"
        return "failed" if failed else "done"

    def _is_gate(self, task: str) -> bool:
        """Whether it is a task that a person answers: a tool may ask for leave too, from inside a unit."""
        return task in self.plan.tasks and isinstance(self.plan.tasks[task].work, Approval)

    def _resume(self) -> None:
        """Put what was at work or paused to work again. What an interruption or a limit had stopped may start."""
        if self.stopping in ("cancelled", "paused"):
            self.stopping = None
        # Open gates stay in `waiting`: only an answer ends that, and the driver asks them again.
        paused = {task for task in self.waiting if self.tasks[task].status != "gate"}
        self.waiting = {task: reason for task, reason in self.waiting.items() if task not in paused}
        for task in paused:
            if self.tasks[task].status == "waiting":  # of one that has ended only a file was missing
                self.tasks[task].status = "running"
        # Counted again: a paused unit was taken out of `running`, and is at work again now.
        at_work = Counter(task for task, _ in units_at_work(self))
        self.running = at_work.total()
        for task in self.fanned:
            self.elements_of(task).running = at_work[task]

    def _make_ready(self, task: str) -> None:
        # What a sub-squad begins and ends with takes no slot either.
        is_work = not isinstance(self.plan.tasks[task].work, Approval | SquadEntry | SquadResult)
        queue = self.ready if is_work else self.gates
        queue[task] = None

    def _leave_ready(self, task: str, status: TaskStatus) -> None:
        self.ready.pop(task, None)
        self.gates.pop(task, None)
        self.tasks[task].status = status

    def elements_of(self, task: str) -> Elements:
        elements = self.tasks[task].elements
        assert elements is not None, f"{task} was not expanded"
        return elements

    def _end(self, event: TaskEnded) -> None:
        state = self.tasks[event.task]
        if state.status == "running" and state.elements is None:
            self.running -= 1  # a unit at work is in no queue
        else:
            for queue in (self.ready, self.gates, self.answers, self.doomed, self.fanned, self.waiting):
                queue.pop(event.task, None)
        state.status, state.output = event.status, event.output
        if event.status != "cancelled":  # what never began made nothing, and has no failures either
            self._keep(event)
        if event.truncated:
            self.truncated[event.task] = event.truncated
        if event.untrusted:
            self.untrusted[event.task] = event.untrusted
        if event.status == "failed":
            self.errors[event.task] = event
            if event.error_kind == "Rejected":
                self.stop("rejected")
            elif not self.plan.tasks[event.task].continue_on_error:
                self._fail_fast(event.task)
        for dependent in self._dependents[event.task]:
            if self.tasks[dependent].status != "waiting":
                continue
            if self._lets_begin(event.task, dependent):
                self._meet(dependent)
            else:
                self.doomed[dependent] = f"needs {event.task}, which was {event.status}"

    def _keep(self, event: TaskEnded) -> None:
        """Let expressions see what a task came to, where its name is known."""
        task = self.plan.tasks[event.task]
        names = self.scopes[task.squad or ""]
        if isinstance(task.work, SquadEntry):
            names["inputs"] = event.output or {}
            return
        names["tasks"][local(task.squad, event.task)] = {
            "output": event.output,
            "output_file": event.output_file,
            "status": event.status,
            "failed": list(event.failed),
            "transcript": self._transcript(event),
        }

    def _fail_fast(self, failed: str) -> None:
        """Let nothing more begin where the squad, or the sub-squad, of a failed task says so."""
        scope = self.plan.tasks[failed].squad
        if scope is None and self.plan.fail_fast:
            self.stop("failed")
        if scope is None or not self.plan.squads[scope].fail_fast:
            return
        for name, state in self.tasks.items():
            if name.startswith(f"{scope}.") and state.status == "waiting":
                self._leave_ready(name, "waiting")
                self.doomed[name] = f"{failed} failed"

    def _lets_begin(self, task: str, dependent: str) -> bool:
        """Whether a task has ended so that one that needs it may begin: the end of a sub-squad takes failures, too."""
        if isinstance(self.plan.tasks[dependent].work, SquadResult):
            return self.tasks[task].status in ("ok", "skipped", "failed", "cancelled")
        return self._satisfies(task)

    def values_for(self, task: TaskPlan) -> dict[str, Any]:
        """Return what the expressions of a task see."""
        return self.scopes[task.reads]

    def _transcript(self, event: TaskEnded) -> Any:
        """Return what `tasks.ID.transcript` reads: a text, of a `for_each` the list of its elements' texts."""
        elements = self.tasks[event.task].elements
        if elements is None:
            return paragraphs(event.transcript)
        body = self.plan.tasks[event.task].work
        has_any = isinstance(body, ConversationWork | Switch) and self.plan.edition > 1
        has_any = has_any and any(isinstance(work, ConversationWork) for work in works_of(body))
        return [paragraphs(elements.ended[key].transcript) for key in elements.items] if has_any else None

    def _satisfies(self, task: str) -> bool:
        """A task that its own `if` skipped satisfies those that need it; one that could not start does not."""
        status = self.tasks[task].status
        return status in ("ok", "skipped") or (status == "failed" and self.plan.tasks[task].continue_on_error)

    def _meet(self, task: str) -> None:
        state = self.tasks[task]
        state.unmet -= 1
        if state.unmet == 0:
            self._make_ready(task)

    def _end_element(self, event: ElementEnded) -> None:
        elements = self.elements_of(event.task)
        elements.running -= 1
        self.running -= 1
        elements.ended[event.key] = event
        each = self.plan.tasks[event.task].for_each
        if event.status == "failed" and each is not None and each.fail_fast:
            # What is at work is paid for and may end; what has not started does not.
            for key in elements.pending:
                elements.ended[key] = ElementEnded(event.task, key, "cancelled", error=f"{event.key} failed")
            elements.pending.clear()

    def _park(self, task: str, key: str | None, reason: str) -> None:
        state = self.tasks[task]
        if key is not None:
            self.elements_of(task).running -= 1
        if state.status != "gate":
            self.running -= 1
            state.status = "waiting" if key is None else state.status
        self.waiting[task] = reason

    def _answer(self, event: GateAnswered) -> None:
        self.waiting.pop(event.task, None)
        work = self.plan.tasks[event.task].work
        if event.choice != "revise" or not isinstance(work, Approval):
            self.answers[event.task] = event
            return
        self.tasks[event.task].revisions += 1
        again = between(self._dependents, work.rerun, event.task)
        for task in again - {event.task}:
            self.tasks[task].comments += (event.comment,)
        self.resets.extend(task for task in self.plan.tasks if task in again)

    def _reset(self, task: str) -> None:
        """Make a task wait again. Those it needs are reset before it: the plan's order is topological."""
        if task in self.resets:  # it is not where the gate that asked for it was edited since
            self.resets.remove(task)
        state = self.tasks[task]
        # Tasks that still wait had counted this one as met. Tasks that ran keep their results, unless they are reset.
        for dependent in self._dependents[task]:
            if self.tasks[dependent].status == "waiting" and self._lets_begin(task, dependent):
                self.tasks[dependent].unmet += 1
                self._leave_ready(dependent, "waiting")
        state.status, state.output, state.elements = "waiting", None, None
        state.attempt += 1
        plan = self.plan.tasks[task]
        state.unmet = sum(not self._lets_begin(need, task) for need in plan.needs)
        self.scopes[plan.squad or ""]["tasks"].pop(local(plan.squad, task), None)
        self.errors.pop(task, None)
        self.truncated.pop(task, None)
        self.untrusted.pop(task, None)
        if state.unmet == 0:
            self._make_ready(task)


def _counts(task: TaskPlan) -> bool:
    """Return whether a run fails by the failure of a task."""
    return not task.continue_on_error and task.squad is None


def values_of(state: RunState, unit: Unit) -> Mapping[str, Any]:
    """Return what the expressions of a unit see."""
    task, elements = state.plan.tasks[unit.task], state.tasks[unit.task].elements
    values = state.values_for(task)
    if unit.key is None or task.for_each is None or elements is None:
        return values
    return {**values, task.for_each.item: elements.items[unit.key]}


def units_at_work(state: RunState) -> Iterator[tuple[str, str | None]]:
    """Yield (task, key) of each unit that was started and has not ended; `key` None outside a `for_each`.

    Of a run whose process is gone these are to be submitted again.
    """
    for task, own in state.tasks.items():
        if own.status == "running" and own.elements is None:
            yield task, None
        elif own.status == "running" and own.elements is not None:
            idle = own.elements.ended.keys() | set(own.elements.pending)
            yield from ((task, key) for key in own.elements.items if key not in idle)


def as_text(value: Any) -> str:
    """Return a task's output as a reader sees it: text as it is, anything else as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def paragraphs(parts: Iterable[str] | None) -> str | None:
    """Return the Markdown text that the parts are the paragraphs of, None where there are none."""
    return None if parts is None else "\n\n".join(parts)
