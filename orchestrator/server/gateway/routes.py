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
from starlette.responses import Response
from starlette.types import Scope

from orchestrator.server.gateway.admission import Admission
from orchestrator.server.gateway.answering import (
    Answerer,
    ModelAnswerer,
    answered,
    made_ready,
    unless_gone,
    who_answered,
)
from orchestrator.server.gateway.anthropic_messages import MessagesReply, model_card, read_messages
from orchestrator.server.gateway.asked import CompletionAsked, DialectReply, refuse_excess
from orchestrator.server.gateway.caching import HEADER as CACHE
from orchestrator.server.gateway.caching import kept_for, with_cache
from orchestrator.server.gateway.embedding import VectorsAnswerer
from orchestrator.server.gateway.failures import GatewayFailure, client_left, failure_of, not_allowed
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.openai_chat import ChatReply, read_chat
from orchestrator.server.gateway.openai_embeddings import embeddings_body, read_embeddings
from orchestrator.server.gateway.openai_responses import ResponsesReply, read_responses
from orchestrator.server.gateway.published import SQUAD, Published
from orchestrator.server.gateway.sizing import with_known_prices
from orchestrator.server.gateway.squad_models import SquadAnswerer
from orchestrator.server.json_answers import ToldJson
from orchestrator.server.state import ServerState

PATHS = ("/v1/models", "/v1/chat/completions", "/v1/responses", "/v1/embeddings")
"""What OpenAI's clients ask."""


class Gateway:
    """What the routes work with."""

    def __init__(self, state: ServerState) -> None:
        self.manager, self.keys = state.manager, state.keys
        self._state, self.began = state, state.clock()
        self.admission = Admission(state.manager, state.store, state.watch.requests)
        self._published = Published((), state.personas, (), tuple(state.squads))

    @property
    def published(self) -> Published:
        """The models that can be asked for now."""
        tiers, models = tuple(self.manager.policy.tiers), self.manager.configured
        if (tiers, models) != (self._published.tiers, self._published.models):
            self._published = Published(tiers, self._state.personas, models, tuple(self._state.squads))
        return self._published

    def key_of(self, http: HttpRequest) -> Key | None:
        """Return the client's key. Raise `GatewayFailure` where it has none that counts."""
        if self.keys is None:
            return None
        scheme, _, text = http.headers.get("authorization", "").partition(" ")
        text = text.strip() if scheme.lower() == "bearer" else http.headers.get("x-api-key", "")
        if not text:
            raise GatewayFailure(401, "authentication", "give a key of this gateway: as bearer token, or as x-api-key")
        try:
            key = self.keys.of(text)
        except ValueError as error:  # the file that holds them is damaged: none counts
            raise GatewayFailure(500, "ours", str(error), "keys_unreadable") from None
        if key is None:
            raise GatewayFailure(401, "authentication", "this is not a key of this gateway", "invalid_api_key")
        return key

    def allowed(self, key: Key | None, model: str) -> str:
        """Return the name under which a model is published. Raise `GatewayFailure` where a key may not ask it."""
        name = self.published.name_of(model)
        if key is not None and not key.may_ask(name, model):
            raise not_allowed(key.name, model)
        return name

    def answerer(self, asked: CompletionAsked, key: Key | None) -> ModelAnswerer | SquadAnswerer:
        """Return who answers. Raise `GatewayFailure` for a model that is not there, or that the key may not ask."""
        name = self.allowed(key, asked.model)
        if name.startswith(SQUAD):
            return SquadAnswerer(self._state, self._state.squads[name.removeprefix(SQUAD)], asked.request)
        request = self.published.asked(name, asked.request)
        if key is not None:
            request = with_known_prices(self.manager.fleet, request, key, self.manager.reservations.wall())
        return ModelAnswerer(self.manager, request)

    async def complete(
        self, http: HttpRequest, key: Key | None, asked: CompletionAsked, reply: DialectReply
    ) -> Response:
        """Return the response to a request, whichever dialect it came in."""
        refuse_excess(asked.request)
        if asked.request.output_schema is not None:
            await made_ready(asked.request.output_schema)
        by: Answerer = self.answerer(asked, key)
        kept_s = kept_for(key, http.headers.get(CACHE))
        if isinstance(by, ModelAnswerer):
            by = await with_cache(by, asked.model, key, kept_s, self._state.store, self.manager.reservations.wall)
        admit = partial(self.admission.admitted, key, anthropic=speaks_anthropic(http.scope))
        return await answered(http, asked, by, reply, self.told, admit)

    def told(self, error: Exception) -> GatewayFailure:
        """Return what a client is told of an error, without secrets."""
        failure = failure_of(error, self.manager.clock())
        return replace(failure, message=self._state.mask(failure.message))


