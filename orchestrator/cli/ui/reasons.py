"""Why a run stands as it does: which tasks failed and how, which budget stopped it. Pure, from its public documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.catalog.model import numbered

Document = Mapping[str, Any]
"""An event as `orchestrator.events.to_json` makes it."""
MOST_CAUSES = 3
MOST_FAILURES = 12
UNITS = {"max_tokens": " tokens", "max_time": " s", "max_turns": " turns"}
"""What a budget's amounts are counted in, by its kind; `max_cost` is USD."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How one task, or one element, failed. `kind` is the exception's class name, `step` the text of its last place.

    `causes` are the attempts at that step that failed, each with its provider and error, the latest last.
    """

    row: str
    error: str
    kind: str
    step: str
    causes: tuple[str, ...]
    hint: str


@dataclass(slots=True)
class Reasons:
    """A fold of a run's events. `apply` takes each once, in order."""

    failures: dict[str, Failure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Tasks that were not done, by name, each with what kept it from beginning."""
    budgets: dict[tuple[str, str], Document] = field(default_factory=dict)
    """The budgets that ended something since the run was taken up last, by name and kind."""
    parked: dict[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Why outputs of the squad could not be told, by name."""
    _steps: dict[tuple[str, str | None], str] = field(default_factory=dict)
    _causes: dict[str, list[str]] = field(default_factory=dict)
    """By the text of their place."""

    def apply(self, event: Document) -> None:
        place = event.get("place")
        if place is not None and place["step"]:
            self._steps[place["task"], place["key"]] = event["unit"]
        match event["type"]:
            case "attempt.ended" if event["error"]:
                self._causes.setdefault(event["unit"], []).append(_cause(event))
            case "turn.ended":
                self._causes.pop(event["unit"], None)
            case "task.ended" | "element.ended":
                self._ended(event)
            case "task.started" | "task.reset" | "element.started":
                self._again(event)
            case "task.parked":
                self.parked[_row(event)] = event["reason"]
            case "budget.reached" if event["action"] != "downgrade_tier":
                self.budgets.pop((event["which"], event["kind"]), None)  # the latest stands last
                self.budgets[event["which"], event["kind"]] = event
            case "run.resumed":
                self.budgets, self.parked, self.outputs = {}, {}, {}
            case "run.finished":
                self.outputs = event.get("output_errors", {})
            case "run.edited":
                self._edited(event)

    def _ended(self, event: Document) -> None:
        row, key = _row(event), event.get("key")
        self.parked.pop(row, None)
        if event["status"] == "cancelled":
            self.skipped[row] = event["error"] or ""
        if event["status"] != "failed":
            return
        step = self._steps.get((event["task"], key), "")
        causes = tuple(dict.fromkeys(self._causes.get(step, ())))[-MOST_CAUSES:]
        kind, error = event["error_kind"] or "", event["error"] or ""
        hint = self._budget_hint() if kind == "BudgetSpent" else hint_of(kind, causes)
        self.failures[row] = Failure(row, error, kind, step, causes, hint)

    def _budget_hint(self) -> str:
        if not self.budgets:
            return ""
        which, kind = next(reversed(self.budgets))
        option = {"max_cost": ", or give --max-cost", "max_time": ", or give --timeout"}.get(kind, "")
        return f"raise {kind} in the budget of the {which}{option if which == 'squad' else ''}"

    def _again(self, event: Document) -> None:
        row, key = _row(event), event.get("key")
        self.failures.pop(row, None)
        self.skipped.pop(row, None)
        self._steps.pop((event["task"], key), None)

    def _edited(self, event: Document) -> None:
        void = {*event["again"], *event["gone"], *event["renamed"]}
        for known in (self.failures, self.skipped, self.parked):
            for row in [row for row in known if row.partition("[")[0] in void]:
                known.pop(row)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it; what there is nothing of is left out."""
        found: dict[str, Any] = {
            "failures": [
                {
                    "task": one.row,
                    "error": one.error,
                    "error_kind": one.kind,
                    "step": one.step,
                    "causes": list(one.causes),
                    "hint": one.hint,
                }
                for one in self.failures.values()
            ],
            "not_done": dict(self.skipped),
            "budgets": [
                {
                    "budget": which,
                    "kind": kind,
                    "action": event["action"],
                    "used": event.get("used"),
                    "limit": event.get("limit"),
                }
                for (which, kind), event in self.budgets.items()
            ],
            "paused": dict(self.parked),
        }
        return {name: told for name, told in found.items() if told}


def failure_lines(failure: Failure, title: str = "failed", hint: str = "") -> Iterator[str]:
    """Yield how a task failed: what, where, why, and what to do; `hint` is told instead of its own."""
    yield f"{title}: {failure.row}: {failure.error}"
    if failure.step:
        yield f"  at: {failure.step}"
    yield from (f"  cause: {cause}" for cause in failure.causes if cause.partition(": ")[2] not in failure.error)
    if told := hint or failure.hint:
        yield f"  hint: {told}"


def reason_lines(reasons: Reasons, *, last: str = "failed") -> Iterator[str]:
    """Yield why tasks failed and what stopped the run; `last` is the title of the last failure."""
    for which, kind in reasons.budgets:
        yield f"budget reached: {budget_text(reasons.budgets[which, kind])}"
    failures = list(reasons.failures.values())
    for failure in failures[: MOST_FAILURES - 1] if len(failures) > MOST_FAILURES else failures[:-1]:
        yield from failure_lines(failure)
    if (more := len(failures) - MOST_FAILURES) > 0:
        yield f"failed: and {more} more"
    for failure in failures[-1:]:
        yield from failure_lines(failure, last)
    skipped = list(reasons.skipped.items())
    yield from (f"not done: {row}: {why or 'the run ended before it'}" for row, why in skipped[:MOST_FAILURES])
    if len(skipped) > MOST_FAILURES:
        yield f"not done: and {len(skipped) - MOST_FAILURES} more"
    yield from (f"output {name} cannot be computed: {why}" for name, why in reasons.outputs.items())


def budget_text(event: Document) -> str:
    """Return which budget was reached, how much of it is used, and what followed."""
    which, kind = event["which"], event["kind"]
    used, limit = event.get("used"), event.get("limit")
    figures = f": {amount(kind, used)} used of {amount(kind, limit)}" if used is not None and limit is not None else ""
    return f"{which}: {kind}{figures}, so: {event['action']}"


def amount(kind: str, value: float) -> str:
    """Return an amount of a budget: USD of `max_cost`, else a count of what `kind` limits."""
    if kind == "max_cost":
        return f"${value:,.2f}" if round(value, 2) == round(value, 6) else f"${value:,.6f}".rstrip("0")
    return f"{value:,.1f} s" if kind == "max_time" else f"{value:,.0f}{UNITS.get(kind, '')}"


HINTS: Mapping[str, str] = {
    "AuthFailed": "a key is wrong, or may not do this: `orchestrator providers test` tries each one",
    "NoRoute": "`orchestrator providers ls` shows which providers are configured, and what the others need",
    "TaskTimedOut": "raise `timeout` of the task or step, or let it do less",
    "RepeatExhausted": "raise `max_attempts` of its `repeat`, or let `until` ask for less",
    "OutputInvalid": "make its `output_schema` simpler, or give its agent a tier of more able models",
    "TurnLimit": "raise `max_turns` of the agent, or let it do less",
    "ContextTooLong": "too long for each model that was asked: give it less (`context_max_tokens`), or a larger model",
    "CannotWrite": "let that folder be written, or name another with --out",
    "NotATable": "give it an output_schema of a list of flat objects, or none, or let the file end in .json",
    "TemplateError": "correct the expression, then `orchestrator runs resume RUN --edited` runs what it affects",
}
"""By the class name of what a task failed with, or of what all its attempts failed with."""


def hint_of(kind: str, causes: tuple[str, ...]) -> str:
    """Return what helps against such a failure, empty where nothing general does."""
    if kind != "AllAttemptsFailed":
        return HINTS.get(kind, "")
    kinds = {cause.split(": ")[1] for cause in causes}
    if len(kinds) == 1 and (known := HINTS.get(*kinds)):
        return known
    if kinds & {"Unreachable", "WrongAddress", "TimedOut"}:
        return "`orchestrator doctor --online` tells which addresses answer"
    if kinds & {"RateLimited", "QuotaSpent"}:
        return "wait, or add a key or a provider: `orchestrator providers limits` shows what is left"
    return "the squad's tiers may name further models: `orchestrator providers ls` lists them"


def by_command(hint: str, command: Callable[..., str], run: str) -> str:
    """Return a hint with the commands in it as the user may type them here."""
    parts = hint.split("`")
    for i in range(1, len(parts), 2):
        words = parts[i].split()
        if words[:1] == ["orchestrator"]:
            parts[i] = command(*(run if word == "RUN" else word for word in words[1:]))
    return "`".join(parts)


def _row(event: Document) -> str:
    key = event.get("key")
    return event["task"] if key is None else f"{event['task']}[{key}]"


def _cause(event: Document) -> str:
    who = numbered(f"{event['provider']}/{event['model']}", event.get("account", 1))
    return f"{who}: {event['error']}: {event['detail'] or ''}"
