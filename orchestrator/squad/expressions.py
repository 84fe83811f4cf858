"""Which names an expression may read at its place, and what is wrong where it reads another."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from orchestrator.squad.conditions import holds, said_in
from orchestrator.squad.given_values import InputFile, InputImage
from orchestrator.squad.graph import Ancestry
from orchestrator.squad.plan import EDITION
from orchestrator.squad.rendering import as_template, is_own_template
from orchestrator.squad.schemas import below, ruled_out
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.task_specs import CaseSpec, StepSpec, TaskSpec
from orchestrator.squad.templates import (
    OURS,
    PERSONA_SLOTS,
    OtherMarks,
    advice_on_syntax,
    as_quotation,
    is_of_workflows,
    is_rendered,
    may_hold_template,
    meant_bare,
    meant_by,
    mentions_ours,
    other_marks,
    reads_nothing_of_ours,
    task_of_workflow,
    texts_in,
)
from personas.errors import TemplateError
from personas.persona import Persona
from personas.sandbox import ExpressionText, Sandbox, expression_spans
from providers.documents.findings import Findings
from providers.documents.nodes import Node
from providers.documents.problems import Path, nearest

ExpressionFault = tuple[str, str, str]
"""The code of a mistake, its message, and a hint."""
CONDITION = "a condition"
TASK_ATTRIBUTES: Mapping[str, str] = {
    "output": "What it made: text, the value that its `output_schema` asks for, the list of a `for_each` in its order; "
    "of an approval `choice` and `comment`; of `steps` the output of each by its id. None where it was skipped.",
    "output_file": "The path of the file that it wrote, below the run's folder.",
    "status": "`ok`, `failed` or `skipped`.",
    "failed": "The keys of the elements of its `for_each` that failed, as a list.",
    "transcript": "What was said in its conversation, as text; of a `for_each` a list of such texts.",
}
STEP_ATTRIBUTES: Mapping[str, str] = {
    "output": "What it made; none where it was skipped.",
    "status": "`ok` or `skipped`.",
    "transcript": "What was said in its conversation, as text.",
}
_ANSWER = {"type": "object", "properties": {"choice": {}, "comment": {}}}
_WHOLE = re.compile(r"\s*\$\{\{(?:(?!\}\}).)*\}\}\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamesInScope:
    """What an expression can see. `task` None: all tasks, as `outputs` does. `names` are names of this place alone."""

    task: str | None = None
    steps: Mapping[str, StepSpec] = field(default_factory=dict)
    later: Collection[str] = ()
    names: tuple[str, ...] = ()
    schemas: Mapping[str, Any] = field(default_factory=dict)
    """What is known of those of `names`, as JSON Schemas."""
    has_inputs_only: bool = False
    """Whether it is rendered before any task has begun."""
    conditions: tuple[ExpressionText, ...] = ()
    """What held before this is rendered: the `if` of the task, and of the step."""


@dataclass(slots=True)
class Expressions:
    """Parses the squad's texts and checks what they read."""

    spec: SquadSpec
    findings: Findings
    ancestry: Ancestry
    sandbox: Sandbox = field(default_factory=Sandbox)
    read_inputs: set[str] = field(default_factory=set)
    edition: int = EDITION
    of_squads: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the outputs of tasks that are sub-squads, as JSON Schemas."""

    def text(self, path: Path, source: str, scope: NamesInScope) -> ExpressionText:
        """Return the parsed text; an empty one where it is wrong, which is then reported.

        A `${{ }}` of a workflow of GitHub's stays text; so does any that reads no input where nothing else can be read.
        """
        if not may_hold_template(source):
            meant = meant_bare(source, scope.names, self.spec.inputs, self.spec.tasks)
            if scope.task is None and not scope.has_inputs_only and source in self.spec.tasks:
                meant = f"tasks.{source}.output"
            if meant:
                message, hint = f"'{source}' is not an expression, so it stays unchanged", f"write ${{{{ {meant} }}}}"
                self.findings.within(path, 0, len(source), "other-braces", message, hint, "warning")
            return self.sandbox.expression_text(source)
        self._warn_of_other_braces(path, source, scope)
        return self._parsed(path, source, scope, lambda inside: self._stays(inside, scope))

    def _stays(self, inside: str, scope: NamesInScope) -> bool:
        return reads_nothing_of_ours(inside) if scope.has_inputs_only else is_of_workflows(inside, scope.names)

    def _parsed(
        self,
        path: Path,
        source: str,
        scope: NamesInScope,
        is_text: Callable[[str], bool] | None = None,
        truth: Callable[[Any], bool] | None = None,
    ) -> ExpressionText:
        try:
            text = self.sandbox.expression_text(source, is_text, truth)
        except TemplateError as error:
            hint = advice_on_syntax(source, error.offset or 0)
            self.findings.within(path, error.offset or 0, 1, "bad-expression", error.message, hint)
            return self.sandbox.expression_text("")
        for name in sorted(text.paths, key=str):
            self._name(path, source, name, scope)
        return text

    def value(self, path: Path, source: str, scope: NamesInScope, meant: str) -> ExpressionText:
        """Return the parsed text of a field that takes a value, so that the text must be one expression and no more."""
        if not _WHOLE.fullmatch(source):
            said = said_in(source)
            hint = self._as_expression(source, scope)
            if meant == CONDITION and said is not None:
                hint = f"write {str(said).lower()}, without quotation marks"
            self.findings.error(path, "bad-expression", f"'{path[-1]}' takes {meant}, but this is text", hint)
        truth = None
        if meant == CONDITION and self.edition > 1:
            truth = partial(holds, field=str(path[-1]), edition=self.edition)
        return self._parsed(path, source, scope, truth=truth)

    def _as_expression(self, source: str, scope: NamesInScope) -> str:
        """Return what to write in place of a text: itself in braces only where that reads what there is."""
        if "{" in source:
            return "write one ${{ }} without other text"
        try:
            heads = {name[0] for name in self.sandbox.expression_text(f"${{{{ {source} }}}}").names}
        except TemplateError:
            heads = set()
        if heads and heads <= {*OURS, *scope.names}:
            return f"write ${{{{ {source} }}}}"
        return "write one expression that reads an input or a task: ${{ inputs.NAME }}, ${{ tasks.ID.output }}"

    def _warn_of_other_braces(self, path: Path, source: str, scope: NamesInScope) -> None:
        """Warn of what looks like an expression and is none: a model would read the braces."""
        for start, end in expression_spans(source):
            if self._stays(source[start + 3 : end - 2], scope):
                shown = source[start:end]
                message = f"'{shown}' reads nothing of this squad, so it stays unchanged"
                hint = f"say so, if it is meant: {as_quotation(shown)}"
                if (read := task_of_workflow(source[start + 3 : end - 2])) in self.spec.tasks:
                    hint = f"write ${{{{ tasks.{read}.output }}}}"
                self.findings.within(path, start, end - start, "other-braces", message, hint, "warning")
        for marks, meant in self._meant(source, scope):
            shown = source[marks.start : marks.start + marks.length]
            message, hint = f"'{shown}' is not an expression, so it stays unchanged", f"write ${{{{ {meant} }}}}"
            if (fault := self._fault_in(meant, scope)) is not None:
                code, why, remedy = fault
                is_enough = code not in ("unknown-input", "not-an-ancestor") or not remedy
                message, hint = f"{message}, and {why}", remedy if is_enough else f"{remedy}, and {hint}"
            self.findings.within(path, marks.start, marks.length, "other-braces", message, hint, "warning")

    def _fault_in(self, expression: str, scope: NamesInScope) -> ExpressionFault | None:
        """Return what would be wrong with an expression here: a hint must not say to write a mistake."""
        try:
            paths = self.sandbox.expression_text(f"${{{{ {expression} }}}}").paths
        except TemplateError:
            return "bad-expression", "it cannot be one", "write ${{ inputs.NAME }} or ${{ tasks.ID.output }}"
        for path in sorted(paths, key=str):
            if (fault := self._fault(path, scope)) is not None:
                return (*fault[:2], f"declare '{path[1]}' in inputs") if fault[0] == "unknown-input" else fault
        return None

    def _meant(self, source: str, scope: NamesInScope) -> Iterator[tuple[OtherMarks, str]]:
        """Yield what stands in the marks of other languages and reads something of the squad, with what is meant."""
        for marks in other_marks(source):
            if meant := meant_by(marks, scope.names, self.spec.inputs, self.spec.tasks):
                self.read_inputs |= {name for name in self.spec.inputs if f"inputs.{name}" in meant}
                yield marks, meant

    def persona(self, agent: str, persona: Persona, tree: Node | None = None) -> None:
        """Check the texts of an agent's persona, which may read inputs, where they stand: in the squad's own file, or
        in the persona's, whose `tree` it is."""
        scope, own = NamesInScope(has_inputs_only=True), ("agents", agent)
        placed = {text: path for path, text in self._texts_below(own) if is_rendered(path)}
        told = {} if tree is None else {text: path for path, text in texts_in(tree)}
        for slot in PERSONA_SLOTS:
            value = persona.display_name if slot == "name" else getattr(persona, slot)
            for text in (value,) if isinstance(value, str) else value:
                path = placed.get(text, (*own, "persona"))
                if slot == "template":
                    self._template(path, persona)
                elif text not in placed and (place := told.get(text)) is not None and tree is not None:
                    self._text_of_file(tree, place, text, scope)
                else:
                    self.text(path, text, scope)

    def _text_of_file(self, tree: Node, path: Path, text: str, scope: NamesInScope) -> None:
        """Check a text of a persona's own file: what is wrong is told there, once for all agents of the persona."""
        findings, self.findings = self.findings, Findings(tree)
        try:
            self.text(path, text, scope)
        finally:
            of_file, self.findings = self.findings.found, findings
        findings.found += [problem for problem in of_file if problem not in findings.found]

    def instructions(self, agent: str, source: str) -> None:
        """Check an agent's own prompt, which may read inputs. One from a file is told at the agent, with the file."""
        scope, written = NamesInScope(has_inputs_only=True), self.spec.agents[agent].instructions
        if source == written:
            self.text(("agents", agent, "instructions"), source, scope)
            return
        known = len(self.findings.found)
        self.text(("agents", agent), source, scope)
        told = [replace(one, message=f"{one.message}, in '{written}'") for one in self.findings.found[known:]]
        self.findings.found[known:] = told

    def _template(self, path: Path, persona: Persona) -> None:
        """Check what the template of a persona's instructions reads. One that reads no input is rendered, to see."""
        if not is_own_template(persona.template):
            return
        names = sorted(self.sandbox.template(as_template(persona.template)).names)
        known = len(self.findings.found)
        for name in names:
            head, *rest = name
            if head == "inputs" and (fault := self._input(rest)) is not None:
                self.findings.error(path, *fault)
            elif head in self.spec.inputs:
                self.read_inputs.add(head)
                message = f"'{head}' is not known in the template of a persona"
                self.findings.error(path, "unknown-name", message, f"write {{{{ inputs.{head} }}}}")
        if len(self.findings.found) > known or any(name[0] == "inputs" for name in names):
            return
        try:
            replace(persona, template=as_template(persona.template)).instructions()
        except TemplateError as error:
            self.findings.error(path, "bad-expression", f"the template cannot be rendered: {error.message}")

    def check_the_rest(self) -> None:
        """Warn of what reads something of the squad in a field that is no template."""
        unknown = {problem.path for problem in self.findings.found if problem.code == "unknown-field"}
        for path, text in texts_in(self.findings.node):
            if is_rendered(path) or any(path[:end] in unknown for end in range(1, len(path) + 1)):
                continue
            spans = [(start, end) for start, end in expression_spans(text) if mentions_ours(text[start + 3 : end - 2])]
            spans += [(one.start, one.start + one.length) for one, _ in self._meant(text, NamesInScope())]
            for start, end in spans:
                name = next((part for part in reversed(path) if isinstance(part, str)), "")
                message = f"'{text[start:end]}' is not rendered here: '{name}' is not a template"
                hint = "write the value itself"
                self.findings.found.append(
                    self.findings.node.problem(path, "not-a-template", message, hint, severity="warning")
                )

    def _texts_below(self, path: Path) -> Iterator[tuple[Path, str]]:
        node = self.findings.node.at(path)
        return iter(()) if node is None else texts_in(node, path)

    def schema_of(self, task: str) -> Any:
        """Return what is known of a task's output, as a JSON Schema; None where nothing is."""
        spec = self.spec.tasks[task]
        return schema_of(spec) if spec.squad is None else self.of_squads.get(task)

    def schema_read(self, text: ExpressionText, scope: NamesInScope) -> Any:
        """Return what is known, as a JSON Schema, of a text that is one value as it is; None where nothing is."""
        match path_in(text):
            case (str(name), *inner) if name in scope.names:
                return below(scope.schemas.get(name), inner)
            case ("tasks", str(task), "output", *inner) if task in self.spec.tasks:
                return below(self.schema_of(task), inner)
            case ("steps", str(step), "output", *inner) if step in scope.steps:
                return below(_own_schema(scope.steps[step]), inner)
            case ("inputs", str(name), *inner) if name in self.spec.inputs:
                declared = self.spec.inputs[name]
                known = declared.schema_ or ({"type": "boolean"} if declared.type == "boolean" else {})
                return below(known if declared.enum is None else {"enum": declared.enum}, inner)
        return None

    def _name(self, path: Path, source: str, name: tuple[str | int, ...], scope: NamesInScope) -> None:
        if (fault := self._fault(name, scope)) is not None:
            offset, length = _find(source, name)
            self.findings.within(path, offset, length, *fault)

    def _fault(self, name: tuple[str | int, ...], scope: NamesInScope) -> ExpressionFault | None:
        head, *rest = name
        assert isinstance(head, str), "a path begins with a name"
        known = ("inputs", "tasks", *(("steps",) if scope.steps or scope.later else ()), *scope.names)
        if head in scope.names:
            return self._field(f"'{head}'", scope.schemas.get(head), rest)
        if head == "inputs":
            return self._input(rest)
        if scope.has_inputs_only and head in OURS:
            return "unknown-name", f"only inputs can be read here, not '{head}'", "say it in the task's description"
        if head == "tasks":
            return self._task(rest, scope)
        if head == "steps" and "steps" in known:
            return self._step(rest, scope)
        if scope.task is None or ("tasks", scope.task) not in self.findings.gaps:
            return "unknown-name", f"'{head}' is not known here", self._spelled_out(head) or nearest(head, known)
        return None

    def _spelled_out(self, head: str) -> str:
        """Return what to write for the bare name of an input or a task; empty where it is none."""
        if head in self.spec.inputs:
            return f"write inputs.{head}"
        return f"write tasks.{head}.output" if head in self.spec.tasks else ""

    def _input(self, rest: Sequence[str | int]) -> ExpressionFault | None:
        self.read_inputs |= {str(rest[0])} if rest else set(self.spec.inputs)
        if not rest or self.findings.is_unsure((), "inputs"):
            return None
        if rest[0] in self.spec.inputs:
            return self._input_attribute(str(rest[0]), rest[1:])
        return "unknown-input", f"no input is called '{rest[0]}'", nearest(str(rest[0]), self.spec.inputs)

    def _input_attribute(self, name: str, names: Sequence[str | int]) -> ExpressionFault | None:
        declared = self.spec.inputs[name]
        if not names or self.findings.is_unsure(("inputs", name), "type"):
            return None
        if declared.schema_ is not None:
            return self._field(f"input '{name}'", declared.schema_, names)
        known = _INPUT_ATTRIBUTES.get(declared.type)
        if known is None or isinstance(names[0], int) or names[0] in known:
            return None
        what = f"input '{name}' is {declared.type if declared.type != 'string' else 'text'}"
        hint = nearest(names[0], known) if known else "declare it as type: object"
        return "unknown-attribute", f"{what} and has no '{names[0]}'", hint

    def _task(self, rest: Sequence[str | int], scope: NamesInScope) -> ExpressionFault | None:
        if not rest or self.findings.is_unsure((), "tasks"):
            return None
        task, tasks = str(rest[0]), self.spec.tasks
        if task not in tasks:
            return "unknown-task", f"no task is called '{task}'", nearest(task, tasks)
        if scope.task is not None and self.ancestry.knows(scope.task) and not self.ancestry.precedes(task, scope.task):
            return "not-an-ancestor", *_why_not(task, scope.task)
        return None if len(rest) < 2 else self._task_attribute(task, rest[1:])

    def _task_attribute(self, task: str, rest: Sequence[str | int]) -> ExpressionFault | None:
        attribute, *inner = str(rest[0]), *rest[1:]
        spec = self.spec.tasks[task]
        if attribute not in TASK_ATTRIBUTES:
            return "unknown-attribute", f"a task has no '{attribute}'", nearest(attribute, TASK_ATTRIBUTES)
        if self.findings.is_broken(("tasks", task)) or ("tasks", task) in self.findings.gaps:
            return None
        if attribute == "output_file" and spec.output_file is None:
            message = f"task '{task}' writes no file"
            return "output-never-produced", message, f"give '{task}' an output_file, or read its output"
        if attribute == "transcript":
            return self._transcript(f"task '{task}'", spec, inner)
        return self._output(f"task '{task}'", self.schema_of(task), inner) if attribute == "output" else None

    def _step(self, rest: Sequence[str | int], scope: NamesInScope) -> ExpressionFault | None:
        if not rest:
            return None
        step, *inner = str(rest[0]), *rest[1:]
        if any(gap[:3] == ("tasks", scope.task, "steps") for gap in self.findings.gaps):
            return None
        if step not in scope.steps:
            message = f"no earlier step is called '{step}'"
            hint = f"'{step}' comes later" if step in scope.later else nearest(step, scope.steps)
            return "unknown-step", message, hint
        if not inner:
            return None
        if inner[0] not in STEP_ATTRIBUTES:
            return "unknown-attribute", f"a step has no '{inner[0]}'", nearest(str(inner[0]), STEP_ATTRIBUTES)
        if inner[0] == "transcript":
            return self._transcript(f"step '{step}'", scope.steps[step], inner[1:])
        schema = _own_schema(scope.steps[step])
        return self._output(f"step '{step}'", schema, inner[1:]) if inner[0] == "output" else None

    def _transcript(self, owner: str, work: TaskSpec | StepSpec, names: Sequence[str | int]) -> ExpressionFault | None:
        cases = work.switch.cases.values() if isinstance(work, TaskSpec) and work.switch is not None else ()
        if work.conversation is None and not any(case.conversation for case in cases):
            inside = isinstance(work, TaskSpec) and any(step.conversation for step in work.steps or ())
            hint = "read that of its step, in a later step: ${{ steps.ID.transcript }}" if inside else ""
            return "unknown-attribute", f"{owner} holds no conversation, so it has no transcript", hint
        if names and isinstance(names[0], str) and (isinstance(work, StepSpec) or work.for_each is None):
            return "unknown-attribute", f"the transcript of {owner} is text and has no '{names[0]}'", ""
        return None

    def _output(self, owner: str, schema: Any, names: Sequence[str | int]) -> ExpressionFault | None:
        if (fault := self._field(f"the output of {owner}", schema, names)) is not None:
            return fault
        if schema == _TEXT and names and isinstance(names[0], str):
            message = f"the output of {owner} is text and has no '{names[0]}'"
            return "unknown-attribute", message, f"give {owner} an output_schema"
        return None

    def _field(self, owner: str, schema: Any, names: Sequence[str | int]) -> ExpressionFault | None:
        if (fault := ruled_out(schema, names)) is None:
            return None
        at, known = fault
        return "unknown-attribute", f"{owner} has no '{_spelled(names[: at + 1])}'", nearest(str(names[at]), known)


