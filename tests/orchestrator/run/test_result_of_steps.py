"""`result`: the one step of a task whose output is the task's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.fork import fork_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.fingerprint import changed, dependency_digests, parts_of
from orchestrator.rerun.replay import replay
from providers.messages import Request
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.rerun.test_edit import edit
from tests.orchestrator.run.test_resume import cut, go_on, hanging_at
from tests.orchestrator.squads import Answers, run, squad
from tests.orchestrator.subsquads import written

pytestmark = pytest.mark.anyio

VERDICT = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
WRITE = {"id": "write", "agent": "ann", "description": "Write."}
EDIT = {"id": "edit", "agent": "bob", "description": "Edit.", "output_schema": VERDICT}
LOOP: dict[str, Any] = {
    "steps": [WRITE, EDIT],
    "result": "write",
    "repeat": {"until": "${{ steps.edit.output.ok }}", "max_attempts": 2},
    "output_file": "text.md",
}
READ = {"agent": "cay", "needs": ["story"], "description": "Read."}


def loop(**more: Any) -> dict[str, Any]:
    return {"story": {**LOOP, **more}, "read": READ}


def editing(*verdicts: bool) -> Answers:
    """Ann writes draft 1, draft 2 and so on; Bob's verdicts come in this order."""
    left, drafts = list(verdicts), iter(range(1, 99))

    def answer(agent: str, request: Request) -> str:
        agent = agent.rpartition(".")[2]  # in a sub-squad too
        if agent == "bob":
            return json.dumps({"ok": left.pop(0)})
        return f"draft {next(drafts)}" if agent == "ann" else f"cay: {request.messages[-1].text}"

    return Answers(answer)


def made(tasks: dict[str, Any], outputs: dict[str, str] | None = None, **more: Any) -> Squad:
    return squad(tasks, "ann bob cay", outputs=outputs or {"text": "${{ tasks.story.output }}"}, **more)


async def test_the_task_its_file_and_later_tasks_have_the_output_of_that_step_alone() -> None:
    manager = editing(False, True)
    result, _ = await run(made(loop()), manager)
    assert (result.status, result.outputs, result.texts) == ("done", {"text": "draft 2"}, {"text.md": "draft 2"})
    (read,) = manager.prompts("cay")
    assert "draft 2" in read
    assert "ok" not in read, "the editor's verdict is no part of it"
    assert '"ok": false' in manager.prompts("ann")[1], "the next attempt is told what all steps made"


async def test_it_is_typed_where_the_step_is_and_until_reads_it() -> None:
    tasks = loop(result="edit", repeat={"until": "${{ output.ok }}", "max_attempts": 2})
    result, _ = await run(made(tasks, {"ok": "${{ tasks.story.output.ok }}"}), editing(False, True))
    assert result.outputs == {"ok": True}
    assert json.loads(result.texts["text.md"]) == {"ok": True}
    with pytest.raises(PlanError, match="the output of task 'story' has no 'okay'"):
        made(tasks, {"ok": "${{ tasks.story.output.okay }}"}).plan()
    with pytest.raises(PlanError, match="the output of task 'story' is text and has no 'write'"):
        made(loop(), {"text": "${{ tasks.story.output.write }}"}).plan()


async def test_when_attempts_run_out_the_last_text_is_kept_where_later_tasks_go_on() -> None:
    result, _ = await run(made(loop(continue_on_error=True)), editing(False, False))
    assert (result.outputs["text"], result.texts["text.md"]) == ("draft 2", "draft 2")
    failed, _ = await run(made(loop()), editing(False, False))
    assert (failed.status, failed.outputs["text"], failed.texts) == ("failed", None, {})


async def test_elements_cases_and_sub_squads_have_it_too(tmp_path: Path) -> None:
    each = {"for_each": "${{ ['x', 'y'] }}", "key": "${{ item }}", "output_file": "${{ item }}.md", "max_parallel": 1}
    result, _ = await run(made(loop(**each)), editing(True, True))
    assert result.outputs == {"text": ["draft 1", "draft 2"]}
    assert result.texts == {"x.md": "draft 1", "y.md": "draft 2"}
    case = {"steps": [WRITE, EDIT], "result": "write"}
    switch = {"story": {"switch": {"on": "${{ 'a' }}", "cases": {"a": case, "default": case}}}}
    result, _ = await run(made({**switch, "read": READ}), editing(True))
    assert result.outputs == {"text": "draft 1"}
    people = {name: {"persona": {"name": "T", "role": "Answers.", "tier": "worker"}} for name in ("ann", "bob")}
    inner = {"name": "inner", "agents": people, "tasks": {"story": LOOP}, "outputs": {"a": "${{ tasks.story.output }}"}}
    outputs = {"text": "${{ tasks.whole.output.a }}"}
    path = written(tmp_path, {"whole": {"squad": "inner.yaml"}}, {"inner.yaml": inner}, agents={}, outputs=outputs)
    result, _ = await run(Squad.from_file(path), editing(True))
    assert result.outputs == {"text": "draft 1"}


