"""The provider manager: drives `routing.attempts` with the real world. The only shell of this package's decisions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Literal, Protocol, Self, cast

import anyio
import anyio.lowlevel

from providers.adapters import Adapter, HttpReply, HttpRequest, LocalAdapter, StreamDecoder
from providers.catalog import Candidate
from providers.errors import BadReply, Phase, ProviderError, TimedOut
from providers.events import AttemptEnded, AttemptStarted, Emit, RouteChosen, WaitingForProvider, ignore
from providers.messages import (
    Attempt,
    Delta,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    estimate_tokens,
)
from providers.policy import Policy, Timeouts
from providers.routing import Effect, Fleet, Outcome, Sleep, Try, attempts, expected_output

Accept = Callable[[Response], None]
"""Raises `BadReply` where an answer will not do; the attempt then counts as failed."""
LOCAL_DELTA = 16
"""Characters in one delta of an answer made in this process."""
ERROR_BODY_BYTES = 1 << 20
"""How much of a refused stream's body is read: enough for any error message, and a bound for a hostile one."""
CLOSE_S = 0.1
"""How long a peer has to let go of a socket."""
_How = Literal["ok", "failed", "cancelled"]


class ByteStream(Protocol):
    """An open reply. `read` returns the next bytes, b"" at the end; `aclose` closes the socket."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Transport(Protocol):
    """The network. Every failure is a `ProviderError`; seconds; each phase has its own limit."""

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply: ...

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> ByteStream: ...


class Purse(Protocol):
    """Our own caps. A reservation has `settle(cost, tokens)` and `release()`; exactly one is called, once."""

    def reserve(self, cost: int, tokens: int) -> Any: ...


class ProviderManager:
    """Answers requests by whichever candidate the policy and the state of the world allow.

    One per process; safe to use from many tasks. A cancelled call releases what it reserved and closes its socket.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        policy: Policy,
        *,
        adapters: Mapping[str, Adapter | LocalAdapter],
        transport: Transport | None = None,
        unconfigured: Mapping[str, str] | None = None,
        sole: str | None = None,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        known = list(candidates)
        foreign = {
            c.name: f"dialect {c.provider.dialect} is not built in" for c in known if c.provider.dialect not in adapters
        }
        usable = [c for c in known if c.name not in foreign]
        self.fleet = Fleet(usable, policy, {**(unconfigured or {}), **foreign}, sole=sole)
        # Sorted out once: an isinstance check against a protocol costs microseconds on every turn.
        self.local = {name: a for name, a in adapters.items() if isinstance(a, LocalAdapter)}
        self.remote = {name: cast(Adapter, a) for name, a in adapters.items() if name not in self.local}
        self.clock = clock
        self.rng = Random() if rng is None else rng  # noqa: S311  # jitter, not a secret
        self._transport = transport

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of the candidates that may be asked, in catalog order."""
        return tuple(self.fleet.standings)

    @property
    def transport(self) -> Transport:
        assert self._transport is not None, "a hosted candidate was configured without a transport"
        return self._transport

    async def complete(
        self, request: Request, *, emit: Emit = ignore, purse: Purse | None = None, accept: Accept | None = None
    ) -> Response:
        """Return a sound, whole answer with all of the turn's attempts.

        Raises `RoutingError` (`NoRoute`, `AllAttemptsFailed`, the purse's `BudgetSpent`), or the `ProviderError`
        that nobody could recover from.
        """
        turn = _Turn(self, request, emit, purse)
        flow = attempts(self.fleet, request, turn.began, self.rng)
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Try):
                    outcome = await self._try(turn, effect, accept)
                else:
                    outcome = await turn.sleep(effect)
                effect = flow.send(outcome)
        except StopIteration as done:
            return turn.finished(done.value)
        finally:
            flow.close()

    async def _try(self, turn: _Turn, effect: Try, accept: Accept | None) -> Outcome:
        exchange = _Exchange(turn, effect)
        response = None
        try:
            response = await self._ask(turn.request, effect)
            _check(response, accept)
        except ProviderError as error:
            exchange.close("failed", error, response)
            return Outcome(self.clock(), error=error)
        else:
            exchange.close("ok", None, response)
            return Outcome(self.clock(), response=response)
        finally:
            exchange.close("cancelled")

    async def _ask(self, request: Request, effect: Try) -> Response:
        candidate, limits = effect.candidate, effect.timeouts
        local = self.local.get(candidate.provider.dialect)
        if local is not None:
            await anyio.lowlevel.checkpoint()
            return local.respond(request, candidate)
        adapter = self.remote[candidate.provider.dialect]
        message = adapter.encode(request, candidate, stream=False)
        with anyio.move_on_after(limits.total):
            reply = await self.transport.send(message, **_phases(limits))
            if 200 <= reply.status < 300:
                return adapter.decode(reply, request, candidate, self.clock())
            raise adapter.classify(reply, candidate, self.clock())
        raise TimedOut(f"no whole answer within {limits.total:g} s", phase="total")

    def stream(self, request: Request, *, emit: Emit = ignore, purse: Purse | None = None) -> ResponseStream:
        """Return the answer as it comes: `async with manager.stream(request) as deltas: async for delta in deltas`."""
        return ResponseStream(self, request, emit, purse)


class ResponseStream:
    """An answer's deltas in order, then `response`. Ends complete, or with a typed error: never silently short.

    Failover is free until the first delta was passed on; after it the error of the break is raised. Leaving the
    `async with` closes the socket and the books, whatever happened.
    """

    def __init__(self, manager: ProviderManager, request: Request, emit: Emit, purse: Purse | None) -> None:
        self.response: Response | None = None
        self._manager = manager
        self._turn = _Turn(manager, request, emit, purse)
        self._flow = attempts(manager.fleet, request, self._turn.began, manager.rng, streamed=True)
        self._effect: Effect | None = None
        self._exchange: _Exchange | None = None
        self._wire: _Wire | None = None
        self._ready: deque[Delta] = deque()
        self._passed = False
        self._over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        self._passed = True
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the socket and the books. Idempotent, and not stopped by a cancellation."""
        self._over = True
        self._ready.clear()
        self._flow.close()
        await self._end("cancelled")

    async def _advance(self) -> None:
        """Take one step of the turn: wait, ask the next candidate, or read what the current one says."""
        try:
            if self._effect is None:
                self._effect = next(self._flow)
            elif isinstance(self._effect, Sleep):
                self._effect = self._flow.send(await self._turn.sleep(self._effect))
            elif (outcome := await self._attempt(self._effect)) is not None:
                self._effect = self._flow.send(outcome)
        except StopIteration as done:
            self.response, self._over = self._turn.finished(done.value), True
        except BaseException:
            self._over = True
            raise

    async def _attempt(self, effect: Try) -> Outcome | None:
        """Return how the attempt ended, or None while it goes on."""
        if self._exchange is None:
            self._exchange = _Exchange(self._turn, effect)
        try:
            response = await self._pull(effect)
            if response is None:
                return None
            _check(response)
        except ProviderError as error:
            self._ready.clear()
            await self._end("failed", error)
            return Outcome(self._turn.clock(), error=error, final=self._passed)
        await self._end("ok", None, response)
        return Outcome(self._turn.clock(), response=response)

    async def _pull(self, effect: Try) -> Response | None:
        """Make the next deltas ready; return the answer once it is whole."""
        local = self._manager.local.get(effect.candidate.provider.dialect)
        if local is not None:
            await anyio.lowlevel.checkpoint()
            response = local.respond(self._turn.request, effect.candidate)
            self._ready.extend(_chopped(response))
            return response
        if self._wire is None:
            adapter = self._manager.remote[effect.candidate.provider.dialect]
            self._wire = _Wire(adapter, self._turn, effect)
            await self._wire.open(self._manager.transport)
        deltas = await self._wire.read()
        if deltas is None:
            return self._wire.decoder.finish()
        self._ready.extend(deltas)
        return None

    async def _end(self, how: _How, error: ProviderError | None = None, response: Response | None = None) -> None:
        """End the attempt, if there is one: its books first, which cannot fail, then its socket."""
        exchange, self._exchange = self._exchange, None
        wire, self._wire = self._wire, None
        if exchange is not None:
            exchange.close(how, error, response, heard=wire.heard if wire is not None else 0)
        if wire is not None:
            await wire.aclose()


class _Wire:
    """One streamed reply: its socket, its decoder, and how patient we are with it."""

    __slots__ = ("_adapter", "_began", "_effect", "_stream", "_turn", "decoder", "heard")

    def __init__(self, adapter: Adapter, turn: _Turn, effect: Try) -> None:
        self._adapter, self._turn, self._effect = adapter, turn, effect
        self._began = turn.clock()
        self._stream: ByteStream | None = None
        self.decoder: StreamDecoder = adapter.stream_decoder(turn.request, effect.candidate, self._began)
        self.heard = 0
        """About how many tokens came."""

    async def open(self, transport: Transport) -> None:
        """Return once a 2xx reply has begun. Raise what another reply means."""
        candidate, limits = self._effect.candidate, self._effect.timeouts
        message = self._adapter.encode(self._turn.request, candidate, stream=True)
        with anyio.move_on_after(limits.total):
            self._stream = await transport.open_stream(message, **_phases(limits))
        if self._stream is None:
            raise TimedOut(f"no reply within {limits.total:g} s", phase="total")
        if not 200 <= self._stream.status < 300:
            reply = HttpReply(self._stream.status, self._stream.headers, await self._whole_body())
            raise self._adapter.classify(reply, candidate, self._turn.clock())

    async def _whole_body(self) -> bytes:
        body = b""
        while len(body) < ERROR_BODY_BYTES and (data := await self._bytes()):
            body += data
        return body

    async def read(self) -> list[Delta] | None:
        """Return the next deltas (there may be none in what came), or None after the last byte."""
        data = await self._bytes()
        if not data:
            return None
        deltas = self.decoder.feed(data)
        self.heard += sum(_weight(delta) for delta in deltas)
        return deltas

    async def _bytes(self) -> bytes:
        assert self._stream is not None
        seconds, phase = self._patience()
        with anyio.move_on_after(seconds):
            return await self._stream.read()
        raise TimedOut(f"nothing more came within {seconds:.3g} s", phase=phase)

    def _patience(self) -> tuple[float, Phase]:
        """Return how long to wait for the next bytes: keep-alives do not put off the first content's deadline."""
        limits, spent = self._effect.timeouts, self._turn.clock() - self._began
        left: tuple[float, Phase] = (max(0.0, limits.total - spent), "total")
        if self.heard:
            return min((limits.between_chunks, "between_chunks"), left)
        return min((max(0.0, limits.first_token - spent), "first_token"), left)

    async def aclose(self) -> None:
        """Close the socket, also while being cancelled; a peer that hangs is not waited for."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with anyio.move_on_after(CLOSE_S, shield=True):
                await stream.aclose()


class _Turn:
    """What one turn's attempts share: who asks, who listens, who pays, and what was tried so far."""

    __slots__ = ("answered_by", "attempts", "began", "clock", "emit", "fleet", "purse", "request")

    def __init__(self, manager: ProviderManager, request: Request, emit: Emit, purse: Purse | None) -> None:
        self.fleet, self.clock = manager.fleet, manager.clock
        self.request, self.emit, self.purse = request, emit, purse
        self.began = self.clock()
        self.attempts: list[Attempt] = []
        self.answered_by: Candidate | None = None

    async def sleep(self, effect: Sleep) -> Outcome:
        self.emit(WaitingForProvider(effect.until, effect.reason))
        await anyio.sleep(max(0.0, effect.until - self.clock()))
        return Outcome(self.clock())

    def finished(self, response: Response) -> Response:
        """Return `response` with whose it is, its cost, the turn's attempts and its latency, waits included."""
        candidate = self.answered_by
        assert candidate is not None
        return replace(
            response,
            provider=candidate.provider.name,
            model=candidate.model.name,
            cost=_cost(candidate, response.usage) if response.cost is None else response.cost,
            attempts=tuple(self.attempts),
            latency_ms=(self.clock() - self.began) * 1000,
        )


class _Exchange:
    """The books of one attempt: opened before anything is sent, closed exactly once on every path.

    Opening it raises the purse's `BudgetSpent`; nothing is sent then.
    """

    __slots__ = ("_began", "_effect", "_held", "_open", "_tokens", "_turn")

    def __init__(self, turn: _Turn, effect: Try) -> None:
        self._turn, self._effect, self._open = turn, effect, True
        candidate, route = effect.candidate, effect.route
        if effect.number == 1:
            turn.emit(RouteChosen(route.names, route.refused))
        self._tokens, self._held = 0, cast(Any, None)
        if turn.purse is not None:
            self._tokens = turn.fleet.demands(turn.request)[0]
            wanted = Usage(input=self._tokens, output=expected_output(turn.request, candidate.model))
            self._held = turn.purse.reserve(_cost(candidate, wanted) or 0, wanted.total)
        self._began = turn.clock()
        turn.emit(AttemptStarted(effect.number, candidate.provider.name, candidate.model.name))

    def close(
        self, how: _How, error: ProviderError | None = None, response: Response | None = None, heard: int = 0
    ) -> None:
        """Settle or release, and tell. `response` may stand beside an error: an answer that would not do was paid."""
        if not self._open:
            return
        self._open = False
        turn, candidate = self._turn, self._effect.candidate
        provider, model = candidate.provider.name, candidate.model.name
        ms = (turn.clock() - self._began) * 1000
        if self._held is not None:
            self._book(candidate, response, heard)
        if error is None:
            attempt = Attempt(provider, model, how, ms=ms)
        else:
            error.of(provider, model)
            attempt = Attempt(provider, model, how, error.status, type(error).__name__, error.message, ms)
        if how == "ok":
            turn.answered_by = candidate
        turn.attempts.append(attempt)
        turn.emit(AttemptEnded(self._effect.number, provider, model, how, attempt.error, attempt.detail, ms))

    def _book(self, candidate: Candidate, response: Response | None, heard: int) -> None:
        held, self._held = self._held, None
        if response is None and not heard:
            held.release()
            return
        usage = response.usage if response is not None else Usage()
        if not usage.total:  # not said: a broken stream, or a vendor that sends no usage; what was heard was billed
            said = estimate_tokens(response.text) if response is not None else heard
            usage = Usage(input=self._tokens, output=said)
        known = response.cost if response is not None else None
        held.settle(known if known is not None else _cost(candidate, usage) or 0, usage.total)


def _cost(candidate: Candidate, usage: Usage) -> int | None:
    price = candidate.model.price
    return None if price is None else price.cost(usage)


def _check(response: Response, accept: Accept | None = None) -> None:
    """Raise `BadReply` for an answer that says nothing, or that `accept` does not take."""
    if not response.text.strip() and not response.tool_calls:
        raise BadReply("the answer is empty")
    if accept is not None:
        accept(response)


def _phases(limits: Timeouts) -> dict[str, float]:
    return {
        "connect_s": limits.connect,
        "first_byte_s": limits.first_token,
        "idle_s": limits.between_chunks,
        "total_s": limits.total,
    }


def _weight(delta: Delta) -> int:
    return estimate_tokens(delta.arguments if isinstance(delta, ToolCallDelta) else delta.text)


def _chopped(response: Response) -> Iterator[Delta]:
    """Yield a whole answer as deltas, text in small pieces."""
    calls = 0
    for part in response.message.parts:
        match part:
            case Text(text):
                yield from map(TextDelta, _pieces(text))
            case Reasoning(text):
                yield from map(ReasoningDelta, _pieces(text))
            case ToolCall(id, name, arguments):
                yield ToolCallDelta(calls, id, name, arguments)
                calls += 1
            case _:
                pass  # a model says nothing else


def _pieces(text: str) -> list[str]:
    return [text[i : i + LOCAL_DELTA] for i in range(0, len(text), LOCAL_DELTA)]
