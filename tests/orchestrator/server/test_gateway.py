"""The gateway as a client meets it: over HTTP, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.server.gateway.failures import GatewayFailure
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.gateway.published import Published
from orchestrator.testing import scripted
from providers.errors import AuthFailed, RateLimited
from providers.messages import Request, ToolCall, user
from tests.orchestrator.server.served import LIBRARY, served

pytestmark = pytest.mark.anyio
ASK = {"model": "tier/worker", "messages": [{"role": "user", "content": "Hello 👋"}]}


def events_in(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_an_answer_says_who_gave_it(tmp_path: Path) -> None:
    async with scripted("Hi there 🛒") as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "Hi there 🛒"
    assert answer.headers["x-orchestrator-provider"] == "scripted"
    assert answer.headers["x-orchestrator-attempts"] == "1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert manager.requests[0].needs.tier == "worker"


async def test_an_agent_answers_as_its_persona(tmp_path: Path) -> None:
    async with scripted("Yes.") as manager, served(manager, tmp_path) as server:
        await server.http.post("/v1/chat/completions", json={**ASK, "model": "agent/analyst"})
    opening, said = manager.requests[0].messages
    assert opening.role == "system"
    assert opening.text == LIBRARY.get("analyst").instructions()
    assert said.text == "Hello 👋"
    assert manager.requests[0].needs.persona == "analyst"


@pytest.mark.parametrize("usage", [True, False])
async def test_a_stream_begins_with_the_role_and_ends_with_done(usage: bool, tmp_path: Path) -> None:
    asked = {**ASK, "stream": True, "stream_options": {"include_usage": usage}}
    async with scripted("Hi there") as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/chat/completions", json=asked)
    told = events_in(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert told[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in told[:-1] if one["choices"]) == "Hi there"
    assert told[-1] == "[DONE]"
    assert [one["choices"] for one in told[:-1]].count([]) == usage
    assert len({one["id"] for one in told[:-1]}) == 1


async def test_tool_calls_come_in_a_stream(tmp_path: Path) -> None:
    asked = {**ASK, "stream": True, "tools": [{"type": "function", "function": {"name": "look"}}]}
    async with scripted(ToolCall("c1", "look", '{"a": 1}')) as manager, served(manager, tmp_path) as server:
        told = events_in((await server.http.post("/v1/chat/completions", json=asked)).text)
    calls = [call for one in told[:-1] for call in one["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "look"
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a": 1}'
    assert told[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_fails_before_a_word_was_said_has_its_status(stream: bool, tmp_path: Path) -> None:
    limited = RateLimited("sekret says slow down", status=429)
    async with scripted(limited) as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/chat/completions", json={**ASK, "stream": stream})
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert "sekret" not in answer.text
    assert "slow down" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("DELETE", "/v1/models", 405, None),
        ("GET", "/v1/models/no/such", 404, "model_not_found"),
        ("POST", "/v1/chat/completions", 400, None),
    ],
)
async def test_every_error_has_the_dialects_shape(
    method: str, path: str, status: int, code: str | None, tmp_path: Path
) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        answer = await server.http.request(method, path, content=b"{" if method == "POST" else None)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (status, "false")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("stream", [True, False])
async def test_clients_that_know_functions_alone_hear_of_one(stream: bool, tmp_path: Path) -> None:
    asked = {**ASK, "stream": stream, "functions": [{"name": "look"}]}
    async with scripted(ToolCall("c1", "look", "{}")) as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/chat/completions", json=asked)
    *_, last = [one["choices"][0] for one in events_in(answer.text)[1:-1]] if stream else answer.json()["choices"]
    assert last["finish_reason"] == "function_call"
    assert '"function_call":{"name":"look"' in answer.text
    assert "tool_calls" not in answer.text


def test_a_models_own_name_stands_for_the_only_one() -> None:
    published = Published((), {}, ("a/x", "b/x", "b/y"))
    asked = Request((user("Hi"),))
    assert published.asked(published.name_of("y"), asked).needs.model == "b/y"
    with pytest.raises(GatewayFailure, match="write one of a/x, b/x"):
        published.name_of("x")


async def test_a_key_for_a_models_own_name_finds_it_listed_by_that(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    key = keys.make("own", 0.0, models=["scripted"])
    async with scripted("Yes.") as manager, served(manager, tmp_path, keys) as server:
        headers = {"authorization": f"Bearer {key}"}
        [listed] = (await server.http.get("/v1/models", headers=headers)).json()["data"]
        shown = (await server.http.get("/v1/models/scripted", headers=headers)).json()
        asked = {**ASK, "model": "scripted"}
        assert (await server.http.post("/v1/chat/completions", headers=headers, json=asked)).status_code == 200
    assert listed == shown
    assert (shown["id"], shown["owned_by"]) == ("scripted", "scripted")


async def test_models_are_listed(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        listed = (await server.http.get("/v1/models")).json()["data"]
        shown = (await server.http.get("/v1/models/agent/analyst")).json()
        wrong = await server.http.post("/v1/chat/completions", json={**ASK, "model": "tier/workr"})
    assert [one["id"] for one in listed] == ["tier/worker", "agent/analyst", "scripted/scripted"]
    assert (shown["id"], shown["object"], shown["owned_by"]) == ("agent/analyst", "model", "orchestrator")
    assert "did you mean 'tier/worker'?" in wrong.json()["error"]["message"]


async def test_keys_open_what_they_are_for(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    whole, some = keys.make("whole", 0.0), keys.make("some", 0.0, models=["tier/*"])
    async with scripted("Yes.") as manager, served(manager, tmp_path, keys) as server:
        for given in ({}, {"authorization": "Bearer sk-orch-no"}, {"authorization": whole}):
            answer = await server.http.get("/v1/models", headers=given)
            assert answer.status_code == 401, given
            assert answer.headers["www-authenticate"] == "Bearer"
        seen = await server.http.get("/v1/models", headers={"authorization": "", "x-api-key": some})
        assert [one["id"] for one in seen.json()["data"]] == ["tier/worker"]
        headers = {"authorization": f"Bearer {some}"}
        closed = await server.http.post("/v1/chat/completions", headers=headers, json={**ASK, "model": "agent/analyst"})
        assert (closed.status_code, closed.json()["error"]["code"]) == (403, "model_not_allowed")
        assert (await server.http.post("/v1/chat/completions", headers=headers, json=ASK)).status_code == 200
        keys.revoke("some")
        assert (await server.http.post("/v1/chat/completions", headers=headers, json=ASK)).status_code == 401
    stored = keys.path.read_text("utf-8")
    assert whole not in stored
    assert some not in stored
    assert keys.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-length": str(1 << 40)}, 413),
    ],
)
async def test_pages_elsewhere_and_floods_are_refused(headers: dict[str, str], status: int, tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/chat/completions", json=ASK, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reference", ["https://elsewhere.example/x", "#/nowhere"])
async def test_a_schema_that_cannot_be_checked_is_the_clients_mistake(
    stream: bool, reference: str, tmp_path: Path
) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": reference}}}
    async with scripted('{"a": 1}') as manager, served(manager, tmp_path) as server:
        asked = {**ASK, "stream": stream, "response_format": wanted}
        answer = await server.http.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "response_format"
    assert reference.strip("#") in answer.json()["error"]["message"]


async def test_keys_of_providers_that_are_refused_are_not_worth_asking_again(tmp_path: Path) -> None:
    async with scripted(AuthFailed("no such key", status=401)) as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
