"""The database goes away, comes back, loses connections and answers: nothing is lost, doubled or dropped."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable
from contextlib import nullcontext, suppress
from typing import TypeVar

import anyio
import psycopg
import pytest
from anyio import to_thread

from orchestrator.journal.postgres.connecting import Database, DatabaseAway, dropped
from orchestrator.journal.postgres.loading import load
from orchestrator.journal.postgres.operations import AppendEvents
from orchestrator.journal.postgres.transaction import TransactionLost
from orchestrator.journal.protocols import (
    Fenced,
    Go,
    Journal,
    JournalUnusable,
    Recorded,
    RunBusy,
    RunExists,
    RunManifest,
    StepChanged,
)
from orchestrator.journal.timing import ClusterTiming
from tests.orchestrator.journal.postgres.proxy import CuttingProxy, Moment
from tests.orchestrator.journal.postgres.units import A, Crowd, event, key, opened
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, PostgresServer

T = TypeVar("T")
pytestmark = pytest.mark.anyio
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'squad-orchestrator'"
HASTY = ClusterTiming(retry_s=0.3, closing_s=0.3)


@pytest.mark.parametrize("how", ["stop", pytest.param("kill", marks=pytest.mark.long)])
async def test_what_is_under_way_when_the_server_goes_is_recorded_when_it_is_back(
    postgres_server: PostgresServer, postgres_url: str, how: str
) -> None:
    async with opened(postgres_url) as journal:
        crowd = Crowd(journal, "a", units=20, steps=15, runs=2)
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                crowd.start(tasks)
                for _ in range(3):
                    there = crowd.finished
                    await crowd.has_finished(min(there + 30, 300))
                    await to_thread.run_sync(getattr(postgres_server, how))
                    await anyio.sleep(0.3)
                    await to_thread.run_sync(postgres_server.start)
        await crowd.check(journal)


async def test_who_goes_on_with_a_unit_waits_for_the_database_no_step_that_its_former_owner_did(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    steps = [key(f"s{number}") for number in range(20)]
    async with opened(postgres_url, HASTY) as journal:
        fence = await journal.claim("r", A, "one")
        assert fence is not None
        for step in steps:
            await journal.begin("r", A, step, b"asked", fence)
            await journal.finish("r", A, step, fence, step.call)
        fence = await journal.claim("r", A, "two")
        assert fence is not None
        with pytest.raises(StepChanged):
            await journal.begin("r", A, steps[0], b"another", fence)
        await to_thread.run_sync(postgres_server.stop)
        found = [await journal.begin("r", A, step, b"asked", fence) for step in steps[1:]]
        await to_thread.run_sync(postgres_server.start)
        assert found == [Recorded(step.call) for step in steps[1:]]
        assert await journal.begin("r", A, steps[0], b"asked", fence) == Recorded(steps[0].call)
        assert await journal.begin("r", A, key("new"), b"asked", fence) == Go(1)
        with pytest.raises(Fenced):
            await journal.begin("r", A, key("newer"), b"asked", fence - 1)


@pytest.mark.parametrize("seed", range(2))
async def test_connections_that_are_cut_at_any_moment_lose_and_double_nothing(
    postgres_server: PostgresServer, postgres_url: str, seed: int
) -> None:
    """Two processes on one run; their connections are ended at random: a commit's answer is often lost."""
    dice = random.Random(seed)
    of_others = "datname = current_database() AND pid <> pg_backend_pid()"
    cut = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {of_others}"
    ended = anyio.Event()

    async def cut_off() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as db:
            while not ended.is_set():
                await db.execute(cut)
                await anyio.sleep(dice.uniform(0.01, 0.15))

    async with opened(postgres_url) as one, opened(postgres_url) as other:
        crowds = [Crowd(one, "a", units=15, steps=12, runs=2), Crowd(other, "b", units=15, steps=12, runs=2)]
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cut_off)
                async with anyio.create_task_group() as work:
                    for crowd in crowds:
                        crowd.start(work)
                ended.set()
        for crowd in crowds:
            await crowd.check(one)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_commit_that_breaks_its_connection_is_made_once(
    postgres_server: PostgresServer, postgres_url: str, moment: Moment
) -> None:
    """Whether it was done is not known: it is found out."""
    proxy = CuttingProxy(postgres_server, postgres_url.rpartition("/")[2])
    async with proxy.serving(), opened(proxy.url) as journal, opened(postgres_url) as other:

        async def cut(call: Awaitable[T]) -> T:
            proxy.cut = moment
            with anyio.fail_after(PATIENCE_S):
                return await call

        await cut(journal.create("r", RunManifest("one")))
        assert await cut(journal.claim("r", A, "me")) == 1
        assert await cut(journal.begin("r", A, key("turn-1"), b"h", 1, [event(1)])) == Go(1)
        await cut(journal.finish("r", A, key("turn-1"), 1, "x", [event(2)]))
        assert await cut(journal.begin("r", A, key("turn-2"), b"h", 1)) == Go(1)
        await cut(journal.give_up("r", A, key("turn-2"), 1))
        assert await cut(journal.begin("r", A, key("turn-2"), b"h", 1)) == Go(2)
        assert await cut(journal.signal("r", "gate", "yes", "k")) == "yes"
        await cut(journal.edit("r", RunManifest("two"), [event(3)]))
        await cut(journal.end("r", A, 1, [event(4)]))
        with pytest.raises(RunExists):
            await cut(other.create("r", RunManifest("three")))
        assert [found.seq for found in await other.events("r")] == [1, 2, 3, 4]
        assert [found.squad for found in await other.manifests("r")] == ["one", "two"]
        assert proxy.cuts == 10
        rows = await to_thread.run_sync(
            postgres_server.run, "SELECT count(*) FROM orchestrator.commits", proxy.database
        )
        assert rows[0][0] <= 2, "marks of commits are not kept"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_transaction_that_breaks_its_connection_was_made_whole_or_says_that_it_was_not(
    postgres_server: PostgresServer, postgres_url: str, moment: Moment
) -> None:
    proxy = CuttingProxy(postgres_server, postgres_url.rpartition("/")[2])
    async with proxy.serving(), opened(proxy.url) as journal:
        for number in range(3):
            proxy.cut = moment
            with nullcontext() if moment == "after" else pytest.raises(TransactionLost):
                async with journal.transaction() as made:
                    await made.create(f"r{number}", RunManifest("one"))
                    assert await made.claim(f"r{number}", A, "me") == 1
        assert await journal.run_count() == (3 if moment == "after" else 0)
        async with journal.transaction() as made:
            await made.create("whole", RunManifest("one"))
        assert await journal.claim("whole", A, "me") == 1


