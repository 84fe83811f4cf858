"""What a run does next, read from its state. Pure: an action is decided here, and has happened once it is applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agents.untrusted import joined
from orchestrator.errors import BadInputs, NotAChoice, RepeatExhausted
from orchestrator.events import (
    CutText,
    ElementEnded,
    ElementStarted,
    GateAnswered,
    GateOpened,
    TaskEnded,
    TaskExpanded,
    TaskRepeated,
    TaskReset,
    TaskRetried,
    TaskStarted,
)
from orchestrator.run.retries import causes_by_name
from orchestrator.run.state import RunState
from orchestrator.run.taint import taint_of
from orchestrator.run.task_state import Elements
from orchestrator.squad.choosing import case_of, with_agent, with_case
from orchestrator.squad.conditions import NoCondition, holds
from orchestrator.squad.elements import MOST_TASKS, as_text, keys_of, owner_of, repeated_key, tasks_an_element
from orchestrator.squad.parts import who
from orchestrator.squad.plan import (
    INPUTS,
    AgentWork,
    Approval,
    CaseSquad,
    ForEach,
    Plan,
    SquadEntry,
    SquadFanOut,
    SquadGather,
    SquadResult,
    Switch,
    TaskPlan,
    scoped,
)
from personas.errors import TemplateError

Happening = (
    TaskStarted | TaskExpanded | ElementStarted | GateOpened | TaskEnded | TaskReset | TaskRetried | TaskRepeated
)
"""What `next_action` returns."""


class BadFanOut(ValueError):
    """A `for_each` found something that cannot be fanned out."""


def next_action(state: RunState) -> Happening | None:
    """Return the next event that may happen now, None where none may until something ends.

    A task starts the moment its own needs are met and a slot is free: there is no barrier between levels. The event is
    only decided here; it has happened once it was applied.
    """
    # Before `stopping` is looked at: these two carry out an answer that a person has given, and start no work.
    if state.resets:
        return TaskReset(state.resets[0])
    for gate, answer in state.answers.items():
        return _pass_gate(gate, answer)
    if state.stopping:
        return None
    for task, reason in state.doomed.items():
        return TaskEnded(task, "cancelled", error=reason)
    for task in state.gates:
        return _begin(state, state.plan.tasks[task])
    has_slot = state.running < state.plan.max_parallel
    for task in state.fanned:
        if (event := _fan(state, state.plan.tasks[task], has_slot)) is not None:
            return event
    if has_slot:
        for task in state.ready:
            return _begin(state, state.plan.tasks[task])
    return None


def _begin(state: RunState, task: TaskPlan) -> Happening:
    """Return how a ready task begins: its `if` may skip it, and what cannot be evaluated fails it."""
    values = state.values_for(task)
    if task.squad is not None and state.tasks[scoped(task.squad, INPUTS)].status == "skipped":
        return TaskEnded(task.id, "skipped", error=f"{task.squad} is skipped")
    try:
        condition = True if task.condition is None else task.condition.render(values)
        if not holds(condition, "if", state.plan.edition):
            return TaskEnded(task.id, "skipped", error="its `if` does not hold")
        match task.work:
            case Approval():
                return _open_gate(state, task, task.work)
            case SquadEntry(case=(on, cases, case)) if case_of(on.render(values), cases) != case:
                return TaskEnded(task.id, "skipped", error=f"the case {case} is not chosen")
            case SquadEntry():
                return TaskEnded(task.id, "ok", dict(task.work.accept(rendered(task.work.given, values))))
            case SquadFanOut(each=each):
                found = _expand(state, task, each)
                _refuse_many(state.plan, task.id, found.keys)
                return TaskEnded(task.id, "ok", {"keys": list(found.keys), "items": list(found.items)})
            case SquadGather():
                return _gather_squads(state, task)
            case SquadResult():
                return _leave_squad(state, task, task.work)
        if task.for_each is not None:
            return _expand(state, task, task.for_each)
    except (TemplateError, BadFanOut, NoCondition, BadInputs) as error:
        return TaskEnded(task.id, "failed", error=str(error), error_kind=type(error).__name__)
    return TaskStarted(task.id, state.tasks[task.id].attempt, _doer(task, values))


def _doer(task: TaskPlan, values: Mapping[str, Any]) -> str:
    """Return who does the work, as far as it is known now: who cannot be chosen fails the unit, not its start."""
    try:
        body = with_case(task.work, values, task.id)[1] if isinstance(task.work, Switch) else task.work
        if isinstance(body, CaseSquad):
            return body.task
        return who(with_agent(body, values, task.id) if isinstance(body, AgentWork) else body)
    except (TemplateError, NotAChoice):
        return who(task.work)


def rendered(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with each text in it that holds expressions rendered."""
    if isinstance(value, Mapping):
        return {key: rendered(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [rendered(one, values) for one in value]
    is_plain = isinstance(value, str | int | float | bool | None)
    return value if is_plain else value.render(values)


def _leave_squad(state: RunState, task: TaskPlan, result: SquadResult) -> TaskEnded | TaskRetried | TaskRepeated:
    """Return the end of a sub-squad: its outputs, or that it failed by a task in it; or that it is done once more."""
    if state.tasks[scoped(task.id, INPUTS)].status == "skipped":
        return TaskEnded(task.id, "skipped", error="it is not done")
    for need in task.needs:
        error = state.errors.get(need)
        if error is not None and not state.plan.tasks[need].continue_on_error:
            told, tries = f"{need}: {error.error}", state.tasks[task.id].retried + 1
            if tries < task.retry.max_attempts and causes_by_name(error.error_kind) & task.retry.on:
                return TaskRetried(task.id, tries, told)
            return TaskEnded(task.id, "failed", error=told, error_kind=error.error_kind)
    undone = [need for need in task.needs if state.tasks[need].status == "cancelled"]
    if undone:
        return TaskEnded(task.id, "cancelled", error=f"not done: {', '.join(undone)}")
    outputs = {name: text.render(state.values_for(task)) for name, text in result.outputs.items()}
    reads = {name for text in result.outputs.values() for name in text.names}
    return _repeated(state, task, TaskEnded(task.id, "ok", outputs, untrusted=taint_of(state, task).of(reads)))


def _repeated(state: RunState, task: TaskPlan, ended: TaskEnded) -> TaskEnded | TaskRepeated:
    """Return how a sub-squad goes on that has `ended` well: it is done again until its `until` holds."""
    entry = state.plan.tasks[scoped(task.id, INPUTS)]
    if entry.repeat is None:
        return ended
    until = entry.repeat.until.render({**state.values_for(entry), "output": ended.output})
    if holds(until, "until", state.plan.edition):
        return ended
    if state.tasks[task.id].repeated + 1 < entry.repeat.max_attempts:
        return TaskRepeated(task.id, state.tasks[entry.id].attempt)
    # Where later tasks go on without it, they go on with what there is.
    goes_on = state.plan.tasks[owner_of(task.id) or task.id].continue_on_error
    told = f"`until` of {task.id} did not hold in {entry.repeat.max_attempts} attempts"
    failed = replace(ended, status="failed", error=told, error_kind=RepeatExhausted.__name__)
    return failed if goes_on else replace(failed, output=None)


def _gather_squads(state: RunState, task: TaskPlan) -> TaskEnded:
    """Return the end of a list of sub-squads, as that of any other list."""
    begin = scoped(task.id, INPUTS)
    if state.tasks[begin].status == "skipped":
        return TaskEnded(task.id, "skipped", error="it is not done")
    if (error := state.errors.get(begin)) is not None:
        return TaskEnded(task.id, "failed", error=error.error, error_kind=error.error_kind)
    if state.tasks[begin].status != "ok":
        return TaskEnded(task.id, "cancelled", error=f"not done: {begin}")
    ended = {}
    for key, name in zip(state.tasks[begin].output["keys"], task.needs[1:], strict=True):
        own, error = state.tasks[name], state.errors.get(name)
        told = (None, None) if error is None else (error.error, error.error_kind)
        ended[key] = ElementEnded(task.id, key, own.status, own.output, *told, untrusted=state.untrusted.get(name, ()))
    return _gathered(task.id, list(ended.values()))


def _open_gate(state: RunState, task: TaskPlan, gate: Approval) -> GateOpened:
    own = state.tasks[task.id]
    spent = own.revisions >= gate.max_revisions
    return GateOpened(
        task.id,
        str(gate.prompt.render(state.values_for(task))),
        tuple(choice for choice in gate.choices if choice != "revise" or not spent),
        {shown: as_text(state.tasks[shown].output) for shown in gate.show},
        own.attempt,
        revised=own.revisions if state.plan.edition > 3 else 0,  # earlier releases did not record it
    )


def _pass_gate(task: str, answer: GateAnswered) -> TaskEnded:
    output = {"choice": answer.choice, "comment": answer.comment}
    if answer.choice == "reject":
        return TaskEnded(task, "failed", output, error=answer.comment or "a person rejected it", error_kind="Rejected")
    return TaskEnded(task, "ok", output)


def _refuse_many(plan: Plan, begin: str, keys: Sequence[str]) -> None:
    """Raise `BadFanOut` where the sub-squads of so many elements would be more tasks than a squad may have."""
    task = begin.removesuffix(f".{INPUTS}")
    count = len(plan.tasks) + len(keys) * tasks_an_element(plan, task)
    if count > MOST_TASKS:
        raise BadFanOut(
            f"with the {len(keys):,} elements of {task} the run has {count:,} tasks, more than {MOST_TASKS:,}"
        )


def _expand(state: RunState, task: TaskPlan, each: ForEach) -> TaskExpanded:
    values = state.values_for(task)
    items = each.items.render(values)
    if not isinstance(items, (list, tuple)):
        raise BadFanOut(f"for_each of {task.id} is {type(items).__name__}, not a list")
    if len(items) > each.max_items:
        raise BadFanOut(f"for_each of {task.id} has {len(items)} elements, more than its cap of {each.max_items}")
    keys = keys_of(each, items, values)
    if (repeated := repeated_key(keys)) is not None:
        key, numbers = repeated
        raise BadFanOut(f"for_each of {task.id}: the key {key!r} stands for {len(numbers)} elements")
    return TaskExpanded(task.id, keys, tuple(items))


def _fan(state: RunState, task: TaskPlan, has_slot: bool) -> Happening | None:
    elements = state.elements_of(task.id)
    if not elements.pending and not elements.running and len(elements.ended) == len(elements.items):
        return _gather(task.id, elements)
    each = task.for_each
    assert each is not None
    limit = each.max_parallel or state.plan.max_parallel
    if has_slot and elements.pending and elements.running < limit:
        return ElementStarted(task.id, elements.pending[0])
    return None


def _gather(task: str, elements: Elements) -> TaskEnded:
    """Return the end of a list whose elements have ended."""
    return _gathered(task, [elements.ended[key] for key in elements.items])


def _gathered(task: str, ended: Sequence[ElementEnded]) -> TaskEnded:
    """Return the end of a fan-out: a list aligned with its input, never shorter. Any failed element fails the task."""
    failed = tuple(e.key for e in ended if e.status != "ok")
    first = next((e for e in ended if e.status == "failed"), None)
    return TaskEnded(
        task,
        "failed" if failed else "ok",
        [e.output for e in ended],
        error=_fault_of(ended) if failed else None,
        error_kind=first.error_kind if first else None,
        failed=failed,
        truncated=tuple(_in_element(e.key, cut) for e in ended for cut in e.truncated),
        untrusted=joined((), (source for e in ended for source in e.untrusted)),
    )


def _in_element(key: str, cut: CutText) -> CutText:
    return replace(cut, place=f"{key}/{cut.place}" if cut.place else key)


def _fault_of(ended: Sequence[ElementEnded]) -> str:
    """Return which elements failed, and apart from them which were never done: `fail_fast` leaves them out."""
    failed = [e.key for e in ended if e.status == "failed"]
    undone = [e.key for e in ended if e.status not in ("ok", "failed")]
    told = [f"{len(failed)} of {len(ended)} failed: {', '.join(failed)}"] if failed else []
    return "; ".join([*told, *([f"not done: {', '.join(undone)}"] if undone else [])])
