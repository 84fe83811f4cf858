"""What a run will come to that its inputs alone decide: which files it writes, how long its lists and texts are. Pure.

A text that reads no task's output can be told before anything is spent, and so can that it is too long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, assert_never

from orchestrator.errors import SHOWN_VALUE, NotAChoice
from orchestrator.squad.choosing import with_agent
from orchestrator.squad.conditions import NoCondition, holds
from orchestrator.squad.elements import keys_of, repeated_key
from orchestrator.squad.plan import (
    AgentWork,
    Approval,
    ConversationWork,
    ForEach,
    Plan,
    SquadEntry,
    SquadFanOut,
    SquadGather,
    SquadResult,
    Steps,
    Switch,
    TaskPlan,
)
from orchestrator.squad.schemas import path_fault
from personas.errors import TemplateError, TextTooLong
from personas.sandbox import ExpressionText
from providers.documents.problems import nearest
from providers.documents.unicode import cut

Values = Mapping[str, Any]
"""What expressions see, as far as it is known."""
MOST_SHOWN = 5
"""Elements that are named in a message."""
MOST_ELEMENTS = 2000
"""Elements of one list whose texts are rendered before a run."""


class ForeseenFile(NamedTuple):
    """A file that a task is going to write."""

    task: str
    path: str


class ForeseenFault(NamedTuple):
    """What is going to fail at `field` (below the task, as the squad file spells it), and the code of that mistake."""

    task: str
    field: tuple[str | int, ...]
    code: str
    message: str
    hint: str = ""


def foreseen_files(plan: Plan) -> Iterator[ForeseenFile]:
    """Yield each file of which the path can be told now. What cannot be rendered is for `foreseen_faults`."""
    inputs = _values(plan)
    for task in plan.tasks.values():
        known = {} if task.reads else inputs
        if task.output_file is None or not _is_sure(task, known, plan.edition):
            continue
        for values in _elements(task, known):
            if (path := _told(task.output_file, values)) is not None:
                yield ForeseenFile(task.id, str(path))


def foreseen_faults(plan: Plan, *, is_checked: bool = False) -> Iterator[ForeseenFault]:
    """Yield what is sure to be too long, or a bad path, the first fault of each text: with these inputs, or with any
    where a squad `is_checked` and not run.

    Left out is what may never be reached, and what may fail because the task says `continue_on_error`.
    """
    inputs: Values = {} if is_checked else _values(plan)
    for task in plan.tasks.values():
        known = {} if task.reads else inputs
        if task.continue_on_error or not _is_sure(task, known, plan.edition):
            continue
        each = task.work.each if isinstance(task.work, SquadFanOut) else task.for_each
        if each is not None and (fault := _list_fault(task, each, known)) is not None:
            yield fault
            continue
        for field, text in _texts(task):
            if not text.is_constant and (why := _first_fault(task, text, known)) is not None:
                yield ForeseenFault(task.id, field, "too-long", why, "raise max_chars under limits, or give less")
        yield from _choice_faults(task, known)
        if (why := next(_path_faults(task, known), None)) is not None:
            yield ForeseenFault(task.id, ("output_file",), "unsafe-path", why)


def _choice_faults(task: TaskPlan, known: Values) -> Iterator[ForeseenFault]:
    """Yield each agent that inputs choose, and that is none of those who may be chosen."""
    work = task.work
    if not isinstance(work, AgentWork) or work.choice is None:
        return
    for values in islice(_elements(task, known), MOST_ELEMENTS):
        if (name := _told(work.choice.name, values)) is not None:
            try:
                with_agent(work, values, task.id)
            except NotAChoice as error:
                yield ForeseenFault(task.id, ("agent",), "unknown-agent", str(error), nearest(str(name), error.among))
                return


def _path_faults(task: TaskPlan, known: Values) -> Iterator[str]:
    if task.output_file is not None and not task.output_file.is_constant:
        paths = (_told(task.output_file, values) for values in _elements(task, known))
        yield from (fault for path in paths if path is not None and (fault := path_fault(str(path))))


def _is_sure(task: TaskPlan, known: Values, edition: int) -> bool:
    """Return whether the task's own `if` is known to hold."""
    try:
        return task.condition is None or holds(_told(task.condition, known), "if", edition)
    except NoCondition:
        return False


