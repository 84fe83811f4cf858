"""Agents that an earlier task's output chooses: in a task, an element, a step; what is wrong with it, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.rerun.fingerprint import dependency_digests
from orchestrator.squad.choosing import meant
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio

WHO = {"type": "object", "required": ["who"], "properties": {"who": {"enum": ["bob", "cid"]}}}
TRIAGE = {"agent": "ann", "description": "Who?", "output_schema": WHO}
ROUTED = {"agent": "${{ tasks.triage.output.who }}", "needs": ["triage"], "description": "Do it."}


def answers(who: Any) -> Answers:
    return Answers(lambda agent, _: json.dumps({"who": who}) if agent == "ann" else f"{agent} did it")


def routed(agents: str = "ann bob cid", triage: Any = TRIAGE, **more: Any) -> Squad:
    return squad({"triage": triage, "work": {**ROUTED, **more}}, agents, conversations={})


@pytest.mark.parametrize("who", ["bob", "cid"])
async def test_an_output_chooses_the_agent(who: str) -> None:
    manager = answers(who)
    result, events = await run(routed(), manager)
    assert (result.status, result.tasks["work"]) == ("done", "ok")
    assert [agent for agent, _ in manager.asked] == ["ann", who]
    assert [(one.agent, one.among) for one in of_type(events, "agent.chosen")] == [(who, ("bob", "cid"))]
    assert [one.who for one in of_type(events, "task.started")] == ["ann", who]


async def test_a_name_of_no_agent_fails_the_task_and_lists_the_agents() -> None:
    triage = {**TRIAGE, "output_schema": {"type": "object", "properties": {"who": {"type": "string"}}}}
    manager = answers("dora")
    result, events = await run(routed(triage=triage, agents="ann bob"), manager)
    failed = of_type(events, "task.ended")[-1]
    assert (result.status, failed.error_kind) == ("failed", "NotAChoice")
    assert failed.error == "`agent` of work is 'dora', which is not one of ann"
    assert [agent for agent, _ in manager.asked] == ["ann"]


def test_a_value_that_is_no_name_is_no_agent() -> None:
    triage = {**TRIAGE, "output_schema": {"type": "object", "properties": {"who": {"enum": ["bob", {}]}}}}
    with pytest.raises(PlanError, match=r"may be \{\}, and the squad has no such agent"):
        routed(triage=triage)


async def test_each_element_has_an_agent_of_its_own() -> None:
    items = {"type": "object", "properties": {"all": {"type": "array", "maxItems": 5, "items": WHO}}}
    given = squad(
        {
            "triage": {**TRIAGE, "output_schema": items},
            "work": {
                **ROUTED,
                "for_each": "${{ tasks.triage.output.all }}",
                "key": "${{ item.who }}",
                "agent": "${{ item.who }}",
            },
        },
        "ann bob cid",
    )
    everyone = json.dumps({"all": [{"who": "cid"}, {"who": "bob"}]})
    result, events = await run(given, Answers(lambda agent, _: everyone if agent == "ann" else agent))
    assert result.status == "done"
    assert of_type(events, "task.ended")[-1].output == ["cid", "bob"]
    assert {one.agent for one in of_type(events, "agent.chosen")} == {"bob", "cid"}


async def test_a_step_chooses_by_the_step_before_it() -> None:
    steps = [
        {"id": "sort", **TRIAGE},
        {"id": "do", "agent": "${{ steps.sort.output.who }}", "description": "Do it."},
    ]
    result, events = await run(squad({"all": {"steps": steps}}, "ann bob cid"), answers("cid"))
    assert result.status == "done"
    assert of_type(events, "task.ended")[-1].output == {"sort": {"who": "cid"}, "do": "cid did it"}


@pytest.mark.parametrize(
    ("more", "agents", "code", "told"),
    [
        ({}, "ann bob", "unknown-agent", "what is read here may be 'cid', and the squad has no such agent"),
        ({"agents": ["bob"]}, "ann bob cid", "unknown-agent", "may be 'cid', and 'agents' does not list it"),
        ({"agents": ["bob", "cid", "dan"]}, "ann bob cid", "unknown-agent", "no agent is called 'dan'"),
        ({"agents": ["bob", "bob", "cid"]}, "ann bob cid", "duplicate-name", "'bob' is listed already"),
        ({"agent": "bob", "agents": ["bob"]}, "ann bob cid", "misplaced-field", "no meaning with one agent, 'bob'"),
        ({"agent": "x${{ 1 }}"}, "ann bob cid", "bad-expression", "'agent' takes a name or one expression"),
        ({"agent": "${{ tasks.triage.output.whom }}"}, "ann bob cid", "unknown-attribute", "has no 'whom'"),
    ],
)
@pytest.mark.few(2)
def test_what_is_wrong_is_told_before_a_run(more: Any, agents: str, code: str, told: str) -> None:
    people = {name: {"persona": {"name": "Tester", "role": "Answers.", "tier": "worker"}} for name in agents.split()}
    with pytest.raises(PlanError) as caught:
        squad({"triage": TRIAGE, "work": {**ROUTED, **more}}, "", people=people)
    assert any(one.code == code and told in one.message for one in caught.value.problems), caught.value


def test_those_who_may_be_chosen_count_as_used_and_in_digests() -> None:
    given = routed(agents="ann bob cid")
    assert given.warnings == ()
    changed = squad(
        {"triage": TRIAGE, "work": ROUTED}, "ann bob", people={"cid": {"persona": {"name": "C", "role": "Answers."}}}
    )
    was, now = dependency_digests(given.outline()), dependency_digests(changed.outline())
    assert {name for name in was if was[name] != now[name]} == {"work"}


def test_a_forecast_takes_one_of_those_who_may_be_chosen() -> None:
    outlook = expect(routed().outline(), Assumptions(), lambda _: 1.0)
    assert [turn.agent for turn in outlook.turns] == ["ann", "bob"]
    assert "work: bob is chosen, of bob, cid: the one that reads most" in outlook.notes


@pytest.mark.parametrize(
    ("value", "among", "name"),
    [("Bob ", "bob cid", "bob"), ("Bob", "bob BOB", None), ("", "bob", None), (1, "1", None), (None, "bob", None)],
)
def test_a_name_is_meant_in_any_case_where_no_two_differ_by_it(value: Any, among: str, name: str | None) -> None:
    assert meant(value, among.split()) == name


def test_an_input_that_names_no_agent_is_told_before_a_run() -> None:
    given = squad(
        {"work": {"agent": "${{ inputs.who }}", "agents": ["ann"], "description": "Do it."}}, inputs={"who": {}}
    )
    given.foresee(given.plan({"who": "Ann"}))
    with pytest.raises(PlanError, match="`agent` of work is 'bob', which is not one of ann"):
        given.foresee(given.plan({"who": "bob"}))
