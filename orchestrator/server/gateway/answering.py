"""Answers a client of the gateway, whole or in pieces, in whatever dialect it asks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from agents.errors import SchemaUnusable
from agents.output import Invalid, Shape, shape_of
from orchestrator.errors import OrchestratorError
from orchestrator.server.connections import DISCONNECT, ClientDisconnect
from orchestrator.server.event_stream import EventStream, event
from orchestrator.server.gateway.admission import Grant
from orchestrator.server.gateway.allowance import RequestSize
from orchestrator.server.gateway.asked import CompletionAsked, DialectEvent, DialectReply
from orchestrator.server.gateway.failures import GatewayFailure, client_left, invalid, stopping
from orchestrator.server.gateway.sizing import size_of
from orchestrator.server.guard import STOPS
from orchestrator.server.json_answers import ToldJson
from providers.catalog.model import Candidate
from providers.client.manager import ProviderManager
from providers.embeddings import Embeddings
from providers.errors import ProviderError, RoutingError
from providers.messages import (
    Delta,
    OutputSchema,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Restarted,
    Resumed,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)

T = TypeVar("T")
HEADERS_S = 20.0
"""How long the headers of a stream wait for its first word: until then, what fails is an error with its status."""
MOST_SCHEMA, QUICK_SCHEMA = 128 << 10, 4 << 10
"""Characters of a schema that an answer is held to, as JSON: at most, and of one that is checked in no time."""
KNOWN = (GatewayFailure, RoutingError, ProviderError, OrchestratorError)
"""Errors that a client is told in words."""


class Deltas(Protocol):
    """An answer as it comes: `ResponseStream`. Who gives it is its `speaker`, else the `response` says so."""

    @property
    def response(self) -> Response | None: ...

    @property
    def speaker(self) -> Candidate | None: ...

    @property
    def begun(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[Delta]: ...


class Answerer(Protocol):
    """Who answers one request: a model, a squad, or an answer that is kept. `headers` tell more of it."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def size(self, now: float) -> RequestSize:
        """Return what the request may take of its key's allowance."""
        ...

    async def whole(self, grant: Grant) -> Response: ...

    def pieces(self, grant: Grant) -> AbstractAsyncContextManager[Deltas]: ...


class ModelAnswerer:
    """Asks the provider manager. A schema of the request's was `made_ready` before."""

    def __init__(self, manager: ProviderManager, request: Request) -> None:
        self._manager, self.request = manager, request
        self.headers: Mapping[str, str] = {}
        self._shape = None if request.output_schema is None else shape_of(request.output_schema)

    @property
    def pool(self) -> tuple[str, ...]:
        """The names of those that may answer."""
        return self._manager.fleet.ranking(self.request.needs).route.names

    def size(self, now: float) -> RequestSize:
        return size_of(self._manager.fleet, self.request, now)

    async def whole(self, grant: Grant) -> Response:
        """Return the answer. One that must have a shape has it, and holds nothing beside, or another model is asked."""
        shape = self._shape
        grant.begin(self.request.needs)
        ask = partial(self._manager.complete, self.request, emit=grant.emit, budgets=grant.budgets)
        answer = await (ask() if shape is None else ask(accept=shape.accept))
        grant.answered(answer)
        return answer if shape is None or answer.tool_calls else _bare(answer, shape)

    @asynccontextmanager
    async def pieces(self, grant: Grant) -> AsyncIterator[Deltas]:
        """Yield the answer as it comes; one that must have a shape comes once it is known to have it."""
        if self._shape is not None:
            yield AtOnce(partial(self.whole, grant))
            return
        grant.begin(self.request.needs)
        stream = self._manager.stream(self.request, emit=grant.emit, budgets=grant.budgets)
        try:
            async with stream as pieces:
                yield pieces
        finally:
            if stream.response is not None:
                grant.answered(stream.response)


async def made_ready(schema: OutputSchema) -> None:
    """Make a schema ready, so that `shape_of` knows it from then on. Raise `GatewayFailure` where it is none.

    Other requests are answered meanwhile: a large one takes a while.
    """
    size = len(json.dumps(schema.schema))
    if size > MOST_SCHEMA:
        raise invalid(f"the schema of an answer has at most {MOST_SCHEMA:,} characters", "response_format")
    try:
        if size > QUICK_SCHEMA:
            await anyio.to_thread.run_sync(shape_of, schema)
        else:
            shape_of(schema)
    except ValueError as error:
        raise invalid(str(error), "response_format") from None


def _bare(answer: Response, shape: Shape) -> Response:
    """Return the answer without the words that a model puts around its JSON: clients parse the whole text.

    Raise `GatewayFailure` where no answer can be held to the schema.
    """
    try:
        value = shape.read(answer)
    except SchemaUnusable as error:
        raise invalid(str(error), "response_format") from None
    try:
        json.loads(answer.text)
    except ValueError:
        if not isinstance(value, Invalid):
            others = tuple(part for part in answer.message.parts if not isinstance(part, Text))
            said = Text(json.dumps(value, ensure_ascii=False))
            return replace(answer, message=replace(answer.message, parts=(*others, said)))
    return answer


