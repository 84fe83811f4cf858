"""What goes to some providers and comes back, shown to whoever looks for a fault: `ORCHESTRATOR_DEBUG=openai,groq`.

Told as a notice, of which no run records anything. Keys are taken out of it: by their values, and by their looks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from providers.adapters import HttpReply, HttpRequest
from providers.catalog.model import Candidate
from providers.documents.secrets import MASK, hidden, without_values
from providers.documents.unicode import printable
from providers.emit import Emit
from providers.errors import ProviderError
from providers.events import ProviderExchange
from providers.trace_context import call_scope
from providers.transport import HttpStream, Transport

VARIABLE = "ORCHESTRATOR_DEBUG"
MOST = 20_000
"""Characters of a body that are shown."""
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie", "api-key")


def tapped(
    transport: Transport | None, environ: Mapping[str, str], candidates: Iterable[Candidate], notify: Emit
) -> Transport | None:
    """Return the transport, with what goes to the providers that the variable names told to `notify`."""
    wanted = {name.strip().casefold() for name in environ.get(VARIABLE, "").split(",")} - {""}
    watched = [one for one in candidates if {"all", one.provider.name.casefold()} & wanted]
    return transport if transport is None or not watched else Wiretap(transport, watched, notify)


class Wiretap(Transport):
    """A transport that tells what passes. It changes nothing, and a stream is told of once it is closed."""

    def __init__(self, transport: Transport, watched: Iterable[Candidate], notify: Emit) -> None:
        self._transport, self._notify = transport, notify
        self.keeps_time: bool = getattr(transport, "keeps_time", False)
        bases = {one.provider.base_url: one.provider.name for one in watched if one.provider.base_url}
        self._bases = sorted(bases.items(), key=lambda base: len(base[0]), reverse=True)
        self._secrets = [secret for one in watched for secret in one.secrets]

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        seen = _Seen(self, request)
        try:
            reply = await self._transport.send(request, **limits)
        except ProviderError as error:
            seen.tell(None, {}, b"", type(error).__name__)
            raise
        seen.tell(reply.status, reply.headers, reply.body)
        return reply

    async def open_stream(self, request: HttpRequest, **limits: float) -> HttpStream:
        seen = _Seen(self, request)
        try:
            stream = await self._transport.open_stream(request, **limits)
        except ProviderError as error:
            seen.tell(None, {}, b"", type(error).__name__)
            raise
        return _TappedStream(stream, seen)

    def provider_at(self, url: str) -> str | None:
        """Return whose address it is, None where nobody looks at it."""
        return next((name for base, name in self._bases if url.startswith(base)), None)

    def tell(self, exchange: ProviderExchange) -> None:
        self._notify(exchange)

    def shown(self, text: str) -> str:
        """Return a text as it may be shown."""
        cut = text[: 2 * MOST]  # what is cut off needs no masking, but for a key that the cut goes through
        masked = printable(hidden(without_values(cut, self._secrets), guess=False))
        return masked if len(masked) <= MOST else f"{masked[:MOST]} ... ({len(text)} characters)"

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: MASK if _is_secret(name) else self.shown(value) for name, value in headers.items()}


def _is_secret(header: str) -> bool:
    name = header.lower()
    return name in _SECRET_HEADERS or name.endswith(("-key", "-token", "-secret"))


class _Seen:
    """One exchange, from its request on."""

    def __init__(self, tap: Wiretap, request: HttpRequest) -> None:
        self._tap, self._request, self._began = tap, request, time.monotonic()
        self._provider, self._scope = tap.provider_at(request.url), call_scope()

    def tell(self, status: int | None, headers: Mapping[str, str], body: bytes, error: str = "") -> None:
        tap, request, scope = self._tap, self._request, self._scope
        if self._provider is None:
            return
        tap.tell(
            ProviderExchange(
                self._provider,
                f"{request.method} {tap.shown(request.url)}",
                tap.headers(request.headers),
                tap.shown(request.body.decode("utf-8", "replace")),
                status,
                tap.headers(headers),
                tap.shown(body.decode("utf-8", "replace")),
                error,
                (time.monotonic() - self._began) * 1000,
                scope.run,
                scope.place,
                scope.turn,
            )
        )


class _TappedStream:
    """An open reply, whose bytes are kept as far as they are shown."""

    def __init__(self, stream: HttpStream, seen: _Seen) -> None:
        self._stream, self._seen, self._read, self._is_told = stream, seen, bytearray(), False

    @property
    def status(self) -> int:
        return self._stream.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._stream.headers

    async def read(self) -> bytes:
        data = await self._stream.read()
        if len(self._read) < 2 * MOST:
            self._read += data
        return data

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if not self._is_told:
                self._is_told = True
                self._seen.tell(self.status, self.headers, bytes(self._read))