def speaks_anthropic(scope: Scope) -> bool:
    """Return whether who asks reads Anthropic's shapes: of models and of errors."""
    return scope["path"].startswith("/v1/messages") or "anthropic-version" in Headers(scope=scope)


def is_asked(scope: Scope) -> bool:
    """Return whether a request is one of an API's client: at our paths, or at others by a wrong base URL."""
    accept = Headers(scope=scope).get("accept", "")
    return f"{scope['path']}/".startswith("/v1/") or ("application/json" in accept and "text/html" not in accept)


def base_url_hint(path: str) -> str:
    """Return what is told of a path that a wrong base URL leads to; "" of others."""
    if path.startswith("/v1/v1/"):
        return "; the base URL has one /v1 too many: that of Anthropic's clients is the server's address alone"
    return "; the base URL of OpenAI's clients ends in /v1" if f"/v1{path}" in PATHS else ""


async def body_of(http: HttpRequest) -> bytes:
    """Return the body of a request. Raise `GatewayFailure` for one that is not sent as JSON."""
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        text = f"the body is sent as {kind[:80]}; send it as JSON, with Content-Type: application/json"
        raise GatewayFailure(415, "invalid_request", text, "unsupported_media_type")
    if http.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise GatewayFailure(415, "invalid_request", "the body is compressed; send it as it is", "unsupported_encoding")
    pieces: list[bytes] = []
    while (message := await http.receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
    raise client_left()


def routes(gateway: Gateway) -> APIRouter:
    """Return the routes of one gateway."""
    router = APIRouter()
    began = datetime.fromtimestamp(gateway.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @router.get("/v1/models")
    async def list_models(http: HttpRequest) -> Response:
        key, published = gateway.key_of(http), gateway.published
        names = published.names if key is None else published.names_for(key.may_ask)
        if speaks_anthropic(http.scope):
            cards = [model_card(name, began) for name in names]
            ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
            return ToldJson({"data": cards, "has_more": False, **ends})
        return ToldJson({"object": "list", "data": [published.card(name, int(gateway.began)) for name in names]})

    @router.get("/v1/models/{model:path}")
    async def show_model(http: HttpRequest, model: str) -> Response:
        gateway.allowed(gateway.key_of(http), model)
        card = gateway.published.card(model, int(gateway.began))
        return ToldJson(model_card(model, began) if speaks_anthropic(http.scope) else card)

    @router.post("/v1/chat/completions")
    async def complete_chat(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_chat(await body_of(http))
        ident = f"chatcmpl-{secrets.token_hex(12)}"
        reply = ChatReply(ident, asked.model, int(time.time()), asked.include_usage, asked.by_functions)
        return await gateway.complete(http, key, asked, reply)

    @router.post("/v1/responses")
    async def respond(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_responses(await body_of(http))
        reply = ResponsesReply(f"resp_{secrets.token_hex(16)}", asked.model, int(time.time()))
        return await gateway.complete(http, key, asked, reply)

    @router.post("/v1/embeddings")
    async def embed(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_embeddings(await body_of(http))
        embeddings = VectorsAnswerer(gateway.manager, asked, key)
        async with gateway.admission.admitted(key, embeddings.size, operation="embeddings") as grant:
            made = await unless_gone(http, partial(embeddings.made, grant))
        headers = {**who_answered(made, made.model_asked), **grant.headers}
        return ToldJson(embeddings_body(asked, made), headers=headers)

    @router.post("/v1/messages")
    async def create_message(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_messages(await body_of(http))
        reply = MessagesReply(f"msg_{secrets.token_hex(12)}", asked.model, asked.request.input_tokens)
        return await gateway.complete(http, key, asked, reply)

    @router.post("/v1/messages/count_tokens")
    async def count_tokens(http: HttpRequest) -> Response:
        key = gateway.key_of(http)
        asked = read_messages(await body_of(http), is_count=True)
        refuse_excess(asked.request)
        name = gateway.allowed(key, asked.model)
        request = asked.request if name.startswith(SQUAD) else gateway.published.asked(name, asked.request)
        return ToldJson({"input_tokens": request.input_tokens})

    async def misplaced(http: HttpRequest) -> Response:
        path = http.url.path
        raise GatewayFailure(404, "not_found", f"there is no {http.method} {path} here{base_url_hint(path)}")

    for path in PATHS[1:]:  # before the pages, one of which is a chat
        router.add_api_route(path.removeprefix("/v1"), misplaced, methods=["POST"], include_in_schema=False)
    for path, shown in (("/v1/models", list_models), ("/v1/models/{model:path}", show_model)):
        router.add_api_route(path, shown, methods=["HEAD"], include_in_schema=False)
    return router
