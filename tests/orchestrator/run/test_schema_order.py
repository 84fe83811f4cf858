"""The properties of an `output_schema` reach the model in the order in which the squad has them, whatever happens."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from orchestrator import Squad
from orchestrator.events import TaskEnded
from orchestrator.journal.opening import open_journal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from providers.messages import Request
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio

TEXT = """\
name: order
agents: {a: {persona: {name: A, role: Judge., tier: worker}}}
tasks:
  t:
    agent: a
    description: Think, then decide.
    output_schema:
      type: object
      required: [reasoning, answer]
      properties:
        reasoning: {type: string, description: Think first}
        answer: {enum: ["yes", "no"]}
        doubts: {type: array, items: {type: object, properties: {why: {type: string}, about: {type: string}}}}
outputs: {o: "${{ tasks.t.output }}"}
"""
ORDER = ["reasoning", "answer", "doubts"]


def properties(request: Request) -> list[str]:
    assert request.output_schema is not None
    made = request.output_schema.schema["properties"]
    assert list(made["doubts"]["items"]["properties"]) == ["why", "about"]
    return list(made)


async def test_the_order_is_kept_from_the_file_to_the_model_over_a_resume_and_in_the_record(tmp_path: Any) -> None:
    squad = Squad.from_text(TEXT)
    answer = '{"reasoning": "so", "answer": "yes", "doubts": []}'

    async def hang(agent: str, request: Request) -> str:
        await anyio.sleep_forever()
        return agent

    async with open_journal(f"sqlite:///{tmp_path}/journal.db") as journal:
        first, second = Answers(hang), Answers(lambda agent, request: answer)
        async with open_run(squad, run_id="r", journal=journal, manager=first) as run:
            async for _ in run:
                if first.asked:
                    break
        async with resume_run(squad, "r", journal=journal, manager=second) as run:
            async for _ in run:
                pass
        assert run.result.status == "done"
        assert properties(second.asked[0][1]) == ORDER
        assert list(run.result.outputs["o"]) == ORDER
        ended = [event.data for event in await journal.events("r") if isinstance(event.data, TaskEnded)]
        assert json.dumps(ended[0].output) == answer
        assert (await replay(journal, "r")).difference is None


async def test_a_schema_of_another_order_is_sent_in_its_own() -> None:
    for text in (TEXT, TEXT.replace("reasoning:", "zeta:").replace("[reasoning,", "[zeta,")):
        answers = Answers(
            lambda agent, request: json.dumps(dict.fromkeys(properties(request)[:1], "x") | {"answer": "no"})
        )
        async with open_run(Squad.from_text(text), manager=answers) as run:
            async for _ in run:
                pass
        assert properties(answers.asked[0][1])[1:] == ORDER[1:]


async def test_the_stub_answers_in_that_order_too() -> None:
    async with open_run(Squad.from_text(TEXT), offline=True, environ={}) as run:
        async for _ in run:
            pass
    assert [key for key in run.result.outputs["o"] if key in ORDER[:2]] == ORDER[:2]
