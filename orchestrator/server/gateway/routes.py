"""The gateway's routes: OpenAI's `/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from orchestrator.server.event_stream import DONE, EventStream, event
from orchestrator.server.gateway.answering import heard, unless_gone
from orchestrator.server.gateway.failures import GatewayFailure, failure_of
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.openai_chat import ChatReply, CompletionAsked, error_body, read_chat
from orchestrator.server.gateway.published import Published
from orchestrator.server.state import ServerState
from providers.errors import ProviderError, RoutingError
from providers.messages import Delta
from providers.messages import Response as Answer


class Gateway:
    """What the routes work with."""

    def __init__(self, state: ServerState) -> None:
        self.manager, self.keys = state.manager, state.keys
        self._mask, self._personas, self.began = state.mask, state.personas, state.clock()

    @property
    def published(self) -> Published:
        """The models that can be asked for now."""
        return Published(tuple(self.manager.policy.tiers), self._personas, self.manager.configured)

    def key_of(self, http: HttpRequest) -> Key | None:
        """Return the client's key. Raise `GatewayFailure` where it has none that counts."""
        if self.keys is None:
            return None
        scheme, _, text = http.headers.get("authorization", "").partition(" ")
        text = text.strip() if scheme.lower() == "bearer" else http.headers.get("x-api-key", "")
        if not text:
            raise GatewayFailure(401, "authentication", "give a key of this gateway: Authorization: Bearer sk-orch-...")
        if (key := self.keys.of(text)) is None:
            raise GatewayFailure(401, "authentication", "this key is none of this gateway's", "invalid_api_key")
        return key

    def told(self, error: Exception) -> GatewayFailure:
        """Return what a client is told of an error, without secrets."""
        failure = failure_of(error, self.manager.clock())
        return replace(failure, message=self._mask(failure.message))


def routes(gateway: Gateway) -> APIRouter:
    """Return the routes of one gateway."""
    router = APIRouter()

    @router.get("/v1/models")
    async def list_models(http: HttpRequest) -> Response:
        key, published = gateway.key_of(http), gateway.published
        cards = [one for one in published.cards(int(gateway.began)) if key is None or key.may_ask(one["id"])]
        return JSONResponse({"object": "list", "data": cards})

    @router.get("/v1/models/{model:path}")
    async def show_model(http: HttpRequest, model: str) -> Response:
        gateway.key_of(http)
        return JSONResponse(gateway.published.card(model, int(gateway.began)))

    @router.post("/v1/chat/completions")
    async def complete_chat(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_chat(await http.body())
        if key is not None and not key.may_ask(asked.model):
            text = f"the key '{key.name}' may not ask the model '{asked.model[:80]}'"
            raise GatewayFailure(403, "permission", text, "model_not_allowed", "model")
        asked = replace(asked, request=gateway.published.asked(asked.model, asked.request))
        reply = ChatReply(f"chatcmpl-{secrets.token_hex(12)}", asked.model, int(time.time()))
        if asked.stream:
            return await _streamed(gateway, http, asked, reply)
        answer = await unless_gone(http, lambda: gateway.manager.complete(asked.request))
        return JSONResponse(reply.whole(answer), headers=_headers(asked, answer))

    return router


async def _streamed(gateway: Gateway, http: HttpRequest, asked: CompletionAsked, reply: ChatReply) -> Response:
    """Answer in pieces. What fails before the first of them is an error as any other."""
    stack = AsyncExitStack()
    stream = await stack.enter_async_context(gateway.manager.stream(asked.request))
    pieces = heard(stream)
    try:
        first = await unless_gone(http, lambda: anext(pieces, None))
    except BaseException:
        await stack.aclose()
        raise

    async def told() -> AsyncIterator[bytes]:
        async with stack:
            yield event(reply.opening())
            try:
                delta: Delta | None = first
                while delta is not None:
                    if (chunk := reply.piece(delta)) is not None:
                        yield event(chunk)
                    delta = await anext(pieces, None)
            except (GatewayFailure, RoutingError, ProviderError) as error:
                yield event(error_body(gateway.told(error)))
                return
            assert stream.response is not None, "a stream that was read to its end has one"
            yield event(reply.closing(stream.response))
            if asked.include_usage:
                yield event(reply.usage(stream.response))
            yield DONE

    return EventStream(told(), _ignored(asked))


def _headers(asked: CompletionAsked, answer: Answer) -> dict[str, str]:
    """Return who answered, after how many attempts, and what it cost."""
    made = {
        "x-orchestrator-provider": answer.provider,
        "x-orchestrator-model": answer.model,
        "x-orchestrator-attempts": str(len(answer.attempts)),
    }
    if answer.cost is not None:
        made["x-orchestrator-cost-usd"] = f"{answer.cost / 1e6:.6f}"
    return {**made, **_ignored(asked)}


def _ignored(asked: CompletionAsked) -> dict[str, Any]:
    return {"x-orchestrator-ignored": ", ".join(asked.ignored)} if asked.ignored else {}
