"""Errors of the gateway: always in the shape of the API that was asked, with the right status."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from agents.memory.database import MemoryUnusable
from orchestrator.server.gateway.keys import ClientKeys
from providers.catalog.model import Candidate
from providers.messages import Request, Response
from tests.orchestrator.server.priced import ASK, NOON, Answers, priced
from tests.orchestrator.server.served import served

pytestmark = [pytest.mark.anyio, pytest.mark.long]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
SDK = {"accept": "application/json"}
CASES: list[tuple[str, str, dict[str, str], bytes, int, str]] = [
    ("POST", CHAT, JSON, b"{", 400, "is not JSON"),
    ("POST", CHAT, JSON, b"", 400, "is not JSON"),
    ("POST", CHAT, JSON, b"\xff\xfe{}", 400, "is not JSON"),
    ("POST", CHAT, JSON, b"[" * 100_000, 400, "is not JSON"),
    ("POST", CHAT, JSON, b"null", 400, ""),
    ("POST", CHAT, JSON, b'{"model": "tier/worker", "messages": []}', 400, "messages"),
    ("POST", CHAT, JSON, b'{"model": "tier/worker", "messages": [{"role": "boss", "content": "x"}]}', 400, "role"),
    ("POST", CHAT, JSON, b'{"model": "nope", "messages": [{"role": "user", "content": "x"}]}', 404, "nope"),
    ("POST", CHAT, JSON, b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}', 404, "not exist"),
    ("POST", CHAT, JSON, b'{"model": "m", "messages": [{"role": "user", "content": 5}]}', 400, "'messages[0].content'"),
    ("POST", CHAT, FORM, b"{}", 415, "Content-Type: application/json"),
    ("POST", CHAT, {**JSON, "content-encoding": "gzip"}, b"\x1f\x8b", 415, "compressed"),
    ("GET", CHAT, {}, b"", 405, "GET"),
    ("OPTIONS", CHAT, {}, b"", 405, "OPTIONS"),
    ("DELETE", "/v1/models", {}, b"", 405, "DELETE"),
    ("POST", "/v1/nothing", JSON, b"{}", 404, "/v1/nothing"),
    ("GET", "/v1", {}, b"", 404, "/v1"),
    ("POST", "/chat/completions", {**JSON, **SDK}, b"{}", 404, "ends in /v1"),
    ("GET", "/v1/models/%F0%9F%91%8B", {}, b"", 404, "👋"),
    ("POST", "/v1/embeddings", JSON, b'{"model": "x", "input": []}', 400, "input"),
    ("POST", "/v1/responses", JSON, b'{"model": "tier/worker"}', 400, "input"),
    (
        "POST",
        "/v1/responses",
        JSON,
        b'{"model": "m", "input": "x", "tools": [{"type": "function", "name": "f", "parameters": "x"}]}',
        400,
        "tools[0]",
    ),
    ("POST", MESSAGES, JSON, b"{", 400, "is not JSON"),
    (
        "POST",
        MESSAGES,
        JSON,
        b'{"model": "tier/worker", "messages": [{"role": "user", "content": "x"}]}',
        400,
        "max_tokens",
    ),
    ("POST", MESSAGES, FORM, b"{}", 415, "Content-Type"),
    ("GET", MESSAGES, {}, b"", 405, "GET"),
    ("POST", "/v1/messages/batches", JSON, b"{}", 404, "batches"),
    ("POST", "/v1/v1/messages", {**JSON, "anthropic-version": "2023-06-01"}, b"{}", 404, "one /v1 too many"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_errors_have_the_dialects_shape(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    bearer = {"authorization": f"Bearer {keys.make('web', NOON)}"}
    async with served(priced(Answers()), tmp_path, keys) as server:
        for method, path, headers, body, status, words in CASES:
            answer = await server.http.request(method, path, headers={**bearer, **headers}, content=body)
            assert answer.status_code == status, (method, path, body[:40], answer.text)
            told: dict[str, Any] = answer.json()
            if path.startswith(MESSAGES) or "anthropic-version" in headers:
                assert told["type"] == "error"
                assert set(told["error"]) == {"type", "message"}
            else:
                assert set(told["error"]) == {"message", "type", "param", "code"}
            assert words in told["error"]["message"], told
            assert answer.headers["x-should-retry"] == "false"
            assert answer.headers["x-request-id"]
            if status == 405:
                assert answer.headers["allow"]
        shown = await server.http.head("/v1/models", headers=bearer)
        assert (shown.status_code, shown.content) == (200, b"")
        assert (await server.http.head("/v1/models/tier/worker", headers=bearer)).status_code == 200
        assert (
            (await server.http.get("/nowhere", headers={"accept": "text/html"}))
            .headers["content-type"]
            .startswith("text/")
        )


async def test_a_request_that_would_keep_the_server_from_others_is_refused(tmp_path: Path) -> None:
    many = 10_001
    said, block = {"role": "user", "content": "x"}, {"type": "text", "text": "x"}
    tool = {"type": "function", "name": "f", "function": {"name": "f"}}
    schema = {"properties": {f"p{n}": {} for n in range(12_000)}}
    excess: list[tuple[str, dict[str, Any], str]] = [
        (CHAT, {"messages": [said] * many}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [block] * many}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [block] * 300}] * 40}, "messages"),
        (CHAT, {"tools": [tool] * 2001}, "tools"),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}, "schema"),
        (MESSAGES, {"messages": [said] * many}, "messages"),
        (MESSAGES, {"messages": [{"role": "user", "content": [block] * 300}] * 40}, "messages"),
        (f"{MESSAGES}/count_tokens", {"messages": [{"role": "user", "content": [block] * 300}] * 40}, "messages"),
        (MESSAGES, {"tools": [tool] * 2001}, "tools"),
        ("/v1/responses", {"input": [said] * many}, "input"),
        ("/v1/responses", {"input": "x", "tools": [tool] * 2001}, "tools"),
    ]
    answers = Answers()
    async with served(priced(answers), tmp_path) as server:
        for path, more, words in excess:
            answer = await server.http.post(path, json={**ASK, **more})
            assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), answer.text[:300]
            assert "at most" in answer.json()["error"]["message"]
    assert answers.requests == []


async def test_hard_requests_are_answered(tmp_path: Path) -> None:
    tools = [
        {"type": "function", "function": {"name": f"tool_{n}", "parameters": {"type": "object", "properties": {}}}}
        for n in range(500)
    ]
    hard: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": "x" * (1 << 18)}]},
        {"messages": [{"role": "user", "content": "👋🏽 \ud83d \u202e é́"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": None}]},
        {"tools": tools},
        {"tools": None, "stop": None, "seed": None, "response_format": None, "stream_options": None, "n": None},
        {"max_tokens": None, "max_completion_tokens": 3, "stop": ["a", "b"], "seed": 7},
    ]
    answers = Answers()
    async with served(priced(answers), tmp_path) as server:
        for more in hard:
            for stream in (False, True):
                body = json.dumps({**ASK, **more, "stream": stream}).encode()
                answer = await server.http.post(CHAT, content=body, headers=JSON)
                assert answer.status_code == 200, (list(more), answer.text[:300])
                assert "Hi there" in answer.text
    assert answers.requests[2].messages[0].text == "👋🏽 \ufffd \u202e é́"
    assert len(answers.requests[8].tools) == 500
    assert (answers.requests[-1].max_output_tokens, answers.requests[-1].stop) == (3, ("a", "b"))


class Breaking(Answers):
    """Raises what is no error of a provider's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def respond(self, request: Request, candidate: Candidate) -> Response:  # as all adapters
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 503, "cannot_write"),
        (MemoryUnusable("gateway.sqlite3", "database or disk is full"), 503, "cannot_write"),
        (OSError(errno.EIO, "sekret"), 500, "internal_error"),
        (RuntimeError("sekret"), 500, "internal_error"),
    ],
)
async def test_faults_of_the_servers_own_are_told_and_close_the_connection(
    error: Exception, status: int, code: str, tmp_path: Path
) -> None:
    async with served(priced(Breaking(error)), tmp_path) as server:
        answer = await server.http.post(CHAT, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["connection"] == "close", "uvicorn closes it: a client that reused it would be cut off"
    assert "sekret" not in answer.text
