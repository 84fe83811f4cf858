"""Clusters as commands reach them: by the URL of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from structlog.typing import FilteringBoundLogger

from orchestrator.cli.exits import NothingSelected
from orchestrator.cli.journals import START_ONE
from orchestrator.cluster.opening import ClusterDatabase, open_cluster
from orchestrator.journal.protocols import JournalMissing
from orchestrator.journal.timing import ClusterTiming


@asynccontextmanager
async def cluster_at(
    db: str,
    warn: Callable[[str], None],
    *,
    create: bool = True,
    timing: ClusterTiming | None = None,
    log: FilteringBoundLogger | None = None,
) -> AsyncIterator[ClusterDatabase]:
    """Open the cluster in a database. Raise `NothingSelected` where there is none and none may be made."""
    try:
        async with open_cluster(db, create=create, timing=timing, warn=warn, log=log) as cluster:
            yield cluster
    except JournalMissing as missing:
        raise NothingSelected(f"no run is recorded there: {missing}", START_ONE) from missing