def _values(plan: Plan) -> dict[str, Any]:
    return {"inputs": plan.inputs}


def _told(text: ExpressionText, values: Mapping[str, Any]) -> Any:
    """Return what a text comes to, None where it reads something else, or fails."""
    if not _is_known(text, values):
        return None
    try:
        return text.render(values)
    except TemplateError:
        return None


def _is_known(text: ExpressionText, values: Mapping[str, Any]) -> bool:
    return all(path[0] in values for path in text.names)


def _elements(task: TaskPlan, known: Values) -> Iterator[Values]:
    """Yield what the expressions of each of the task's units see, as far as that is known."""
    each = task.for_each
    if each is None:
        yield known
        return
    items = _told(each.items, known)
    if isinstance(items, list | tuple) and len(items) <= each.max_items:
        yield from ({**known, each.item: item} for item in items)


def _list_fault(task: TaskPlan, each: ForEach, known: Values) -> ForeseenFault | None:
    items = _told(each.items, known)
    if not isinstance(items, list | tuple):
        return None
    if len(items) <= each.max_items:
        return _key_fault(task, each, items, known)
    message = f"the list has {len(items):,} elements; at most {each.max_items:,} are done"
    return ForeseenFault(task.id, ("for_each",), "too-many-elements", message, "raise max_items under limits")


def _key_fault(task: TaskPlan, each: ForEach, items: Sequence[Any], known: Values) -> ForeseenFault | None:
    """Return that several elements have one key, which would fail the task when its list is known to the run."""
    if not all(path[0] in known or path[0] == each.item for path in each.key.names):
        return None
    try:
        repeated = repeated_key(keys_of(each, items, known))
    except TemplateError:
        return None  # a mistake of the data, which fails its task alone
    if repeated is None:
        return None
    key, numbers = repeated
    shown = [f"{number:,}" for number in numbers[:MOST_SHOWN]]
    more = [f"{len(numbers) - MOST_SHOWN:,} more"] if len(numbers) > MOST_SHOWN else []
    named = f"{', '.join([*shown, *more][:-1])} and {[*shown, *more][-1]}"
    message = f"elements {named} of the list have the same key, {cut(key, SHOWN_VALUE)!r}"
    hint = f"read more of '{each.item}' in the key, or give each of them once"
    return ForeseenFault(task.id, ("key",), "equal-keys", message, hint)


def _first_fault(task: TaskPlan, text: ExpressionText, known: Values) -> str | None:
    for values in islice(_elements(task, known), MOST_ELEMENTS):
        if _is_known(text, values):
            try:
                text.render(values)
            except TextTooLong as error:
                return str(error)
            except TemplateError:
                continue  # a mistake of the data, which fails its task alone
    return None


def _texts(task: TaskPlan) -> Iterator[tuple[tuple[str | int, ...], ExpressionText]]:
    """Yield the texts that are rendered whenever the task is done, each with its place below the task."""
    if task.output_file is not None:
        yield ("output_file",), task.output_file
    match task.work:
        case Approval(prompt=prompt):
            yield ("approval", "prompt"), prompt
        case Steps(steps):
            for index, step in enumerate(steps):
                if step.condition is None:
                    yield from (((("steps", index, *field)), text) for field, text in _words(step.work))
        case Switch() | SquadEntry() | SquadFanOut() | SquadGather() | SquadResult():
            return  # which case is done is not known, nor what a sub-squad makes
        case AgentWork() | ConversationWork():
            yield from _words(task.work)
        case _:
            assert_never(task.work)


def _words(work: AgentWork | ConversationWork) -> Iterator[tuple[tuple[str | int, ...], ExpressionText]]:
    yield ("description",), work.description
    if work.expected_output is not None:
        yield ("expected_output",), work.expected_output
