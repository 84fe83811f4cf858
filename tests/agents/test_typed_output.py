"""Answers as values of the program's types: read, sent back once with what is wrong, and else a typed error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from agents import OutputInvalid, WorkResult
from agents.typed_output import typed_shape
from orchestrator import run_squad
from providers.messages import OutputSchema
from providers.stub.scripted import say, tool_call
from tests.agents.test_calls import look
from tests.orchestrator.squads import Answers, squad

pytestmark = pytest.mark.anyio


class Finding(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    day: date
    score: int = Field(ge=0, le=10)


class Report(BaseModel):
    """What was found."""

    title: str
    findings: list[Finding] = []

    @field_validator("title")
    @classmethod
    def _named(cls, title: str) -> str:
        if not title.istitle():
            raise ValueError("every word of a title begins with a capital")
        return title


@dataclass
class Point:
    x: int
    y: int = 0


GOOD = '{"title": "A Day", "findings": [{"day": "2026-01-02", "score": 3}]}'


async def test_the_output_is_a_value_of_the_type(scripted) -> None:
    bench = scripted(f"Here it is:\n```json\n{GOOD}\n```")
    result: WorkResult[Report] = await bench.agent().work("x", output_type=Report)
    assert result.output == Report(title="A Day", findings=[Finding(day=date(2026, 1, 2), score=3)])
    asked = bench.script.requests[0].output_schema
    assert asked.name == "Report"
    assert asked.schema["properties"]["title"] == {"type": "string"}
    assert asked.schema["description"] == "What was found."


@pytest.mark.parametrize(
    ("kind", "answer", "output"),
    [
        (list[Point], '[{"x": 1}, {"x": 2, "y": 3}]', [Point(1), Point(2, 3)]),
        (int | None, "null", None),
        (dict[str, date], '{"a": "2026-01-02"}', {"a": date(2026, 1, 2)}),
        (Point, '{"x": "7"}', Point(7)),
        (str, "as it is", "as it is"),
    ],
)
async def test_any_type_that_has_a_schema_will_do(scripted, kind: Any, answer: str, output: Any) -> None:
    assert (await scripted(answer).agent().work("x", output_type=kind)).output == output


async def test_what_only_a_validator_knows_goes_back_to_the_model_once(scripted) -> None:
    wrong = '{"title": "a day", "findings": [{"day": "2026-01-02", "score": 11}]}'
    bench = scripted(wrong, GOOD)
    result = await bench.agent().work("x", output_type=Report)
    assert (result.turns, result.output.title) == (2, "A Day")
    told = bench.script.requests[1].messages[-1].text
    assert "At $.title: Value error, every word of a title begins with a capital; at $.findings[0].score:" in told
    assert told.endswith("Answer again with the whole corrected JSON and nothing else.")


async def test_the_second_failure_is_typed(scripted) -> None:
    bench = scripted('{"title": "a"}', *['{"title": "b"}'] * 4)
    with pytest.raises(OutputInvalid, match="begins with a capital") as failed:
        await bench.agent().work("x", output_type=Report)
    assert (failed.value.path, failed.value.excerpt) == ("$.title", '{"title": "b"}')
    sent_back = [request.messages[-1].text for request in bench.script.requests[1:]]
    assert len(set(sent_back)) == 1  # one round; it may be tried with more than one model


async def test_tools_may_be_called_first_and_a_stream_gives_the_same(scripted) -> None:
    bench = scripted(say(tool_call("look")), GOOD)
    assert (await bench.agent(tools=(look,)).work("x", output_type=Report)).output.title == "A Day"
    bench = scripted(GOOD)
    async with bench.agent().stream("x", output_type=Report) as stream:
        deltas = [delta async for delta in stream]
    assert stream.result.output.findings[0].score == 3
    assert "".join(delta.text for delta in deltas) == GOOD


async def test_what_cannot_be_asked_for_is_told_before_anything_is(scripted) -> None:
    class Odd:
        pass

    bench = scripted(GOOD)
    with pytest.raises(ValueError, match="output_type Odd has no JSON Schema"):
        await bench.agent().work("x", output_type=Odd)
    with pytest.raises(TypeError, match="not both"):
        await bench.agent().work("x", output_type=Report, output_schema=OutputSchema({}))
    assert not bench.script.requests
    assert typed_shape(Report) is typed_shape(Report)


async def test_an_output_of_a_run_is_read_as_a_type() -> None:
    task = {"agent": "ann", "description": "x", "output_schema": {"type": "object"}}
    given = squad({"a": task}, outputs={"report": "${{ tasks.a.output }}"})
    result = await run_squad(given, manager=Answers(lambda *_: GOOD))
    assert result.output("report", Report).findings[0].day == date(2026, 1, 2)
