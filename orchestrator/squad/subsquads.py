"""A squad as a task of another: its plan becomes a part of the outer one, under the task's name. Pure.

`review: {squad: review.yaml}` becomes the task `review.inputs`, which takes what the sub-squad is given, the tasks of
the file (`review.draft`), and `review`, whose output is the file's `outputs`. So a sub-squad is recorded, resumed,
replayed and edited as all tasks are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from agents.toolbox.workspace import Workspace
from orchestrator.errors import BadInputs
from orchestrator.squad.elements import MOST_TASKS, renamed, template_for
from orchestrator.squad.helpers import helpers_below
from orchestrator.squad.inputs import resolve_inputs
from orchestrator.squad.parts import squads_of, with_works
from orchestrator.squad.plan import (
    INPUTS,
    AgentChoice,
    AgentPlan,
    AgentWork,
    Approval,
    Budget,
    CaseSquad,
    ConversationPlan,
    ConversationWork,
    Plan,
    SingleWork,
    SquadEntry,
    SquadFanOut,
    SquadGather,
    SquadResult,
    SubSquad,
    Switch,
    TaskPlan,
    WorkPath,
    scoped,
)
from orchestrator.squad.schemas import same_file
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.task_specs import CaseSpec, TaskSpec
from providers.documents.findings import Findings
from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem, ProblemsFound, in_order

MOST_LEVELS = 8
"""Sub-squads within sub-squads."""


@dataclass(frozen=True, slots=True)
class InnerSquad:
    """What is known of a file that is used as a sub-squad. `warnings` are its own."""

    spec: SquadSpec
    node: Node
    plan: Plan
    warnings: tuple[Problem, ...] = ()
    workspace: Workspace | None = None

    def accept(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the inputs with defaults. Raise `BadInputs` with all that does not fit."""
        findings = Findings.after(self.node, ())
        values = resolve_inputs(self.spec, given, findings)
        if findings.errors:
            raise BadInputs(problem.message for problem in in_order(findings.errors))
        return values


class UnusableSquad(Exception):
    """A file cannot be a sub-squad here, whatever stands in it. `code` is that of the mistake."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


ReadSquad = Callable[[str], InnerSquad]
"""Returns what a squad file says, by its path beside the squad that names it.

