"""The manager as it is opened for real: the packaged catalog and policy, the real dialect and the real client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from providers.adapters import HttpReply, HttpRequest
from providers.client.manager import ProviderManager, open_manager
from providers.errors import AllAttemptsFailed, NoRoute, RateLimited, StreamBroken, TimedOut, Unreachable
from providers.messages import Needs, Request, user
from providers.routing.scores import Ordering, replay
from providers.stub.scripted import Scripted, say

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


@dataclass
class FarEnd:
    """A `Transport` whose other end is a function: it returns a reply, or raises what the network would."""

    answer: Callable[[HttpRequest], HttpReply]

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        return self.answer(request)

    async def open_stream(self, request: HttpRequest, **limits: float) -> Replayed:
        reply = self.answer(request)
        return Replayed(reply.status, reply.headers, [reply.body])


@dataclass
class Replayed:
    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]

    async def read(self) -> bytes:
        return self.pieces.pop() if self.pieces else b""

    async def aclose(self) -> None:
        self.pieces.clear()


def reply(status: int, body: object) -> HttpReply:
    return HttpReply(status, {}, body.encode() if isinstance(body, str) else json.dumps(body).encode())


class TestOverHttp:
    """The real dialect and the real router; only the other end of the wire is a function."""

    @asynccontextmanager
    async def manager(self, answer) -> AsyncIterator[ProviderManager]:
        async with open_manager(environ=KEYS, transport=FarEnd(answer)) as manager:
            yield manager

    @pytest.mark.parametrize(
        ("broken", "error"),
        [
            (reply(500, "oops"), "ServerFault"),
            (reply(503, {"error": {"message": "overloaded"}}), "Overloaded"),
            (HttpReply(429, {"retry-after": "20"}, b'{"error": {"message": "slow"}}'), "RateLimited"),
            (reply(401, {"error": {"message": "bad key"}}), "AuthFailed"),
            (reply(200, "<html>"), "BadReply"),
            (reply(200, '{"choices": ['), "BadReply"),
            (reply(200, completion("")), "BadReply"),
            (Unreachable("reset"), "Unreachable"),
            (TimedOut("nothing", phase="first_token"), "TimedOut"),
        ],
    )
    async def test_what_is_broken_is_named_and_the_next_one_answers(self, broken, error):
        def answer(request: HttpRequest) -> HttpReply:
            if request.headers["authorization"] == "Bearer sk-groq":
                return reply(200, completion("hello"))
            if isinstance(broken, Exception):
                raise broken
            return broken

        async with self.manager(answer) as manager:
            response = await manager.complete(Request((user("hi"),), needs=Needs(agent="dev")))
        assert response.text == "hello"
        assert [(a.provider, a.error) for a in response.attempts] == [("cerebras", error), ("groq", None)]
        assert response.usage.total == 15
        assert "sk-" not in repr(response)

    async def test_a_stream_fails_over_before_content_and_is_whole_after(self):
        def answer(request: HttpRequest) -> HttpReply:
            cut = request.headers["authorization"] == "Bearer sk-cerebras"
            body = events(end=None) if cut else events("hel", "lo")
            return HttpReply(200, {"content-type": "text/event-stream"}, body)

        async with self.manager(answer) as manager, manager.stream(ASK) as stream:
            assert [delta.text async for delta in stream] == ["hel", "lo"]
        assert stream.response.text == "hello"
        assert [(a.provider, a.error) for a in stream.response.attempts] == [
            ("cerebras", "StreamBroken"),
            ("groq", None),
        ]

    async def test_a_stream_cut_after_content_is_told(self):
        def answer(request: HttpRequest) -> HttpReply:
            return HttpReply(200, {"content-type": "text/event-stream"}, events("hel", end=None))

        async with self.manager(answer) as manager, manager.stream(ASK) as stream:
            assert (await anext(stream)).text == "hel"
            with pytest.raises(StreamBroken):
                await anext(stream)

    async def test_a_refused_stream_is_classified_by_its_body(self):
        request = Request((user("hi"),), needs=Needs(deadline_s=1.0))
        slow = reply(429, {"error": {"message": "slow"}})
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
        assert str(failed.value.reasons["groq/openai/gpt-oss-20b"]) == "no key: set GROQ_API_KEY"

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
    ordering = Ordering.read(json.loads(json.dumps(chosen.contest)))
    assert replay(ordering) == chosen.candidates[: len(ordering.names)]
    assert ordering.factors == ("quota", "health", "latency", "environment")