@dataclass(slots=True)
class AtOnce:
    """A whole answer, as if it came in pieces."""

    ask: Callable[[], Awaitable[Response]]
    response: Response | None = None
    speaker = None
    begun = 0

    async def __aiter__(self) -> AsyncIterator[Delta]:
        self.response = await self.ask()
        for delta in deltas_of(self.response):
            yield delta


def deltas_of(response: Response) -> Iterable[Delta]:
    """Yield the parts of an answer as pieces of it."""
    calls = 0
    for part in response.message.parts:
        match part:
            case Text(text) if text:
                yield TextDelta(text)
            case Reasoning(text) if text:
                yield ReasoningDelta(text)
            case ToolCall(ident, name, arguments):
                yield ToolCallDelta(calls, ident, name, arguments)
                calls += 1


async def answered(
    http: HttpRequest,
    asked: CompletionAsked,
    by: Answerer,
    reply: DialectReply,
    told: Callable[[Exception], GatewayFailure],
    admit: Callable[[Callable[[float], RequestSize]], AbstractAsyncContextManager[Grant]],
) -> HttpResponse:
    """Return the response to a request. `told` makes of an error what its client may know; `admit` lets it in."""
    ignored = {"x-orchestrator-ignored": ", ".join(asked.ignored)} if asked.ignored else {}
    headers = {**ignored, **by.headers}
    if asked.stream:
        late = dict[str, str]()
        broken = (KNOWN, lambda error: _bytes(reply.broken(told(error))))
        cut = partial(_cut, reply)
        return EventStream(
            _events(by, reply, admit, late), headers, headers_s=HEADERS_S, broken=broken, late=late, cut=cut
        )
    async with admit(by.size) as grant:
        answer = await unless_gone(http, partial(by.whole, grant))
    return ToldJson(reply.whole(answer), headers={**who_answered(answer, answer.model), **headers, **grant.headers})


async def _events(
    by: Answerer,
    reply: DialectReply,
    admit: Callable[[Callable[[float], RequestSize]], AbstractAsyncContextManager[Grant]],
    late: dict[str, str],
) -> AsyncIterator[bytes]:
    is_open = False
    async with admit(by.size) as grant:
        late |= grant.headers
        async with by.pieces(grant) as pieces:
            async for delta in heard(pieces):
                if not is_open:
                    is_open = True
                    late |= _who_answers(pieces)
                    yield _bytes(reply.opening())
                if piece := _bytes(reply.piece(delta)):
                    yield piece
            assert pieces.response is not None, "a stream that was read to its end has one"
            if not is_open:
                yield _bytes(reply.opening())
        # What it came to is counted before its end is told: who asks again at once finds it counted.
    yield _bytes(reply.closing(pieces.response)) + reply.ending


def _cut(reply: DialectReply) -> bytes:
    return _bytes(reply.broken(stopping(STOPS)))


def _who_answers(pieces: Deltas) -> dict[str, str]:
    """Return who answers, as far as that is known with the first piece: what it will cost is not."""
    if (answer := pieces.response) is not None:
        return who_answered(answer, answer.model)
    if (speaker := pieces.speaker) is None:
        return {}
    return _who(speaker.provider.name, speaker.model.name, pieces.begun)


def _bytes(told: Iterable[DialectEvent]) -> bytes:
    return b"".join(event(data, name) for name, data in told)


def who_answered(answer: Response | Embeddings, model: str) -> dict[str, str]:
    """Return who answered, after how many attempts, and what it cost."""
    made = _who(answer.provider, model, len(answer.attempts))
    if answer.cost is not None:
        made["x-orchestrator-cost-usd"] = f"{answer.cost / 1e6:.6f}"
    return made


def _who(provider: str, model: str, attempts: int) -> dict[str, str]:
    """Return the headers of who answers. A name that is no ASCII is told as far as a header can."""
    who = {"provider": provider, "model": model, "attempts": str(attempts)}
    return {f"x-orchestrator-{name}": value.encode("ascii", "replace").decode() for name, value in who.items()}


async def unless_gone(http: HttpRequest, work: Callable[[], Awaitable[T]]) -> T:
    """Return what the work returns; cancel it, and raise `GatewayFailure`, where the client leaves before it ends."""
    disconnect: ClientDisconnect | None = http.scope["state"].get(DISCONNECT)
    if disconnect is None:  # a client in this process: where it leaves, it cancels all that it waits for
        return await work()
    with anyio.CancelScope() as scope:
        disconnect.cancels(scope)
        try:
            return await work()
        finally:
            disconnect.forget(scope)
    raise client_left()


async def heard(deltas: Deltas) -> AsyncIterator[Delta]:
    """Yield the pieces of an answer. Raise `GatewayFailure` where it breaks after something was told: a client of these
    dialects cannot be told that it is void."""
    told = False
    async for delta in deltas:
        if isinstance(delta, Restarted) and told:
            raise GatewayFailure(
                502, "upstream", f"the answer broke off: {delta.reason}", "stream_broken", may_retry=True
            )
        if isinstance(delta, Restarted | Resumed):
            continue
        told = True
        yield delta
