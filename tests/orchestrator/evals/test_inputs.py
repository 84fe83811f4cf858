"""Inputs of cases: files and images stand beside the test file."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.evals.runner import CaseRunner
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.options import RunOptions
from orchestrator.squad.given_values import RawInput
from orchestrator.squad.load import Squad
from providers.documents.problems import SpecError
from providers.documents.yaml import parse_file
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)
SQUAD = """\
name: looks
inputs: {diff: {type: file}, photo: {type: image}, text: {default: none}}
agents: {ann: {instructions: You look.}}
tasks: {look: {agent: ann, description: "${{ inputs.diff }} ${{ inputs.photo }}"}}
"""
SUITE = """\
squad: ../looks.yaml
cases:
  - name: one
    inputs: {diff: "@a.diff", photo: "@x.png", text: "@ann"}
    expect: {tasks: {look: {output: {contains: seen}}}}
"""


def suite_in(folder: Path) -> Suite:
    (folder / "looks.yaml").write_text(SQUAD)
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "looks.test.yaml").write_text(SUITE)
    return load_suite(parse_file(folder / "tests" / "looks.test.yaml"), lambda file, tools: Squad.from_file(file))


async def test_a_case_names_files_from_the_folder_of_the_test_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no file"):
        suite_in(tmp_path)
    (tmp_path / "tests" / "a.diff").write_text("+ a")
    (tmp_path / "tests" / "x.png").write_bytes(PNG)
    suite = suite_in(tmp_path)
    (case,) = suite.spec.cases
    read = {"diff": RawInput("a.diff", b"+ a"), "photo": RawInput("x.png", PNG), "text": "@ann"}
    assert suite.inputs(case) == read
    live = await CaseRunner(suite, RunOptions(manager=Answers(lambda agent, request: "seen"))).live(case, record=True)
    assert (live.verdict, live.recorded) == ("passed", True)
    assert (await CaseRunner(suite_in(tmp_path)).offline(case)).verdict == "passed"
    (tmp_path / "tests" / "x.png").write_bytes(PNG + b"x")
    assert (await CaseRunner(suite_in(tmp_path)).offline(case)).verdict == "stale"
