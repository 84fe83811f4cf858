"""A reply that is read as it comes, within the limits of its attempt."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from providers.adapters import HttpReply, StreamDecoder
from providers.client.accounting import AttemptAccount
from providers.client.adapter_table import AdapterTable, phases
from providers.client.reservations import Reservation
from providers.errors import Phase, TimedOut
from providers.messages import Delta, ReasoningDelta, Request, TextDelta, ToolCallDelta, estimate_tokens
from providers.routing.effects import Try
from providers.transport import HttpStream

ERROR_BODY_BYTES = 1 << 20
"""How much of a refused stream's body is read: enough for any error message, and a bound for a hostile one."""
CLOSE_S = 0.1
"""How long a peer has to close a socket."""


class StreamedReply:
    """One streamed reply: its socket, its decoder, and how long each part of it may take."""

    __slots__ = (
        "_adapter",
        "_adapters",
        "_began",
        "_effect",
        "_now",
        "_request",
        "_stream",
        "decoder",
        "first_token",
        "heard",
    )

    def __init__(self, adapters: AdapterTable, request: Request, effect: Try, now: Callable[[], float]) -> None:
        self._adapters, self._request, self._effect, self._now = adapters, request, effect, now
        self._adapter = adapters.remote[effect.candidate.provider.dialect]
        self._began = anyio.current_time()
        self._stream: HttpStream | None = None
        self.decoder: StreamDecoder = self._adapter.stream_decoder(request, effect.candidate, now())
        self.heard = 0
        """About how many tokens came."""
        self.first_token: float | None = None
        """Seconds until the first of them."""

    async def open(self, account: AttemptAccount, reservation: Reservation | None) -> None:
        """Return once a 2xx reply has begun. Raise what another reply means."""
        candidate, limits = self._effect.candidate, self._effect.timeouts
        message = self._adapter.encode(self._request, candidate, stream=True)
        account.body = message.body
        with anyio.move_on_after(limits.total):
            self._stream = await self._adapters.transport.open_stream(message, **phases(limits))
        if self._stream is None:
            raise TimedOut(f"no reply within {limits.total:g} s", phase="total")
        if reservation is not None:
            reservation.headers = self._stream.headers
        if not 200 <= self._stream.status < 300:
            reply = HttpReply(self._stream.status, self._stream.headers, await self._whole_body())
            raise self._adapter.classify(reply, candidate, self._now())

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
        if self.heard and self._adapters.keeps_time:  # the transport watches silence and the total, all that is left
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
    if isinstance(delta, TextDelta | ReasoningDelta):
        return estimate_tokens(delta.text)
    return estimate_tokens(delta.arguments) if isinstance(delta, ToolCallDelta) else 0
