"""Providers that fail as a case says, over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orchestrator.evals.runner import CaseRunner
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from providers.documents.yaml import parse_file
from tests.loopback import Loopback

pytestmark = pytest.mark.anyio
SQUAD = {
    "name": "one",
    "agents": {"ann": {"role": "Says."}},
    "tasks": {"a": {"agent": "ann", "description": "Say it."}, "b": {"agent": "ann", "description": "Say it too."}},
}


def suite(folder: Path, faults: list[str], failovers: object) -> Suite:
    (folder / "one.yaml").write_text(yaml.safe_dump(SQUAD))
    case = {
        "name": "survives",
        "with": {"faults": {"local": faults}},
        "expect": {"run": {"failovers": failovers, "turns": 2}},
    }
    file = folder / "one.test.yaml"
    file.write_text(yaml.safe_dump({"squad": "one.yaml", "cases": [case]}))
    return load_suite(parse_file(str(file)), lambda path, tools: Squad.from_file(path, tools=tools))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("faults", "failovers", "calls"),
    [
        (["503"], 1, 2),
        (["ok"], 0, 2),
        (["reset", "ok", "500"], 2, 2),
        (["429"], 1, 2),
    ],
)
async def test_the_first_calls_end_as_the_case_says(
    tmp_path: Path, loopback: Loopback, faults: list[str], failovers: int, calls: int
) -> None:
    made = suite(tmp_path, faults, failovers)
    options = RunOptions(environ={"LOCAL_BASE_URL": loopback.url("ok")})
    result = await CaseRunner(made, options).live(made.spec.cases[0], record=True)
    assert result.verdict == "passed", [check.message for check in result.attempts[0].failed_checks]
    assert len(loopback.requests) == calls, "a call that ended in a fault was not sent"
    again = await CaseRunner(made).offline(made.spec.cases[0])
    assert again.verdict == "passed", "the recording has the attempts that failed"
    other = suite(tmp_path, ["500", "500"], failovers)
    assert (await CaseRunner(other).offline(other.spec.cases[0])).verdict == "stale"
