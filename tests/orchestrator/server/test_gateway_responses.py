"""Responses through the gateway as OpenAI's own client asks for them, over a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.testing import say, scripted
from providers.messages import Reasoning, ToolCall, ToolResult
from tests.components import imported
from tests.loopback import Loopback
from tests.orchestrator.server.served import asking_at, listening, served

pytestmark = [pytest.mark.anyio, pytest.mark.long]
openai = imported("openai", "oracles")
ASK: Any = {"model": "tier/worker", "input": "Hello"}
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's


@asynccontextmanager
async def client_of(manager: Any, folder: Path) -> AsyncIterator[Any]:
    async with (
        served(manager, folder) as server,
        listening(server.app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


async def test_it_gets_answers_and_calls_of_tools(tmp_path: Path) -> None:
    calls = (ToolCall("c1", "look", '{"at": "é"}'), ToolCall("c2", "look", "{}"))
    said = say(Reasoning("Hm."), "I look.", *calls)
    async with scripted("Hi 🛒", said, said, "Seen.") as manager, client_of(manager, tmp_path) as client:
        whole = await client.responses.create(**ASK, instructions="Be brief.", store=True)
        assert (whole.output_text, whole.status, whole.usage.output_tokens > 0) == ("Hi 🛒", "completed", True)
        whole = await client.responses.create(**ASK, tools=[LOOK])
        async with client.responses.stream(**ASK, tools=[LOOK]) as stream:
            kinds = [one.type async for one in stream]
            streamed = await stream.get_final_response()
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds[-1] == "response.completed"
        for answer in (whole, streamed):
            assert [one.type for one in answer.output] == ["reasoning", "message", "function_call", "function_call"]
            assert [one.arguments for one in answer.output[2:]] == ['{"at": "é"}', "{}"]
        outputs = [{"type": "function_call_output", "call_id": one, "output": "a cat"} for one in ("c1", "c2")]
        items = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}, *streamed.output, *outputs]
        await client.responses.create(**{**ASK, "input": items}, tools=[LOOK], reasoning={"effort": "low"})
    assert manager.requests[0].messages[0].text == "Be brief."
    asked, thought, answered = manager.requests[-1].messages
    assert (asked.text, thought.text) == ("Hello", "I look.")
    assert [call.id for call in thought.tool_calls] == ["c1", "c2"]
    assert answered.parts == (ToolResult("c1", "look", "a cat"), ToolResult("c2", "look", "a cat"))
    assert manager.requests[-1].effort == "low"


async def test_shapes_hold_and_what_is_kept_elsewhere_is_refused(tmp_path: Path) -> None:
    shape = {"type": "json_schema", "name": "pet", "schema": {"type": "object", "required": ["a"]}}
    async with scripted('```json\n{"a": 1}\n```') as manager, client_of(manager, tmp_path) as client:
        answer = await client.responses.create(**ASK, text={"format": shape})
        assert json.loads(answer.output_text) == {"a": 1}
        with pytest.raises(openai.BadRequestError, match="answers are not kept here"):
            await client.responses.create(**ASK, previous_response_id="resp_1")
        with pytest.raises(openai.BadRequestError, match="web_search"):
            await client.responses.create(**{**ASK, "input": [{"type": "web_search_call"}]})


async def test_a_stream_that_breaks_says_so(loopback: Loopback, tmp_path: Path) -> None:
    async with asking_at(loopback.url("error-inside=2")) as manager, client_of(manager, tmp_path) as client:
        told = [one async for one in await client.responses.create(**ASK, stream=True)]
    assert [one.type for one in told[-2:]] == ["error", "response.failed"]
    assert "broke" in told[-2].message
    assert told[-1].response.status == "failed"