async def test_workers_of_a_cluster_have_it_too() -> None:
    async with in_memory_cluster(made(loop()), editing(False, True)) as cluster:
        for name in ("one", "two"):
            await cluster.worker(name, 2)
        await cluster.start()
        finished = await cluster.ended()
    assert (finished.status, finished.outputs) == ("done", {"text": "draft 2"})


async def test_a_killed_run_goes_on_with_it_replays_and_is_edited() -> None:
    journal, first = MemoryJournal(), editing(False, True)
    given = made(loop(), outputs={"text": "${{ tasks.story.output }}", "read": "${{ tasks.read.output }}"})
    waits = hanging_at(4, first.answer)
    await cut(given, journal, waits, lambda event: len(waits.asked) == 4)
    assert [agent for agent, _ in waits.asked] == ["ann", "bob", "ann", "bob"]
    second = editing(True)
    result, _ = await go_on(given, journal, second)
    assert (result.status, result.outputs["text"], result.texts["text.md"]) == ("done", "draft 2", "draft 2")
    assert [agent for agent, _ in second.asked] == ["bob", "cay"]
    assert (await replay(journal, "r")).difference is None

    plain = made({"story": {**LOOP, "result": "edit"}, "read": READ}, given.spec.outputs)
    edited = await edit(plain, journal, editing(True))
    assert edited.result.outputs["text"] == {"ok": True}
    async with fork_run(given, "r", journal=journal, manager=editing(True), run_id="f") as forked:
        async for _ in forked:
            pass
    assert forked.result.outputs["text"] == "draft 1"


def test_a_squad_without_it_keeps_the_digests_under_which_earlier_releases_recorded_it() -> None:
    text = """\
name: s
agents: {a: {persona: {name: T, role: Answers., tier: worker}}}
tasks:
  t: {steps: [{id: x, agent: a, description: T.}, {id: y, agent: a, description: T.}]}
"""
    plan, chosen = (Squad.from_text(one).outline() for one in (text, text.replace("]}", "], result: x}")))
    assert parts_of(plan)["task t"] == "166793a2e607e06b"
    assert dependency_digests(plan)["t"] == "938b24f8dd6a230b"
    assert changed(parts_of(plan), parts_of(chosen)) == ["task t"]
    assert dependency_digests(chosen)["t"] != "938b24f8dd6a230b"


def test_a_forecast_sends_that_output_alone_to_later_tasks() -> None:
    whole = {name: value for name, value in loop()["story"].items() if name not in ("result", "repeat")}
    sizes = []
    for more in ({}, {"result": "write"}):
        plan = made({"story": {**whole, **more}, "read": READ}).outline()
        (read,) = (turn for turn in expect(plan, Assumptions(), lambda tokens: 1.0).turns if turn.task == "read")
        sizes.append(read.input_tokens)
    assert sizes[0] > sizes[1]


MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "misspelt": ({"steps": [WRITE, EDIT], "result": "wrte"}, "unknown-step", "did you mean 'write'"),
    "may be skipped": ({"steps": [{**WRITE, "if": "${{ true }}"}], "result": "write"}, "invalid-value", "always done"),
    "of an agent": ({"agent": "ann", "description": "x", "result": "write"}, "misplaced-field", "one of 'steps'"),
    "other word": ({"steps": [WRITE], "returns": "write"}, "unknown-field", "did you mean 'result'"),
    "in a case": (
        {"switch": {"on": "${{ 'a' }}", "cases": {"a": {"steps": [WRITE], "result": "wrte"}}}},
        "unknown-step",
        "did you mean 'write'",
    ),
}


@pytest.mark.parametrize("which", MISTAKES)
def test_mistakes_are_told_before_a_run(which: str) -> None:
    task, code, hint = MISTAKES[which]
    with pytest.raises(PlanError) as raised:
        squad({"story": task}, "ann bob").plan()
    (problem,) = [one for one in raised.value.problems if one.severity == "error"]
    assert problem.code == code
    assert hint in problem.hint