_INPUT_ATTRIBUTES: Mapping[str, Sequence[str]] = {
    "file": InputFile.template_fields,
    "image": InputImage.template_fields,
    "string": (),
}
_TEXT: Mapping[str, Any] = {"type": "string"}


def schema_of(task: TaskSpec) -> Any:
    """Return what is known of a task's output, as a JSON Schema; None where nothing is."""
    return None if task.for_each is not None else schema_of_one(task)


def schema_of_one(task: TaskSpec) -> Any:
    """Return what `schema_of` does; of a `for_each`, what is known of the output of one element."""
    if task.approval is not None:
        return _ANSWER
    if task.switch is not None:
        schemas = [_case_schema(case) for case in task.switch.cases.values()]
        return schemas[0] if schemas and all(schema == schemas[0] for schema in schemas) else None
    return _case_schema(task)


def _case_schema(work: TaskSpec | CaseSpec) -> Any:
    if work.squad is not None:
        return None
    if work.steps is not None and work.result is not None:
        return next((_own_schema(step) for step in work.steps if step.id == work.result), None)
    if work.steps is not None:
        return {"type": "object", "properties": {step.id: _own_schema(step) for step in work.steps}}
    return _own_schema(work)


def _own_schema(work: TaskSpec | StepSpec | CaseSpec) -> Any:
    if work.output_schema is not None:
        return work.output_schema
    return _TEXT if work.agent is not None or work.conversation is not None else None


