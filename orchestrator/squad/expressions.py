"""Which names an expression may read at its place, and what is wrong where it reads another."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.squad.conditions import said_in
from orchestrator.squad.graph import Ancestry
from orchestrator.squad.schemas import below
from orchestrator.squad.spec import SquadSpec, StepSpec, TaskSpec
from personas.errors import TemplateError
from personas.sandbox import ExpressionText, Sandbox
from providers.documents.findings import Findings
from providers.documents.problems import Path, nearest

CONDITION = "a condition"
TASK_ATTRIBUTES = ("output", "output_file", "status", "failed", "transcript")
STEP_ATTRIBUTES = ("output", "status", "transcript")
_ANSWER = {"type": "object", "properties": {"choice": {}, "comment": {}}}
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_BRACED = re.compile(r"\{\{\s*(\w[\w.-]*)[^{}]*\}\}|\$?(?<!\{)\{\s*(\w[\w.-]*)\s*\}(?!\})")
_WHOLE = re.compile(r"\s*\$\{\{(?:(?!\}\}).)*\}\}\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamesInScope:
    """What an expression can see. `task` None: all tasks, as `outputs` does. `names` are names of this place alone."""

    task: str | None = None
    steps: Mapping[str, StepSpec] = field(default_factory=dict)
    later: Collection[str] = ()
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Expressions:
    """Parses the squad's texts and checks what they read."""

    spec: SquadSpec
    findings: Findings
    ancestry: Ancestry
    sandbox: Sandbox = field(default_factory=Sandbox)
    read_inputs: set[str] = field(default_factory=set)

    def text(self, path: Path, source: str, scope: NamesInScope) -> ExpressionText:
        """Return the parsed text; an empty one where it is wrong, which is then reported."""
        self._warn_of_other_braces(path, source, scope)
        return self._parsed(path, source, scope)

    def _parsed(self, path: Path, source: str, scope: NamesInScope) -> ExpressionText:
        try:
            text = self.sandbox.expression_text(source)
        except TemplateError as error:
            self.findings.within(path, error.offset or 0, 1, "bad-expression", error.message)
            return self.sandbox.expression_text("")
        for name in sorted(text.names):
            self._name(path, source, name, scope)
        return text

    def value(self, path: Path, source: str, scope: NamesInScope, meant: str) -> ExpressionText:
        """Return the parsed text of a field that takes a value, so that the text must be one expression and no more."""
        if not _WHOLE.fullmatch(source):
            said = said_in(source)
            hint = f"write ${{{{ {source} }}}}" if "{" not in source else "write one ${{ }} and nothing beside it"
            if meant == CONDITION and said is not None:
                hint = f"write {str(said).lower()}, without quotation marks"
            self.findings.error(path, "bad-expression", f"'{path[-1]}' takes {meant}, but this is text", hint)
        return self._parsed(path, source, scope)

    def _warn_of_other_braces(self, path: Path, source: str, scope: NamesInScope) -> None:
        """Warn of a known name in the braces of other template languages: a model would read the braces."""
        plain = _EXPRESSION.sub(lambda expression: " " * len(expression[0]), source)
        for braced in _BRACED.finditer(plain):
            name = self._meant(braced[1] or braced[2], scope)
            if name:
                self.read_inputs |= {name.split(".")[1]} if name.startswith("inputs.") else set()
                message = f"'{braced[0]}' is no expression, so it stays as it is"
                place = braced.start(), len(braced[0])
                self.findings.within(path, *place, "other-braces", message, f"write ${{{{ {name} }}}}", "warning")

    def _meant(self, name: str, scope: NamesInScope) -> str:
        """Return the name that an expression would read in place of this one; empty: it is none of ours."""
        head, _, rest = name.partition(".")
        if head in scope.names or (rest and head in ("inputs", "tasks", "steps")):
            return name
        return f"inputs.{name}" if name in self.spec.inputs else ""

    def _name(self, path: Path, source: str, name: tuple[str, ...], scope: NamesInScope) -> None:
        head, *rest = name
        known = ("inputs", "tasks", *(("steps",) if scope.steps or scope.later else ()), *scope.names)
        fault: tuple[str, str, str] | None = None
        if head in scope.names:
            return
        if head == "inputs":
            fault = self._input(rest)
        elif head == "tasks":
            fault = self._task(rest, scope)
        elif head == "steps" and "steps" in known:
            fault = self._step(rest, scope)
        elif scope.task is None or ("tasks", scope.task) not in self.findings.gaps:
            fault = "unknown-name", f"'{head}' is not known here", nearest(head, known)
        if fault is not None:
            offset, length = _find(source, name)
            self.findings.within(path, offset, length, *fault)

    def _input(self, rest: list[str]) -> tuple[str, str, str] | None:
        self.read_inputs |= {rest[0]} if rest else set(self.spec.inputs)
        if not rest or rest[0] in self.spec.inputs or self.findings.is_unsure((), "inputs"):
            return None
        return "unknown-input", f"no input is called '{rest[0]}'", nearest(rest[0], self.spec.inputs)

    def _task(self, rest: list[str], scope: NamesInScope) -> tuple[str, str, str] | None:
        if not rest or self.findings.is_unsure((), "tasks"):
            return None
        task, tasks = rest[0], self.spec.tasks
        if task not in tasks:
            return "unknown-task", f"no task is called '{task}'", nearest(task, tasks)
        if scope.task is not None and self.ancestry.knows(scope.task) and not self.ancestry.precedes(task, scope.task):
            return "not-an-ancestor", *_why_not(task, scope.task)
        return None if len(rest) < 2 else self._task_attribute(task, rest[1:])

    def _task_attribute(self, task: str, rest: list[str]) -> tuple[str, str, str] | None:
        attribute, *inner = rest
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
        return self._output(f"task '{task}'", schema_of(spec), inner) if attribute == "output" else None

    def _step(self, rest: list[str], scope: NamesInScope) -> tuple[str, str, str] | None:
        if not rest:
            return None
        step, *inner = rest
        if any(gap[:3] == ("tasks", scope.task, "steps") for gap in self.findings.gaps):
            return None
        if step not in scope.steps:
            message = f"no earlier step is called '{step}'"
            hint = f"'{step}' comes later" if step in scope.later else nearest(step, scope.steps)
            return "unknown-step", message, hint
        if not inner:
            return None
        if inner[0] not in STEP_ATTRIBUTES:
            return "unknown-attribute", f"a step has no '{inner[0]}'", nearest(inner[0], STEP_ATTRIBUTES)
        if inner[0] == "transcript":
            return self._transcript(f"step '{step}'", scope.steps[step], inner[1:])
        schema = _own_schema(scope.steps[step])
        return self._output(f"step '{step}'", schema, inner[1:]) if inner[0] == "output" else None

    def _transcript(self, owner: str, work: TaskSpec | StepSpec, names: list[str]) -> tuple[str, str, str] | None:
        if work.conversation is None:
            inside = isinstance(work, TaskSpec) and any(step.conversation for step in work.steps or ())
            hint = "read that of its step, in a later step: ${{ steps.ID.transcript }}" if inside else ""
            return "unknown-attribute", f"{owner} holds no conversation, so it has no transcript", hint
        if names and (isinstance(work, StepSpec) or work.for_each is None):
            return "unknown-attribute", f"the transcript of {owner} is text and has no '{names[0]}'", ""
        return None

    def _output(self, owner: str, schema: Any, names: list[str]) -> tuple[str, str, str] | None:
        missing = below(schema, names)[1]
        if missing is not None:
            depth = names.index(missing)
            parent, _ = below(schema, names[:depth])
            hint = nearest(missing, parent["properties"])
            return "unknown-attribute", f"the output of {owner} has no '{'.'.join(names[: depth + 1])}'", hint
        if schema == _TEXT and names:
            message = f"the output of {owner} is text and has no '{names[0]}'"
            return "unknown-attribute", message, f"give {owner} an output_schema"
        return None


