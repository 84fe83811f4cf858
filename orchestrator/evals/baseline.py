"""What live runs are compared with: the figures of earlier ones, in a file beside the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.evals.errors import CaseUnusable
from orchestrator.evals.runner import CaseResult
from orchestrator.evals.spec import BaselineSpec
from orchestrator.evals.verdicts import Drift, Sample, drifts, sample_of

FORMAT = 1


class BaselineUnusable(CaseUnusable):
    """A baseline cannot be read, or is another squad's."""


def read_baseline(file: Path, squad: str) -> dict[str, Sample]:
    """Return the samples of a baseline by case, none where there is no file. Raise `BaselineUnusable`."""
    again = "write it again with --accept"
    try:
        written = json.loads(file.read_text("utf-8"))
        whose = written["squad"]
        samples = {name: Sample.from_json(sample) for name, sample in written["cases"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineUnusable(f"{file} is not a baseline: {error}", again) from error
    if whose != squad:
        raise BaselineUnusable(f"{file} is the baseline of the squad {whose!r}, not of {squad!r}", "name another file")
    return samples


def baseline_text(kept: Mapping[str, Sample], results: Sequence[CaseResult], squad: str) -> str:
    """Return a baseline with the figures of these results; a case that said nothing of the squad keeps what it had."""
    new = {result.case.name: sample_of(result.attempts) for result in results}
    samples = {**kept, **{name: sample for name, sample in new.items() if sample.runs}}
    cases = {name: sample.to_json() for name, sample in samples.items()}
    return json.dumps({"baseline": FORMAT, "squad": squad, "cases": cases}, indent=1, ensure_ascii=False) + "\n"


def worse(kept: Mapping[str, Sample], result: CaseResult, spec: BaselineSpec) -> list[Drift]:
    """Return what is worse in a case than its baseline, be it within the noise."""
    before = kept.get(result.case.name)
    if before is None:
        return []
    told = drifts(before, sample_of(result.attempts), spec.fail_when.model_dump(), spec.confidence)
    return [drift for drift in told if drift.note]
