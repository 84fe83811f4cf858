"""Which agents an `agent: ${{ }}` may come to: what is known of that before a run, and checked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.squad.choosing import case_of, case_text
from orchestrator.squad.conditions import NoCondition, holds
from orchestrator.squad.expressions import Expressions, NamesInScope, path_in
from orchestrator.squad.plan import DEFAULT_CASE, EDITION, AgentChoice
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.task_specs import CaseSpec, StepSpec, TaskSpec
from personas.errors import TemplateError
from personas.sandbox import ExpressionText
from providers.documents.findings import Findings
from providers.documents.problems import Path, nearest

ValuePath = tuple[str | int, ...]


def values_allowed(schema: Any) -> Sequence[Any] | None:
    """Return the values that a schema allows where it lists them (`enum`, `const`), None where it does not."""
    if not isinstance(schema, Mapping):
        return None
    if isinstance(schema.get("enum"), list):
        listed: list[Any] = schema["enum"]
        return listed
    if schema.get("type") == "boolean":
        return [True, False]
    return [schema["const"]] if "const" in schema else None


def is_let_through(path: ValuePath, value: Any, conditions: Iterable[ExpressionText]) -> bool:
    """Return whether work is sure to be done where a path has this value, as far as that hangs on the value.

    A condition that reads more than the path, so that it may leave the value out, does not let it through for sure.
    """
    return all(_lets_through(one, path, value) for one in conditions)


def _lets_through(condition: ExpressionText, path: ValuePath, value: Any) -> bool:
    about = {read for read in condition.paths if read[: len(path)] == path[: len(read)]}
    if not about:
        return True  # it asks about something else
    if about != {path}:
        return False
    known = value
    for part in reversed(path):
        known = {part: known}
    try:
        return holds(condition.render(known), "if", EDITION)
    except (TemplateError, NoCondition):
        return False  # what else it reads is known in a run


def shown(value: Any) -> str:
    """Return a value as a person would write it as a case."""
    text = case_text(value)
    return repr(value) if text is None else f"'{text}'"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Binds the agents that are chosen when their work begins."""

    spec: SquadSpec
    findings: Findings
    texts: Expressions

    def of(self, path: Path, spec: TaskSpec | StepSpec | CaseSpec, scope: NamesInScope) -> AgentChoice | None:
        """Return the choice of a task's or a step's agent, None where `agent` is a name."""
        if spec.agent is None or "${{" not in spec.agent:
            if spec.agent is not None and spec.agents is not None:
                message = f"'agents' has no meaning with one agent, '{spec.agent}'"
                hint = "choose one of them: agent: ${{ tasks.triage.output.who }}"
                self.findings.error((*path, "agents"), "misplaced-field", message, hint, key=True)
            return None
        name = self.texts.value((*path, "agent"), spec.agent, scope, "a name or one expression that gives one")
        listed = None if spec.agents is None else self._listed((*path, "agents"), spec.agents)
        return AgentChoice(name, self._among(path, name, scope, listed))

    def check_cases(self, path: Path, on: ExpressionText, cases: Sequence[str], scope: NamesInScope) -> None:
        """Report values that no case of a switch stands for, and cases that no value comes to, as far as is known."""
        names, has_default = [case for case in cases if case != DEFAULT_CASE], DEFAULT_CASE in cases
        values = values_allowed(self.texts.schema_read(on, scope))
        if values is None:
            if not has_default and (*path, "on") not in self.findings.broken:
                message = "the values of 'on' are not known: one without a case fails the task"
                hint = "add the case default, or give what is read an output_schema with an enum"
                self.findings.warn((*path, "cases"), "missing-case", message, hint)
            return
        without = [one for one in values if case_of(one, names) is None]
        path_read = path_in(on) or ()
        missing = [shown(one) for one in without if is_let_through(path_read, one, scope.conditions)]
        if missing and not has_default:
            message = f"no case for {', '.join(missing)}, a possible value of 'on'"
            self.findings.error((*path, "cases"), "missing-case", message, "add it, or the case default", key=True)
        reached = {case_of(one, cases) for one in values}
        for case in names:
            if case not in reached:
                message = f"'on' never has the value '{case}'"
                told = nearest(case, [text for one in values if (text := case_text(one)) is not None])
                self.findings.warn((*path, "cases", case), "unreachable-case", message, told)

    def _listed(self, path: Path, agents: Sequence[str]) -> tuple[str, ...]:
        for index, agent in enumerate(agents):
            if agent in agents[:index]:
                self.findings.error((*path, index), "duplicate-name", f"'{agent}' is listed already")
            elif agent not in self.spec.agents and not self._is_unsure():
                self.findings.unknown((*path, index), "agent", agent, self.spec.agents)
        return tuple(dict.fromkeys(agent for agent in agents if agent in self.spec.agents))

    def _among(
        self, path: Path, name: ExpressionText, scope: NamesInScope, listed: tuple[str, ...] | None
    ) -> tuple[str, ...]:
        """Return the agents that may be meant, those that the schema lists before all that there are."""
        declared: Collection[str] = self.spec.agents if listed is None else listed
        if not declared and not self._is_unsure():
            self.findings.error((*path, "agent"), "unknown-agent", "no agent can be chosen here", "declare agents")
        values = values_allowed(self.texts.schema_read(name, scope))
        if values is None:
            return tuple(declared)
        for value in values:
            is_left_out = not is_let_through(path_in(name) or (), value, scope.conditions)
            is_known = isinstance(value, str) and value in self.spec.agents
            if not (is_known and value in declared) and not is_left_out and not self._is_unsure():
                where = "'agents' does not list it" if is_known else "the squad has no such agent"
                message = f"what is read here may be {value!r}, and {where}"
                self.findings.error((*path, "agent"), "unknown-agent", message, nearest(str(value), declared))
        return tuple(agent for agent in declared if agent in values)

    def _is_unsure(self) -> bool:
        return self.findings.is_unsure((), "agents")
