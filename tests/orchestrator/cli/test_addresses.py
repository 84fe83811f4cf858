"""What the command line says of addresses, and of the servers that it finds."""

from __future__ import annotations

import json

import pytest

from tests.local_servers import FASTAPI, GO, HTML, PAGE, Said, model_list


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("routes", "missing", "state", "text"),
    [
        ({"GET /v1/models": Said(200, model_list("m"))}, HTML, "ok", "GET {root}/v1/models was answered (HTTP 200)"),
        ({"POST /v1/chat/completions": Said(400, {"error": "no model"})}, HTML, "ok", "was answered (HTTP 400)"),
        ({"GET /v1/models": Said(401, {"error": "no key"})}, HTML, "warn", "was refused (HTTP 401)"),
        ({"GET /v1/models": Said(503, {"error": "loading"})}, HTML, "warn", "failed (HTTP 503)"),
        (
            {},
            HTML,
            "warn",
            "is wrong: POST {root}/v1/chat/completions was answered with a web page, '404'",
        ),
        (
            {},
            GO,
            "warn",
            "is wrong: POST {root}/v1/chat/completions was answered with '404 page not found'",
        ),
        ({}, FASTAPI, "warn", "was answered with 'Not Found'"),
        ({}, Said(200, PAGE, "text/html"), "warn", "the base URL is wrong"),
    ],
)
def test_doctor_online_tells_what_was_asked_and_what_came(call, serve, monkeypatch, routes, missing, state, text):
    server = serve(routes, missing)
    monkeypatch.setenv("LOCAL_BASE_URL", server.root)
    [found] = [f for f in json.loads(call("doctor", "--online", "--json").out) if f["check"] == "online"]
    assert found["state"] == state
    assert text.format(root=server.root) in found["text"]
    assert ("LOCAL_BASE_URL" in found["advice"]) == ("base URL is wrong" in found["text"])
    assert not server.chats


@pytest.mark.parametrize("also", [(), ("--stream",)])
def test_ask_tells_of_a_wrong_address_though_another_provider_answers(call, serve, loopback, monkeypatch, also):
    monkeypatch.setenv("GROQ_BASE_URL", f"{serve({}).root}/app")
    monkeypatch.setenv("GROQ_API_KEY", "k" * 20)
    monkeypatch.setenv("CEREBRAS_BASE_URL", loopback.url("ok"))
    monkeypatch.setenv("CEREBRAS_API_KEY", "k" * 20)
    done = call("ask", "hi", "--tier", "boss", *also)
    assert done.code == 0
    assert "warning: groq/openai/gpt-oss-120b: the base URL is wrong: POST http://127.0.0.1" in done.err
    assert "; did you mean http://127.0.0.1" in done.err
