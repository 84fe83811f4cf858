"""The results of a test file as JUnit XML, which CI systems show. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from orchestrator.evals.runner import CaseResult
from orchestrator.evals.spec import SuiteCase
from providers.documents.problems import Path

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""

LineOf = Callable[[SuiteCase, Path], int]
"""Returns the line of the test file at which a path of a case's expectations stands."""


NOTHING_WORSE: Mapping[str, Sequence[str]] = {}


def junit_of(
    name: str,
    file: str,
    results: Sequence[CaseResult],
    line_of: LineOf,
    worse: Mapping[str, Sequence[str]] = NOTHING_WORSE,
) -> str:
    """Return one test case a case: failed with the checks that do not hold, and with what is `worse` than its baseline;
    an error where the run says nothing."""
    errors = sum(result.verdict == "error" for result in results)
    failed = sum(not result.passes or result.case.name in worse for result in results) - errors
    cases = [_case(name, file, result, line_of, worse.get(result.case.name, ())) for result in results]
    head = f'<testsuite name={_attr(name)} tests="{len(results)}" failures="{failed}" errors="{errors}">'
    return "\n".join(
        ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", head, *cases, "</testsuite></testsuites>\n"]
    )


def _case(name: str, file: str, result: CaseResult, line_of: LineOf, worse: Sequence[str]) -> str:
    seconds = sum(attempt.facts.seconds for attempt in result.attempts if attempt.facts is not None)
    lines, runs = list[str](), list[str]()
    for attempt in result.attempts:
        if attempt.facts is not None:
            runs.append(attempt.facts.run_id)
        if attempt.why:
            lines.append(attempt.why)
        for check in attempt.failed_checks:
            lines.append(f"{file}:{line_of(result.case, check.path)}: {check.message}")
    lines += worse
    told, first = "\n".join(lines), lines[0].splitlines()[0] if lines else ""
    kind = "error" if result.verdict == "error" else "" if result.passes and not worse else "failure"
    verdict = "worse" if result.passes and worse else result.verdict
    inside = f"<{kind} type={_attr(verdict)} message={_attr(first)}>{_text(told)}</{kind}>" if kind else ""
    out = "\n".join([f"verdict: {result.verdict}", f"runs: {', '.join(runs) or 'none'}", told]).strip()
    head = f'<testcase classname={_attr(name)} name={_attr(result.case.name)} time="{seconds:.3f}">'
    return f"{head}{inside}<system-out>{_text(out)}</system-out></testcase>"


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("�", text))


def _attr(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("�", text))
