"""Each task of a squad, bound and checked: its work, its place in the order, its expressions, its bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.squad.agents import Roster
from orchestrator.squad.candidates import Candidates
from orchestrator.squad.expressions import CONDITION, Expressions, NamesInScope, path_in, schema_of_one
from orchestrator.squad.graph import Ancestry
from orchestrator.squad.guardrail_specs import guardrails_of
from orchestrator.squad.plan import (
    AgentWork,
    Approval,
    CaseSquad,
    ConversationWork,
    ForEach,
    Repeat,
    Retry,
    SingleWork,
    SquadEntry,
    Step,
    Steps,
    Switch,
    TaskBody,
    TaskPlan,
)
from orchestrator.squad.rendering import with_expressions_left_out
from orchestrator.squad.schemas import (
    NO_TABLE,
    Schemas,
    advice_on_schema,
    below,
    no_table,
    path_fault,
    same_file,
    says_nothing,
    table_delimiter,
)
from orchestrator.squad.shared_spec import budget
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.subsquads import SubSquads, case_name
from orchestrator.squad.task_fields import WORDS_OF_THE_LANGUAGE, FieldChecks
from orchestrator.squad.task_specs import ApprovalSpec, CaseSpec, StepSpec, SwitchSpec, TaskSpec
from orchestrator.squad.templates import strings_in
from personas.sandbox import ExpressionText
from providers.documents.findings import Findings
from providers.documents.problems import Path


@dataclass(slots=True)
class Tasks:
    """Makes the plan of each task."""

    spec: SquadSpec
    findings: Findings
    roster: Roster
    texts: Expressions
    ancestry: Ancestry
    max_items: int
    squads: SubSquads
    schemas: Schemas = field(default_factory=Schemas)
    files: dict[str, str] = field(default_factory=dict)
    """Files that tasks write, in one spelling -> the task."""
    folders: dict[str, str] = field(default_factory=dict)
    """Folders of those files -> the first task that writes there."""

    @property
    def fields(self) -> FieldChecks:
        return FieldChecks(self.findings)

    @property
    def candidates(self) -> Candidates:
        return Candidates(self.spec, self.findings, self.texts)

    def plan(self, name: str) -> TaskPlan:
        spec, path = self.spec.tasks[name], ("tasks", name)
        scope = NamesInScope(name)
        condition = None
        if spec.if_ is not None:
            condition = self.texts.value((*path, "if"), spec.if_, scope, CONDITION)
            scope = replace(scope, conditions=(condition,))
        items, inner = None, scope
        if spec.for_each is not None:
            items, item = self.texts.value((*path, "for_each"), spec.for_each, scope, "a list"), spec.as_ or "item"
            inner = replace(scope, names=(item,), schemas={item: self._schema_of_element(items)})
        self.fields.of_task(name, spec)
        work = self._work(path, spec, inner)
        is_gate = isinstance(work, Approval)
        each = None if items is None else self._for_each(path, spec, items, inner)
        return TaskPlan(
            name,
            work,
            tuple(dict.fromkeys(need for need in spec.needs or () if need in self.spec.tasks)),
            self._context(name, spec, each),
            condition,
            each,
            self._repeat(path, spec, inner),
            Retry() if is_gate else self._retry(spec),
            spec.timeout if is_gate or spec.squad else spec.timeout or self.spec.defaults.timeout,
            budget(spec.budget),
            spec.continue_on_error,
            None if spec.output_file is None else self._output_file(name, spec, inner),
            self.findings.node.mark_of(path, key=True)[:2],
            context_max_tokens=None if is_gate else self._context_max_tokens(spec),
        )

    def _context_max_tokens(self, spec: TaskSpec) -> int | None:
        usual = self.spec.defaults.context
        return spec.context_max_tokens or (None if usual is None else usual.max_tokens)

    def _retry(self, task: TaskSpec) -> Retry:
        usual = None if task.squad is not None else self.spec.defaults.retry  # its own tasks have what its file says
        spec = task.retry or usual
        return Retry() if spec is None else Retry(spec.max_attempts, frozenset(spec.on))

    def _work(self, path: Path, spec: TaskSpec, scope: NamesInScope) -> TaskBody:
        if spec.approval is not None:
            return self._approval(path, spec, spec.approval, scope)
        if spec.steps is not None:
            return self._in_turn(path, spec.steps, spec.result, scope)
        if spec.squad is not None:
            return self._squad(path, str(path[-1]), spec, scope)
        if spec.switch is not None:
            return self._switch((*path, "switch"), spec.switch, scope)
        return self._single(path, spec, scope)

    def _squad(self, path: Path, name: str, spec: TaskSpec | CaseSpec, scope: NamesInScope) -> SquadEntry:
        given = self._given((*path, "with"), spec.with_ or {}, scope)
        self.squads.check_given(name, spec)
        inner = self.squads.of.get(name)
        if inner is None:
            return SquadEntry(spec.squad or "", given, dict, {})
        declared = {name: one.model_dump(exclude_none=True) for name, one in inner.spec.inputs.items()}
        return SquadEntry(spec.squad or "", given, inner.accept, declared)

    def _given(self, path: Path, value: Any, scope: NamesInScope) -> Any:
        """Return what a sub-squad is given, with the texts that hold expressions parsed."""
        if isinstance(value, str):
            return self.texts.text(path, value, scope) if "${{" in value else value
        if isinstance(value, dict):
            return {key: self._given((*path, key), one, scope) for key, one in value.items()}
        if isinstance(value, list):
            return [self._given((*path, index), one, scope) for index, one in enumerate(value)]
        return value

    def _switch(self, path: Path, spec: SwitchSpec, scope: NamesInScope) -> Switch:
        on = self.texts.value((*path, "on"), spec.on, scope, "one expression, of which the text names a case")
        self.candidates.check_cases(path, on, tuple(spec.cases), scope)
        cases = enumerate(spec.cases.items())
        return Switch(on, {name: self._case((*path, "cases", name), i, one, scope) for i, (name, one) in cases})

    def _case(self, path: Path, index: int, spec: CaseSpec, scope: NamesInScope) -> SingleWork | Steps | CaseSquad:
        self.fields.of_case(path, spec)
        if spec.squad is not None:
            name = case_name(str(path[1]), str(path[-1]), index)
            if scope.names:
                message = "a case that is a sub-squad is done once, not for each element"
                hint = "put the switch into a squad's file, and do that squad for each element"
                self.findings.error((*path, "squad"), "misplaced-field", message, hint)
            return CaseSquad(name, self._squad(path, name, spec, scope))
        if spec.steps is not None:
            return self._in_turn(path, spec.steps, spec.result, scope)
        return self._single(path, spec, scope)

    def _single(
        self, path: Path, spec: TaskSpec | StepSpec | CaseSpec, scope: NamesInScope
    ) -> AgentWork | ConversationWork:
        """Return the work of one agent or one conversation."""
        has_doer = spec.agent is not None or spec.conversation is not None
        if has_doer and spec.description is None:
            self.findings.lacks(path, "missing-field", f"{spec.noun} needs 'description'")
        description = self.texts.text((*path, "description"), spec.description or "", scope)
        expected = None
        if spec.expected_output is not None:
            expected = self.texts.text((*path, "expected_output"), spec.expected_output, scope)
        if spec.output_schema is not None:
            for inner, text in strings_in(spec.output_schema):
                self.texts.text((*path, "output_schema", *inner), text, NamesInScope(has_inputs_only=True))
            # What expressions come to is checked when a run gives the inputs.
            for inner, message in self.schemas.faults(with_expressions_left_out(spec.output_schema)):
                hint = advice_on_schema(spec.output_schema, inner)
                self.findings.error((*path, "output_schema", *inner), "bad-schema", message, hint)
            if word := says_nothing(spec.output_schema):
                message = f"'{word}' is not a keyword of JSON Schema, so this schema allows anything"
                hint = f"write {{type: object, properties: {{{word}: {{type: string}}}}}}"
                self.findings.warn((*path, "output_schema"), "empty-schema", message, hint)
            for inner, message in self.schemas.costly_patterns(spec.output_schema):
                self.findings.warn((*path, "output_schema", *inner), "costly-pattern", message)
        tools = None if spec.tools is None else self.roster.bind((*path, "tools"), spec.tools)
        if spec.conversation is not None and spec.agent is None:
            known = self.spec.conversations
            if spec.conversation not in known and not self.findings.is_unsure((), "conversations"):
                self.findings.unknown((*path, "conversation"), "conversation", spec.conversation, known)
            return ConversationWork(spec.conversation, description, expected, spec.output_schema)
        choice = self.candidates.of(path, spec, scope)
        rails = guardrails_of((*path, "guardrails"), spec.agent or "", spec.guardrails, self.spec.agents, self.findings)
        name = "" if choice else spec.agent or ""
        work = AgentWork(name, description, expected, spec.output_schema, tools, choice, rails)
        for agent in work.possible if spec.agent is not None else ():
            if choice is None:
                self.roster.agent((*path, "agent"), agent)
            if tools:
                self.roster.answerable((*path, "tools"), agent, tools)
        return work

    def _in_turn(self, path: Path, specs: list[StepSpec], result: str | None, scope: NamesInScope) -> Steps:
        steps = tuple(self._steps((*path, "steps"), specs, scope))
        if result is not None and not any(gap[: len(path) + 1] == (*path, "steps") for gap in self.findings.gaps):
            chosen = next((spec for spec in specs if spec.id == result), None)
            if chosen is None:
                self.findings.unknown((*path, "result"), "step", result, [spec.id for spec in specs])
            elif chosen.if_ is not None:
                message = f"step '{result}' may be skipped by its 'if', and there would be no result"
                hint = "name a step that is always done, or leave 'result' out and read the output of each step"
                self.findings.error((*path, "result"), "invalid-value", message, hint)
        return Steps(steps, result)

    def _steps(self, path: Path, specs: list[StepSpec], scope: NamesInScope) -> Iterable[Step]:
        earlier: dict[str, StepSpec] = {}
        names = [spec.id for spec in specs]
        for index, spec in enumerate(specs):
            here = (*path, index)
            inner = replace(scope, steps=dict(earlier), later=names[index:])
            self.fields.of_step(here, spec, earlier)
            condition = None
            if spec.if_ is not None:
                condition = self.texts.value((*here, "if"), spec.if_, inner, CONDITION)
                inner = replace(inner, conditions=(*inner.conditions, condition))
            yield Step(spec.id, self._single(here, spec, inner), condition, spec.timeout)
            earlier[spec.id] = spec

    def _approval(self, path: Path, task: TaskSpec, spec: ApprovalSpec, scope: NamesInScope) -> Approval:
        prompt = self.texts.text((*path, "approval", "prompt"), spec.prompt, scope)
        name = str(path[-1])
        self._ancestors(name, spec.show, (*path, "approval", "show"), "show")
        revise = task.on_revise
        if revise is not None:
            self._ancestors(name, revise.rerun, (*path, "on_revise", "rerun"), "rerun")
            if revise.max_attempts is None:
                self._unbounded((*path, "on_revise"), "'on_revise' needs 'max_attempts'", "max_attempts: 3")
        choices = tuple(spec.choices)
        if "choices" not in spec.model_fields_set and revise is not None:
            choices = ("approve", "revise", "reject")
        self._choices(path, choices, task)
        return Approval(
            prompt,
            tuple(spec.show),
            choices,
            spec.timeout,
            spec.on_timeout,
            tuple(revise.rerun) if revise else (),
            (revise.max_attempts or 1) if revise else 0,
        )

    def _choices(self, path: Path, choices: tuple[str, ...], task: TaskSpec) -> None:
        place = (*path, "approval", "choices")
        if len(set(choices)) < len(choices):
            self.findings.error(place, "duplicate-name", "a choice is listed twice")
        elif "approve" not in choices:
            self.findings.error(place, "invalid-value", "without 'approve' no answer lets the run go on")
        elif ("revise" in choices) != (task.on_revise is not None):
            if task.on_revise is None:
                hint = "on_revise: {rerun: [TASK], max_attempts: 3}"
                self.findings.lacks(path, "missing-field", "the choice 'revise' needs 'on_revise'", hint)
            else:
                self.findings.error(
                    place, "invalid-value", "'on_revise' has no effect: 'revise' is not among the choices"
                )

    def _context(self, name: str, spec: TaskSpec, each: ForEach | None) -> tuple[str, ...]:
        if spec.context is None:
            # An element has its part of the list: the whole of it would tell each one of the work of all the others.
            lists = set(each.items.names) if each is not None and self.roster.edition > 1 else set[tuple[str, ...]]()
            spread = {path[1] for path in lists if path[0] == "tasks" and len(path) > 1}
            needs = (need for need in spec.needs or () if need in self.spec.tasks and need not in spread)
            return tuple(dict.fromkeys(needs))
        self._ancestors(name, spec.context, ("tasks", name, "context"), "context")
        return tuple(dict.fromkeys(spec.context))

    def _ancestors(self, name: str, listed: list[str], path: Path, word: str) -> None:
        """Check that each listed task is sure to have ended before task `name` starts."""
        for index, other in enumerate(listed):
            if other not in self.spec.tasks:
                self.findings.unknown((*path, index), "task", other, self.spec.tasks.keys() - {name})
            elif self.ancestry.knows(name) and not self.ancestry.precedes(other, name):
                message = f"'{word}' names '{other}', which '{name}' does not wait for"
                self.findings.error((*path, index), "not-an-ancestor", message, f"add '{other}' to needs")

    def _unbounded(self, path: Path, message: str, hint: str) -> None:
        self.findings.lacks(path, "unbounded", message, hint)

    def _repeat(self, path: Path, spec: TaskSpec, scope: NamesInScope) -> Repeat | None:
        if spec.repeat is None:
            return None
        here = (*path, "repeat")
        if spec.repeat.max_attempts is None:
            self._unbounded(here, "'repeat' could go on forever without 'max_attempts'", "max_attempts: 3")
        steps = {step.id: step for step in spec.steps or ()}
        made = {"output": self.squads.output_of(scope.task)} if spec.squad is not None else {}
        inner = NamesInScope(scope.task, steps, (), (*scope.names, "output"), {**scope.schemas, **made})
        until = self.texts.value((*here, "until"), spec.repeat.until, inner, CONDITION)
        return Repeat(until, spec.repeat.max_attempts or 1)

    def _for_each(self, path: Path, spec: TaskSpec, items: ExpressionText, inner: NamesInScope) -> ForEach:
        item = inner.names[0]
        if spec.as_ is not None and (not item.isidentifier() or item in WORDS_OF_THE_LANGUAGE):
            self.findings.error((*path, "as"), "invalid-name", f"'{item}' cannot name an element in expressions")
        if spec.key is None:
            hint = f"key: ${{{{ {item}{'' if self._are_plain(items.names) else '.id'} }}}}"
            self.findings.lacks(
                path, "missing-field", "'for_each' needs 'key', which identifies an element on resume", hint
            )
        key = self.texts.text((*path, "key"), spec.key or "", inner)
        is_constant = spec.key is not None and bool(key.source) and all(name[0] != item for name in key.names)
        if is_constant and not self.findings.is_unsure(path, "as"):
            hint = f"read '{item}' in it"
            self.findings.error((*path, "key"), "invalid-value", "the key is the same for each element", hint)
        parallel = spec.max_parallel or self.spec.defaults.max_parallel
        fail_fast = True if spec.fail_fast is None else spec.fail_fast
        return ForEach(items, key, item, parallel, fail_fast, self._max_items(path, items))

    def _max_items(self, path: Path, items: ExpressionText) -> int:
        """Return how many elements there may be: what the list's schema says, where one list is read."""
        match path_in(items):
            case ("inputs", str(name)) if name in self.spec.inputs and self.spec.inputs[name].type != "list":
                if not self.findings.is_unsure(("inputs", name), "type"):
                    message = f"'for_each' takes a list; input '{name}' is of type {self.spec.inputs[name].type}"
                    self.findings.error((*path, "for_each"), "wrong-type", message, "declare it as type: list")
        schema = self._schema_of_list(items.names)
        if schema is None:
            return self.max_items
        is_as_it_is = path_in(items) is not None  # a filter such as from_csv makes a list of what is none
        if is_as_it_is and schema.get("type", "array") in ("string", "number", "integer", "boolean", "null"):
            self.findings.error((*path, "for_each"), "wrong-type", f"'for_each' takes a list, not a {schema['type']}")
        stated = schema.get("maxItems")
        return stated if isinstance(stated, int) and stated >= 1 else self.max_items

    def _are_plain(self, names: frozenset[tuple[str, ...]]) -> bool:
        """Whether the list's schema says that its elements have no fields, so that one is its own key."""
        schema = self._schema_of_list(names) or {}
        items = schema.get("items")
        return isinstance(items, Mapping) and items.get("type") in ("string", "number", "integer")

    def _schema_of_element(self, items: ExpressionText) -> Any:
        """Return the schema of the elements of a list that is a task's output or a part of it, as it is."""
        match path_in(items):
            case ("tasks", str(task), "output", *inner) if task in self.spec.tasks:
                return below(self.texts.schema_of(task), [*inner, 0])
        return None

    def _schema_of_list(self, names: frozenset[tuple[str, ...]]) -> Mapping[str, Any] | None:
        """Return the schema of the one task's output that is read as it is; None where there is none."""
        if len(names) != 1:
            return None
        head, *rest = next(iter(names))
        if head != "tasks" or rest[1:2] != ["output"] or rest[0] not in self.spec.tasks:
            return None
        schema: Any = below(self.texts.schema_of(rest[0]), rest[2:])
        return schema if isinstance(schema, Mapping) else None

    def _output_file(self, name: str, spec: TaskSpec, scope: NamesInScope) -> Any:
        path, source = ("tasks", name, "output_file"), spec.output_file or ""
        text = self.texts.text(path, source, scope)
        if fault := path_fault(source):
            self.findings.error(path, "unsafe-path", fault)
        elif "${{" not in source:
            self._claim(name, path, source)
        if table_delimiter(source) and (fault := no_table(schema_of_one(spec))):
            self.findings.error(path, "wrong-type", f"the file is for a table, and the output {fault}", NO_TABLE)
        if spec.for_each is not None and all(used[0] not in scope.names for used in text.names):
            hint = f"read '{scope.names[0]}' in the path"
            if table_delimiter(source):
                hint += f'; for one table of all, `outputs: {{table: "${{{{ tasks.{name}.output | to_csv }}}}"}}`'
            self.findings.error(path, "duplicate-output-file", "each element would write the same file", hint)
        return text

    def _claim(self, name: str, path: Path, source: str) -> None:
        """Report a file that another task writes, or needs as a folder."""
        file = same_file(source)
        parts = file.split("/")
        folders = ["/".join(parts[:end]) for end in range(1, len(parts))]
        message = ""
        if file in self.files:
            message = f"'{self.files[file]}' writes this file too"
        elif file in self.folders:
            message = f"'{source}' is a folder for '{self.folders[file]}', and a file here"
        elif taken := next((folder for folder in folders if folder in self.files), None):
            message = f"'{taken}' is a file of '{self.files[taken]}', and a folder here"
        if message:
            self.findings.error(path, "duplicate-output-file", message)
        self.files.setdefault(file, name)
        for folder in folders:
            self.folders.setdefault(folder, name)

    def needs(self, name: str) -> list[str]:
        """Return what the task waits for, and report names that no task has."""
        needs = self.spec.tasks[name].needs or []
        for index, need in enumerate(needs):
            if need not in self.spec.tasks:
                self.findings.unknown(("tasks", name, "needs", index), "task", need, self.spec.tasks.keys() - {name})
        return [need for need in needs if need in self.spec.tasks]

    def is_torn(self, name: str) -> bool:
        """Whether some of the task's needs cannot be told, because of a mistake in them."""
        path, gaps = ("tasks", name), self.findings.gaps
        unknown = any(need not in self.spec.tasks for need in self.spec.tasks[name].needs or ())
        return unknown or self.findings.is_broken(path) or path in gaps or (*path, "needs") in gaps
