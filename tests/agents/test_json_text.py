"""JSON with words around it is read where it is plain what is meant, and cut off JSON is told as that."""

from __future__ import annotations

from typing import Any

import pytest

from agents import AnswerCut, OutputInvalid, RunContext, TurnEnded
from agents.output import Invalid, shape_of
from providers.messages import FinishReason, Response, Usage, assistant
from providers.stub.scripted import say, tool_call
from tests.agents.test_last_turn import look

LENGTH, FILTER, STOP = FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.STOP
N = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
LIST = {"type": "array", "items": {"type": "integer"}}


def answered(text: str, finish: FinishReason = STOP, tokens: int = 0) -> Response:
    return Response(assistant(text), finish, Usage(output=tokens))


def read(text: str, schema: Any = N, finish: FinishReason = STOP) -> Any:
    return shape_of(schema).read(answered(text, finish))


@pytest.mark.parametrize(
    "text",
    [
        'Here is the JSON: {"n": 1} Hope this helps!',
        'Sure.\n\n```json\n{"n": 1}\n```\n\nLet me know.',
        'Sure.\r\n\r\n~~~\r\n{"n": 1}\r\n~~~\r\n',
        'I used {placeholders} and [notes] in {a: way}: {"n": 1}',
        'As in [1], the shape {"x": 2} is wrong; so: {"n": 1}',
        'First {"n": 1}. Once more:\n```\n{ "n" : 1 }\n```',
        'A draft:\n```python\nprint({"n"})\n```\nand {"n": 1}.',
        '<think>{"n": 5}</think> Here: {"n": 1}',
    ],
)
def test_words_around_an_object_are_left_out(text: str) -> None:
    assert read(text) == {"n": 1}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("They are [1, 2].", LIST, [1, 2]),
        ("They are:\n```json\n[1, 2]\n```", LIST, [1, 2]),
        ("The answer:\n```json\n42\n```", {"type": "integer"}, 42),
        ("Here it is:\n\n42\n\nThat is all.", {"type": "integer"}, 42),
        ("The result: true", {"type": "boolean"}, True),
        ('Here is the JSON: "a \\"word\\""', {"type": "string"}, 'a "word"'),
    ],
)
def test_lists_and_scalars_are_found_too(text: str, schema: Any, value: Any) -> None:
    assert read(text, schema) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('Either {"n": 1} or {"n": 2}.', "several JSON values"),
        ("There are 3 of 4 left.", "not JSON"),
        ("It is not true that it is so.", "not JSON"),
        ('Here: {"n": 1, "of": {"n": 2}', "not JSON"),  # the inner one is a part of what is broken
        ('Here: {"n" 1, "of": {"n": 2}} thanks', "not JSON"),
        ("no braces at all", "not JSON"),
    ],
)
def test_what_is_not_plain_is_not_guessed(text: str, why: str) -> None:
    found = read(text)
    assert isinstance(found, Invalid)
    assert why in found.message


def test_one_value_that_does_not_fit_is_told_by_its_own_mistake() -> None:
    found = read('Here: {"n": "one"}')
    assert isinstance(found, Invalid)
    assert (found.path, "'one' is not of type 'integer'" in found.message) == ("$.n", True)


def test_json_that_came_to_its_end_counts_though_the_limit_was_reached() -> None:
    assert read('{"n": 1}', finish=LENGTH) == {"n": 1}


def test_half_an_answer_is_not_searched_for_a_part_that_fits() -> None:
    found = read('{"all": [{"n": 1}, {"n": 2', finish=LENGTH)
    assert isinstance(found, Invalid)
    assert found.cut is LENGTH


def test_the_first_edition_reads_as_it_did() -> None:
    shape = shape_of(N)
    assert isinstance(shape.read(answered('Here: {"n": 1}'), 1), Invalid)
    assert isinstance(shape.read(answered('{"n": 1}', LENGTH), 1), Invalid)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("finish", "told"),
    [
        (LENGTH, "the answer was cut off at 4,096 tokens: raise max_output_tokens"),
        (FILTER, "the answer was cut off by the provider's content filter"),
    ],
)
async def test_json_that_is_cut_off_twice_fails_as_that(scripted: Any, finish: FinishReason, told: str) -> None:
    bench = scripted(*[answered('{"n": ', finish, 4096)] * 8)
    with pytest.raises(AnswerCut, match=told) as failed:
        await bench.agent(max_output_tokens=4096).work("Count.", output_schema=N)
    assert isinstance(failed.value, OutputInvalid)
    assert failed.value.cause == finish.value
    asked = bench.script.requests[1].messages[-1].text
    assert "cut off" in asked
    assert "JSON Schema" not in asked


@pytest.mark.anyio
@pytest.mark.parametrize("arguments", ['{"at": "sk', ""])
async def test_a_call_that_is_cut_off_is_told_and_not_made(scripted: Any, arguments: str) -> None:
    half = say(tool_call("look", at="sea"), tool_call("look"))
    parts = (half.parts[0], type(half.parts[1])("2", "look", arguments))
    made = Response(assistant(*parts), LENGTH, Usage(output=9))
    events: list[Any] = []
    bench = scripted(made, "Blue.")
    result = await bench.agent(tools=(look,)).work("Look.", RunContext(emit=events.append))
    first, second = bench.script.requests[-1].messages[-1].parts
    assert (first.content, first.is_error) == ("sea is blue", False)
    assert second.is_error
    assert "cut off at 9 tokens" in second.content
    assert (result.text, sum(isinstance(e, TurnEnded) for e in events)) == ("Blue.", 2)


@pytest.mark.anyio
async def test_calls_that_are_cut_off_again_fail_as_that(scripted: Any) -> None:
    part = say(tool_call("look")).parts[0]
    made = Response(assistant(type(part)("1", "look", '{"at": "s')), LENGTH, Usage(output=9))
    bench = scripted(made, made)
    with pytest.raises(AnswerCut, match="a tool call was cut off at 9 tokens"):
        await bench.agent(tools=(look,)).work("Look.")
