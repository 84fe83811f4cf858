"""Conversations in a run: what they result in, what of them others read, and what is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anyio
import pytest

from orchestrator import PlanError, Squad
from orchestrator.cli.commands.runs.show import described
from orchestrator.cli.ui.progress import Progress
from orchestrator.events import ControlUnread, ConversationEnded, MessageSpoken, TaskEnded, to_json
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.conversation import Minutes
from orchestrator.run.conversations.speech import Utterance
from orchestrator.run.recorded import recorded_run
from orchestrator.run.result import RunResult
from orchestrator.runtime import open_run, resume_run
from providers.messages import Request
from tests.orchestrator.squads import Answers, squad

pytestmark = pytest.mark.anyio

DEBATE = {"participants": ["pro", "con"], "moderator": "judge", "terminate": {"max_turns": 3}}
PARTY = {**DEBATE, "pattern": "party", "speakers_per_round": 1}


def debate(tasks: dict[str, Any], **more: Any) -> Squad:
    return squad(tasks, "pro con judge ann", conversations={"debate": DEBATE, "party": PARTY}, **more)


def said(agent: str, request: Request) -> str:
    number = sum(message.role == "assistant" for message in request.messages)
    return f"{agent} {number}\nNEXT: zoe" if agent == "judge" else f"{agent} {number}"


TALK = {"conversation": "debate", "description": "Debate."}
TRANSCRIPT = "### pro, round 1\n\npro 0\n\n### con, round 1\n\ncon 0\n\n### pro, round 2\n\npro 1\n\n### judge, round 2"


async def run(it: Squad, **more: Any) -> tuple[RunResult, Answers, list[Any]]:
    answers = Answers(said)
    async with open_run(it, manager=answers, **more) as opened:
        events = [event async for event in opened]
    return opened.result, answers, events


async def test_a_task_results_in_the_conclusion_and_has_the_transcript_beside_it() -> None:
    read = {"agent": "ann", "needs": ["talk"], "context": [], "description": "Read:\n${{ tasks.talk.transcript }}"}
    it = debate(
        {"talk": {**TALK, "output_file": "talk.md"}, "read": read}, outputs={"t": "${{ tasks.talk.transcript }}"}
    )
    result, answers, events = await run(it)
    assert result.status == "done"
    assert result.outputs["t"].startswith(TRANSCRIPT)
    assert result.outputs["t"] in answers.prompts("ann")[0]
    ended = next(event.data for event in events if isinstance(event.data, TaskEnded))
    assert ended.output == "judge 0\nNEXT: zoe", "a round robin knows no such lines"
    assert "transcript" not in to_json(next(e for e in events if e.data is ended)), "each utterance is an event"
    spoken = TRANSCRIPT.removesuffix("### judge, round 2")
    end = "Ended by: max_turns 3.\n"
    assert result.texts["talk.md"] == f"{ended.output}\n\n---\n\n## What was said\n\n{spoken}{end}"
    judged = answers.prompts("judge")[0]
    assert all(word in judged for word in ("pro 0", "con 0", "pro 1"))


async def test_a_file_of_a_typed_result_is_its_json_alone_and_the_transcript_stays_at_hand() -> None:
    schema = {"type": "object", "required": ["winner"], "properties": {"winner": {"type": "string"}}}
    talk = {**TALK, "output_schema": schema, "output_file": "verdict.json"}
    outputs = {"v": "${{ tasks.talk.output }}", "t": "${{ tasks.talk.transcript }}"}
    answers = Answers(
        lambda agent, request: '{"winner": "pro"}' if is_asked_for_json(request) else said(agent, request)
    )
    async with open_run(debate({"talk": talk}, outputs=outputs), manager=answers) as opened:
        async for _ in opened:
            pass
    result = opened.result
    assert json.loads(result.texts["verdict.json"]) == result.outputs["v"] == {"winner": "pro"}
    assert result.outputs["t"].startswith(TRANSCRIPT)


async def test_who_is_asked_for_the_value_reads_the_conclusion_once() -> None:
    schema = {"type": "object", "required": ["winner"], "properties": {"winner": {"type": "string"}}}
    answers = Answers(
        lambda agent, request: '{"winner": "pro"}' if is_asked_for_json(request) else said(agent, request)
    )
    async with open_run(debate({"talk": {**TALK, "output_schema": schema}}), manager=answers) as opened:
        async for _ in opened:
            pass
    [asked] = [prompt for prompt in answers.prompts("judge") if "# Context: The conversation" in prompt]
    assert asked.count("judge 0") == asked.count("con 0") == 1


@pytest.mark.parametrize(
    ("edition", "said", "file"),
    [
        (4, [("judge", "No.")], "No.\n\n---\n\nEnded by: x.\n"),
        (3, [("judge", "No.")], "No.\n\n---\n\n## What was said\n\n### judge, round 1\n\nNo.\n\nEnded by: x.\n"),
        (
            4,
            [("judge", "No."), ("pro", "No.")],
            "No.\n\n---\n\n## What was said\n\n### judge, round 1\n\nNo.\n\n### pro, round 1\n\nNo.\n\nEnded by: x.\n",
        ),
    ],
)
def test_only_a_moderators_last_word_is_left_out_of_what_was_said(edition, said, file) -> None:
    plan = replace(debate({"talk": TALK}).outline().conversations["debate"], edition=edition)
    utterances = tuple(Utterance(speaker, text, 1) for speaker, text in said)
    assert Minutes(plan, "No.", utterances, "x").document() == file


def is_asked_for_json(request: Request) -> bool:
    return request.output_schema is not None


async def test_elements_and_steps_have_transcripts_too() -> None:
    steps = [
        {"id": "talk", "conversation": "debate", "description": "Debate."},
        {"id": "read", "agent": "ann", "description": "Read: ${{ steps.talk.transcript }}"},
    ]
    each = {**TALK, "for_each": "${{ ['x', 'y'] }}", "key": "${{ item }}"}
    none = {**TALK, "for_each": "${{ [] }}", "key": "${{ item }}"}
    outputs = {"all": "${{ tasks.each.transcript }}", "nothing": "${{ tasks.nothing.transcript }}"}
    result, answers, _ = await run(debate({"each": each, "nothing": none, "one": {"steps": steps}}, outputs=outputs))
    assert [one.startswith(TRANSCRIPT) for one in result.outputs["all"]] == [True, True]
    assert result.outputs["nothing"] == []
    assert f"Read: {TRANSCRIPT}" in answers.prompts("ann")[0]


async def test_a_resumed_run_still_has_the_transcript() -> None:
    journal, it = (
        MemoryJournal(),
        debate(
            {
                "talk": TALK,
                "read": {"agent": "ann", "needs": ["talk"], "description": "Read ${{ tasks.talk.transcript }}"},
            }
        ),
    )

    async def hang(agent: str, request: Request) -> str:
        if agent == "ann":
            await anyio.sleep_forever()
        return said(agent, request)

    async with open_run(it, run_id="r", journal=journal, manager=Answers(hang)) as opened:
        async for event in opened:
            if isinstance(event.data, TaskEnded):
                break
    answers = Answers(said)
    async with resume_run(it, "r", journal=journal, manager=answers) as again:
        async for _ in again:
            pass
    assert again.result.status == "done"
    assert [agent for agent, _ in answers.asked] == ["ann"]
    assert TRANSCRIPT in answers.prompts("ann")[0]
    assert (await replay(journal, "r")).difference is None


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"a": "x", "b": "${{ tasks.a.transcript }}"}, "task 'a' holds no conversation"),
        ({"a": TALK, "b": "${{ tasks.a.transcript.pro }}"}, "is text and has no 'pro'"),
        ({"a": TALK, "b": "${{ tasks.a.transcripts }}"}, "did you mean 'transcript'?"),
        ({"a": {"steps": [{"id": "s", **TALK}]}, "b": "${{ tasks.a.transcript }}"}, "${{ steps.ID.transcript }}"),
    ],
)
def test_a_transcript_is_that_of_a_conversation(tasks: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as found:
        debate({**tasks, "b": {"agent": "ann", "needs": ["a"], "description": tasks["b"]}})
    assert message in f"{found.value.problems[0].message} {found.value.problems[0].hint}"


async def test_a_control_line_that_could_not_be_followed_is_told_and_counted() -> None:
    journal = MemoryJournal()
    it = debate({"talk": {"conversation": "party", "description": "Plan."}})
    result, _, events = await run(it, journal=journal, run_id="r")
    assert result.status == "done"
    progress = Progress()
    lines = [progress.apply(to_json(event)) for event in events]
    told = "judge's line 'NEXT: zoe' could not be followed: it names nobody who takes part"
    assert [(line.row, line.level) for line in lines if line is not None and line.text == told] == [("talk", "warning")]
    shown = described(await recorded_run(journal, "r"), progress, lambda *words: " ".join(words))
    assert "control lines that could not be followed: 1" in shown
    assert f"  talk: {told}" in shown
    ended = next(event.data for event in events if isinstance(event.data, ConversationEnded))
    assert (ended.kind, ended.unread) == ("max_turns", 1)
    assert (await replay(journal, "r")).difference is None


async def test_a_replay_knows_a_conclusion_that_the_budget_left_no_room_for() -> None:
    journal = MemoryJournal()
    it = squad({"talk": TALK}, "pro con judge ann", conversations={"debate": {**DEBATE, "budget": {"max_turns": 3}}})
    result, _, events = await run(it, journal=journal, run_id="r")
    assert result.status == "done"
    ended = next(event.data for event in events if isinstance(event.data, ConversationEnded))
    assert (ended.kind, ended.budget) == ("max_turns", "max_turns")
    assert (await replay(journal, "r")).difference is None


@pytest.mark.parametrize("conversation", ["debate", "party"])
async def test_a_run_that_is_cut_in_its_conclusion_pays_and_tells_nothing_twice(conversation: str) -> None:
    journal = MemoryJournal()
    it = debate({"talk": {"conversation": conversation, "description": "Talk."}})

    async def hang(agent: str, request: Request) -> str:
        if "conclusion" in request.messages[-1].text:
            await anyio.sleep_forever()
        return said(agent, request)

    first = Answers(hang)
    async with open_run(it, run_id="r", journal=journal, manager=first) as run:
        async for _ in run:
            if first.asked and "conclusion" in first.asked[-1][1].messages[-1].text:
                break
    second = Answers(said)
    async with resume_run(it, "r", journal=journal, manager=second) as again:
        async for _ in again:
            pass
    assert again.result.status == "done"
    assert [agent for agent, _ in second.asked] == ["judge"]
    events = [event.data for event in await journal.events("r")]
    spoken = [event.speaker for event in events if isinstance(event, MessageSpoken)]
    assert spoken == (["pro", "con", "pro", "judge"] if conversation == "debate" else ["pro", "judge", "con", "judge"])
    assert sum(isinstance(event, ControlUnread) for event in events) == (conversation == "party")
    assert (await replay(journal, "r")).difference is None


def test_a_forecast_counts_the_turn_of_the_conclusion() -> None:
    plan = debate({"talk": TALK}).plan()
    turns = expect(plan, Assumptions(), lambda tokens: 1.0).turns
    assert [turn.agent for turn in turns] == ["pro", "con", "pro", "judge"]


@pytest.mark.parametrize("expected", [None, "A name."])
async def test_a_typed_result_is_asked_for_once_more_below_one_heading_of_each_kind(expected: str | None) -> None:
    shaped = {"type": "object", "required": ["winner"], "properties": {"winner": {"type": "string"}}}
    typed = {**TALK, "output_schema": shaped, "output_file": "talk.json"}
    typed |= {} if expected is None else {"expected_output": expected}

    def answer(agent: str, request: Request) -> str:
        return said(agent, request) if request.output_schema is None else '{"winner": "pro"}'

    answers, journal = Answers(answer), MemoryJournal()
    it = debate({"talk": typed}, outputs={"t": "${{ tasks.talk.transcript }}", "value": "${{ tasks.talk.output }}"})
    async with open_run(it, manager=answers, journal=journal, run_id="r") as opened:
        async for _ in opened:
            pass
    assert opened.result.outputs["value"] == {"winner": "pro"}
    assert opened.result.outputs["t"].startswith(TRANSCRIPT), (
        "the talk is not lost, and ends with the words of the judge"
    )
    assert "judge 0" in opened.result.outputs["t"]
    closing, value = [request.messages[-1].text for agent, request in answers.asked if agent == "judge"]
    assert "you moderate, and the conversation is over" in closing
    headings = [line for line in value.splitlines() if line.startswith("# ")]
    more = [] if expected is None else ["# Expected output"]
    assert headings == ["# Context: The conversation", "# Task", *more, "# What is left to do"]
    assert (await replay(journal, "r")).is_equal
