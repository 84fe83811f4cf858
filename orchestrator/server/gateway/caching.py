"""Answers given again: of a request that the same key has made before, where it or the request asks for that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from orchestrator.server.gateway.admission import Grant
from orchestrator.server.gateway.allowance import NOTHING, RequestSize
from orchestrator.server.gateway.answering import AtOnce, Deltas, ModelAnswerer
from orchestrator.server.gateway.failures import invalid
from orchestrator.server.gateway.kept_answers import (
    LONGEST_S,
    MOST_OF_ONE,
    digest_of,
    may_be_kept,
    packed,
    unpacked,
)
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.store import GatewayStore
from providers.messages import Response

HEADER = "x-orchestrator-cache"


def kept_for(key: Key | None, header: str | None) -> float:
    """Return for how many seconds the answer to a request may be given again; 0: it is not. Raise `GatewayFailure`."""
    if header is None:
        return 0.0 if key is None else key.cache_s
    said = header.strip().lower()
    if said in ("no-store", "no-cache", "off"):
        return 0.0
    if not (said.isascii() and said.isdigit()) or not int(said[:10]) <= LONGEST_S:
        raise invalid(
            f"the header {HEADER} is seconds, up to {LONGEST_S:.0f}, or no-store; not {header[:40]!r}", HEADER
        )
    return float(said)


@dataclass(frozen=True, slots=True)
class KeptAnswerer:
    """Gives an answer again that is kept. It costs nothing."""

    answer: Response
    left_s: float

    @property
    def headers(self) -> dict[str, str]:
        return {HEADER: "hit", f"{HEADER}-ttl": f"{self.left_s:.0f}"}

    def size(self, now: float) -> RequestSize:  # noqa: ARG002  # an `Answerer`
        return NOTHING

    async def whole(self, grant: Grant) -> Response:
        grant.hit(self.answer)
        return replace(self.answer, cost=0, attempts=())

    @asynccontextmanager
    async def pieces(self, grant: Grant) -> AsyncIterator[Deltas]:
        async def ask() -> Response:
            return await self.whole(grant)

        yield AtOnce(ask)


@dataclass(frozen=True, slots=True)
class KeepingAnswerer:
    """Keeps the answer of another, where it may be given again."""

    by: ModelAnswerer
    keep: Callable[[Response], None]

    @property
    def headers(self) -> dict[str, str]:
        return {**self.by.headers, HEADER: "miss"}

    def size(self, now: float) -> RequestSize:
        return self.by.size(now)

    async def whole(self, grant: Grant) -> Response:
        answer = await self.by.whole(grant)
        self.keep(answer)
        return answer

    def pieces(self, grant: Grant) -> AbstractAsyncContextManager[Deltas]:
        return self._pieces(grant)

    @asynccontextmanager
    async def _pieces(self, grant: Grant) -> AsyncIterator[Deltas]:
        async with self.by.pieces(grant) as pieces:
            yield pieces
        if pieces.response is not None:  # it was heard to its end
            self.keep(pieces.response)


async def with_cache(
    by: ModelAnswerer, model: str, key: Key | None, kept_s: float, store: GatewayStore, clock: Callable[[], float]
) -> ModelAnswerer | KeptAnswerer | KeepingAnswerer:
    """Return who answers a request whose answer may be kept for so long: the answer itself, if there is one."""
    if not kept_s:
        return by
    digest = digest_of(by.request, model, "" if key is None else key.digest, by.pool)
    if (found := await store.answer(digest, clock())) is not None and (answer := unpacked(found[1])) is not None:
        return KeptAnswerer(answer, found[0] - clock())

    def keep(answer: Response) -> None:
        if may_be_kept(by.request, answer) and len(made := packed(answer)) <= MOST_OF_ONE:
            store.keep(digest, clock() + kept_s, made)

    return KeepingAnswerer(by, keep)
