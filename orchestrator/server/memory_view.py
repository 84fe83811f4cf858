"""What agents remember, as the API and the page Memory show it."""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread
from pydantic import BaseModel

from agents.memory.database import MemoryUnusable
from agents.memory.records import MemoryRecord, RecordTrust
from agents.memory.store import MOST_FOUND, MemoryStore
from orchestrator.run.memory_setting import FILE
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.state import ServerState
from providers.documents.unicode import clean

MOST_SHOWN = 200


class ScopeShown(BaseModel):
    """A squad's memory, or that of one agent of it (`squad/agent`)."""

    scope: str
    records: int


class RememberedShown(BaseModel):
    """One thing remembered. `trust` is `user`, `agent` or `untrusted`: it may be what others wrote.

    Times are epoch seconds; `expires_at` null: it stays until it is forgotten. `score` null: it was not searched for.
    """

    id: str
    scope: str
    text: str
    trust: RecordTrust
    created_at: float
    expires_at: float | None
    tags: list[str]
    origin: str
    agent: str
    run_id: str
    score: float | None


class MemoryShown(BaseModel):
    """What is remembered: the newest, or what has words of a search in it, the best first. `count` in these scopes."""

    scopes: list[ScopeShown]
    count: int
    records: list[RememberedShown]


async def memory_shown(state: ServerState, search: str, scope: str, *, limit: int, offset: int = 0) -> MemoryShown:
    """Return what is remembered in a scope; of a squad its agents' as well, of "" all. Raise `RequestRefused`."""
    return await anyio.to_thread.run_sync(_look, state, search.strip(), scope, limit, offset)


def _look(state: ServerState, search: str, scope: str, limit: int, offset: int) -> MemoryShown:
    path, now = state.folder / FILE, state.clock()
    if not path.exists():
        return MemoryShown(scopes=[], count=0, records=[])
    try:
        with MemoryStore.open(path) as store:
            known = store.scopes(now)
            meant = [one.scope for one in known if scope in ("", one.scope, one.scope.partition("/")[0])]
            if search:
                found = store.search(search, meant, now, MOST_FOUND)
                records = [_shown(one.record, state.mask, one.score) for one in found[offset : offset + limit]]
            else:
                latest = store.records(meant, now, offset + limit)
                records = [_shown(one, state.mask) for one in latest[offset:]]
    except MemoryUnusable as error:
        raise RequestRefused(500, state.mask(str(error)), error.hint, "memory_unusable") from None
    count = len(found) if search else sum(one.records for one in known if one.scope in meant)
    scopes = [ScopeShown(scope=clean(one.scope), records=one.records) for one in known]
    return MemoryShown(scopes=scopes, count=count, records=records)


def _shown(record: MemoryRecord, mask: Callable[[str], str], score: float | None = None) -> RememberedShown:
    return RememberedShown(
        id=record.id,
        scope=clean(record.scope),
        text=mask(clean(record.text)),
        trust=record.trust,
        created_at=record.created,
        expires_at=record.expires,
        tags=[mask(clean(tag)) for tag in record.tags],
        origin=record.source.origin,
        agent=clean(record.source.agent),
        run_id=clean(record.source.run),
        score=score,
    )
