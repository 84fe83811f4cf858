"""A switch: which case is done, what cases may be, and what is told of them before a run and after it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.rerun.fingerprint import dependency_digests
from orchestrator.squad.choosing import case_of, case_text
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio

KIND = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["billing", "tech"]}}}
SORT = {"agent": "ann", "description": "Which?", "output_schema": KIND}
CASES: dict[str, Any] = {
    "billing": {"agent": "bob", "description": "Pay back."},
    "tech": {
        "steps": [
            {"id": "look", "agent": "cid", "description": "Look."},
            {"id": "fix", "agent": "cid", "description": "Fix ${{ steps.look.output }}"},
        ]
    },
}
ON = "${{ tasks.sort.output.kind }}"


def switched(cases: Any = CASES, sort: Any = SORT, on: str = ON, agents: str = "ann bob cid", **more: Any) -> Squad:
    work = {"needs": ["sort"], "switch": {"on": on, "cases": cases}, **more}
    return squad({"sort": sort, "work": work}, agents)


def answers(kind: Any) -> Answers:
    return Answers(lambda agent, _: json.dumps({"kind": kind}) if agent == "ann" else f"{agent} did it")


@pytest.mark.parametrize(
    ("kind", "output", "who"),
    [("billing", "bob did it", "bob"), ("tech", {"look": "cid did it", "fix": "cid did it"}, "cid")],
)
async def test_the_case_that_is_chosen_is_done_and_no_other(kind: str, output: Any, who: str) -> None:
    manager = answers(kind)
    result, events = await run(switched(), manager)
    assert result.status == "done"
    assert of_type(events, "task.ended")[-1].output == output
    assert {agent for agent, _ in manager.asked} == {"ann", who}
    assert [(one.task, one.case, one.cases) for one in of_type(events, "case.chosen")] == [
        ("work", kind, ("billing", "tech"))
    ]
    assert [one.who for one in of_type(events, "task.started")] == ["ann", who]


async def test_a_value_without_a_case_fails_the_task_unpaid() -> None:
    loose = {**SORT, "output_schema": {"type": "object", "properties": {"kind": {}}}}
    for kind in ("legal", ["billing"]):
        manager = answers(kind)
        result, events = await run(switched(sort=loose), manager)
        failed = of_type(events, "task.ended")[-1]
        assert (result.status, failed.error_kind) == ("failed", "NotAChoice")
        assert failed.error == f"`switch` of work is {kind!r}, which is not one of billing, tech"
        assert len(manager.asked) == 1


async def test_default_stands_for_all_else() -> None:
    cases = {**CASES, "default": {"agent": "${{ tasks.sort.output.kind }}", "agents": ["dan"], "description": "Do."}}
    loose = {**SORT, "output_schema": {"type": "object", "properties": {"kind": {"type": "string"}}}}
    manager = answers("Dan")
    result, events = await run(switched(cases, loose, agents="ann bob cid dan"), manager)
    assert (result.status, manager.asked[-1][0]) == ("done", "dan")
    assert [one.case for one in of_type(events, "case.chosen")] == ["default"]


async def test_each_element_takes_a_case_of_its_own() -> None:
    items = {"type": "object", "properties": {"all": {"type": "array", "maxItems": 4, "items": KIND}}}
    given = switched(
        sort={**SORT, "output_schema": items},
        on="${{ item.kind }}",
        for_each="${{ tasks.sort.output.all }}",
        key="${{ item.kind }}",
    )
    both = json.dumps({"all": [{"kind": "tech"}, {"kind": "billing"}]})
    result, events = await run(given, Answers(lambda agent, _: both if agent == "ann" else agent))
    assert result.status == "done"
    assert of_type(events, "task.ended")[-1].output == [{"look": "cid", "fix": "cid"}, "bob"]


@pytest.mark.parametrize(
    ("cases", "more", "code", "told"),
    [
        ({"billing": CASES["billing"]}, {}, "missing-case", "no case for 'tech', a possible value of 'on'"),
        ({**CASES, "tehc": CASES["billing"]}, {}, "unreachable-case", "'on' never has the value 'tehc'"),
        ({**CASES, "tech": {"description": "Do."}}, {}, "one-of", "a case has exactly one of agent, conversation"),
        ({**CASES, "tech": {"agent": "cid"}}, {}, "missing-field", "a case needs 'description'"),
        ({**CASES, "tech": {"agent": "cidd", "description": "x"}}, {}, "unknown-agent", "no agent is called 'cidd'"),
        (CASES, {"description": "x"}, "misplaced-field", "'description' has no meaning in a task with 'switch'"),
        (CASES, {"agent": "bob"}, "one-of", "this one has agent and switch"),
        (CASES, {"on": "kind"}, "bad-expression", "'on' takes one expression"),
        ({}, {}, "out-of-range", "cases"),
        ({"billing": {**CASES["billing"], "needs": ["sort"]}, "tech": CASES["tech"]}, {}, "unknown-field", "needs"),
        (
            {**CASES, "tech": {"steps": CASES["tech"]["steps"], "tools": []}},
            {},
            "misplaced-field",
            "a case with 'steps'",
        ),
    ],
)
@pytest.mark.few(2)
def test_what_is_wrong_is_told_before_a_run(cases: Any, more: Any, code: str, told: str) -> None:
    people = {
        name: {"persona": {"name": "Tester", "role": "Answers.", "tier": "worker"}} for name in ("ann", "bob", "cid")
    }
    on = more.pop("on", ON)
    work = {"needs": ["sort"], "switch": {"on": on, "cases": cases}, **more}
    tasks = {"sort": SORT, "work": work, "broken": {"agent": "nobody", "description": "x"}}
    with pytest.raises(PlanError) as caught:
        squad(tasks, "", people=people)
    assert any(one.code == code and told in one.message for one in caught.value.problems), caught.value


READ = "tasks.sort.output.kind"


@pytest.mark.parametrize(
    ("condition", "is_left_out"),
    [
        (f"{READ} != 'tech'", True),
        (f"{READ} in ['billing']", True),
        (f"{READ} != 'billing'", False),
        (f"{READ} != 'other'", False),
        (f"inputs.on and {READ} != 'tech'", True),  # by what is given it may be left out
        (f"{READ} != 'tech' and inputs.on", True),
        (f"{READ} == 'tech' or inputs.on", False),  # it is done whatever else is so
        ("tasks.sort.output | length > 5", True),  # who knows
        ("inputs.on", False),
    ],
)
def test_what_the_if_leaves_out_needs_no_case_and_no_agent(condition: str, is_left_out: bool) -> None:
    inputs = {"on": {"type": "boolean", "default": True}}
    work = {"needs": ["sort"], "if": f"${{{{ {condition} }}}}"}
    sort = {**SORT, "output_schema": {"type": "object", "properties": {"kind": {"enum": ["billing", "tech"]}}}}
    step = {"id": "x", "agent": "${{ tasks.sort.output.kind }}", "description": "Do."}
    works = {
        "missing-case": {**work, "switch": {"on": ON, "cases": {"billing": CASES["billing"]}}},
        "unknown-agent": {**work, "agent": ON, "description": "Do."},
        # The condition of a step counts as well.
        "unknown-agent ": {"needs": ["sort"], "steps": [{**step, "if": work["if"]}]},
    }
    people = {name: {"persona": {"name": "Tester", "role": "Answers."}} for name in ("ann", "bob", "billing")}
    for code, one in works.items():
        tasks = {"sort": sort, "work": one, "also": {"agent": "bob", "description": "x"}}
        if is_left_out:
            squad(tasks, "", people=people, inputs=inputs)
            continue
        with pytest.raises(PlanError) as caught:
            squad(tasks, "", people=people, inputs=inputs)
        assert [one.code for one in caught.value.problems if one.severity == "error"] == [code.strip()]


async def test_a_value_that_the_if_let_through_and_no_case_stands_for_fails_the_task() -> None:
    cases = {"billing": CASES["billing"]}
    work = {"needs": ["sort"], "if": f"${{{{ inputs.on or {READ} != 'tech' }}}}", "switch": {"on": ON, "cases": cases}}
    inputs = {"on": {"type": "boolean", "default": True}}
    for on, status in ((True, "failed"), (False, "skipped")):
        given = squad({"sort": SORT, "work": work}, inputs=inputs)
        result, _ = await run(given, answers("tech"), inputs={"on": on})
        assert result.tasks["work"] == status
        assert ("not one of billing" in result.errors.get("work", "")) == on, result.errors


def test_a_switch_on_what_is_not_known_needs_a_default_to_be_sure() -> None:
    loose = {**SORT, "output_schema": {"type": "object", "properties": {"kind": {"type": "string"}}}}
    assert [one.code for one in switched(sort=loose).warnings] == ["missing-case"]
    assert switched({**CASES, "default": CASES["billing"]}, loose).warnings == ()
    flag = {**SORT, "output_schema": {"type": "object", "properties": {"kind": {"type": "boolean"}}}}
    assert switched({"true": CASES["billing"], "false": CASES["tech"]}, flag).warnings == ()


def test_an_edit_of_any_case_makes_the_task_run_again() -> None:
    edited = switched({**CASES, "billing": {**CASES["billing"], "description": "Pay all."}})
    was, now = dependency_digests(switched().outline()), dependency_digests(edited.outline())
    assert {name for name in was if was[name] != now[name]} == {"work"}


def test_a_forecast_takes_the_case_with_most_tokens() -> None:
    outlook = expect(switched().outline(), Assumptions(), lambda _: 1.0)
    assert [turn.agent for turn in outlook.turns] == ["ann", "cid", "cid"]
    assert "work: the case tech, of billing, tech: the one with most tokens" in outlook.notes


def test_values_are_compared_by_their_text() -> None:
    assert [case_text(one) for one in (True, None, 3, 3.0, 2.5, "x", [], {})] == [
        *("true", "null", "3", "3", "2.5", "x"),
        *(None, None),
    ]
    assert [case_of(one, ["yes", "3"]) for one in ("Yes", " yes ", 3.0, True, [])] == ["yes", "yes", "3", None, None]
    assert case_of([], ["yes", "default"]) == "default"
