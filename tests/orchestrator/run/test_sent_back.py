"""A task that runs again after `revise` reads what it had made, beside the reviewer's comment on it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import GateAnswered, GateOpened
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question
from orchestrator.run.worker import SENT_BACK
from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.rerun.test_edit import edit
from tests.orchestrator.run.test_resume import begin, go_on
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio

READS = "# Context: " + SENT_BACK


def gate(*rerun: str, after: str) -> dict[str, Any]:
    approval = {"prompt": "Good?", "show": [after], "choices": ["approve", "revise", "reject"]}
    return {"needs": [after], "approval": approval, "on_revise": {"rerun": list(rerun), "max_attempts": 3}}


def numbered() -> Answers:
    """Each agent numbers its answers: ann 1, ann 2 and so on."""
    said: dict[str, int] = {}

    def answer(agent: str, request: Request) -> str:
        said[agent] = said.get(agent, 0) + 1
        return f"{agent} {said[agent]}"

    return Answers(answer)


async def twice(opened: GateOpened) -> GateAnswered:
    choice = "revise" if opened.attempt < 3 else "approve"
    return GateAnswered(opened.task, choice, f"shorter {opened.attempt}" if choice == "revise" else "", "terminal")


async def test_each_task_that_runs_again_reads_its_own_last_result_with_the_comments() -> None:
    bobs = {"agent": "bob", "needs": ["a"], "context": ["a"], "description": "Edit."}
    manager, journal = numbered(), MemoryJournal()
    given = squad({"a": "Write.", "b": bobs, "gate": gate("a", after="b")})
    result, _ = await run(given, manager, ask=twice, journal=journal, run_id="r")
    assert result.status == "done"
    first, second, third = manager.prompts("ann")
    assert READS not in first
    assert f"{READS}\n\nann 1\n\n# A reviewer asks for changes\n\n- shorter 1\n\n# Task\n\nWrite." in second
    assert f"{READS}\n\nann 2\n\n# A reviewer asks for changes\n\n- shorter 1\n- shorter 2\n\n# Task" in third
    assert f"# Context: a\n\nann 3\n\n{READS}\n\nbob 2\n\n# A reviewer" in manager.prompts("bob")[2]
    assert (await replay(journal, "r")).is_equal


async def test_an_element_reads_its_own_and_a_new_one_has_the_comment_alone() -> None:
    lists = iter(['["x", "y"]', '["y", "z"]'])

    def answer(agent: str, request: Request) -> str:
        return next(lists) if agent == "ann" else f"made of {request.messages[-1].text[-1]}"

    each = {
        "agent": "bob",
        "needs": ["plan"],
        "for_each": "${{ tasks.plan.output }}",
        "description": "Make ${{ item }}",
    }
    plan = {"agent": "ann", "description": "List.", "output_schema": {"type": "array"}}
    manager, journal = Answers(answer), MemoryJournal()
    given = squad({"plan": plan, "each": {**each, "key": "${{ item }}"}, "gate": gate("plan", after="each")})

    async def once(opened: GateOpened) -> GateAnswered:
        return GateAnswered(opened.task, *(("revise", "more") if opened.attempt == 1 else ("approve", "")), "terminal")

    result, _ = await run(given, manager, ask=once, journal=journal, run_id="r")
    assert result.status == "done"
    y, z = sorted(manager.prompts("bob")[2:], key=lambda prompt: prompt[-1])
    assert f"{READS}\n\nmade of y\n\n# A reviewer" in y
    assert READS not in z
    assert "- more" in z
    assert json.dumps(["x", "y"], indent=2) in manager.prompts("ann")[1]
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize("result", [None, "write"])
async def test_steps_read_what_the_steps_made_or_the_one_that_is_the_result(result: str | None) -> None:
    steps = [
        {"id": "write", "agent": "ann", "description": "Write."},
        {"id": "edit", "agent": "bob", "description": "x"},
    ]
    task: dict[str, Any] = {"steps": steps} if result is None else {"steps": steps, "result": result}
    manager = numbered()
    await run(squad({"a": task, "gate": gate("a", after="a")}), manager, ask=twice)
    for prompt in (manager.prompts("ann")[1], manager.prompts("bob")[1]):
        if result is None:
            assert f"{READS}: write\n\nann 1\n\n{READS}: edit\n\nbob 1\n\n" in prompt
        else:
            assert f"{READS}\n\nann 1\n\n" in prompt
            assert "bob 1" not in prompt


async def test_a_result_that_others_wrote_is_fenced_again() -> None:
    inputs = {"mail": {"type": "string", "untrusted": True, "default": "Hello."}}
    manager = numbered()
    await run(
        squad({"a": "Answer ${{ inputs.mail }}", "gate": gate("a", after="a")}, inputs=inputs), manager, ask=twice
    )
    told = manager.prompts("ann")[1].partition(READS)[2].partition("# A reviewer")[0]
    assert "<untrusted " in told.partition("ann 1")[0]


async def test_it_is_read_after_days_in_another_process_and_replays() -> None:
    given, journal = squad({"a": "Write.", "gate": gate("a", after="a")}), MemoryJournal()
    assert (await begin(given, journal, numbered())).status == "waiting"
    await answer_question(journal, "r", None, "revise", "shorter")
    manager = numbered()
    assert (await go_on(given, journal, manager))[0].status == "waiting"
    assert f"{READS}\n\nann 1\n\n# A reviewer" in manager.prompts("ann")[0]
    assert (await replay(journal, "r")).is_equal


async def test_a_task_that_was_edited_meanwhile_begins_anew() -> None:
    journal, tasks = MemoryJournal(), {"a": "Write.", "gate": gate("a", after="a")}
    assert (await begin(squad(tasks), journal, numbered())).status == "waiting"
    await answer_question(journal, "r", None, "revise", "shorter")
    went = await edit({**tasks, "a": "Write well."}, journal)
    assert went.asked == ["Write"]
    assert "ann 1" not in str(went.events)


async def test_a_run_that_an_earlier_release_began_reads_the_comments_alone() -> None:
    given, journal, older = squad({"a": "Write.", "gate": gate("a", after="a")}), MemoryJournal(), MemoryJournal()
    await begin(given, journal, numbered())
    await older.create("r", replace(await journal.manifest("r"), edition=3), await journal.events("r"))
    await answer_question(older, "r", None, "revise", "shorter")
    manager = numbered()
    assert (await go_on(given, older, manager))[0].status == "waiting"
    (prompt,) = manager.prompts("ann")
    assert "- shorter" in prompt
    assert READS not in prompt


@pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)
async def test_a_worker_of_a_cluster_reads_it() -> None:
    manager = numbered()
    async with in_memory_cluster(squad({"a": "Write.", "gate": gate("a", after="a")}), manager) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        await cluster.ended()
        await answer_question(cluster.journal, "r", None, "revise", "shorter")
        await cluster.drive()
        await cluster.ended()
        assert f"{READS}\n\nann 1\n\n# A reviewer" in manager.prompts("ann")[1]
