"""What a run results in, and what becomes of it where that cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio

SKIPPED = {"agent": "ann", "description": "x", "if": "${{ false }}"}


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("${{ tasks.a.output }} and ${{ tasks.a.output }}", "262,144 characters"),
        ("${{ tasks.a.output.name }}", "'name' is unknown"),
        ("${{ tasks[inputs.name].output }}", "unknown"),
        ("${{ tasks.b.output | length }}", "length"),
    ],
)
async def test_an_output_that_cannot_be_told_fails_the_run_and_says_why(output: str, why: str) -> None:
    inputs = {"name": {"type": "string", "default": "nobody"}}
    tasks = {"a": {"agent": "ann", "description": "x", "output_schema": {}}, "b": SKIPPED}
    given = squad(tasks, inputs=inputs, outputs={"bad": output, "good": "it is ${{ tasks.a.status }}"})
    result, events = await run(given, Answers(lambda agent, request: '"' + "x" * 200_000 + '"'))
    assert result.status == "failed"
    assert result.tasks == {"a": "ok", "b": "skipped"}
    assert result.outputs == {"bad": None, "good": "it is ok"}
    assert list(result.output_errors) == ["bad"]
    assert why in result.output_errors["bad"]
    assert events[-1].data.output_errors == result.output_errors


async def test_what_a_skipped_task_or_a_failed_one_that_may_fail_did_not_make_is_none() -> None:
    fails = {"agent": "bob", "description": "x", "continue_on_error": True}
    outputs = {"skipped": "${{ tasks.b.output }}", "failed": "${{ tasks.c.output }}"}
    outputs |= {"else": "${{ tasks.b.output | default('none', true) }}"}

    def answer(agent: str, _: Any) -> str:
        if agent == "bob":
            raise ValueError("no")
        return "done"

    result, _ = await run(squad({"a": "x", "b": SKIPPED, "c": fails}, outputs=outputs), Answers(answer))
    assert (result.status, result.output_errors) == ("done", {})
    assert result.outputs == {"skipped": None, "failed": None, "else": "none"}


async def test_what_a_failed_run_did_not_make_is_no_mistake_of_its_outputs() -> None:
    tasks = {"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "x"}}
    outputs = {"a": "${{ tasks.a.status.nothing }}", "b": "${{ tasks.b.output }}"}

    def answer(agent: str, _: Any) -> str:
        raise ValueError("no")

    result, _ = await run(squad(tasks, outputs=outputs), Answers(answer))
    assert (result.status, result.outputs, result.output_errors) == ("failed", {"a": None, "b": None}, {})


async def test_corrected_outputs_are_told_by_a_resume_that_costs_nothing() -> None:
    journal, manager = MemoryJournal(), Answers(lambda agent, request: '"made"')
    tasks = {"a": {"agent": "ann", "description": "x", "output_schema": {}}}
    async with open_run(
        squad(tasks, outputs={"o": "${{ tasks.a.output.name }}"}), run_id="r", manager=manager, journal=journal
    ) as first:
        async for _ in first:
            pass
    assert first.result.status == "failed"
    assert (await replay(journal, "r")).is_equal
    mended = squad(tasks, outputs={"o": "${{ tasks.a.output }}"})
    async with resume_run(mended, "r", manager=manager, journal=journal, edited=True) as second:
        async for _ in second:
            pass
    assert (second.result.status, second.result.outputs) == ("done", {"o": "made"})
    assert len(manager.asked) == 1
    assert (await replay(journal, "r")).is_equal
