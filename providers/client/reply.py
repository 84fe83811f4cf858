"""A reply that is read as it comes, within the limits of its attempt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio

from providers.adapters import HttpReply, StreamDecoder
from providers.client.accounting import AttemptAccount
from providers.client.adapter_table import AdapterTable, phases
from providers.client.length import AnswerLength
from providers.client.reservations import Reservation
from providers.errors import Phase, ProviderError, StreamBroken, TimedOut
from providers.messages import Delta, ReasoningDelta, Request, Response, TextDelta, ToolCallDelta, estimate_tokens
from providers.routing.effects import Try
from providers.transport import HttpStream
from providers.transport.closing import undisturbed

ERROR_BODY_BYTES = 1 << 20
"""How much of a refused stream's body is read: enough for any error message, and a bound for a hostile one."""
REFUSAL_S = 2.0
"""How long the body of a refusal may take: its status says the most."""
AFTERWORD_S = 1.0
"""How long what may follow a whole answer is waited for: its usage, its terminator."""
CLOSE_S = 0.1
"""How long a peer has to close a socket, and to end a body whose answer has ended."""
ENDING_READS = 16
"""In how many pieces such an end may come."""


class StreamedReply:
    """One streamed reply: its socket, its decoder, and how long each part of it may take."""

    __slots__ = (
        "_adapter",
        "_adapters",
        "_began",
        "_effect",
        "_last",
        "_length",
        "_now",
        "_request",
        "_spoke",
        "_stream",
        "_whole",
        "decoder",
        "first_token",
        "heard",
    )

    def __init__(
        self, adapters: AdapterTable, request: Request, effect: Try, now: Callable[[], float], began: float
    ) -> None:
        self._adapters, self._request, self._effect, self._now = adapters, request, effect, now
        self._adapter = adapters.remote[effect.candidate.provider.dialect]
        self._began = self._last = began
        """When its attempt began, and when its last content came, or what made the answer whole."""
        self._length = AnswerLength(request, effect.candidate)
        self._stream: HttpStream | None = None
        self._spoke = self._whole = False
        """Whether content came last; whether the answer is whole."""
        self.decoder: StreamDecoder = self._adapter.stream_decoder(request, effect.candidate, now())
        self.heard = 0
        """About how many tokens came."""
        self.first_token: float | None = None
        """Seconds until the first of them."""

    async def open(self, account: AttemptAccount, reservation: Reservation | None) -> None:
        """Return once a 2xx reply has begun. Raise what another reply means."""
        candidate, limits = self._effect.candidate, self._effect.timeouts
        message = account.sends(self._adapter.encode(self._request, candidate, stream=True))
        seconds, phase = self._patience()
        try:
            with anyio.move_on_after(seconds):
                self._stream = await self._adapters.transport.open_stream(
                    message, **phases(limits, anyio.current_time() - self._began)
                )
            if self._stream is None:
                raise TimedOut(f"no reply within {seconds:.3g} s", phase=phase)
        except TimedOut as error:
            error.silent_s = anyio.current_time() - self._last
            raise
        if reservation is not None:
            reservation.headers = self._stream.headers
        if not 200 <= self._stream.status < 300:
            reply = HttpReply(self._stream.status, self._stream.headers, await self._refusal())
            raise self._adapter.classify(reply, candidate, self._now())

    async def _refusal(self) -> bytes:
        """Return what comes soon of a refusal's body."""
        assert self._stream is not None
        body = b""
        with suppress(TimedOut, StreamBroken), anyio.move_on_after(min(REFUSAL_S, self._patience()[0])):
            while len(body) < ERROR_BODY_BYTES and (data := await self._stream.read()):
                body += data
        return body

    async def read(self) -> list[Delta] | None:
        """Return the next deltas (there may be none in what came), or None after the last byte that counts."""
        if self._length.is_passed or self.decoder.ended or not (data := await self._bytes()):
            return None
        deltas = self.decoder.feed(data)
        was_whole, self._whole = self._whole, self.decoder.whole
        if deltas or self._whole > was_whole:
            self._last = anyio.current_time()
        if deltas and self.first_token is None:
            self.first_token = self._last - self._began
        self._spoke = bool(deltas)
        self.heard += sum(_weight(delta) for delta in deltas)
        return deltas if self.decoder.whole else list(self._length.take(deltas))

    def finish(self) -> Response:
        """Return the answer after its last byte: what came of it, where it was longer than it may be."""
        return self._length.response() if self._length.is_passed else self.decoder.finish()

    async def _bytes(self) -> bytes:
        """Return the next bytes, `b""` at the end. A whole answer's end is not insisted on."""
        try:
            return await self._timely_bytes()
        except (TimedOut, StreamBroken) as error:
            if self._whole:
                return b""
            if isinstance(error, TimedOut):
                error.silent_s = anyio.current_time() - self._last
            raise

    async def _timely_bytes(self) -> bytes:
        assert self._stream is not None
        # Right after content the transport's own limits, of silence and of the total, are all that is to be watched.
        if self._spoke and self._adapters.keeps_time and not self._whole:
            return await self._stream.read()
        seconds, phase = self._patience()
        with anyio.move_on_after(seconds):
            return await self._stream.read()
        raise TimedOut(f"nothing more came within {seconds:.3g} s", phase=phase)

    def _patience(self) -> tuple[float, Phase]:
        """Return how long to wait for the next bytes: what is no content puts off no deadline."""
        limits, now = self._effect.timeouts, anyio.current_time()
        left: tuple[float, Phase] = (max(0.0, self._began + limits.total - now), "total")
        silence: tuple[float, Phase] = (limits.between_chunks, "between_chunks")
        if self._whole:
            silence = (AFTERWORD_S, "between_chunks")
        elif self.first_token is None:
            silence = (limits.first_token, "first_token")
        return min((max(0.0, self._last + silence[0] - now), silence[1]), left)

    async def aclose(self) -> None:
        """Close the socket, also while being cancelled; a peer that hangs is not waited for."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            try:
                if self.decoder.ended and await _end(stream):  # as nearly all do: nothing is left to wait for
                    with anyio.move_on_after(CLOSE_S, shield=True):
                        await stream.aclose()
                    return
            except anyio.get_cancelled_exc_class():
                await undisturbed(stream.aclose, CLOSE_S)
                raise
            await undisturbed(stream.aclose, CLOSE_S)


async def _end(stream: HttpStream) -> bool:
    """Read what little may stand behind an answer's end: the connection of a body that has ended serves again.

    Return whether it has ended.
    """
    with suppress(ProviderError), anyio.move_on_after(CLOSE_S, shield=True):
        for _ in range(ENDING_READS):
            if not await stream.read():
                return True
    return False


def _weight(delta: Delta) -> int:
    if isinstance(delta, TextDelta | ReasoningDelta):
        return estimate_tokens(delta.text)
    return estimate_tokens(delta.arguments) if isinstance(delta, ToolCallDelta) else 0
