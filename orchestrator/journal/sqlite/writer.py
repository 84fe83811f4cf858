"""One thread that writes: it commits whatever waits as one transaction, so many writers share one fsync."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from orchestrator.journal.codec import Bodies
from orchestrator.journal.protocols import JournalError, JournalUnusable
from orchestrator.journal.sqlite.sql import Rows

T = TypeVar("T")
MOST_AT_ONCE = 1000
"""Jobs of one transaction: the first of them wait no longer than so many take."""
MOST_LAST_AT_ONCE = 100
"""Of them, those that let all others go first."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    loop: Any
    done: anyio.Event
    last: bool
    texts: Sequence[Bodies]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs functions on one connection, in the order in which they were given, each once. Those that are to come
    `last` keep their order among each other, and let all others go first: work under way goes before new work.

    A function that refuses (a `JournalError`) must do so before it writes: the others of its transaction stand. After
    any other failure nothing is written any more (`is_broken`): what came later must not be recorded without what came
    before.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        explain: Callable[[BaseException], BaseException],
        rows: Rows,
        begin: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._connection = connection
        self._begin = begin
        self._explain = explain
        self._rows = rows
        self._committing = threading.Lock()
        self._broken: BaseException | None = None
        self._closed = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._last: deque[_Job] = deque()
        # A daemon: a program that exits without closing its journal must not wait for this thread.
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    @property
    def is_broken(self) -> bool:
        return self._broken is not None

    async def run(
        self, work: Callable[[sqlite3.Connection], T], *, last: bool = False, texts: Sequence[Bodies] = ()
    ) -> T:
        """Return what `work` returned, once it is on disk. It is done even where the caller is cancelled meanwhile.

        `texts` are those that it keeps: they are compressed before the transaction begins.
        """
        if self._closed:
            raise JournalUnusable("the journal is closed")
        token: Any = anyio.lowlevel.current_token()
        job = _Job(work, getattr(token, "native_token", token), anyio.Event(), last, texts)
        self._jobs.put(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]  # what `work` returned

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Begin no transaction while the block lasts. It waits for the end of one that is open."""
        with self._committing:
            yield

    def close(self) -> None:
        """Do all that waits, then close the connection. Blocks for as long as that takes."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()
            with self._committing:  # who closes last writes the log back into the file
                self._connection.close()

    def _serve(self) -> None:
        more = True
        while more or self._last:
            batch, more = self._take(more)
            if batch:
                self._commit(batch)
                _wake(batch)

    def _take(self, more: bool) -> tuple[list[_Job], bool]:
        """Return the jobs of the next transaction, and whether others may come after it."""
        batch: list[_Job] = []
        while more and len(batch) < MOST_AT_ONCE:
            try:
                job = self._jobs.get(block=not (batch or self._last))
            except Empty:
                break
            if job is None:
                more = False
            else:
                (self._last if job.last else batch).append(job)
        return batch + [self._last.popleft() for _ in range(min(len(self._last), MOST_LAST_AT_ONCE))], more

    def _commit(self, batch: list[_Job]) -> None:
        try:
            self._rows.make_ready(bodies for job in batch for bodies in job.texts)
        except BaseException as error:  # noqa: BLE001  # as below
            self._fail(batch, error)
            return
        with self._committing:
            self._commit_now(batch)

    def _commit_now(self, batch: list[_Job]) -> None:
        try:
            if self._broken is not None:
                raise self._broken
            # Locked before `begin` looks for commits of other connections: none can come in after that.
            self._begin(self._connection)
            self._rows.begin(self._connection)
            for job in batch:
                try:
                    job.result = job.work(self._connection)
                except JournalError as refused:
                    job.error = self._explain(refused)
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  # the thread's boundary: every waiting caller gets the error
            self._fail(batch, error)

    def _fail(self, batch: list[_Job], error: BaseException) -> None:
        if self._broken is None:
            self._broken = self._explain(error)
        if self._connection.in_transaction:
            self._connection.rollback()
        self._rows.forget()
        for job in batch:
            job.error = self._broken


def _wake(batch: list[_Job]) -> None:
    # An event may be set by its own loop alone: one call into each loop for the whole batch.
    waiting: defaultdict[Any, list[anyio.Event]] = defaultdict(list)
    for job in batch:
        waiting[job.loop].append(job.done)
    for loop, events in waiting.items():
        call_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio's, trio's
        try:
            call_soon(_set_all, events)
        except RuntimeError:
            continue  # that event loop is closed: no caller waits there any more


def _set_all(events: list[anyio.Event]) -> None:
    for event in events:
        event.set()