Raises `ProblemsFound`, `UnusableSquad`, `OSError`."""


@dataclass(slots=True)
class SubSquads:
    """Binds the sub-squads of a squad: `of` holds them by task, those whose file has no mistakes."""

    spec: SquadSpec
    findings: Findings
    read: ReadSquad | None
    of: dict[str, InnerSquad] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    """Where each stands in the squad's file."""
    _read: dict[str, InnerSquad | None] = field(default_factory=dict)

    def read_all(self) -> None:
        for name, path, file in self._uses():
            self.paths[name] = path
            if (inner := self._file((*path, "squad"), file)) is not None:
                self.of[name] = inner

    def _uses(self) -> Iterator[tuple[str, Path, str]]:
        """Yield the name in the plan of each task, or case of a switch, that is a sub-squad, its place and the file."""
        for name, task in self.spec.tasks.items():
            if task.squad is not None:
                yield name, ("tasks", name), task.squad
            for index, (case, spec) in enumerate(task.switch.cases.items() if task.switch is not None else ()):
                if spec.squad is not None:
                    place: Path = ("tasks", name, "switch", "cases", case)
                    yield case_name(name, case, index), place, spec.squad

    def _file(self, path: Path, file: str) -> InnerSquad | None:
        if file in self._read:
            if self._read[file] is None:
                self.findings.error(path, "invalid-squad", f"the squad file '{file}' cannot be used")
            return self._read[file]
        inner = self._read[file] = self._opened(path, file)
        self.findings.found += inner.warnings if inner is not None else ()
        return inner

    def _opened(self, path: Path, file: str) -> InnerSquad | None:
        if self.read is None:
            self.findings.error(path, "invalid-squad", f"squad files are not read here: '{file}'")
            return None
        try:
            return self.read(file)
        except UnusableSquad as error:
            self.findings.error(path, error.code, str(error), error.hint)
        except OSError as error:
            self.findings.error(path, "invalid-squad", f"cannot read '{file}': {error.strerror or error}")
        except ProblemsFound as error:
            self.findings.found += error.problems
            is_read = all(problem.code != "unreadable-file" for problem in error.problems)
            what = f"the squad file '{file}' {'has mistakes' if is_read else 'cannot be read'}"
            self.findings.error(path, "invalid-squad", what)
        return None

    def check_given(self, name: str, spec: TaskSpec | CaseSpec) -> None:
        """Report what a sub-squad is not given, or takes no such input of, as far as that is known before a run."""
        inner, place = self.of.get(name), self.paths[name]
        path: Path = (*place, "with")
        if inner is None or self.findings.is_broken(path):
            return
        given = spec.with_ or {}
        for key, value in given.items():
            if key not in inner.spec.inputs:
                self.findings.unknown((*path, key), "input", key, inner.spec.inputs, key=True)
            elif "${{" not in str(value):
                self._check_value((*path, key), inner, key, value)
        for key, declared in inner.spec.inputs.items():
            # A default that is a file would be read in the midst of a run, and read again by its replay.
            is_file = declared.type in ("file", "image")
            if key not in given and (declared.default is None or is_file):
                why = "; its default is a file, which is not read there" if is_file and declared.default else ""
                message = f"'{spec.squad}' needs the input '{key}'{why}"
                self.findings.error((*place, "squad"), "missing-input", message, f"with: {{{key}: ...}}")

    def _check_value(self, path: Path, inner: InnerSquad, key: str, value: Any) -> None:
        """Report a value that holds no expression, and that the input does not take."""
        found = Findings.after(inner.node, ())
        resolve_inputs(inner.spec, {key: value}, found)
        for problem in found.errors:
            if problem.path == ("inputs", key):
                self.findings.error(path, "invalid-input", problem.message, problem.hint)

    def check_names(self) -> None:
        """Report agents and conversations that are called as those of a sub-squad are in the whole."""
        for name, inner in self.of.items():
            for group, held in (("agents", inner.plan.agents), ("conversations", inner.plan.conversations)):
                for one in held.keys() & {own.removeprefix(f"{name}.") for own in getattr(self.spec, group)}:
                    if (taken := scoped(name, one)) in getattr(self.spec, group):
                        message = f"'{taken}' is what '{one}' of '{inner.spec.name}' is called here"
                        self.findings.error((group, taken), "duplicate-name", message, key=True)

    def check_files(self, tasks: Mapping[str, TaskPlan]) -> None:
        """Report files that two tasks of the whole would write, one of them in a sub-squad."""
        writers = {same_file(file): name for name, task in tasks.items() if (file := _constant_file(task)) is not None}
        for name, inner in self.of.items():
            for one, task in (*inner.plan.tasks.items(), *inner.plan.templates.items()):
                if (file := _constant_file(task)) is None:
                    continue
                if self._is_each(name):
                    message = f"'{scoped(name, one)}' would write {file} for each element"
                    hint = "read an input in the path: output_file: ${{ inputs.name }}.md"
                    self.findings.error((*self.paths[name], "squad"), "duplicate-output-file", message, hint)
                    continue
                other = writers.setdefault(same_file(file), scoped(name, one))
                if other != scoped(name, one):
                    message = f"'{scoped(name, one)}' writes {file}, and so does '{other}'"
                    hint = "read an input in the path: output_file: ${{ inputs.name }}.md"
                    self.findings.error((*self.paths[name], "squad"), "duplicate-output-file", message, hint)

    def check_size(self) -> None:
        """Report a squad that comes to more tasks than one may have."""
        inner = (one.plan for one in self.of.values())
        count = len(self.spec.tasks) + sum(len(plan.tasks) + len(plan.templates) + 1 for plan in inner)
        if count > MOST_TASKS:
            last = next(reversed(self.of))
            message = f"with all its sub-squads the squad has {count:,} tasks, more than {MOST_TASKS:,}"
            self.findings.error((*self.paths[last], "squad"), "too-large", message)

    def schemas(self) -> dict[str, Any]:
        """Return what is known of the output of each task that is a sub-squad, as a JSON Schema."""
        made = {name: self.output_of(name) for name in self.of}
        return {name: {"type": "array", "items": one} if self._is_each(name) else one for name, one in made.items()}

    def output_of(self, name: str | None) -> dict[str, Any]:
        """Return what is known of what a sub-squad comes to each time that it is done."""
        if name is None or name not in self.of:
            return {}
        inner = self.of[name].plan
        return {"type": "object", "properties": {one: inner.output_schemas.get(one) or {} for one in inner.outputs}}

    def _is_each(self, name: str) -> bool:
        """Return whether a task is a sub-squad for each element of a list."""
        return name in self.spec.tasks and self.spec.tasks[name].for_each is not None


