"""A base URL that leads nowhere is told as such, and is no model that is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.adapters import HttpReply
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Provider
from providers.errors import AllAttemptsFailed, NoRoute, Unsupported, WrongAddress
from providers.events import AttemptEnded
from providers.routing.health import GONE_HOLD_S
from tests.local_servers import PAGE
from tests.loopback import Served
from tests.providers.exam.lab import Lab

NGINX = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>nginx</body>\r\n</html>"
SAID = [
    (404, PAGE),
    (404, NGINX),
    (405, NGINX.replace("404 Not Found", "405 Not Allowed")),
    (404, "404 page not found\n"),
    (404, "Not Found"),
    (404, ""),
    (404, {"detail": "Not Found"}),
    (405, {"detail": "Method Not Allowed"}),
    (404, {"message": "no Route matched with those values"}),
    (404, {"timestamp": "2026-11-01", "status": 404, "error": "Not Found", "path": "/chat/completions"}),
    (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
    (404, {"error": {"message": "Invalid URL (POST /chat/completions)", "type": "invalid_request_error"}}),
    (404, {"error": {"message": "Unknown request URL: POST /x. Please check the URL", "code": "unknown_url"}}),
    (404, {"error": {"code": "404", "message": "Resource not found"}}),
    (404, {"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}}),
    (404, {"success": False, "errors": [{"code": 7003, "message": "Could not route to /x, perhaps your id is wrong"}]}),
]
OF_A_MODEL = [
    (404, {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}),
    (404, {"error": "model 'm' not found"}),
    (404, {"error": {"message": "model 'm' not found, try pulling it first", "type": "api_error"}}),
    (404, {"detail": "Model not found"}),
    (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-none"}}),
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}),
    (404, {"error": {"message": "No endpoints found for m."}}),
    (404, "no such model"),
]
ADAPTERS = {"openai-chat": OpenAIChat, "anthropic-messages": AnthropicMessages, "gemini": Gemini}
MODEL = Model("m", 8192, 512)


def body_of(said: Any) -> bytes:
    return said.encode() if isinstance(said, str) else json.dumps(said).encode()


@pytest.mark.parametrize("dialect", ADAPTERS)
@pytest.mark.parametrize(("status", "said"), SAID)
def test_what_routers_say_of_a_path_that_is_not_there(dialect: str, status: int, said: Any):
    row = Provider("lab", dialect, "http://127.0.0.1:1/app", None, {"m": MODEL})
    error = ADAPTERS[dialect]().classify(HttpReply(status, {}, body_of(said)), Candidate(row, MODEL), 0.0)
    assert isinstance(error, WrongAddress)
    assert error.message.startswith("the base URL is wrong: POST http://127.0.0.1:1/app/")
    assert error.status == status


@pytest.mark.parametrize("dialect", ADAPTERS)
@pytest.mark.parametrize(("status", "said"), OF_A_MODEL)
def test_what_is_said_of_a_model_is_no_word_on_the_address(dialect: str, status: int, said: Any):
    row = Provider("lab", dialect, "http://127.0.0.1:1/app", None, {"m": MODEL})
    error = ADAPTERS[dialect]().classify(HttpReply(status, {}, body_of(said)), Candidate(row, MODEL), 0.0)
    assert not isinstance(error, WrongAddress)


@pytest.mark.parametrize("said", ["404 page not found\n", PAGE, "", {"detail": "Not Found"}])
def test_at_a_vendors_own_address_it_is_the_model_that_is_gone(said: Any):
    # NVIDIA says so of models that it serves no more: reports dify 3958, kiss-translator 649.
    environ = {"NVIDIA_API_KEY": "k"}
    row = load_catalog().candidates(environ)[0]
    error = OpenAIChat().classify(HttpReply(404, {}, body_of(said)), row, 0.0)
    assert isinstance(error, Unsupported)
    assert error.gone
    moved = load_catalog().candidates({**environ, "NVIDIA_BASE_URL": "http://127.0.0.1:1/v1"})[0]
    assert isinstance(OpenAIChat().classify(HttpReply(404, {}, body_of(said)), moved, 0.0), WrongAddress)


@pytest.mark.anyio
@pytest.mark.parametrize("reply", [Served(404, PAGE), Served(404, {"detail": "Not Found"})], ids=["page", "fastapi"])
async def test_32_a_wrong_address_is_told_and_asked_once_an_hour(lab: Lab, reply: Served):
    wrong = lab.provider("wrong", rule=lambda _: reply)
    other = Candidate(wrong.provider, Model("n", 8192, 512), key=wrong.key)
    seen: list[object] = []
    async with lab.manager(wrong, other, lab.provider("good", "ok")) as manager:
        assert [(await lab.ask(manager, emit=seen.append)).provider for _ in range(5)] == ["good"] * 5
        assert len(lab.to("wrong")) == 1, "another model there would be told the same"
        [failed] = [event for event in seen if isinstance(event, AttemptEnded) and event.outcome == "failed"]
        assert failed.error == "WrongAddress"
        assert "the base URL is wrong: POST http://127.0.0.1" in (failed.detail or "")
        lab.skip(GONE_HOLD_S + 1)
        assert (await lab.ask(manager)).provider == "good"
        assert len(lab.to("wrong")) == 2


@pytest.mark.anyio
async def test_33_alone_it_is_told_each_time(lab: Lab):
    async with lab.manager(lab.provider("wrong", rule=lambda _: Served(404, "404 page not found"))) as manager:
        for kind in (AllAttemptsFailed, NoRoute):
            with pytest.raises(kind) as failed:
                await lab.ask(manager)
            assert "the base URL is wrong: POST http://127.0.0.1" in str(failed.value)


@pytest.mark.anyio
async def test_34_lm_studio_says_so_under_200(lab: Lab):
    said = Served(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"})
    async with lab.manager(lab.provider("wrong", rule=lambda _: said), lab.provider("good", "ok")) as manager:
        assert [(await lab.ask(manager)).provider for _ in range(3)] == ["good"] * 3
        assert len(lab.to("wrong")) == 1
