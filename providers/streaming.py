"""An answer as it comes: one turn whose deltas are passed on while its attempt still runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from providers.adapters import Adapter, HttpReply, StreamDecoder
from providers.books import Ending, Exchange, Turn, check
from providers.errors import Phase, ProviderError, TimedOut
from providers.messages import (
    Delta,
    Reasoning,
    ReasoningDelta,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    estimate_tokens,
)
from providers.metering import Held, Metering
from providers.routing import Effect, Outcome, Sleep, Try
from providers.transport import HttpStream, Transport
from providers.wire import Access, phases

LOCAL_DELTA = 16
"""Characters in one delta of an answer made in this process."""
ERROR_BODY_BYTES = 1 << 20
"""How much of a refused stream's body is read: enough for any error message, and a bound for a hostile one."""
CLOSE_S = 0.1
"""How long a peer has to let go of a socket."""


class ResponseStream:
    """An answer's deltas in order, then `response`. Ends complete, or with a typed error: never silently short.

    Failover is free until the first delta was passed on; after it the error of the break is raised. Leaving the
    `async with` closes the socket and the books, whatever happened.
    """

    def __init__(
        self, turn: Turn, flow: Generator[Effect, Outcome, Response], access: Access, metering: Metering
    ) -> None:
        self.response: Response | None = None
        self._turn, self._flow, self._access, self._metering = turn, flow, access, metering
        self._effect: Effect | None = None
        self._exchange: Exchange | None = None
        self._held: Held | None = None
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
            if effect.candidate.provider.limits:
                self._held = await self._metering.hold(effect, self._turn.request)
                if self._held is None:
                    return Outcome(self._turn.clock(), refused=True)
            self._exchange = Exchange(self._turn, effect, self._held)
        try:
            response = await self._pull(effect)
            if response is None:
                return None
            check(response)
        except ProviderError as error:
            self._ready.clear()
            await self._end("failed", error)
            return Outcome(self._turn.clock(), error=error, final=self._passed)
        first_token = None if self._wire is None else self._wire.first_token
        await self._end("ok", None, response)
        return Outcome(self._turn.clock(), response=response, first_token=first_token)

    async def _pull(self, effect: Try) -> Response | None:
        """Make the next deltas ready; return the answer once it is whole."""
        local = self._access.local.get(effect.candidate.provider.dialect)
        if local is not None:
            await anyio.lowlevel.checkpoint()
            response = local.respond(self._turn.request, effect.candidate)
            self._ready.extend(_chopped(response))
            return response
        if self._wire is None:
            adapter = self._access.remote[effect.candidate.provider.dialect]
            self._wire = _Wire(adapter, self._turn, effect, keeps_time=self._access.keeps_time)
            self._wire.held = self._held
            assert self._exchange is not None
            await self._wire.open(self._access.transport, self._exchange)
        deltas = await self._wire.read()
        if deltas is None:
            return self._wire.decoder.finish()
        self._ready.extend(deltas)
        return None

    async def _end(self, how: Ending, error: ProviderError | None = None, response: Response | None = None) -> None:
        """End the attempt, if there is one: its books first, which cannot fail, then its socket, then its limits."""
        exchange, self._exchange = self._exchange, None
        wire, self._wire = self._wire, None
        held, self._held = self._held, None
        if exchange is not None:
            exchange.close(how, error, response, heard=wire.heard if wire is not None else 0)
        try:
            if wire is not None:
                await wire.aclose()
        finally:
            if held is not None:
                await held.close()


class _Wire:
    """One streamed reply: its socket, its decoder, and how patient we are with it."""

    __slots__ = (
        "_adapter",
        "_began",
        "_effect",
        "_keeps_time",
        "_stream",
        "_turn",
        "decoder",
        "first_token",
        "heard",
        "held",
    )

    def __init__(self, adapter: Adapter, turn: Turn, effect: Try, *, keeps_time: bool) -> None:
        self._keeps_time = keeps_time
        self._adapter, self._turn, self._effect = adapter, turn, effect
        self._began = anyio.current_time()
        self._stream: HttpStream | None = None
        self.decoder: StreamDecoder = adapter.stream_decoder(turn.request, effect.candidate, turn.clock())
        self.heard = 0
        """About how many tokens came."""
        self.first_token: float | None = None
        """Seconds until the first of them."""
        self.held: Held | None = None

    async def open(self, transport: Transport, exchange: Exchange) -> None:
        """Return once a 2xx reply has begun. Raise what another reply means."""
        candidate, limits = self._effect.candidate, self._effect.timeouts
        message = self._adapter.encode(self._turn.request, candidate, stream=True)
        exchange.body = message.body
        with anyio.move_on_after(limits.total):
            self._stream = await transport.open_stream(message, **phases(limits))
        if self._stream is None:
            raise TimedOut(f"no reply within {limits.total:g} s", phase="total")
        if self.held is not None:
            self.held.headers = self._stream.headers
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
        if deltas and self.first_token is None:
            self.first_token = anyio.current_time() - self._began
        self.heard += sum(_weight(delta) for delta in deltas)
        return deltas

    async def _bytes(self) -> bytes:
        assert self._stream is not None
        if self.heard and self._keeps_time:  # what is left to watch, silence and the total, the transport watches
            return await self._stream.read()
        seconds, phase = self._patience()
        with anyio.move_on_after(seconds):
            return await self._stream.read()
        raise TimedOut(f"nothing more came within {seconds:.3g} s", phase=phase)

    def _patience(self) -> tuple[float, Phase]:
        """Return how long to wait for the next bytes: keep-alives do not put off the first content's deadline."""
        limits, spent = self._effect.timeouts, anyio.current_time() - self._began
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
