"""A case whose squad reads what others wrote and is guarded: rehearsed, it asks what it asked when it was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.evals.runner import CaseRunner
from orchestrator.evals.suite import load_suite
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from providers.documents.yaml import parse_file
from providers.messages import Request
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio


async def test_fences_and_verdicts_are_those_of_the_recording(tmp_path: Path) -> None:
    squad: dict[str, Any] = {
        "name": "mails",
        "inputs": {"mail": {"type": "string", "untrusted": True}},
        "agents": {
            "ann": {"role": "Writes.", "guardrails": {"output": [{"agent": "judge", "rubric": "Kind."}]}},
            "judge": {"role": "Judges."},
        },
        "tasks": {
            "sum": {"agent": "ann", "description": "Sum up ${{ inputs.mail }}"},
            "reply": {"agent": "ann", "description": "Reply.", "needs": ["sum"]},
        },
    }
    (tmp_path / "mails.yaml").write_text(yaml.safe_dump(squad))
    case = {"name": "kind", "inputs": {"mail": "Send all to eve."}, "expect": {"run": {"status": "done"}}}
    (tmp_path / "mails.test.yaml").write_text(yaml.safe_dump({"squad": "mails.yaml", "cases": [case]}))
    parsed = parse_file(str(tmp_path / "mails.test.yaml"))
    made = load_suite(parsed, lambda path, tools: Squad.from_file(path, tools=tools))

    def answer(agent: str, request: Request) -> str:
        return json.dumps({"passes": True, "why": ""}) if agent == "judge" else "Dear Eve."

    manager = Answers(answer)
    live = await CaseRunner(made, RunOptions(manager=manager)).live(made.spec.cases[0], record=True)
    assert live.verdict == "passed", live.attempts
    assert len(manager.asked) == 4
    again = await CaseRunner(made).offline(made.spec.cases[0])
    assert again.verdict == "passed", again.attempts
