"""The gateway as Anthropic's own client meets it, over a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.testing import say, scripted
from providers.errors import RateLimited
from providers.messages import Reasoning, ToolCall, ToolResult
from tests.components import imported
from tests.loopback import Loopback
from tests.orchestrator.server.served import asking_at, listening, served

pytestmark = [pytest.mark.anyio, pytest.mark.long]
anthropic = imported("anthropic", "oracles")
ASK: Any = {"model": "tier/worker", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
LOOK: Any = {"name": "look", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's


@asynccontextmanager
async def client_of(manager: Any, folder: Path) -> AsyncIterator[Any]:
    keys = ClientKeys(folder)
    key = keys.make("one", 0.0)
    async with (
        served(manager, folder, keys) as server,
        listening(server.app) as address,
        anthropic.AsyncAnthropic(base_url=address, api_key=key, max_retries=0) as client,
    ):
        yield client


async def test_it_gets_answers_calls_of_tools_and_thoughts(tmp_path: Path) -> None:
    calls = (ToolCall("c1", "look", '{"at": "é"}'), ToolCall("c2", "look", "{}"))
    async with (
        scripted("Hi 🛒", say(Reasoning("Hm."), "I look.", *calls), "Seen.") as manager,
        client_of(manager, tmp_path) as client,
    ):
        whole = await client.messages.create(**ASK)
        assert (whole.content[0].text, whole.stop_reason, whole.usage.output_tokens > 0) == ("Hi 🛒", "end_turn", True)
        assert whole._request_id.startswith("req_")
        async with client.messages.stream(**ASK, tools=[LOOK]) as stream:
            kinds = [one.type async for one in stream]
            said = await stream.get_final_message()
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        assert [one.type for one in said.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert [one.input for one in said.content[2:]] == [{"at": "é"}, {}]
        assert said.stop_reason == "tool_use"
        results = [
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "a cat"}]},
            {"type": "tool_result", "tool_use_id": "c2", "content": "nothing", "is_error": True},
            {"type": "text", "text": "And?"},
        ]
        asked = [*ASK["messages"], {"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
        await client.messages.create(**{**ASK, "messages": asked}, tools=[LOOK], system="Be brief.")
    opening, _, thought, answered, last = manager.requests[-1].messages
    assert opening.text == "Be brief."
    assert [call.id for call in thought.tool_calls] == ["c1", "c2"]
    assert answered.parts == (ToolResult("c1", "look", "a cat"), ToolResult("c2", "look", "nothing", is_error=True))
    assert last.text == "And?"


async def test_it_knows_the_errors_and_the_models(tmp_path: Path) -> None:
    async with scripted(RateLimited("slow down", status=429)) as manager, client_of(manager, tmp_path) as client:
        assert [one.id async for one in client.models.list()][:2] == ["tier/worker", "agent/analyst"]
        assert (await client.models.retrieve("agent/analyst")).id == "agent/analyst"
        count = await client.messages.count_tokens(model="tier/worker", messages=ASK["messages"])
        assert count.input_tokens > 0
        with pytest.raises(anthropic.RateLimitError, match="slow down"):
            await client.messages.create(**ASK)
        with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
            await client.messages.create(**{**ASK, "model": "tier/x"})
        with pytest.raises(anthropic.BadRequestError, match="invalid_request_error"):
            await client.messages.create(**{**ASK, "messages": []})
        with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
            await client.with_options(api_key="no").messages.create(**ASK)

        with pytest.raises(anthropic.NotFoundError) as unknown:
            await client.messages.create(**{**ASK, "model": "none"}, extra_headers={"x-request-id": "mine"})
        assert unknown.value.request_id == "mine"


async def test_a_stream_that_breaks_says_so(loopback: Loopback, tmp_path: Path) -> None:
    heard: list[str] = []

    async def listen(client: Any) -> None:
        async with client.messages.stream(**ASK) as stream:
            async for text in stream.text_stream:
                heard.append(text)  # noqa: PERF401  # what came before it broke

    async with asking_at(loopback.url("error-inside=2")) as manager, client_of(manager, tmp_path) as client:
        with pytest.raises(anthropic.APIStatusError, match="api_error"):
            await listen(client)
    assert "".join(heard) == "Hello from "
