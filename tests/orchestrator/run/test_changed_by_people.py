"""What people answer beyond yes and no: changed arguments and texts, and leave for the rest of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents import tool
from orchestrator import GateAnswered, GateOpened
from orchestrator.errors import AnsweredAlready
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import GRANTED, answer_question
from orchestrator.session import Session
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.people import PERSONA, Till, begin, calls, go_on, names
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio
CHANGED = '{"to": "bob"}'


async def test_a_call_is_made_with_the_arguments_that_a_person_wrote() -> None:
    journal, till = MemoryJournal(), Till()
    given, manager = till.squad(), Answers(calls(("pay", "x")))
    assert (await begin(given, journal, manager)).status == "waiting"
    [gate] = of_type(list(await journal.events("r")), "gate.opened")
    assert (gate.editable, json.loads(gate.shown["arguments"])) == ("arguments", {"to": "x"})
    for choice, edited, why in [
        ("approve", '{"to": 1}', r"\$\.to: 1 is not of type 'string'"),
        ("approve", "{", "are not JSON"),
        ("approve", " ", "cannot be empty"),
        ("approve", f'"{"x" * (1 << 20)}"', "may have 1,048,576 characters"),
        ("reject", CHANGED, "only what is approved can be changed"),
    ]:
        with pytest.raises(ValueError, match=why):
            await answer_question(journal, "r", "a", choice, edited=edited)
    await answer_question(journal, "r", "a", "approve", edited=CHANGED, by="cli")
    with pytest.raises(AnsweredAlready):
        await answer_question(journal, "r", "a", "approve")
    result = await go_on(given, journal, manager)
    told = f"[A person changed the arguments of this call before it was made, to: {CHANGED}]\npaid bob"
    assert (result.outputs["said"], till.done) == (told, ["bob"])
    [answered] = of_type(list(await journal.events("r")), "gate.answered")
    assert (answered.edited, answered.by) == (CHANGED, "cli")
    assert (await replay(journal, "r")).is_equal


async def test_leave_for_the_run_covers_the_same_tool_of_the_same_agent() -> None:
    journal, till = MemoryJournal(), Till()
    till.noted.set()
    people = {name: {"persona": PERSONA, "tools": ["pay", "note"]} for name in ("ann", "bob")}
    tasks = {"a": "x", "b": {"agent": "bob", "description": "y", "needs": ["a"]}}
    given, manager = squad(tasks, tools=till.tools, people=people), Answers(_paying_twice)
    assert (await begin(given, journal, manager)).status == "waiting"
    assert len(await names(journal)) == 2
    await answer_question(journal, "r", "a/try-1/turn-1/tool-2", "approve", for_run=True)
    assert await names(journal) == []
    result = await go_on(given, journal, manager)
    assert sorted(till.done) == ["ann 1", "ann 2", "ann 3"]
    assert result.status == "waiting"
    assert sorted(await names(journal)) == ["b/try-1/turn-1/tool-1", "b/try-1/turn-1/tool-2"]
    answered = of_type(list(await journal.events("r")), "gate.answered")
    assert sorted(one.by for one in answered) == ["api", GRANTED, GRANTED]
    with pytest.raises(ValueError, match="only what is approved"):
        await answer_question(journal, "r", "b/try-1/turn-1/tool-1", "reject", for_run=True)


def _paying_twice(agent: str, request: Request) -> Any:
    made = sum(len(message.tool_calls) for message in request.messages)
    if made > 2:
        return "done"
    numbers = [1, 2] if made == 0 else [3]
    parts = tuple(ToolCall(f"c{i}", "pay", json.dumps({"to": f"{agent} {i}"})) for i in numbers)
    return Response(Message("assistant", parts), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 10)


async def test_leave_is_bound_to_the_tool_as_it_was_when_it_was_asked_for() -> None:
    journal, till = MemoryJournal(), Till()
    given, manager = till.squad(), Answers(calls(("pay", "x"), ("pay", "y")))
    await begin(given, journal, manager)
    await answer_question(journal, "r", "a/try-1/turn-1/tool-1", "approve", for_run=True)

    @tool(name="pay", approval="ask")
    async def other(to: str) -> str:
        """Pay twice."""
        till.done.append(f"twice {to}")
        return to

    people = {"ann": {"persona": PERSONA, "tools": ["pay", "note"]}}
    changed = squad({"a": "x"}, tools=[other, till.tools[1]], people=people)
    assert (await go_on(changed, journal, manager, edited=True)).status == "waiting"
    assert sorted(await names(journal)) == ["a#2/try-1/turn-1/tool-1", "a#2/try-1/turn-1/tool-2"]
    assert till.done == []
    assert len({gate.tool for gate in of_type(list(await journal.events("r")), "gate.opened")}) == 2


def _escalating(**more: Any) -> Any:
    rails = {"output": [{"forbid": ["refund"], "on_fail": "escalate"}, {"forbid": ["never"]}]}
    people = {"ann": {"persona": PERSONA, "guardrails": {**rails, **more.pop("sides", {})}}}
    return squad({"a": {"agent": "ann", "description": "Write.", **more}}, people=people)


def answering(edited: str) -> Any:
    async def answer(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.name, "approve", "", "test", edited)

    return answer


async def test_a_persons_text_counts_in_the_place_of_an_answer() -> None:
    journal = MemoryJournal()
    options = {"journal": journal, "run_id": "r"}
    result, events = await run(_escalating(), Answers(lambda *_: "We refund."), ask=answering("We regret."), **options)
    [ended] = of_type(events, "task.ended")
    assert (result.status, ended.output) == ("done", "We regret.")
    assert (await replay(journal, "r")).is_equal


async def test_what_blocks_holds_for_a_persons_text_too() -> None:
    _, events = await run(_escalating(), Answers(lambda *_: "We refund."), ask=answering("We never."))
    [ended] = of_type(events, "task.ended")
    assert ended.error == (
        "ann: its answer did not pass the guardrail forbid: it says 'never', which it may not; a person wrote it"
    )


async def test_a_persons_text_is_of_the_shape_that_is_wanted() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    journal, given = MemoryJournal(), _escalating(output_schema=schema)
    manager = Answers(lambda *_: '{"n": 1, "x": "refund"}')
    assert (await begin(given, journal, manager)).status == "waiting"
    with pytest.raises(ValueError, match="'n' is a required property"):
        await answer_question(journal, "r", "a", "approve", edited="{}")
    with pytest.raises(ValueError, match="this once only"):
        await answer_question(journal, "r", "a", "approve", for_run=True)
    await answer_question(journal, "r", "a", "approve", edited='{"n": 2}')
    await go_on(given, journal, manager)
    [ended] = of_type(list(await journal.events("r")), "task.ended")
    assert ended.output == {"n": 2}


async def test_what_an_agent_is_told_may_be_changed() -> None:
    rails = {"input": [{"forbid": ["secret"], "on_fail": "escalate"}]}
    given = _escalating(sides=rails, description="Tell the secret.")
    manager = Answers(lambda _, request: request.messages[-1].text)
    result, events = await run(given, manager, ask=answering("Tell nothing."))
    [ended] = of_type(events, "task.ended")
    assert (result.status, ended.output) == ("done", "Tell nothing.")


async def test_in_a_chat_what_is_told_may_be_changed_for_good() -> None:
    rails = {"input": [{"forbid": ["secret"], "on_fail": "escalate"}]}
    manager = Answers(lambda _, request: " ".join(message.text for message in request.messages[1:]))
    async with Session(_escalating(sides=rails), manager=manager, ask=answering("Hi")) as session:
        await session.say("a secret")
        assert (await session.say("And?")).answer == "Hi Hi And?"


async def test_what_a_program_answers_must_be_fit_to_replace_what_was_asked_about() -> None:
    result, events = await run(_escalating(), Answers(lambda *_: "We refund."), ask=answering(" "))
    [ended] = of_type(events, "task.ended")
    assert (result.status, ended.error) == ("failed", "a/try-1/output-1-checked: the new text cannot be empty")


async def test_in_a_chat_a_person_is_asked_as_well() -> None:
    journal = MemoryJournal()
    manager = Answers(lambda _, request: "We refund." if len(request.messages) == 2 else request.messages[2].text)
    async with Session(_escalating(), id="s", journal=journal, manager=manager, ask=answering("We regret.")) as session:
        assert (await session.say("Well?")).answer == "We regret."
        assert (await session.say("And?")).answer == "We regret.", "what was said is what the person wrote"