def _why_not(task: str, reader: str) -> tuple[str, str]:
    if task == reader:
        return f"task '{task}' cannot read itself", ""
    return f"'{reader}' does not wait for '{task}'", f"add '{task}' to needs"


_ACCESS = r"\s*\.\s*\w+|\s*\[\s*(?:-?\d+|'[^']*'|\"[^\"]*\")\s*\]"
_ONE_PATH = re.compile(rf"\s*\$\{{\{{\s*\w+(?:{_ACCESS})*\s*\}}\}}\s*")


def path_in(text: ExpressionText) -> tuple[str | int, ...] | None:
    """Return the path of which a text is the value as it is; None where something is made of it, or of others."""
    return next(iter(text.paths)) if len(text.paths) == 1 and _ONE_PATH.fullmatch(text.source) else None


def _spelled(names: Sequence[str | int]) -> str:
    """Return a path as expressions have it: `stories[0].title`."""
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names).removeprefix(".")


def _find(source: str, name: tuple[str | int, ...]) -> tuple[int, int]:
    """Return offset and length of a path in a text."""
    for end in range(len(name), 0, -1):
        spelled = (re.escape(str(part)) for part in name[:end])
        dotted = r"\s*(?:['\"]?\s*\]\s*)?(?:\.\s*|\[\s*['\"]?)".join(spelled)
        for expression in re.finditer(r"\$\{\{.*?\}\}", source, re.DOTALL):
            if found := re.compile(rf"(?<![\w.]){dotted}(?!\w)").search(source, *expression.span()):
                return found.start(), len(found[0])
    return max(source.find("${{"), 0), 1
