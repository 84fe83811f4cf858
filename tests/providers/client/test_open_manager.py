"""The manager as it is opened for real: the packaged catalog and policy, the real dialect and the real client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from providers.client.manager import ProviderManager, open_manager
from providers.errors import AllAttemptsFailed, NoRoute, RateLimited, StreamBroken
from providers.messages import Needs, Request, user
from providers.routing.scores import Ordering, replay
from providers.stub.scripted import Scripted, say
from providers.transport.over_httpx2 import HttpxTransport

pytestmark = pytest.mark.anyio
ASK = Request((user("hi"),))
KEYS = {"GROQ_API_KEY": "sk-groq", "CEREBRAS_API_KEY": "sk-cerebras"}


def completion(text: str) -> dict:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }


def events(*texts: str, end: str | None = "stop") -> bytes:
    def event(delta: dict, finish: str | None = None) -> bytes:
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    body = event({"role": "assistant", "content": ""}) + b"".join(event({"content": text}) for text in texts)
    return body if end is None else body + event({}, end) + b"data: [DONE]\n\n"


class TestOverHttp:
    """The real dialect and the real client; only the other end of the wire is a function."""

    @asynccontextmanager
    async def manager(self, handler) -> AsyncIterator[ProviderManager]:
        async with (
            HttpxTransport(httpx2.MockTransport(handler)) as transport,
            open_manager(environ=KEYS, transport=transport) as manager,
        ):
            yield manager

    @pytest.mark.parametrize(
        ("broken", "error"),
        [
            (httpx2.Response(500, text="oops"), "ServerFault"),
            (httpx2.Response(503, json={"error": {"message": "overloaded"}}), "Overloaded"),
            (httpx2.Response(429, headers={"retry-after": "20"}, json={"error": {"message": "slow"}}), "RateLimited"),
            (httpx2.Response(401, json={"error": {"message": "bad key"}}), "AuthFailed"),
            (httpx2.Response(200, text="<html>"), "BadReply"),
            (httpx2.Response(200, text='{"choices": ['), "BadReply"),
            (httpx2.Response(200, json=completion("")), "BadReply"),
            (httpx2.ReadError("reset"), "Unreachable"),
            (httpx2.ReadTimeout("nothing"), "TimedOut"),
        ],
    )
    async def test_what_is_broken_is_named_and_the_next_one_answers(self, broken, error):
        def handler(request: httpx2.Request) -> httpx2.Response:
            if request.headers["authorization"] == "Bearer sk-groq":
                return httpx2.Response(200, json=completion("hello"))
            if isinstance(broken, Exception):
                raise broken
            return broken

        async with self.manager(handler) as manager:
            response = await manager.complete(Request((user("hi"),), needs=Needs(agent="dev")))
        assert response.text == "hello"
        assert [(a.provider, a.error) for a in response.attempts] == [("cerebras", error), ("groq", None)]
        assert response.usage.total == 15
        assert "sk-" not in repr(response)

    async def test_a_stream_fails_over_before_content_and_is_whole_after(self):
        def handler(request: httpx2.Request) -> httpx2.Response:
            cut = request.headers["authorization"] == "Bearer sk-cerebras"
            body = events(end=None) if cut else events("hel", "lo")
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

        async with self.manager(handler) as manager, manager.stream(ASK) as stream:
            assert [delta.text async for delta in stream] == ["hel", "lo"]
        assert stream.response.text == "hello"
        assert [(a.provider, a.error) for a in stream.response.attempts] == [
            ("cerebras", "StreamBroken"),
            ("groq", None),
        ]

    async def test_a_stream_cut_after_content_is_told(self):
        def handler(request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=events("hel", end=None))

        async with self.manager(handler) as manager, manager.stream(ASK) as stream:
            assert (await anext(stream)).text == "hel"
            with pytest.raises(StreamBroken):
                await anext(stream)

    async def test_a_refused_stream_is_classified_by_its_body(self):
        request = Request((user("hi"),), needs=Needs(deadline_s=1.0))
        slow = httpx2.Response(429, json={"error": {"message": "slow"}})
        async with self.manager(lambda _: slow) as manager, manager.stream(request) as stream:
            with pytest.raises(AllAttemptsFailed) as failed:
                await anext(stream)
        assert {type(e) for e in failed.value.exceptions} == {RateLimited}


class TestOpenManager:
    async def test_offline_the_stub_answers_whatever_is_asked_for(self):
        async with open_manager(environ={"GROQ_API_KEY": "sk-groq"}, offline=True) as manager:
            assert manager.configured == ("stub/stub",)
            for needs in (Needs(), Needs(tier="boss"), Needs(model="groq/x"), Needs(agent="dev")):
                response = await manager.complete(Request((user("Plan a garden"),), needs=needs))
                assert (response.provider, response.model) == ("stub", "stub")
                assert "stub" in response.text

    async def test_online_the_stub_is_nobodys_fallback(self):
        async with open_manager(environ={}) as manager:
            assert manager.configured == ()
            with pytest.raises(NoRoute) as failed:
                await manager.complete(ASK)
        assert failed.value.reasons["groq/openai/gpt-oss-20b"] == "no key: set GROQ_API_KEY"

    async def test_keys_decide_who_is_configured(self):
        async with open_manager(environ={"GROQ_API_KEY": "sk-groq"}) as manager:
            assert {name.partition("/")[0] for name in manager.configured} == {"groq"}

    async def test_adapters_can_be_replaced(self):
        async with open_manager(offline=True, adapters={"scripted": Scripted([say("as told")])}) as manager:
            assert (await manager.complete(ASK)).text == "as told"


async def test_the_environment_puts_a_provider_first_and_names_its_model():
    environ = {**KEYS, "MODEL_PROVIDER": "groq", "GROQ_MODEL": "qwen/qwen3.8-27b", "ENVIRONMENT": "production"}
    async with open_manager(environ=environ, adapters={"openai-chat": Scripted([say("hello")])}) as manager:
        response = await manager.complete(ASK)
        assert (response.provider, response.model) == ("groq", "qwen/qwen3.8-27b")
        assert manager.fleet.policy.environment == "production"


async def test_what_was_compared_stands_in_the_event_and_makes_the_order_anew():
    seen: list = []
    async with open_manager(
        environ={**KEYS, "ENVIRONMENT": "production"}, adapters={"openai-chat": Scripted([say("hello")])}
    ) as manager:
        await manager.complete(ASK, emit=seen.append)
    chosen = seen[0]
    contest = Ordering.read(json.loads(json.dumps(chosen.contest)))
    assert replay(contest) == chosen.candidates[: len(contest.names)]
    assert contest.factors == ("quota", "health", "latency", "environment")
