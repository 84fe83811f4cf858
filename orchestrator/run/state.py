"""The state of a run, folded from its own events. Pure: no clock, no I/O, no randomness.

`RunState.apply` takes each event in order; `actions.next_action` reads the state and returns the next event that may
happen now. The driver alternates the two, so a resumed run that folds its recorded events is in the state in which the
first process left it.

Each event costs what it changes, never the size of the plan: a task knows how many of its needs are unmet, and which
tasks wait for it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
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
    TaskRepeated,
    TaskReset,
    TaskResumed,
    TaskRetried,
    TaskStarted,
    TaskStatus,
)
from orchestrator.run.task_state import Elements, FanOut, Review, TaskState, transcript_of
from orchestrator.squad.elements import grown, is_inside, owner_of, squad_of
from orchestrator.squad.graph import between
from orchestrator.squad.plan import (
    INPUTS,
    Approval,
    Plan,
    SquadEntry,
    SquadFanOut,
    SquadGather,
    SquadResult,
    TaskPlan,
    local,
    scoped,
)
from orchestrator.units import Unit

FOLDED = (
    *(TaskStarted, TaskEnded, TaskExpanded, TaskParked, TaskResumed, TaskReset, TaskRetried, TaskRepeated),
    *(ElementStarted, ElementEnded, FileUnwritten, GateOpened, GateAnswered, RunEdited, RunResumed),
)
"""The events that `RunState.apply` takes: all others change no state."""


class RunState:
    """The fold of a run's events over its plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tasks = {task.id: TaskState(len(task.needs)) for task in plan.tasks.values()}
        self.values: dict[str, Any] = {"inputs": plan.inputs, "tasks": {}}
        """What expressions see: kept as tasks end, never rebuilt."""
        self.scopes = {"": self.values, **{name: {"inputs": {}, "tasks": {}} for name in plan.squads}}
        """The same for each sub-squad, in which its tasks go by their names in it."""
        self.fan_outs: dict[str, FanOut] = {}
        """The sub-squads of each list whose elements are known, by the task whose list it is."""
        self._attempts: dict[str, int] = {}
        """Of tasks that there are not, or not any more: the number of their next attempt."""
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
            case TaskResumed(task, key):
                self._unpark(task, key)
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
            case TaskRetried(task) | TaskRepeated(task) if self._is_squad(task):
                own, failed = self.tasks[task], isinstance(event, TaskRetried)
                own.retried, own.repeated = (own.retried + 1, 0) if failed else (own.retried, own.repeated + 1)
                self.resets.extend(name for name in self.tasks if is_inside(name, task))
            case RunEdited(attempts=attempts):
                for task, attempt in attempts.items():
                    self._attempts[task] = attempt
                    if task in self.tasks:
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

    def is_parked(self, unit: Unit) -> bool:
        """Return whether the unit has paused, and waits."""
        own = self.tasks.get(unit.task)
        if own is None or own.attempt != unit.attempt or unit.task not in self.waiting:
            return False
        if own.elements is not None:
            return unit.key in own.elements.parked
        return own.status == "waiting" and unit.key is None

    def is_at_work(self, unit: Unit) -> bool:
        """Return whether the unit was started, and has neither ended nor paused."""
        own = self.tasks.get(unit.task)
        if own is None or own.status != "running" or own.attempt != unit.attempt:
            return False
        if own.elements is None or unit.key is None:
            return own.elements is None and unit.key is None
        elements = own.elements
        is_out = unit.key in elements.ended or unit.key in elements.parked or unit.key in elements.pending
        return unit.key in elements.items and not is_out

    def _is_gate(self, task: str) -> bool:
        """Whether it is a task that a person answers: a tool may ask for leave too, from inside a unit."""
        return task in self.plan.tasks and isinstance(self.plan.tasks[task].work, Approval)

    def _is_squad(self, task: str) -> bool:
        return task in self.plan.tasks and isinstance(self.plan.tasks[task].work, SquadResult)

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
            self.elements_of(task).parked.clear()

    def _make_ready(self, task: str) -> None:
        work = self.plan.tasks[task].work
        if isinstance(work, SquadEntry) and work.each is not None:
            element = task.removesuffix(f".{INPUTS}")
            if not self.fan_outs[owner_of(element)].begin(element):
                return
        # What a sub-squad begins and ends with takes no slot either.
        is_work = not isinstance(work, Approval | SquadEntry | SquadFanOut | SquadGather | SquadResult)
        queue = self.ready if is_work else self.gates
        queue[task] = None

    def _leave_element(self, element: str) -> None:
        """An element's sub-squad has ended, or waits again: the next one may begin."""
        following = self.fan_outs[owner_of(element)].leave(element)
        if following is not None:
            self._make_ready(scoped(following, INPUTS))

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
        if event.status == "ok" and isinstance(self.plan.tasks[event.task].work, SquadFanOut):
            self._grow(event.task.removesuffix(f".{INPUTS}"), event.output)
        if owner_of(event.task):
            self._leave_element(event.task)
        if event.status != "cancelled":  # what never began made nothing, and has no failures either
            self._keep(event)
        if event.truncated:
            self.truncated[event.task] = event.truncated
        if event.untrusted:
            self.untrusted[event.task] = event.untrusted
        if event.status == "failed":
            self.errors[event.task] = event
            self._fail_elements(event.task)
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
        if isinstance(task.work, SquadEntry | SquadFanOut) or owner_of(event.task):
            return
        names["tasks"][local(task.squad, event.task)] = {
            "output": event.output,
            "output_file": event.output_file,
            "status": event.status,
            "failed": list(event.failed),
            "transcript": transcript_of(event, self.tasks[event.task].elements, task.work, self.plan.edition),
        }

    def _grow(self, task: str, elements: Mapping[str, Any]) -> None:
        """Let there be a sub-squad for each element of a list, and none for what was an element before."""
        before, self.plan = self.plan, grown(self.plan, task, elements["keys"])
        for name in before.tasks.keys() - self.plan.tasks.keys():
            self._attempts[name] = self.tasks.pop(name).attempt
            del self._dependents[name]
        new = [one for name, one in self.plan.tasks.items() if name not in before.tasks]
        for one in new:
            self.tasks[one.id] = TaskState(len(one.needs), attempt=self._attempts.pop(one.id, 1))
            self._dependents[one.id] = []
            if one.squad is not None:
                self.scopes.setdefault(one.squad, {"inputs": {}, "tasks": {}})
        self.tasks = {name: self.tasks[name] for name in self.plan.tasks}
        begin, gather = scoped(task, INPUTS), self.plan.tasks[task]
        assert isinstance(gather.work, SquadGather), "what a list of sub-squads ends with"
        self._dependents[begin] = [name for name in self._dependents[begin] if name in self.plan.tasks]
        for one in (*new, gather):
            for need in one.needs:
                if one.id not in self._dependents[need]:
                    self._dependents[need].append(one.id)
        self.tasks[task].unmet = len(gather.needs)
        items = dict(zip(gather.needs[1:], elements["items"], strict=True))
        self.fan_outs[task] = FanOut(items, gather.work.each.max_parallel)

    def _fail_fast(self, failed: str) -> None:
        """Let nothing more begin where the squad, or the sub-squad, of a failed task says so."""
        scope = self.plan.tasks[failed].squad
        if scope is None and self.plan.fail_fast:
            self.stop("failed")
        if scope is None or not squad_of(self.plan, scope).fail_fast:
            return
        self._doom((name for name in self.tasks if is_inside(name, scope)), f"{failed} failed")

    def _fail_elements(self, failed: str) -> None:
        """Begin no more elements of a list of which one has failed, where it says so. What is at work may end."""
        owner = owner_of(failed)
        gather = self.plan.tasks[owner].work if owner else None
        if isinstance(gather, SquadGather) and gather.each.fail_fast:
            waiting = (scoped(element, INPUTS) for element in self.fan_outs[owner].items)
            self._doom(waiting, f"{failed} failed")

    def _doom(self, tasks: Iterable[str], why: str) -> None:
        for name in tasks:
            if self.tasks[name].status == "waiting":
                self._leave_ready(name, "waiting")
                self.doomed[name] = why

    def _lets_begin(self, task: str, dependent: str) -> bool:
        """Whether a task has ended so that one that needs it may begin: the end of a sub-squad takes failures, too."""
        if isinstance(self.plan.tasks[dependent].work, SquadResult | SquadGather):
            return self.tasks[task].status in ("ok", "skipped", "failed", "cancelled")
        return self._satisfies(task)

    def values_for(self, task: TaskPlan) -> dict[str, Any]:
        """Return what the expressions of a task see."""
        values = self.scopes[task.reads]
        if not isinstance(task.work, SquadEntry) or task.work.each is None:
            return values
        element = task.squad or ""
        return {**values, task.work.each.item: self.fan_outs[owner_of(element)].items[element]}

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
            self.elements_of(task).parked.add(key)
        if state.status != "gate":
            self.running -= 1
            state.status = "waiting" if key is None else state.status
        self.waiting[task] = reason

    def _unpark(self, task: str, key: str | None) -> None:
        state, elements = self.tasks[task], self.tasks[task].elements
        self.running += 1
        if key is None:
            state.status = "running"
        else:
            self.elements_of(task).running += 1
            self.elements_of(task).parked.discard(key)
        if elements is None or not elements.parked:
            self.waiting.pop(task, None)

    def _answer(self, event: GateAnswered) -> None:
        self.waiting.pop(event.task, None)
        work = self.plan.tasks[event.task].work
        if event.choice != "revise" or not isinstance(work, Approval):
            self.answers[event.task] = event
            return
        self.tasks[event.task].revisions += 1
        again = between(self._dependents, work.rerun, event.task)
        for task in again - {event.task}:
            own = self.tasks[task]
            own.comments += (event.comment,)
            own.sent_back = dict(self._sent_back(task))
        self.resets.extend(task for task in self.plan.tasks if task in again)

    def _sent_back(self, task: str) -> Iterator[tuple[str | None, Review]]:
        """Yield what a task, or each element of it, has made, beside the comments on it: a reset forgets it."""
        own = self.tasks[task]
        if own.elements is None:
            yield None, Review(own.comments, own.output, self.untrusted.get(task, ()))
            return
        for key, ended in own.elements.ended.items():
            yield key, Review(own.comments, ended.output, ended.untrusted)

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
        state.retried = state.repeated = 0
        state.attempt, plan = state.attempt + 1, self.plan.tasks[task]
        if isinstance(plan.work, SquadEntry) and plan.work.each is not None:
            self._leave_element(plan.squad or "")
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
