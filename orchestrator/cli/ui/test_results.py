"""The results of test files as people and machines read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from orchestrator.cli.ui.figures import duration, usd
from orchestrator.evals.junit import junit_of
from orchestrator.evals.runner import CaseResult
from orchestrator.evals.suite import Suite
from orchestrator.evals.verdicts import CaseRun, Drift


class SuiteResults(NamedTuple):
    """What came of the cases of one test file that were chosen."""

    suite: Suite
    cases: Sequence[CaseResult]


class CaseDrift(NamedTuple):
    """A figure of a case that is worse than its baseline."""

    suite: Suite
    case: str
    drift: Drift


def case_line(result: CaseResult) -> str:
    facts = [attempt.facts for attempt in result.attempts if attempt.facts is not None]
    passed = sum(attempt.outcome == "passed" for attempt in result.attempts)
    rate = f"  {passed}/{len(result.attempts)}" if len(result.attempts) > 1 else ""
    cost = sum(one.cost or 0.0 for one in facts)
    took = sum(one.seconds for one in facts)
    stub = "  (answered by the offline stub)" if any(one.stub for one in facts) else ""
    return f"{result.verdict:7} {result.case.name}{rate}  {duration(took)}  {usd(cost)}{stub}"


def why_lines(suite: Suite, result: CaseResult) -> list[str]:
    """Return what did not hold, each with its line in the test file."""
    lines = []
    for number, attempt in enumerate(result.attempts, 1):
        which = f"run {number}: " if len(result.attempts) > 1 else ""
        lines += [f"  {which}{line}" if i == 0 else f"    {line}" for i, line in enumerate(attempt.why.splitlines())]
        for check in attempt.failed_checks:
            place = suite.line_of_check(result.case, check.path)
            lines.append(f"  {which}{suite.file.name}:{place}: {check.message}")
    return lines


def document_of(results: Iterable[SuiteResults], drifted: Iterable[CaseDrift]) -> dict[str, Any]:
    """Return all results as one JSON document."""
    return {
        "schema_version": 1,
        "cases": [_case_document(one.suite, result) for one in results for result in one.cases],
        "baseline": [{"case": one.case, **_drift_document(one.drift)} for one in drifted],
    }


def _case_document(suite: Suite, result: CaseResult) -> dict[str, Any]:
    runs = [_run_document(attempt) for attempt in result.attempts]
    return {"file": str(suite.file), "case": result.case.name, "verdict": result.verdict, "runs": runs}


def _run_document(attempt: CaseRun) -> dict[str, Any]:
    facts = attempt.facts
    checks = [{"path": list(c.path), "ok": c.ok, "message": "" if c.ok else c.message} for c in attempt.checks]
    return {
        "outcome": attempt.outcome,
        "why": attempt.why,
        "run_id": None if facts is None else facts.run_id,
        "cost_usd": None if facts is None else facts.cost,
        "checks": checks,
    }


def _drift_document(drift: Drift) -> dict[str, Any]:
    before_and_now = {"before": drift.before, "now": drift.now}
    return {"figure": drift.figure, **before_and_now, "fails": drift.fails, "note": drift.note}


def drift_line(drift: Drift) -> str:
    return f"{drift.figure} {drift.before:g} -> {drift.now:g}: {drift.note}"


def _worse(drifted: Sequence[CaseDrift], suite: Suite) -> dict[str, list[str]]:
    """Return what fails in a suite's cases for being worse than the baseline, by case."""
    found: dict[str, list[str]] = {}
    for one in drifted:
        if one.suite is suite and one.drift.fails:
            found.setdefault(one.case, []).append(f"worse than the baseline: {drift_line(one.drift)}")
    return found


def junit_document(results: Sequence[SuiteResults], drifted: Sequence[CaseDrift]) -> str:
    """Return all results as one JUnit document. A case that is worse than its baseline, beyond chance, has failed."""
    parts = [
        junit_of(suite.spec.squad, str(suite.file), cases, suite.line_of_check, _worse(drifted, suite))
        for suite, cases in results
    ]
    suites = [part.partition("<testsuites>")[2].rpartition("</testsuites>")[0] for part in parts]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>{"".join(suites)}</testsuites>\n'
