"""The code for each wire format. Adapters are independent of each other and do no I/O.

An `Adapter` is two pure functions and one incremental decoder: request -> HTTP request, HTTP reply -> `Response`, bytes
-> deltas. A `LocalAdapter` answers in this process, without a network. Both are data-driven: what differs between two
vendors on one dialect is in the provider's `Quirks`, never as a vendor's name in code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from providers.catalog.model import Candidate
from providers.errors import ProviderError
from providers.messages import Delta, Request, Response


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is to be sent. Headers carry the key: the repr leaves them out."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class StreamDecoder(Protocol):
    """Turns one reply's bytes into deltas; any split of the bytes gives the same deltas.

    `feed` raises a `ProviderError` for an error inside the stream. `finish`, called once after the last byte, returns
    the whole answer or raises `StreamBroken` where the terminator or the finish reason is missing. The answer may end
    in what no delta told: what the last event said, where the stream ended before the blank line behind it.
    """

    @property
    def ended(self) -> bool:
        """Whether nothing that may still come counts: the terminator has come, or an error."""

    @property
    def whole(self) -> bool:
        """Whether the answer is whole, as far as can be known: why it ended was said. Figures may still follow."""

    def feed(self, data: bytes) -> list[Delta]: ...
    def finish(self) -> Response: ...


class Adapter(Protocol):
    """A dialect. All methods are pure; `now` is epoch seconds UTC."""

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        """Return the HTTP request. Raise `Unsupported` where the dialect cannot say it."""

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
        """Return the answer of a 2xx reply. Raise a `ProviderError` for anything that is not a sound answer."""

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        """Return the error that a reply other than 2xx means. Never raises, whatever the body."""

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> StreamDecoder:
        """Return a fresh decoder for one streamed reply."""


@runtime_checkable
class LocalAdapter(Protocol):
    """Answers in this process: the offline stub, and test doubles."""

    def respond(self, request: Request, candidate: Candidate) -> Response:
        """Return the answer, or raise a `ProviderError`."""
