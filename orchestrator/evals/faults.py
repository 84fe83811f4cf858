"""Providers that fail as a case says: the network of its live runs, with faults instead of some replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from providers.adapters import HttpReply, HttpRequest
from providers.catalog.model import Candidate
from providers.errors import TimedOut, Unreachable
from providers.transport import HttpStream, OpenTransport

_STATUS = {"429": 429, "500": 500, "503": 503}
_BODY = b'{"error": {"message": "a fault of the test file", "type": "server_error"}}'


class FaultyTransport:
    """Passes requests on, but for the first ones to each provider in `faults`: these end as it says, one after the
    other; `ok` passes one on. After the last one all are passed on."""

    def __init__(
        self, inner: OpenTransport, candidates: Sequence[Candidate], faults: Mapping[str, Sequence[str]]
    ) -> None:
        self._inner = inner
        self.keeps_time: bool = getattr(inner, "keeps_time", False)
        self._left = {name: list(each) for name, each in faults.items()}
        self._bases = {one.provider.base_url: one.provider.name for one in candidates}

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        fault = self._next(request)
        if fault in _STATUS:
            return HttpReply(_STATUS[fault], {"content-type": "application/json"}, _BODY)
        self._raise(fault)
        return await self._inner.send(request, **limits)

    async def open_stream(self, request: HttpRequest, **limits: float) -> HttpStream:
        fault = self._next(request)
        if fault in _STATUS:
            return _Refusal(_STATUS[fault])
        self._raise(fault)
        return await self._inner.open_stream(request, **limits)

    def _next(self, request: HttpRequest) -> str:
        if request.method != "POST":  # a server is asked what it serves
            return "ok"
        name = next((name for base, name in self._bases.items() if request.url.startswith(base)), "")
        left = self._left.get(name)
        return left.pop(0) if left else "ok"

    def _raise(self, fault: str) -> None:
        if fault == "timeout":
            raise TimedOut("no answer: a fault of the test file", phase="first_token")
        if fault == "reset":
            raise Unreachable("the connection was reset: a fault of the test file")

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)


class _Refusal:
    """The stream of a reply that refuses."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json"}
        self._body = _BODY

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def aclose(self) -> None:
        """There is no socket."""
