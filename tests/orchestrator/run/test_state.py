"""What may happen next: the pure heart of a run."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events import (
    ElementEnded,
    ElementStarted,
    GateAnswered,
    GateOpened,
    TaskEnded,
    TaskExpanded,
    TaskParked,
    TaskReset,
    TaskStarted,
)
from orchestrator.run.actions import next_action
from orchestrator.run.state import RunState
from orchestrator.squad.graph import between
from orchestrator.squad.plan import AgentWork, Approval, ForEach, Plan, TaskPlan
from personas.sandbox import Sandbox

text = Sandbox().expression_text
WORK = AgentWork("mary", text("Do it."))


def task(name: str, *needs: str, **more: Any) -> TaskPlan:
    return TaskPlan(**{"id": name, "work": WORK, "needs": needs, "context": needs, **more})


def state_of(*tasks: TaskPlan, **more: Any) -> RunState:
    return RunState(Plan("p", {t.id: t for t in tasks}, **more))


def advance(state: RunState) -> list[Any]:
    """Let all happen that may happen now."""
    happened = []
    while (event := next_action(state)) is not None:
        state.apply(event)
        happened.append(event)
    return happened


def started(events: Sequence[Any]) -> list[str]:
    return [getattr(e, "key", e.task) for e in events if isinstance(e, TaskStarted | ElementStarted)]


def test_a_task_starts_the_moment_its_own_needs_are_met() -> None:
    state = state_of(task("a"), task("b"), task("c", "a"), task("d", "c", "b"))
    assert started(advance(state)) == ["a", "b"]
    state.apply(TaskEnded("a", "ok", "A"))
    assert started(advance(state)) == ["c"], "b, of the same level, still runs"
    state.apply(TaskEnded("c", "ok", "C"))
    assert advance(state) == []
    state.apply(TaskEnded("b", "ok", "B"))
    assert started(advance(state)) == ["d"]
    state.apply(TaskEnded("d", "ok", "D"))
    assert (advance(state), state.verdict()) == ([], "done")


def test_no_more_start_than_there_are_slots() -> None:
    state = state_of(*(task(f"t{n}") for n in range(5)), max_parallel=2)
    assert started(advance(state)) == ["t0", "t1"]
    state.apply(TaskEnded("t1", "ok"))
    assert started(advance(state)) == ["t2"]


def test_a_failure_reaches_exactly_those_that_need_it() -> None:
    state = state_of(task("a"), task("b", "a"), task("c", "b"), task("other"))
    advance(state)
    state.apply(TaskEnded("a", "failed", error="boom", error_kind="ServerFault"))
    cancelled = {e.task: e.error for e in advance(state)}
    assert cancelled == {"b": "needs a, which was failed", "c": "needs b, which was cancelled"}
    state.apply(TaskEnded("other", "ok"))
    assert state.verdict() == "failed"


def test_continue_on_error_lets_the_others_go_on() -> None:
    state = state_of(task("a", continue_on_error=True), task("b", "a"))
    advance(state)
    state.apply(TaskEnded("a", "failed", error="boom"))
    assert started(advance(state)) == ["b"]
    state.apply(TaskEnded("b", "ok"))
    assert state.verdict() == "done"
    assert state.values["tasks"]["a"]["status"] == "failed"


def test_fail_fast_starts_nothing_more() -> None:
    state = state_of(task("a"), task("b", "a"), task("c"), task("d", "c"), fail_fast=True)
    advance(state)
    state.apply(TaskEnded("a", "failed", error="boom"))
    state.apply(TaskEnded("c", "ok"))
    assert advance(state) == []
    assert state.verdict() == "failed"


def test_a_task_skipped_by_its_own_if_satisfies_its_dependents() -> None:
    state = state_of(task("a", condition=text("${{ inputs.go }}")), task("b", "a"), inputs={"go": False})
    assert [type(e).__name__ for e in advance(state)] == ["TaskEnded", "TaskStarted"]
    assert state.tasks["a"].status == "skipped"


def test_an_if_that_cannot_be_evaluated_fails_the_task() -> None:
    state = state_of(task("a", condition=text("${{ inputs.missing }}")))
    (ended,) = advance(state)
    assert (ended.status, ended.error_kind) == ("failed", "TemplateError")
    assert "missing" in ended.error


def fan(**more: Any) -> TaskPlan:
    each = ForEach(text("${{ inputs.stories }}"), text("${{ story.id }}"), item="story", **more)
    return task("build", for_each=each)


STORIES: Mapping[str, Any] = {"stories": [{"id": "S-1"}, {"id": "S-2"}, {"id": "S-3"}]}


def test_a_fan_out_is_bounded_and_its_result_stays_aligned() -> None:
    state = state_of(fan(max_parallel=2, fail_fast=False), inputs=STORIES)
    assert started(advance(state)) == ["S-1", "S-2"]
    state.apply(ElementEnded("build", "S-2", "failed", error="boom", error_kind="ToolFault"))
    assert started(advance(state)) == ["S-3"]
    state.apply(ElementEnded("build", "S-3", "ok", "three"))
    state.apply(ElementEnded("build", "S-1", "ok", "one"))
    (ended,) = advance(state)
    assert ended.output == ["one", None, "three"]
    assert (ended.status, ended.failed, ended.error_kind) == ("failed", ("S-2",), "ToolFault")
    assert state.running == 0


def test_fail_fast_in_a_fan_out_starts_no_further_element_but_lets_running_ones_end() -> None:
    state = state_of(fan(max_parallel=2), inputs=STORIES)
    advance(state)
    state.apply(ElementEnded("build", "S-1", "failed", error="boom"))
    assert advance(state) == []
    state.apply(ElementEnded("build", "S-2", "ok", "two"))
    (ended,) = advance(state)
    assert ended.output == [None, "two", None]
    assert ended.failed == ("S-1", "S-3")
    assert ended.error == "1 of 3 failed: S-1; not done: S-3"


def test_an_empty_fan_out_is_done_at_once() -> None:
    state = state_of(fan(), inputs={"stories": []})
    expanded, ended = advance(state)
    assert isinstance(expanded, TaskExpanded)
    assert (ended.status, ended.output) == ("ok", [])


@pytest.mark.parametrize(
    ("stories", "says"),
    [
        ({"id": 1}, "not a list"),
        ([{"id": "x"}, {"id": "x"}], "'x' stands for 2"),
        ([{"id": str(n)} for n in range(4)], "cap of 3"),
        ([{"name": "no id"}], "id"),
    ],
)
def test_what_cannot_be_fanned_out_fails_the_task(stories: Any, says: str) -> None:
    state = state_of(fan(max_items=3), inputs={"stories": stories})
    (ended,) = advance(state)
    assert ended.status == "failed"
    assert says in ended.error


def gated(**more: Any) -> tuple[TaskPlan, ...]:
    gate = Approval(
        text("Build ${{ tasks.stories.output }}?"),
        show=("stories",),
        choices=("approve", "revise", "reject"),
        rerun=("stories",),
        max_revisions=2,
        **more,
    )
    middle = task("check", "stories")
    return task("stories"), middle, task("gate", "check", work=gate), task("build", "gate"), task("aside")


def at_the_gate() -> RunState:
    state = state_of(*gated(), max_parallel=2)
    advance(state)
    state.apply(TaskEnded("stories", "ok", "three"))
    advance(state)
    state.apply(TaskEnded("check", "ok", "fine"))
    (opened,) = advance(state)
    assert opened == GateOpened("gate", "Build three?", ("approve", "revise", "reject"), {"stories": "three"}, 1)
    return state


def test_only_descendants_of_a_gate_wait_and_no_slot_is_held() -> None:
    state = at_the_gate()
    assert state.running == 1  # aside
    state.apply(TaskEnded("aside", "ok"))
    assert (advance(state), state.verdict()) == ([], "waiting")
    state.apply(GateAnswered("gate", "approve", "", "api"))
    ended, start = advance(state)
    assert (ended.output, start.task) == ({"choice": "approve", "comment": ""}, "build")


def test_reject_ends_the_run_as_rejected() -> None:
    state = at_the_gate()
    state.apply(GateAnswered("gate", "reject", "too big", "api"))
    (ended,) = advance(state)
    assert (ended.status, ended.error) == ("failed", "too big")
    state.apply(TaskEnded("aside", "ok"))
    assert (advance(state), state.verdict()) == ([], "rejected")


def test_revise_reruns_what_leads_to_the_gate_with_the_comment() -> None:
    state = at_the_gate()
    for number, choices in ((2, ("approve", "revise", "reject")), (3, ("approve", "reject"))):
        state.apply(GateAnswered("gate", "revise", f"smaller {number}", "api"))
        events = advance(state)
        assert [e.task for e in events if isinstance(e, TaskReset)] == ["stories", "check", "gate"]
        assert started(events) == ["stories"]
        assert state.tasks["stories"].attempt == number
        state.apply(TaskEnded("stories", "ok", f"v{number}"))
        assert started(advance(state)) == ["check"]
        state.apply(TaskEnded("check", "ok"))
        (opened,) = advance(state)
        assert (opened.prompt, opened.choices, opened.attempt) == (f"Build v{number}?", choices, number)
        assert opened.revised == number - 1
        assert bool(opened.is_used_up) == ("revise" not in choices)
    assert opened.is_used_up == "`revise` was answered 2 times, as often as `max_attempts` of its `on_revise` allows"
    assert state.tasks["stories"].comments == ("smaller 2", "smaller 3")
    assert state.tasks["aside"].attempt == 1


def test_who_also_waits_for_a_revised_task_does_not_start_too_early() -> None:
    other = task("other", "stories", "slow")
    state = state_of(*gated(), task("slow"), other, max_parallel=9)
    advance(state)
    state.apply(TaskEnded("stories", "ok", "one"))
    advance(state)
    state.apply(TaskEnded("check", "ok"))
    advance(state)
    state.apply(GateAnswered("gate", "revise", "again", "api"))
    assert started(advance(state)) == ["stories"]
    state.apply(TaskEnded("slow", "ok"))
    assert advance(state) == [], "other needs the stories that are being written again"
    state.apply(TaskEnded("stories", "ok", "two"))
    assert sorted(started(advance(state))) == ["check", "other"]


def test_a_parked_unit_is_no_failure() -> None:
    state = state_of(task("a"), task("b"))
    advance(state)
    state.apply(TaskParked("a", None, "a person's word", None))
    state.apply(TaskEnded("b", "ok"))
    assert (advance(state), state.verdict(), state.running) == ([], "waiting", 0)


def test_a_spent_budget_pauses_the_run() -> None:
    state = state_of(task("a"), task("b", "a"))
    advance(state)
    state.apply(TaskParked("a", None, "budget of squad", "paused"))
    assert (advance(state), state.verdict()) == ([], "paused")


def test_between_takes_only_what_lies_on_the_way() -> None:
    ways = {"a": ["b", "x"], "b": ["gate"], "gate": ["end"], "x": [], "end": []}
    assert between(ways, ["a"], "gate") == {"a", "b", "gate"}
    chain = {str(n): [str(n + 1)] for n in range(20_000)} | {"20000": []}
    assert len(between(chain, ["0"], "20000")) == 20_001


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, 12))
    tasks = {}
    for n in range(size):
        needs = draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set()
        tasks[f"t{n}"] = task(f"t{n}", *(f"t{m}" for m in sorted(needs)), continue_on_error=draw(st.booleans()))
    return Plan("p", tasks, max_parallel=draw(st.integers(1, 4)))


@given(plan=plans(), seed=st.integers(0, 10**6))
def test_whatever_ends_in_whatever_order_every_task_ends_once_and_needs_come_first(plan: Plan, seed: int) -> None:
    dice, state = random.Random(seed), RunState(plan)
    ended: dict[str, str] = {}
    at_work: list[str] = []
    while True:
        for event in advance(state):
            if isinstance(event, TaskStarted):
                assert event.task not in ended
                for need in plan.tasks[event.task].needs:
                    assert ended[need] == "ok" or plan.tasks[need].continue_on_error
                at_work.append(event.task)
            else:
                assert event.task not in ended
                ended[event.task] = event.status
        assert len(at_work) == state.running <= plan.max_parallel
        if not at_work:
            break
        one = at_work.pop(dice.randrange(len(at_work)))
        ended[one] = dice.choice(["ok", "ok", "failed"])
        state.apply(TaskEnded(one, ended[one], error="boom" if ended[one] == "failed" else None))
    assert set(ended) == set(plan.tasks)


def test_a_thousand_tasks_cost_what_they_change() -> None:
    """Counts the bookkeeping, not the time: the queues are touched a constant number of times a task."""
    size = 2000
    state = state_of(*(task(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(size)))
    steps = 0
    for n in range(size):
        steps += len(advance(state))
        assert len(state.ready) + len(state.doomed) == 0
        state.apply(TaskEnded(f"t{n}", "ok"))
    assert steps == size