def case_name(task: str, case: str, index: int) -> str:
    """Return what the sub-squad of a switch's case is called as a task: no task of a file can have a name like that."""
    return f"{task}-{case if case.isidentifier() else index + 1}"


def _constant_file(task: TaskPlan) -> str | None:
    return task.output_file.source if task.output_file is not None and task.output_file.is_constant else None


def with_squads(plan: Plan, of: Mapping[str, InnerSquad]) -> Plan:
    """Return the plan with the tasks of each sub-squad in the place of the task that it is."""
    if not of:
        return plan
    tasks: dict[str, TaskPlan] = {}
    templates = dict(plan.templates)
    agents, conversations, squads = dict(plan.agents), dict(plan.conversations), dict(plan.squads)
    for written in plan.tasks.values():
        task, cases = _with_cases(_with_entries(written, plan, of))
        for one in (*cases, task):
            if one.id not in of:
                tasks[one.id] = one
                continue
            inner = of[one.id].plan
            scope = one.id if one.for_each is None else template_for(one.id)
            if one.for_each is None:
                tasks |= {part.id: part for part in _tasks_of(one, inner, one.id)}
            else:
                tasks |= {part.id: part for part in _around_elements(one)}
                templates |= {part.id: part for part in _tasks_of(_element(one), inner, one.id)}
            templates |= {part.id: part for part in _scoped_tasks(inner.templates, scope, one.id)}
            below = PurePosixPath(one.work.source).parent.as_posix() if isinstance(one.work, SquadEntry) else ""
            agents |= {part.id: part for part in _agents_of(one.id, inner, below)}
            conversations |= {part.id: part for part in _conversations_of(one.id, inner)}
            squads |= _squads_of(one, scope, of[one.id])
    return replace(plan, tasks=tasks, agents=agents, conversations=conversations, squads=squads, templates=templates)


def _squads_of(task: TaskPlan, scope: str, squad: InnerSquad) -> dict[str, SubSquad]:
    """Return what holds for a sub-squad and those in it; of one for each element what holds for all of them, too."""
    inner, folder = squad.plan, squad.workspace
    caps = tighter(task.budget, inner.budget)
    own = SubSquad(inner.fail_fast, caps, inner.history, inner.untrusted, task.timeout, folder)
    if task.for_each is not None:
        own = replace(own, budget=inner.budget)
    found = {scoped(where, part): squad for where in (task.id, scope) for part, squad in inner.squads.items()}
    return {**found, task.id: SubSquad(budget=task.budget, history=inner.history, workspace=folder), scope: own}


def _around_elements(task: TaskPlan) -> Iterator[TaskPlan]:
    """Yield what finds the elements of a sub-squad for each of a list, and what gathers their results."""
    assert isinstance(task.work, SquadEntry), "a task with a squad"
    assert task.for_each is not None, "it is in a for_each"
    source, each, begin = task.work.source, task.for_each, scoped(task.id, INPUTS)
    fan_out = SquadFanOut(source, each)
    yield TaskPlan(begin, fan_out, task.needs, condition=task.condition, position=task.position, squad=task.id)
    gather = SquadGather(source, each)
    bare = replace(task, work=gather, needs=(begin,), context=(), condition=None, for_each=None, timeout=None)
    yield replace(bare, repeat=None)


def _element(task: TaskPlan) -> TaskPlan:
    """Return the template of one element's sub-squad: its failure is told by the list that it is an element of."""
    assert isinstance(task.work, SquadEntry), "a task with a squad"
    work, begin = replace(task.work, each=task.for_each), scoped(task.id, INPUTS)
    bare = TaskPlan(template_for(task.id), work, (begin,), position=task.position, squad=task.squad)
    return replace(bare, continue_on_error=True, repeat=task.repeat, retry=task.retry, timeout=task.timeout)


def _with_cases(task: TaskPlan) -> tuple[TaskPlan, list[TaskPlan]]:
    """Return a task that waits for the sub-squads of its cases, and these as tasks of their own, each done where it is
    chosen. Their failures are told by the task: it is what goes on, or does not, where one fails."""
    if not isinstance(task.work, Switch) or not (names := squads_of(task.work)):
        return task, []
    on, cases = task.work.on, tuple(task.work.cases)
    made = []
    for case, body in task.work.cases.items():
        if isinstance(body, CaseSquad) and body.entry is not None:
            entry = replace(body.entry, case=(on, cases, case))
            of_case = TaskPlan(body.task, entry, task.needs, condition=task.condition, position=task.position)
            made.append(replace(of_case, continue_on_error=True, budget=task.budget))
    bare = {
        name: CaseSquad(body.task) if isinstance(body, CaseSquad) else body for name, body in task.work.cases.items()
    }
    return replace(task, needs=(*task.needs, *names), work=Switch(on, bare)), made


