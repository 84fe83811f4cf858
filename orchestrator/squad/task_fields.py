"""Which fields of a task, of a case and of a step go together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.squad.task_specs import CaseSpec, StepSpec, TaskSpec
from providers.documents.findings import Findings
from providers.documents.problems import Path

KINDS = ("agent", "conversation", "approval", "steps", "switch", "squad")
CASES = ("agent", "conversation", "steps", "squad")
_ORDER = frozenset({"needs", "context", "if_", "continue_on_error"})
_RUN = frozenset({"retry", "timeout", "budget", "cache", "output_file", "context_max_tokens"})
_EACH = frozenset({"for_each", "as_", "key", "max_parallel", "fail_fast"})
_LOOP = _EACH | {"repeat"}
_WORDS = frozenset({"description", "expected_output", "output_schema"})
_FITTING: Mapping[str, frozenset[str]] = {
    "agent": _ORDER | _RUN | _LOOP | _WORDS | {"tools", "agents", "guardrails"},
    "conversation": _ORDER | _RUN | _LOOP | _WORDS,
    "steps": _ORDER | _RUN | _LOOP | {"result"},
    "switch": _ORDER | _RUN | _LOOP,
    "squad": frozenset({"needs", "if_", "continue_on_error", "budget", "with_", "retry", "timeout"}) | _LOOP,
    "approval": _ORDER | {"on_revise"},
}
_ELSEWHERE = {
    ("steps", "tools"): "give them to a step",
    ("steps", "guardrails"): "give them to a step",
    ("switch", "guardrails"): "give them to a case",
    ("conversation", "guardrails"): "give them to the agents that take part",
    ("squad", "guardrails"): "give them to its tasks or agents",
    ("steps", "description"): "describe each step",
    ("steps", "expected_output"): "say it in a step",
    ("steps", "output_schema"): "give it to a step",
    ("agent", "result"): "it names one of 'steps'; the agent's answer is the output as it is",
    ("conversation", "result"): "it names one of 'steps'; the last word is the output as it is",
    ("approval", "result"): "it names one of 'steps'; the person's answer is the output",
    ("switch", "result"): "give it to a case with 'steps'",
    ("squad", "result"): "its file says what it results in: outputs",
    ("squad", "agents"): "its file says who works",
    ("squad", "cache"): "leave it out",
    ("squad", "context"): "give it what it reads: with: {draft: ${{ tasks.draft.output }}}",
    ("squad", "context_max_tokens"): "its tasks, or defaults in its file, say it",
    ("squad", "description"): "its tasks have theirs",
    ("squad", "expected_output"): "its tasks have theirs",
    ("squad", "output_file"): "a task in it, or one after it, writes the file",
    ("squad", "output_schema"): "its file says what it results in: outputs",
    ("squad", "tools"): "tools belong to agents",
    ("switch", "agents"): "give them to a case",
    ("switch", "tools"): "give them to a case",
    ("switch", "description"): "describe each case",
    ("switch", "expected_output"): "say it in a case",
    ("switch", "output_schema"): "give it to a case",
    ("approval", "timeout"): "put it inside approval",
    ("approval", "description"): "an approval has a prompt",
    ("conversation", "tools"): "tools belong to agents",
    ("conversation", "agents"): "a conversation has participants",
    ("steps", "agents"): "give them to a step",
}
WORDS_OF_THE_LANGUAGE = {
    *("and", "or", "not", "in", "is", "if", "else", "elif", "for", "true", "false", "none", "True", "False", "None"),
    *("inputs", "tasks", "steps", "output", "loop"),
}


@dataclass(frozen=True, slots=True)
class FieldChecks:
    """Reports those that do not."""

    findings: Findings

    def of_task(self, name: str, spec: TaskSpec) -> None:
        """Check those of a task."""
        path = ("tasks", name)
        if not name.isidentifier() or name in WORDS_OF_THE_LANGUAGE:
            hint = f"write {name.replace('-', '_')}" if name.replace("-", "_").isidentifier() and "-" in name else ""
            self.findings.error(path, "invalid-name", f"'{name}' cannot be used in expressions", hint, key=True)
        kinds = [kind for kind in KINDS if getattr(spec, kind) is not None]
        self._one_kind(path, kinds, "a task", KINDS)
        given = {name for name in spec.model_fields_set if getattr(spec, name) is not None} - {*KINDS}
        for kind in kinds if len(kinds) == 1 else ():
            for extra in sorted(given - _FITTING[kind]):
                self._misplaced((*path, extra.rstrip("_")), f"a task with '{kind}'", _ELSEWHERE.get((kind, extra), ""))
        if spec.switch is not None and any(case.squad for case in spec.switch.cases.values()):
            for extra in sorted(given & {"timeout", "retry", "repeat"}):
                hint = _ELSEWHERE.get(("squad", extra), "the tasks of that squad have their own")
                self._misplaced((*path, extra), "a switch with a case that is a sub-squad", hint)
        for extra in sorted(given & (_EACH - {"for_each"})) if spec.for_each is None else ():
            self._misplaced((*path, extra.rstrip("_")), "a task without 'for_each'", "")
        if spec.cache:
            message = "results are not kept across runs yet"
            self.findings.error((*path, "cache"), "unsupported-field", message, "leave it out, or write false")

    def of_case(self, path: Path, spec: CaseSpec) -> None:
        """Check those of a switch's case."""
        kinds = [kind for kind in CASES if getattr(spec, kind) is not None]
        self._one_kind(path, kinds, "a case", CASES)
        given = {name for name in spec.model_fields_set if getattr(spec, name) is not None} - {*CASES}
        for kind in kinds if len(kinds) == 1 else ():
            for extra in sorted(given - _FITTING[kind]):
                hint = _ELSEWHERE.get((kind, extra), "")
                self._misplaced((*path, extra.rstrip("_")), f"a case with '{kind}'", hint)

    def of_step(self, path: Path, spec: StepSpec, earlier: Mapping[str, StepSpec]) -> None:
        """Check those of a step after `earlier` ones."""
        if spec.id in earlier:
            self.findings.error((*path, "id"), "duplicate-name", f"an earlier step is called '{spec.id}', too")
        elif not spec.id.isidentifier() or spec.id in WORDS_OF_THE_LANGUAGE:
            self.findings.error((*path, "id"), "invalid-name", f"'{spec.id}' cannot be used in expressions")
        kinds = KINDS[:2]
        self._one_kind(path, [kind for kind in kinds if getattr(spec, kind) is not None], "a step", kinds)
        if spec.tools is not None and spec.agent is None and spec.conversation is not None:
            self._misplaced((*path, "tools"), "a step with 'conversation'", "tools belong to agents")
        if spec.guardrails is not None and spec.agent is None and spec.conversation is not None:
            hint = "give them to the agents that take part"
            self._misplaced((*path, "guardrails"), "a step with 'conversation'", hint)

    def _misplaced(self, path: Path, where: str, hint: str) -> None:
        if path[:-1] not in self.findings.gaps:
            self.findings.error(path, "misplaced-field", f"'{path[-1]}' has no meaning in {where}", hint, key=True)

    def _one_kind(self, path: Path, found: list[str], noun: str, kinds: tuple[str, ...]) -> None:
        if not found:
            self.findings.lacks(path, "one-of", f"{noun} has exactly one of {', '.join(kinds)}; this one has none")
        elif len(found) > 1:
            message = f"{noun} has exactly one of {', '.join(kinds)}; this one has {' and '.join(found)}"
            hint = f"make the approval a task of its own: needs: [{path[-1]}]" if "approval" in found else ""
            self.findings.error((*path, found[1]), "one-of", message, hint, key=True)
