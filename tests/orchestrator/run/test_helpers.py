"""Agents that are tools of others, in a run: where their steps stand, who pays, what a cut run goes on with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents import tool
from agents.events import ToolEnded, TurnStarted
from orchestrator import PlanError, Squad
from orchestrator.events import CallRepeated
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.fingerprint import dependency_digests
from orchestrator.rerun.record import StepAt
from orchestrator.rerun.replay import read_record, replay, request_of
from orchestrator.run.approvals import answer_question
from orchestrator.runtime import open_run, resume_run
from orchestrator.units import Unit
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.squads import Answers, run, squad
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
ROLE = {"role": "Answers.", "tier": "worker"}


def who(name: str, *tools: Any, **more: Any) -> dict[str, Any]:
    return {"persona": {"name": name.title(), "title": "Tester", **ROLE}, "tools": list(tools), **more}


NOTED: list[str] = []


@tool(blocking=False)
def note(text: str) -> str:
    """Note."""
    NOTED.append(text)
    return "noted"


PEOPLE = {
    "lead": who("lead", {"agent": "scout"}, {"agent": "scribe", "name": "write", "description": "Writes."}),
    "scout": who("scout", "note", {"agent": "scribe"}),
    "scribe": who("scribe"),
}


def team(**people: Any) -> Squad:
    tasks = {
        "a": {"agent": "lead", "description": "Find it."},
        "b": {"agent": "scribe", "description": "End.", "needs": ["a"]},
    }
    return squad(tasks, agents="", people={**PEOPLE, **people}, tools=[note], outputs={"o": "${{ tasks.a.output }}"})


def says(agent: str, request: Request) -> Any:
    """Call each tool once, in the order in which they are offered, with what was said last; then answer. Pure."""
    called = [call.name for message in request.messages for call in message.tool_calls]
    left = [spec.name for spec in request.tools if spec.name not in called]
    seal = hashlib.sha256(b"".join(message.digest for message in request.messages)).hexdigest()[:6]
    if not left:
        return f"{agent} {seal}"
    given = {"text": seal} if left[0] == "note" else {"task": f"{agent} asks {seal}"}
    calls = (ToolCall("c", left[0], json.dumps(given)),)
    return Response(Message("assistant", calls), FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)


async def test_their_turns_stand_below_the_call_and_are_on_the_run_s_bill() -> None:
    manager = Answers(says)
    result, events = await run(team(), manager)
    assert result.status == "done"
    begun = [(event.path, event.data.agent) for event in events if isinstance(event.data, TurnStarted)]
    below = "a/try-1/turn-1/tool-1/scout"
    assert begun == [
        ("a/try-1", "lead"),
        (below, "scout"),
        (below, "scout"),
        (f"{below}/turn-2/tool-1/scribe", "scribe"),
        (below, "scout"),
        ("a/try-1", "lead"),
        ("a/try-1/turn-2/tool-1/scribe", "scribe"),
        ("a/try-1", "lead"),
        ("b/try-1", "scribe"),
    ]
    assert result.cost == 10 * len(manager.asked)
    briefs = [request.messages[1].text for agent, request in manager.asked if agent == "scout"]
    assert all(brief.startswith("lead asks") for brief in briefs)
    shown = {spec.name: spec.description for spec in manager.asked[0][1].tools}
    assert shown == {"scout": "Give a task to Scout, Tester: Answers.", "write": "Writes."}


async def test_a_helper_s_budget_and_turns_are_its_own() -> None:
    def loops(agent: str, request: Request) -> Any:
        return says(agent, request) if agent != "scout" else _call("note", text=str(len(request.messages)))

    spent, _ = await run(team(scout=who("scout", "note", budget={"max_turns": 3})), Answers(loops))
    assert (spent.tasks["a"], spent.error_kinds["a"]) == ("failed", "BudgetSpent")
    tired, events = await run(team(scout=who("scout", "note", max_turns=2)), Answers(loops))
    assert tired.status == "done"
    told = [event.data for event in events if isinstance(event.data, ToolEnded) and event.data.name == "scout"]
    assert [(one.ok, one.result) for one in told] == [
        (False, "scout failed: scout gave no final answer within 2 turns")
    ]


def _call(name: str, **arguments: str) -> Response:
    calls = (ToolCall("c", name, json.dumps(arguments)),)
    return Response(Message("assistant", calls), FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)


def _paid(manager: Answers) -> list[bytes]:
    return sorted(b"".join(message.digest for message in request.messages) for _, request in manager.asked)


class _HangsAt(Answers):
    """Never answers its `number`-th question, and says when it was asked."""

    def __init__(self, number: int) -> None:
        super().__init__(self._says)
        self.number, self.hangs = number, anyio.Event()

    async def _says(self, agent: str, request: Request) -> Any:
        if len(self.asked) == self.number:
            self.hangs.set()
            await anyio.sleep_forever()
        return says(agent, request)


@pytest.mark.few(3)
@pytest.mark.parametrize("number", range(2, 10))
async def test_cut_at_any_turn_it_goes_on_to_the_same_end_and_replays(number: int) -> None:
    whole, journal, manager = Answers(says), MemoryJournal(), _HangsAt(number)
    expected, _ = await run(team(), whole)
    NOTED.clear()
    async with open_run(team(), run_id="r", journal=journal, manager=manager):
        with anyio.fail_after(PATIENCE_S):
            await manager.hangs.wait()
    async with resume_run(team(), "r", journal=journal, manager=manager) as opened:
        events = [event async for event in opened]
    assert opened.result.outputs == expected.outputs
    paid = _paid(manager)
    assert len(paid) - len(set(paid)) == 1  # the call that was in flight, and no other
    assert set(paid) == set(_paid(whole))
    assert len(NOTED) == 1
    repeated = [event.data.step for event in events if isinstance(event.data, CallRepeated)]
    assert [step for step in repeated if step.endswith("model")] == [repeated[-1]]
    ended = await replay(journal, "r")
    assert ended.is_equal, ended.difference


async def test_what_a_helper_asked_a_provider_can_be_made_again(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        manager = Answers(says)
        await run(team(), manager, journal=journal, run_id="r")
        record = await read_record(journal, "r")
        places = {(place.at.path, place.at.key) for part in record.parts for place in part.places if place.at}
        turns = [
            StepAt(Unit("a"), key) for path, key in sorted(places) if path.startswith("a/") and key.call == "model"
        ]
        made = [await request_of(record, 0, at) for at in turns]
        assert len(made) == 8
        assert {_digest(request) for request in made} == {_digest(one) for agent, one in manager.asked[:-1]}


def _digest(request: Request) -> bytes:
    return b"".join(message.digest for message in request.messages)


async def test_a_person_is_asked_for_a_helper_s_call() -> None:
    journal, manager, given = (
        MemoryJournal(),
        Answers(says),
        team(scout=who("scout", {"name": "note", "approval": "ask"})),
    )
    NOTED.clear()
    waiting, _ = await run(given, manager, journal=journal, run_id="r")
    (question,) = waiting.waiting
    name = "a/try-1/turn-1/tool-1/scout/turn-1/tool-1"
    assert (waiting.status, question, NOTED) == ("waiting", "a", [])
    await answer_question(journal, "r", name, "approve")
    async with resume_run(given, "r", journal=journal, manager=manager) as opened:
        events = [event async for event in opened]
    assert (opened.result.status, len(NOTED), len(_paid(manager)) - len(set(_paid(manager)))) == ("done", 1, 0)
    assert not [event for event in events if isinstance(event.data, CallRepeated)]
    assert (await replay(journal, "r")).is_equal


def test_what_cannot_be_is_reported_with_the_plan() -> None:
    def problems(**people: Any) -> list[str]:
        return [f"{one.code} {'.'.join(map(str, one.path))}" for one in _found(people)]

    ring = problems(scribe=who("scribe", {"agent": "scout"}))
    assert ring == ["cycle agents.scout.tools"]
    assert problems(scribe=who("scribe", {"agent": "scribe"})) == ["cycle agents.scribe.tools"]
    assert problems(scribe=who("scribe", {"agent": "nobody"})) == ["unknown-agent agents.scribe.tools.0.agent"]
    assert problems(scribe=who("scribe", {"approval": "ask"})) == ["missing-field agents.scribe.tools.0"]


def _found(people: Any) -> Any:
    try:
        team(**people).plan({})
    except PlanError as error:
        return error.problems
    return []


def test_an_edit_of_a_helper_touches_who_has_it() -> None:
    before = dependency_digests(team().plan({}))
    after = dependency_digests(team(scout=who("scout", "note", max_turns=3)).plan({}))
    assert before["a"] != after["a"]
