"""`examples/fastapi/app.py` on a real uvicorn, asked by a real client: a run, its stream, its approval, a restart."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn

from tests.e2e.examples import EXAMPLES
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("default::orchestrator.StubAnswers"),  # no key is set here
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's


@pytest.fixture(scope="module")
def example() -> AsyncIterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("fastapi_example", EXAMPLES / "fastapi/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNS_DB", f"sqlite:///{tmp_path / 'runs.db'}")
    for name in ("GROQ_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def served(example: ModuleType) -> AsyncIterator[httpx2.AsyncClient]:
    config = uvicorn.Config(example.app, port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve)
            while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
                await anyio.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
                yield client
            server.should_exit = True


async def stream(client: httpx2.AsyncClient, run: str, after: int = 0) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    headers = {"last-event-id": str(after)} if after else {}
    async with client.stream("GET", f"/runs/{run}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        number = 0
        async for line in response.aiter_lines():
            key, _, value = line.partition(": ")
            if key == "id":
                number = int(value)
            if key == "data":
                yield number, json.loads(value)


async def until_asked(client: httpx2.AsyncClient, run: str) -> int:
    async for number, message in stream(client, run):
        if message["kind"] == "question":
            assert message["task"] == "publish"
            assert "Faster search" in message["shown"]["draft"]
            return number
    raise AssertionError("it was not asked")


async def until_open(client: httpx2.AsyncClient, run: str) -> None:
    while not (await client.get(f"/runs/{run}")).json()["questions"]:  # noqa: ASYNC110  # the state, not the stream
        await anyio.sleep(0.01)


async def test_a_run_is_started_followed_and_approved(example):
    async with served(example) as client:
        began = await client.post("/runs", json={"inputs": {"change": "Faster search."}})
        assert began.status_code == 202
        run = began.json()["run"]
        number = await until_asked(client, run)
        assert (await client.get(f"/runs/{run}")).json()["questions"] == ["publish"]
        assert (await client.post(f"/runs/{run}/answers", json={"choice": "perhaps"})).status_code == 422
        assert (await client.post(f"/runs/{run}/answers", json={"choice": "approve"})).status_code == 204
        assert (await client.post(f"/runs/{run}/answers", json={"choice": "reject"})).status_code == 409
        later = [message async for _, message in stream(client, run, after=number)]  # it ends with the run
        assert [one["kind"] for one in later if one["kind"] in ("question", "end")] == ["end"]
        assert any(one["kind"] == "text" and one["agent"] == "paige" for one in later)
        shown = (await client.get(f"/runs/{run}")).json()
        assert (shown["status"], shown["errors"]) == ("done", {})
        assert "Faster search" in shown["outputs"]["mail"]


async def test_a_run_that_waits_outlives_the_server(example):
    async with served(example) as client:
        run = (await client.post("/runs", json={})).json()["run"]
        await until_open(client, run)
    async with served(example) as client:
        await until_open(client, run)
        assert (await client.post(f"/runs/{run}/answers", json={"choice": "reject"})).status_code == 204
        assert [message async for _, message in stream(client, run)][-1]["status"] == "rejected"


async def test_mistakes_are_told_before_anything_is_spent(example):
    async with served(example) as client:
        refused = await client.post("/runs", json={"inputs": {"chang": "x"}})
        assert (refused.status_code, refused.json()["detail"]) == (422, ["the squad takes no input 'chang'"])
        assert (await client.get("/runs/nothing")).status_code == 404
