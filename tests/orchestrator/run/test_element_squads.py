"""Sub-squads for each element of a list: their names, values, failures, budgets, people, resumes, replays, edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import GateAnswered, GateOpened, RunResult
from orchestrator.fork import fork_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from providers.errors import AllAttemptsFailed, ServerFault
from providers.messages import Request
from tests.orchestrator.squads import Answers, of_type, run
from tests.orchestrator.subsquads import OUTER, REVIEW, edited, made

pytestmark = pytest.mark.anyio

EACH: dict[str, Any] = {
    "squad": "review.yaml",
    "for_each": "${{ inputs.stories }}",
    "key": "${{ item }}",
    "with": {"draft": "${{ item }}"},
}
TASKS: dict[str, Any] = {
    "review": EACH,
    "end": {"agent": "ann", "needs": ["review"], "description": "End with ${{ tasks.review.output[0].verdict }}"},
}


def inputs(*stories: Any) -> dict[str, Any]:
    return {"stories": {"type": "list", "default": list(stories)}}


def each(tasks: dict[str, Any] = TASKS, **more: Any) -> dict[str, Any]:
    return {**tasks, "review": {**tasks["review"], **more}}


def said(agent: str, request: Request) -> str:
    last = request.messages[-1].text.splitlines()[-1]
    if "broken" in last and agent == "review.ann":
        raise ServerFault("down")
    return f"{agent}<{last}>"


def asked(manager: Answers) -> list[str]:
    return [agent for agent, _ in manager.asked]


async def test_each_element_has_a_sub_squad_of_its_own(tmp_path: Path) -> None:
    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path, TASKS, inputs=inputs("one", "two"), outputs={"all": "${{ tasks.review.output }}"})
    result, events = await run(squad, manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert result.outputs["all"] == [
        {"notes": f"review.ann<Check {one}>", "verdict": "review.bob<Judge it.>"} for one in ("one", "two")
    ]
    assert list(result.tasks)[:6] == [
        *("review.inputs", "review@one.inputs", "review@one.check", "review@one.judge", "review@one"),
        "review@two.inputs",
    ]
    assert asked(manager) == ["review.ann", "review.ann", "review.bob", "review.bob", "ann"]
    second = [
        prompt for prompt in manager.prompts("review.bob") if "# Context: check\n\nreview.ann<Check two>" in prompt
    ]
    assert len(second) == 1
    (found,) = [one for one in of_type(events, "task.ended") if one.task == "review.inputs"]
    assert found.output == {"keys": ["one", "two"], "items": ["one", "two"]}
    assert (await replay(journal, "r")).is_equal


async def test_odd_keys_are_names_that_can_be_read_again(tmp_path: Path) -> None:
    keys = ["a.b/c", "🙂", "", "x].y[z", "%2E", "@*", "new\nline", "A b#2"]
    journal = MemoryJournal()
    squad = made(tmp_path, TASKS, inputs=inputs(*keys), outputs={"all": "${{ tasks.review.output }}"})
    result, _ = await run(squad, Answers(said), journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert len(result.outputs["all"]) == len(keys)
    assert {"review@a%2Eb%2Fc.check", "review@🙂.check", "review@.check", "review@%252E.check"} <= result.tasks.keys()
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize(
    ("stories", "told"),
    [
        (["one", "one"], "the key 'one' stands for 2 elements"),
        (["one"] * 1001, "has 1001 elements, more than its cap of 1000"),
        ([str(i) for i in range(1000)], "the run has 10,0"),
    ],
)
@pytest.mark.few(1)
async def test_what_cannot_be_fanned_out_fails_the_task(tmp_path: Path, stories: list[str], told: str) -> None:
    many = {f"t{i}": {"agent": "bob", "description": "x"} for i in range(6)}
    review = {**REVIEW, "tasks": {**REVIEW["tasks"], **many}}
    plan = {"agent": "ann", "description": "List.", "output_schema": {"type": "array"}}
    tasks = {"plan": plan, **each(for_each="${{ tasks.plan.output }}", needs=["plan"])}

    def answer(agent: str, _: Request) -> Any:
        return str(stories).replace("'", '"') if agent == "ann" else "x"

    result, events = await run(made(tmp_path, tasks, {"review.yaml": review}), Answers(answer))
    assert result.status == "failed"
    ended = {one.task: one for one in of_type(events, "task.ended")}
    assert {(ended[name].status, ended[name].error_kind) for name in ("review.inputs", "review")} == {
        ("failed", "BadFanOut")
    }
    assert told in str(ended["review"].error)


async def test_no_elements_are_an_empty_list(tmp_path: Path) -> None:
    squad = made(tmp_path, {"review": EACH}, agents={}, inputs=inputs(), outputs={"all": "${{ tasks.review.output }}"})
    result, _ = await run(squad, Answers(said))
    assert (result.status, result.outputs) == ("done", {"all": []})


@pytest.mark.parametrize("fail_fast", [True, False])
@pytest.mark.few(1)
async def test_a_failed_element_fails_the_list_and_may_stop_it(tmp_path: Path, fail_fast: bool) -> None:
    tasks = each(fail_fast=fail_fast, max_parallel=1)
    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path, tasks, inputs=inputs("one", "broken", "three"))
    result, events = await run(squad, manager, journal=journal, run_id="r")
    assert result.status == "failed"
    (end,) = [one for one in of_type(events, "task.ended") if one.task == "review"]
    assert end.failed == (("broken", "three") if fail_fast else ("broken",))
    assert str(end.error).startswith("1 of 3 failed: broken")
    assert [one and one["notes"] for one in end.output] == [
        "review.ann<Check one>",
        None,
        None if fail_fast else "review.ann<Check three>",
    ]
    assert result.tasks["review@three"] == ("cancelled" if fail_fast else "ok")
    assert (await replay(journal, "r")).is_equal


@pytest.mark.long
async def test_the_run_goes_on_where_the_list_may_fail(tmp_path: Path) -> None:
    tasks = each(continue_on_error=True)
    tasks["end"] = {**TASKS["end"], "description": "End ${{ tasks.review.failed }}"}
    result, _ = await run(made(tmp_path, tasks, inputs=inputs("one", "broken")), Answers(said))
    assert (result.status, result.tasks["end"]) == ("done", "ok")


@pytest.mark.long
async def test_so_many_are_at_work_at_once_as_it_says(tmp_path: Path) -> None:
    manager = Answers(said)
    await run(made(tmp_path, each(max_parallel=1), inputs=inputs("one", "two")), manager)
    assert asked(manager) == ["review.ann", "review.bob", "review.ann", "review.bob", "ann"]


async def test_it_is_skipped_whole(tmp_path: Path) -> None:
    squad = made(tmp_path, {"review": {**EACH, "if": False}}, agents={}, inputs=inputs("one"))
    result, _ = await run(squad, Answers(said))
    assert result.tasks == {"review.inputs": "skipped", "review": "skipped"}


@pytest.mark.parametrize(("where", "turns", "who"), [("task", 3, "task review"), ("file", 1, "task review@one")])
@pytest.mark.few(1)
async def test_a_budget_of_the_task_spans_all_and_one_of_the_file_each(
    tmp_path: Path, where: str, turns: int, who: str
) -> None:
    caps = {"budget": {"max_turns": turns}}
    tasks = each(max_parallel=1, fail_fast=False, **(caps if where == "task" else {}))
    manager = Answers(said)
    files = {"review.yaml": {**REVIEW, **(caps if where == "file" else {})}}
    result, events = await run(made(tmp_path, tasks, files, inputs=inputs("one", "two")), manager)
    assert result.status in ("stopped", "failed")
    assert of_type(events, "budget.reached")[0].which == who
    assert len(asked(manager)) == (3 if where == "task" else 2)


@pytest.mark.long
async def test_squads_within_squads_for_each_element_of_each(tmp_path: Path) -> None:
    inner = {**EACH, "for_each": "${{ inputs.parts }}", "key": "${{ item }}"}
    middle = {
        "name": "middle",
        "inputs": {"parts": {"type": "list"}},
        "tasks": {"review": inner, "plain": {"squad": "review.yaml", "with": {"draft": "plain"}}},
        "outputs": {"all": "${{ tasks.review.output }}"},
    }
    tasks = {"mid": {**EACH, "squad": "middle.yaml", "key": "${{ item[0] }}", "with": {"parts": "${{ item }}"}}}
    journal, manager = MemoryJournal(), Answers(said)
    files = {"middle.yaml": middle, "review.yaml": REVIEW}
    more = {"agents": {}, "inputs": inputs(["a", "b"], ["c"]), "outputs": {"all": "${{ tasks.mid.output }}"}}
    result, _ = await run(made(tmp_path, tasks, files, **more), manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    notes = [[one["notes"] for one in part["all"]] for part in result.outputs["all"]]
    assert notes == [["mid.review.ann<Check a>", "mid.review.ann<Check b>"], ["mid.review.ann<Check c>"]]
    assert {"mid@a.review@b.check", "mid@c.review@c.judge", "mid@a.plain.check"} <= result.tasks.keys()
    assert (await replay(journal, "r")).is_equal


GATE = {"needs": ["check"], "approval": {"prompt": "Good: ${{ tasks.check.output }}?", "show": ["check"]}}
GATE |= {"on_revise": {"rerun": ["check"], "max_attempts": 2}}
ASKING = edited(edited(REVIEW, "gate", **GATE), "judge", needs=["gate"], context=["check"])


async def test_people_are_asked_by_element_and_have_one_done_again(tmp_path: Path) -> None:
    questions: list[GateOpened] = []

    async def ask(gate: GateOpened) -> GateAnswered:
        questions.append(gate)
        again = gate.task == "review@two.gate" and gate.attempt == 1
        return GateAnswered(gate.task, "revise" if again else "approve", "shorter", "terminal")

    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path, TASKS, {"review.yaml": ASKING}, inputs=inputs("one", "two"))
    result, _ = await run(squad, manager, journal=journal, run_id="r", ask=ask)
    assert result.status == "done"
    assert sorted(one.task for one in questions) == ["review@one.gate", "review@two.gate", "review@two.gate"]
    assert asked(manager).count("review.ann") == 3
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize("second", [["one", "two"], ["two", "three"], []])
@pytest.mark.few(1)
async def test_a_person_has_the_whole_list_done_again(tmp_path: Path, second: list[str]) -> None:
    lists = iter([["one", "two"], second])

    def answer(agent: str, request: Request) -> str:
        return str(next(lists)).replace("'", '"') if "List." in request.messages[-1].text else said(agent, request)

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "revise" if gate.attempt == 1 else "approve", "more", "terminal")

    gate = {"needs": ["review"], "approval": {"prompt": "Good?", "choices": ["approve", "revise"]}}
    gate |= {"on_revise": {"rerun": ["plan"], "max_attempts": 1}}
    plan = {"agent": "ann", "description": "List.", "output_schema": {"type": "array"}}
    tasks = {"plan": plan, "review": {**EACH, "needs": ["plan"], "for_each": "${{ tasks.plan.output }}"}, "gate": gate}
    journal, manager = MemoryJournal(), Answers(answer)
    squad = made(tmp_path, tasks, outputs={"all": "${{ tasks.review.output }}"})
    result, _ = await run(squad, manager, ask=ask, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert [one["notes"] for one in result.outputs["all"]] == [f"review.ann<Check {one}>" for one in second]
    assert asked(manager).count("review.ann") == 2 + len(second)
    assert {name for name in result.tasks if name.startswith("review@") and "." not in name} == {
        f"review@{one}" for one in second
    }
    assert (await replay(journal, "r")).is_equal


async def resumed(squad: Any, journal: MemoryJournal, manager: Answers, **more: Any) -> RunResult:
    async with resume_run(squad, "r", journal=journal, manager=manager, **more) as opened:
        assert [event async for event in opened]
    return opened.result


async def test_it_waits_for_answers_and_goes_on_in_another_process(tmp_path: Path) -> None:
    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path, TASKS, {"review.yaml": ASKING}, inputs=inputs("one", "two"))
    result, _ = await run(squad, manager, journal=journal, run_id="r")
    assert (result.status, set(result.waiting)) == ("waiting", {"review@one.gate", "review@two.gate"})

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "approve", "", "terminal")

    before = len(manager.asked)
    assert (await resumed(squad, journal, manager, ask=ask)).status == "done"
    assert asked(manager)[before:] == ["review.bob", "review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal


async def test_an_edit_of_the_file_asks_again_in_each_element_what_it_touches(tmp_path: Path) -> None:
    journal, stories = MemoryJournal(), inputs("one", "two")
    await run(made(tmp_path, TASKS, inputs=stories), Answers(said), journal=journal, run_id="r")
    manager = Answers(said)
    after = made(tmp_path, TASKS, {"review.yaml": edited(REVIEW, "judge", description="Anew.")}, inputs=stories)
    assert (await resumed(after, journal, manager, edited=True)).status == "done"
    assert asked(manager) == ["review.bob", "review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal
    manager = Answers(said)
    longer = made(tmp_path, each(key="x${{ item }}"), inputs=stories)
    result = await resumed(longer, journal, manager, edited=True)
    assert result.status == "done"
    assert asked(manager) == ["review.ann", "review.ann", "review.bob", "review.bob", "ann"]
    assert "review@xone" in result.tasks
    assert "review@one" not in result.tasks
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize(
    ("start", "again"),
    [
        ("review", ["review.ann", "review.ann", "review.bob", "review.bob", "ann"]),
        ("review@two", ["review.ann", "review.bob", "ann"]),
        ("review@two.judge", ["review.bob", "ann"]),
    ],
)
@pytest.mark.few(1)
async def test_a_fork_does_all_elements_anew_or_one_or_a_task_of_one(
    tmp_path: Path, start: str, again: list[str]
) -> None:
    journal, manager, stories = MemoryJournal(), Answers(said), inputs("one", "two")
    squad = made(tmp_path, TASKS, inputs=stories)
    await run(squad, Answers(said), journal=journal, run_id="r")
    async with fork_run(squad, "r", journal=journal, manager=manager, run_id="f", start=start) as opened:
        assert [event async for event in opened]
    assert opened.result.status == "done"
    assert asked(manager) == again
    assert (await replay(journal, "f")).is_equal


@pytest.mark.long
@pytest.mark.parametrize("after", range(1, 11))
async def test_a_run_that_was_cut_short_anywhere_goes_on_as_if_nothing_were(tmp_path: Path, after: int) -> None:
    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path, each(max_parallel=1), inputs=inputs("one", "two"))
    ends = 0
    async with open_run(squad, journal=journal, manager=manager, run_id="r") as opened:
        async for event in opened:
            ends += event.type == "task.ended"
            if ends == after:
                opened.stop()
    if opened.result.status == "cancelled":
        assert (await resumed(squad, journal, manager)).status == "done"
    assert asked(manager) == ["review.ann", "review.bob", "review.ann", "review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal


RETRY = {"max_attempts": 3, "on": ["provider"]}


def failing_at_first(times: int, who: str = "review.bob") -> Answers:
    left = [times]

    def answer(agent: str, request: Request) -> str:
        if agent == who and left[0]:
            left[0] -= 1
            raise AllAttemptsFailed("all failed", [ServerFault("down")])
        return said(agent, request)

    return Answers(answer)


@pytest.mark.parametrize(("times", "status"), [(2, "done"), (3, "failed")])
@pytest.mark.few(1)
async def test_a_sub_squad_that_failed_is_done_anew_as_often_as_it_says(
    tmp_path: Path, times: int, status: str
) -> None:
    tasks = {**OUTER, "review": {**OUTER["review"], "retry": RETRY}}
    journal, manager = MemoryJournal(), failing_at_first(times)
    result, events = await run(made(tmp_path, tasks), manager, journal=journal, run_id="r")
    assert result.status == status
    assert [(one.task, one.attempt) for one in of_type(events, "task.retried")] == [("review", 1), ("review", 2)]
    assert asked(manager).count("review.ann") == 3
    assert (await replay(journal, "r")).is_equal


@pytest.mark.long
async def test_a_failure_of_another_kind_is_not_tried_again(tmp_path: Path) -> None:
    tasks = {**OUTER, "review": {**OUTER["review"], "retry": {**RETRY, "on": ["tool"]}}}
    result, events = await run(made(tmp_path, tasks), failing_at_first(1))
    assert (result.status, of_type(events, "task.retried")) == ("failed", [])


async def test_each_element_is_tried_again_by_itself(tmp_path: Path) -> None:
    journal, manager = MemoryJournal(), failing_at_first(1)
    squad = made(tmp_path, each(retry=RETRY), inputs=inputs("one", "two"))
    result, events = await run(squad, manager, journal=journal, run_id="r")
    assert result.status == "done"
    assert [one.task for one in of_type(events, "task.retried")] in (["review@one"], ["review@two"])
    assert asked(manager).count("review.ann") == 3
    assert (await replay(journal, "r")).is_equal


@pytest.mark.long
@pytest.mark.parametrize("after", range(1, 16))
async def test_a_run_that_was_cut_short_around_a_retry_goes_on(tmp_path: Path, after: int) -> None:
    journal, manager = MemoryJournal(), failing_at_first(1)
    squad = made(tmp_path, {**OUTER, "review": {**OUTER["review"], "retry": RETRY}})
    seen = 0
    async with open_run(squad, journal=journal, manager=manager, run_id="r") as opened:
        async for event in opened:
            seen += event.type.startswith("task.")
            if seen == after:
                opened.stop()
    if opened.result.status == "cancelled":
        assert (await resumed(squad, journal, manager)).status == "done"
    assert asked(manager) == ["ann", "review.ann", "review.bob", "review.ann", "review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal


async def test_a_sub_squad_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    class Slow(Answers):
        async def complete(self, request: Request, **more: Any) -> Any:
            if request.needs.agent == "review.bob":
                await anyio.sleep_forever()
            return await super().complete(request, **more)

    tasks = {**OUTER, "review": {**OUTER["review"], "timeout": "300ms", "continue_on_error": True}}
    tasks["end"] = {**OUTER["end"], "description": "End after ${{ tasks.review.status }}"}
    journal = MemoryJournal()
    result, events = await run(made(tmp_path, tasks), Slow(said), journal=journal, run_id="r")
    assert result.status == "done"
    ended = {one.task: one for one in of_type(events, "task.ended")}
    assert (ended["review"].error_kind, ended["end"].status) == ("TaskTimedOut", "ok")
    assert "the sub-squad review took longer than 0.3 s" in str(ended["review"].error)
    assert (await replay(journal, "r")).is_equal
