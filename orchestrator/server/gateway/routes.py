"""The gateway's routes: `/v1/models`, and what is asked of them in the dialects of OpenAI and Anthropic."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from fastapi import APIRouter
from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from orchestrator.server.gateway.answering import Answerer, ModelAnswerer, answered, unless_gone, who_answered
from orchestrator.server.gateway.anthropic_messages import MessagesReply, model_card, read_messages
from orchestrator.server.gateway.asked import CompletionAsked
from orchestrator.server.gateway.failures import GatewayFailure, failure_of
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.openai_chat import ChatReply, read_chat
from orchestrator.server.gateway.openai_embeddings import embeddings_body, read_embeddings
from orchestrator.server.gateway.openai_responses import ResponsesReply, read_responses
from orchestrator.server.gateway.published import SQUAD, Published
from orchestrator.server.gateway.squad_models import SquadAnswerer
from orchestrator.server.state import ServerState


class Gateway:
    """What the routes work with."""

    def __init__(self, state: ServerState) -> None:
        self.manager, self.keys = state.manager, state.keys
        self._state, self.began = state, state.clock()

    @property
    def published(self) -> Published:
        """The models that can be asked for now."""
        return Published(
            tuple(self.manager.policy.tiers),
            self._state.personas,
            self.manager.configured,
            tuple(self._state.squads),
        )

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

    def answerer(self, asked: CompletionAsked, key: Key | None) -> Answerer:
        """Return who answers. Raise `GatewayFailure` for a model that is not there, or that the key may not ask."""
        check_allowed(key, asked.model)
        name = asked.model.removeprefix(SQUAD)
        if asked.model.startswith(SQUAD) and name in self._state.squads:
            return SquadAnswerer(self._state, self._state.squads[name], asked.request)
        return ModelAnswerer(self.manager, self.published.asked(asked.model, asked.request))

    def told(self, error: Exception) -> GatewayFailure:
        """Return what a client is told of an error, without secrets."""
        failure = failure_of(error, self.manager.clock())
        return replace(failure, message=self._state.mask(failure.message))


def speaks_anthropic(scope: Scope) -> bool:
    """Return whether who asks reads Anthropic's shapes: of models and of errors."""
    return scope["path"].startswith("/v1/messages") or "anthropic-version" in Headers(scope=scope)


def check_allowed(key: Key | None, model: str) -> None:
    """Raise `GatewayFailure` where a key may not ask a model."""
    if key is not None and not key.may_ask(model):
        text = f"the key '{key.name}' may not ask the model '{model[:80]}'"
        raise GatewayFailure(403, "permission", text, "model_not_allowed", "model")


def routes(gateway: Gateway) -> APIRouter:
    """Return the routes of one gateway."""
    router = APIRouter()
    began = datetime.fromtimestamp(gateway.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @router.get("/v1/models")
    async def list_models(http: HttpRequest) -> Response:
        key, published = gateway.key_of(http), gateway.published
        names = [name for name in published.names() if key is None or key.may_ask(name)]
        if speaks_anthropic(http.scope):
            cards = [model_card(name, began) for name in names]
            ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
            return JSONResponse({"data": cards, "has_more": False, **ends})
        return JSONResponse({"object": "list", "data": [published.card(name, int(gateway.began)) for name in names]})

    @router.get("/v1/models/{model:path}")
    async def show_model(http: HttpRequest, model: str) -> Response:
        check_allowed(gateway.key_of(http), model)
        card = gateway.published.card(model, int(gateway.began))
        return JSONResponse(model_card(model, began) if speaks_anthropic(http.scope) else card)

    @router.post("/v1/chat/completions")
    async def complete_chat(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_chat(await http.body())
        ident = f"chatcmpl-{secrets.token_hex(12)}"
        reply = ChatReply(ident, asked.model, int(time.time()), asked.include_usage, asked.by_functions)
        return await answered(http, asked, gateway.answerer(asked, key), reply, gateway.told)

    @router.post("/v1/responses")
    async def respond(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_responses(await http.body())
        reply = ResponsesReply(f"resp_{secrets.token_hex(16)}", asked.model, int(time.time()))
        return await answered(http, asked, gateway.answerer(asked, key), reply, gateway.told)

    @router.post("/v1/embeddings")
    async def embed(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_embeddings(await http.body())
        check_allowed(key, asked.model)
        asking = partial(gateway.manager.embed, asked.texts, model=asked.model, dimensions=asked.dimensions)
        made = await unless_gone(http, asking)
        return JSONResponse(embeddings_body(asked, made), headers=who_answered(made, made.model_asked))

    @router.post("/v1/messages")
    async def create_message(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_messages(await http.body())
        reply = MessagesReply(f"msg_{secrets.token_hex(12)}", asked.model, asked.request.input_tokens)
        return await answered(http, asked, gateway.answerer(asked, key), reply, gateway.told)

    @router.post("/v1/messages/count_tokens")
    async def count_tokens(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_messages(await http.body(), is_count=True)
        check_allowed(key, asked.model)
        is_squad = asked.model in [SQUAD + name for name in gateway.published.squads]
        request = asked.request if is_squad else gateway.published.asked(asked.model, asked.request)
        return JSONResponse({"input_tokens": request.input_tokens})

    return router