async def test_who_is_in_a_hurry_is_told_where_the_journal_was(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    told: list[str] = []
    async with opened(postgres_url, HASTY) as journal:
        journal._database.warn = told.append
        await journal.append("r", [event(1)])
        postgres_server.stop()
        for call in (lambda: journal.append("r", [event(2)]), lambda: journal.events("r")):
            with pytest.raises(DatabaseAway) as failed:
                await call()
            assert f"127.0.0.1:{postgres_server.port}" in str(failed.value)
            assert "PGPASSWORD" in failed.value.hint
            assert PASSWORD not in f"{failed.value!r}{failed.value}"
        postgres_server.start()
        await journal.append("r", [event(3)])
        assert [found.seq for found in await journal.events("r")] == [1, 3]
        assert len(told) == 2
        assert "is away" in told[0]
        assert "is back" in told[1]
        assert PASSWORD not in str(told)


async def test_closing_while_the_server_is_away_ends_and_says_what_was_not_recorded(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    timing = ClusterTiming(retry_s=None, closing_s=0.2)
    failed: list[str] = []
    async with anyio.create_task_group() as tasks:
        async with opened(postgres_url, timing) as journal:
            await journal.append("r", [event(1)])
            postgres_server.stop()

            async def record() -> None:
                try:
                    await journal.append("r", [event(2)])
                except JournalUnusable as error:
                    failed.append(str(error))

            tasks.start_soon(record)
            await anyio.sleep(0.05)
        with pytest.raises(JournalUnusable, match="closed"):
            await journal.append("r", [event(3)])
    assert failed == ["the journal was closed before this was recorded"]


async def test_a_server_that_stands_still_is_waited_for_and_goes_on(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    assert postgres_server.process is not None
    async with opened(postgres_url) as journal, opened(postgres_url, HASTY) as hasty:
        await journal.append("r", [event(1)])
        await hasty.append("r", [event(2)])
        backends = [pid for (pid,) in postgres_server.run(BACKENDS)]
        try:
            for pid in backends:
                os.kill(pid, signal.SIGSTOP)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(journal.append, "r", [event(3)])
                with pytest.raises(JournalUnusable, match="does not answer"):
                    await hasty.append("r", [event(4)])
                _go_on(backends)
        finally:
            _go_on(backends)
        assert {3} <= {found.seq for found in await journal.events("r")}


async def test_a_writer_that_stands_still_between_its_halves_holds_up_others_for_a_while_only(
    postgres_url: str,
) -> None:
    database = Database.of(postgres_url, ClusterTiming(stalled_s=0.3), warn=print)
    async with opened(postgres_url) as other:
        await other.append("r", [event(1)])
        connection = await database.connect()

        async def stand_still() -> None:
            async with connection.pipeline() as pipeline:
                await load(connection, pipeline, [AppendEvents(run="r")], set())
                await other.append("r", [event(2)])

        with anyio.fail_after(PATIENCE_S), pytest.raises(psycopg.OperationalError):
            await stand_still()
        await dropped(connection)
        assert [found.seq for found in await other.events("r")] == [1, 2]


def _go_on(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("failure", [RunBusy("busy"), KeyError("x")])
async def test_what_the_caller_raises_comes_out_as_it_is(postgres_url: str, failure: Exception) -> None:
    async def fail() -> None:
        async with opened(postgres_url) as journal:
            await journal.append("r", [event(1)])
            raise failure

    with pytest.raises(type(failure)) as raised:
        await fail()
    assert raised.value is failure


async def test_what_was_given_is_recorded_where_who_opened_the_journal_is_cancelled(postgres_url: str) -> None:
    given = anyio.Event()

    async def record(journal: Journal) -> None:
        given.set()
        await journal.append("r", [event(number) for number in range(1, 300)])

    with anyio.CancelScope() as scope:
        async with opened(postgres_url) as journal, anyio.create_task_group() as tasks:
            tasks.start_soon(record, journal)
            await given.wait()
            scope.cancel()
    async with opened(postgres_url) as journal:
        assert len(await journal.events("r")) == 299