def _with_entries(task: TaskPlan, plan: Plan, of: Mapping[str, InnerSquad]) -> TaskPlan:
    """Return an approval that has a whole sub-squad done again where it names one."""
    if not isinstance(task.work, Approval):
        return task
    rerun: list[str] = []
    for name in task.work.rerun:
        inside = squads_of(plan.tasks[name].work) if name in plan.tasks else ()
        rerun += [scoped(one, INPUTS) for one in (*inside, *([name] if name in of else []))]
        rerun += [] if name in of else [name]
    return replace(task, work=replace(task.work, rerun=tuple(rerun)))


def _tasks_of(outer: TaskPlan, inner: Plan, people: str) -> Iterator[TaskPlan]:
    """Yield the tasks of a sub-squad: what takes its inputs first, what has its outputs last.

    Its agents go by the name of `people`.
    """
    name, entry = outer.id, scoped(outer.id, INPUTS)
    assert isinstance(outer.work, SquadEntry), "a task with a squad"
    begin = TaskPlan(entry, outer.work, outer.needs, condition=outer.condition, position=outer.position, squad=name)
    yield replace(begin, repeat=outer.repeat)  # what `until` reads are names of the outer squad, as `with` does
    for task in _scoped_tasks(inner.tasks, name, people):
        yield task if task.needs else replace(task, needs=(entry,))
    own = [scoped(name, one) for one, task in inner.tasks.items() if not task.squad]
    result = SquadResult(outer.work.source, inner.outputs)
    budget = tighter(outer.budget, inner.budget)
    bare = replace(outer, work=result, needs=(entry, *own), context=(), condition=None, repeat=None)
    yield replace(bare, budget=budget)


def _scoped_tasks(tasks: Mapping[str, TaskPlan], scope: str, people: str) -> Iterator[TaskPlan]:
    """Yield tasks of a sub-squad with the names of the whole."""

    def named(_: WorkPath, work: SingleWork) -> SingleWork:
        match work:
            case AgentWork(choice=None):
                return replace(work, agent=scoped(people, work.agent), tools=helpers_below(people, work.tools))
            case AgentWork(choice=AgentChoice() as choice):
                deeper = replace(choice, squad=_deeper(people, choice.squad))
                return replace(work, choice=deeper, tools=helpers_below(people, work.tools))
            case ConversationWork():
                return replace(work, conversation=scoped(people, work.conversation))
        return work

    for task in tasks.values():
        whole = renamed(task, partial(scoped, scope))
        yield replace(whole, work=with_works(whole.work, named), squad=whole.squad or scope)


def _agents_of(scope: str, inner: Plan, folder: str) -> Iterator[AgentPlan]:
    """Yield its agents. Its file stands in `folder`, and so do the documents that it names."""
    for agent in inner.agents.values():
        tools = helpers_below(scope, agent.tools) or ()
        knowledge = None if agent.knowledge is None else agent.knowledge.below(folder)
        memory = None if agent.memory is None else agent.memory.below(folder)
        named = replace(agent, id=scoped(scope, agent.id), squad=_deeper(scope, agent.squad))
        yield replace(named, tools=tools, knowledge=knowledge, memory=memory)


def _conversations_of(scope: str, inner: Plan) -> Iterator[ConversationPlan]:
    for held in inner.conversations.values():
        yield replace(held, id=scoped(scope, held.id), squad=_deeper(scope, held.squad))


def _deeper(outer: str, scope: str | None) -> str:
    return scoped(outer, scope) if scope else outer


def tighter(one: Budget | None, other: Budget | None) -> Budget | None:
    """Return the caps that hold where both do; where both say what follows from a spent one, the first is right."""
    if one is None or other is None:
        return one or other

    def least(cap: str) -> Any:
        return min((given for given in (getattr(one, cap), getattr(other, cap)) if given is not None), default=None)

    return Budget(
        least("max_cost"), least("max_tokens"), least("max_time"), least("max_turns"), on_exceed=one.on_exceed
    )
