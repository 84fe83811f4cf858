"""Sub-squads that are done again until a condition holds: how often, with what, and over kills, forks and replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import GateAnswered, GateOpened
from orchestrator.forecast.turns import Assumptions, expect
from orchestrator.fork import fork_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from providers.errors import AllAttemptsFailed, ServerFault
from providers.messages import Request
from tests.orchestrator.squads import Answers, of_type, run
from tests.orchestrator.subsquads import OUTER, made

pytestmark = pytest.mark.anyio

REPEAT = {"until": "${{ output.verdict == 'good' }}", "max_attempts": 3}


def repeated(**more: Any) -> dict[str, Any]:
    return {**OUTER, "review": {**OUTER["review"], "repeat": REPEAT, **more}}


class Judged(Answers):
    """Judges as often as it is asked: the texts in `verdicts`, then "good"."""

    def __init__(self, *verdicts: Any) -> None:
        self.verdicts = list(verdicts)
        super().__init__(self.said)

    def said(self, agent: str, request: Request) -> str:
        if agent != "review.bob":
            return f"{agent}: {request.messages[-1].text.splitlines()[-1]}"
        made = self.verdicts.pop(0) if self.verdicts else "good"
        if isinstance(made, Exception):
            raise made
        return made

    def names(self) -> list[str]:
        return [agent for agent, _ in self.asked]


ONCE = ["review.ann", "review.bob"]


async def test_it_is_done_again_until_its_condition_holds(tmp_path: Path) -> None:
    journal, manager = MemoryJournal(), Judged("bad", "bad")
    result, events = await run(made(tmp_path, repeated()), manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert manager.names() == ["ann", *ONCE * 3, "ann"]
    assert [(one.task, one.attempt) for one in of_type(events, "task.repeated")] == [("review", 1), ("review", 2)]
    checks = [request.messages[-1].text for agent, request in manager.asked if agent == "review.ann"]
    assert len(set(checks)) == 1, "it is told the same each time"
    assert (await replay(journal, "r")).is_equal
    where: dict[str, Any] = {"journal": journal, "run_id": "f", "start": "review"}
    async with fork_run(made(tmp_path, repeated()), "r", manager=(again := Judged("bad")), **where) as opened:
        assert [event async for event in opened]
    assert (opened.result.status, again.names()) == ("done", [*ONCE * 2, "ann"])
    assert (await replay(journal, "f")).is_equal


@pytest.mark.parametrize("goes_on", [False, True])
async def test_one_whose_condition_never_holds_fails(tmp_path: Path, goes_on: bool) -> None:
    journal = MemoryJournal()
    tasks = repeated(continue_on_error=goes_on)
    tasks["end"] = {**OUTER["end"], "description": "End with ${{ tasks.review.output or 'nothing' }}"}
    result, events = await run(made(tmp_path, tasks), Judged(*["bad"] * 3), journal=journal, run_id="r")
    (ended,) = [one for one in of_type(events, "task.ended") if one.task == "review"]
    assert (ended.status, ended.error_kind) == ("failed", "RepeatExhausted")
    assert ended.error == "`until` of review did not hold in 3 attempts"
    assert (ended.output is not None, result.status) == (goes_on, "done" if goes_on else "failed")
    assert (await replay(journal, "r")).is_equal


async def test_each_element_is_repeated_by_itself(tmp_path: Path) -> None:
    until = "${{ output.notes.endswith(item ~ '!') or output.verdict == inputs.word }}"
    tasks = {"review": {**OUTER["review"], "for_each": "${{ ['x', 'y!'] }}", "key": "${{ item }}", "needs": []}}
    tasks["review"] |= {"with": {"draft": "${{ item }}"}, "repeat": {"until": until, "max_attempts": 2}}
    tasks["review"]["max_parallel"] = 1
    journal, manager = MemoryJournal(), Judged("bad", "bad", "good", "bad")
    inputs = {"word": {"type": "string", "default": "good"}}
    squad = made(tmp_path, tasks, agents={}, inputs=inputs)
    result, events = await run(squad, manager, journal=journal, run_id="r")
    assert result.errors == {
        "review@y!": "`until` of review@y! did not hold in 2 attempts",
        "review": "1 of 2 failed: y!",
    }
    assert [one.task for one in of_type(events, "task.repeated")] == ["review@x", "review@y!"]
    assert (await replay(journal, "r")).is_equal
    assert len(expect(squad.outline(), Assumptions(repeats=2, elements=2), lambda _: 1.0).turns) == 8


async def test_a_failure_tries_all_of_it_again_and_a_revision_begins_anew(tmp_path: Path) -> None:
    fault = AllAttemptsFailed("all failed", [ServerFault("down")])
    gate: dict[str, Any] = {"approval": {"prompt": "Good?"}, "needs": ["review"]}
    gate["on_revise"] = {"rerun": ["review"], "max_attempts": 1}
    tasks = {**repeated(retry={"max_attempts": 2, "on": ["provider"]}), "gate": gate}
    manager, journal = Judged("bad", "bad", fault, "bad", "bad", "good", "bad", "bad", "good"), MemoryJournal()

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "revise" if "revise" in gate.choices else "approve", "more", "terminal")

    result, events = await run(made(tmp_path, tasks), manager, journal=journal, run_id="r", ask=ask)
    assert (result.status, manager.verdicts) == ("done", [])
    assert [one.attempt for one in of_type(events, "task.repeated")] == [1, 2, 4, 5, 7, 8]
    assert [one.attempt for one in of_type(events, "task.retried")] == [1]
    assert (await replay(journal, "r")).is_equal


def test_a_forecast_counts_its_attempts(tmp_path: Path) -> None:
    outlook = expect(made(tmp_path, repeated()).outline(), Assumptions(repeats=2), lambda _: 1.0)
    assert [turn.task for turn in outlook.turns] == ["draft", *["review.check"] * 2, *["review.judge"] * 2, "end"]
    assert outlook.seconds == 6.0


@pytest.mark.long
@pytest.mark.parametrize("after", range(1, 20))
async def test_a_run_that_was_cut_short_around_a_repeat_goes_on(tmp_path: Path, after: int) -> None:
    journal, manager = MemoryJournal(), Judged("bad")
    squad = made(tmp_path, repeated())
    seen = 0
    async with open_run(squad, journal=journal, manager=manager, run_id="r") as opened:
        async for event in opened:
            seen += event.type.startswith("task.")
            if seen == after:
                opened.stop()
    if opened.result.status == "cancelled":
        async with resume_run(squad, "r", journal=journal, manager=manager) as opened:
            assert [event async for event in opened]
    assert opened.result.status == "done"
    assert manager.names() == ["ann", *ONCE * 2, "ann"]
    assert (await replay(journal, "r")).is_equal