_TEXT: Mapping[str, Any] = {"type": "string"}


def schema_of(task: TaskSpec) -> Any:
    """Return what is known of a task's output, as a JSON Schema; None where nothing is."""
    if task.for_each is not None:
        return None
    if task.approval is not None:
        return _ANSWER
    if task.steps is not None:
        return {"type": "object", "properties": {step.id: _own_schema(step) for step in task.steps}}
    return _own_schema(task)


def _own_schema(work: TaskSpec | StepSpec) -> Any:
    if work.output_schema is not None:
        return work.output_schema
    return _TEXT if work.agent is not None or work.conversation is not None else None


def _why_not(task: str, reader: str) -> tuple[str, str]:
    if task == reader:
        return f"task '{task}' cannot read itself", ""
    return f"'{reader}' does not wait for '{task}'", f"add '{task}' to needs"


def _find(source: str, name: tuple[str, ...]) -> tuple[int, int]:
    """Return offset and length of a dotted name in a text."""
    for end in range(len(name), 0, -1):
        dotted = r"\s*(?:\.\s*|\[\s*['\"]?)".join(map(re.escape, name[:end]))
        for expression in re.finditer(r"\$\{\{.*?\}\}", source, re.DOTALL):
            if found := re.compile(rf"(?<![\w.]){dotted}(?!\w)").search(source, *expression.span()):
                return found.start(), len(found[0])
    return max(source.find("${{"), 0), 1
