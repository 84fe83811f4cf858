"""The gateway as OpenAI's own client meets it, over a socket, with a provider behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from orchestrator.squad.load import Squad
from tests.components import imported
from tests.loopback import ANSWER, Loopback
from tests.orchestrator.server.served import asking_at, listening, served
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.long]
openai = imported("openai", "oracles")
ASK: Any = {"model": "tier/worker", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's


@asynccontextmanager
async def client_of(folder: Path, *addresses: str) -> AsyncIterator[Any]:
    async with (
        asking_at(*addresses) as manager,
        served(manager, folder) as server,
        listening(server.app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


async def words_of(stream: Any, heard: list[str]) -> str:
    async for one in stream:
        heard.extend(choice.delta.content or "" for choice in one.choices)
    return "".join(heard)


async def test_it_gets_whole_answers_streams_and_errors(loopback: Loopback, tmp_path: Path) -> None:
    good, refuses, breaks = loopback.url("ok"), loopback.url("401"), loopback.url("error-inside=2")
    async with client_of(tmp_path, good, refuses, breaks) as client:
        whole = await client.chat.completions.with_raw_response.create(**ASK)
        assert whole.parse().choices[0].message.content == ANSWER
        assert whole.headers["x-orchestrator-provider"] == "p0"
        stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        pieces = [one async for one in stream]
        assert "".join(one.choices[0].delta.content or "" for one in pieces if one.choices) == ANSWER
        assert (pieces[-1].choices, pieces[-1].usage.total_tokens) == ([], 19)
        with pytest.raises(openai.NotFoundError, match="does not exist here"):
            await client.chat.completions.create(**{**ASK, "model": "tier/x"})
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(**{**ASK, "model": "p1/m"}, stream=stream)
            assert caught.value.status_code == (503 if stream is True else 502)
            assert "sk-loopback" not in str(caught.value)
        heard: list[str] = []
        stream = await client.chat.completions.create(**{**ASK, "model": "p2/m"}, stream=True)
        with pytest.raises(openai.APIError, match="broke"):
            await words_of(stream, heard)
        assert "".join(heard) == "Hello from "


@pytest.mark.parametrize("mode", ["hang", "stall"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_call(
    mode: str, stream: bool, loopback: Loopback, tmp_path: Path
) -> None:
    async with client_of(tmp_path, loopback.url(mode)) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answer = await client.chat.completions.create(**ASK, stream=stream)
            async for _ in answer:
                pass

        tasks.start_soon(ask)
        await anyio.to_thread.run_sync(loopback.wait_for, 1)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            left = await anyio.to_thread.run_sync(loopback.requests[0].left.wait, PATIENCE_S)
            assert left, "the call upstream goes on"


async def test_a_client_that_leaves_cuts_the_run_of_a_squad_short(loopback: Loopback, tmp_path: Path) -> None:
    text = "name: notes\nagents: {ann: {persona: analyst}}\ntasks:\n  draft: {agent: ann, description: Write.}\n"
    async with (
        asking_at(loopback.url("hang")) as manager,
        served(manager, tmp_path, None, [Squad.from_text(text, "notes.yaml")]) as server,
        listening(server.app) as address,
    ):
        asked = {"model": "squad/notes", "messages": [{"role": "user", "content": "go"}]}
        async with httpx2.AsyncClient() as http, anyio.create_task_group() as tasks:
            tasks.start_soon(partial(http.post, f"{address}/v1/chat/completions", json=asked, timeout=PATIENCE_S))
            await anyio.to_thread.run_sync(loopback.wait_for, 1)
            tasks.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(loopback.requests[0].left.wait, PATIENCE_S)
        with anyio.fail_after(PATIENCE_S):
            while server.state.host.running:  # noqa: ASYNC110  # it ends by itself
                await anyio.sleep(0.01)
        (run,) = (await server.http.get("/api/runs")).json()["runs"]
        assert run["state"] in ("interrupted", "unfinished")


async def test_a_body_without_a_length_has_its_bound_too(loopback: Loopback, tmp_path: Path) -> None:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b" " * (1 << 20)

    async with client_of(tmp_path, loopback.url("ok")) as client, httpx2.AsyncClient() as http:
        answer = await http.post(f"{client.base_url}chat/completions", content=flood())
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")


async def test_an_object_is_told_once_it_is_one(loopback: Loopback, tmp_path: Path) -> None:
    async with client_of(tmp_path, loopback.url("literal"), loopback.url("ok")) as client:
        loopback.literal = json.dumps('Here: {"a": 1}').encode()
        for stream in (False, True):
            answer = await client.chat.completions.create(
                **{**ASK, "model": "p0/m"}, stream=stream, response_format={"type": "json_object"}
            )
            text = await words_of(answer, []) if stream else answer.choices[0].message.content
            assert json.loads(text) == {"a": 1}
        with pytest.raises(openai.APIStatusError, match="not JSON"):
            await client.chat.completions.create(**{**ASK, "model": "p1/m"}, response_format={"type": "json_object"})
        shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}
        with pytest.raises(openai.BadRequestError, match="no JSON Schema"):
            await client.chat.completions.create(**ASK, response_format=shape)
