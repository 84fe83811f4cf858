"""Counts on a real PostgreSQL: its clock, its schema, its crash, its silence, and processes that share it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from providers.budgets import BudgetRef
from providers.events import LedgerLost, LedgerRegained
from providers.limits.counter import LimitKey
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.fallback import RETRY_S, FallbackLedger
from providers.limits.ledger.postgres.ledger import PostgresLedger
from providers.limits.ledger.postgres.migrations import steps
from providers.limits.reserve import NoRoom
from providers.windows import Calendar, Paced, Rolling
from tests import processes
from tests.freezing import frozen
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]  # what its client runs on
METER = LimitKey("k", 40, Rolling(3600))
BUDGET = LimitKey("budget/day", 1000.0, Calendar("day"), "the day's budget", BudgetRef("day"))

METERS = [LimitKey("calls", 50, Rolling(3600)), LimitKey("money", 977.0, Calendar("day"), "", BudgetRef("day"))]


def work(url: str, number: int, told: str) -> None:
    """Be one process: make forty calls at once, and write how many were granted and what they spent."""
    anyio.run(_work, url, number, told)


async def _work(url: str, number: int, told: str) -> None:
    ledger, granted, spent = PostgresLedger(url, timeout_s=PATIENCE_S), 0, 0.0

    async def call(n: int) -> None:
        nonlocal granted, spent
        lease, amounts = f"{number}-{n}", [(METERS[0], 1), (METERS[1], 20.0)]
        if n % 2:
            amounts.reverse()
        if not isinstance(await ledger.reserve(amounts, lease, time.time(), 600), NoRoom):
            granted += 1
            took = 19.0 if n % 3 else 20.0
            spent += took
            await ledger.settle([(m, 1 if m is METERS[0] else took) for m, _ in amounts], lease, time.time())

    async with anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(call, n)
    await ledger.aclose()
    Path(told).write_text(f"{granted} {spent}")


@asynccontextmanager
async def opened(url: str, timeout_s: float = PATIENCE_S) -> AsyncIterator[PostgresLedger]:
    """Yield a ledger to which, unless it is told otherwise, a busy machine is no outage."""
    ledger = PostgresLedger(url, timeout_s=timeout_s)
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def test_it_goes_by_the_servers_clock(postgres_url):
    meter, now = LimitKey("clock", 2, Rolling(3600)), time.time()
    async with opened(postgres_url) as right, opened(postgres_url) as wrong:
        assert await right.reserve([(meter, 1)], "a", now, 60) is None
        assert await wrong.reserve([(meter, 1)], "b", now - 1e6, 60) is None
        await right.settle([(meter, 1)], "a", now)
        await wrong.settle([(meter, 1)], "b", now - 1e6)
        for ledger, its_now in ((right, now), (wrong, now - 1e6)):
            refused = await ledger.reserve([(meter, 1)], "c", its_now, 60)
            assert isinstance(refused, NoRoom)
            assert refused.until == pytest.approx(its_now + 3630, abs=31)  # on the clock of whoever asked


@pytest.mark.parametrize("error_s", [0.0, 40 * 86400.0, -40 * 86400.0])
async def test_a_day_is_the_servers_day(postgres_url, error_s):
    meter, now = LimitKey("day", 1, Calendar("day")), time.time() + error_s
    async with opened(postgres_url) as ledger:
        assert await ledger.reserve([(meter, 1)], "a", now, 60) is None
        await ledger.settle([(meter, 1)], "a", now)
        (seen,) = await ledger.usage([meter], now)
    left = 86400 - time.time() % 86400
    assert (seen.used, seen.resets_at - now) == (1, pytest.approx(left, abs=5))


async def test_a_crowd_that_asks_at_once_is_no_outage(postgres_url):
    meter = LimitKey("crowd", 1000, Rolling(3600))
    async with opened(postgres_url) as ledger:
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(ledger.reserve, [(meter, 1)], f"{number}", time.time(), 60)
        (seen,) = await ledger.usage([meter], time.time())
    assert (seen.used, seen.held) == (300, 300)


async def test_processes_that_come_at_once_make_one_schema_and_never_pass_a_limit(
    postgres_url, postgres_server, tmp_path
):
    files = [tmp_path / str(n) for n in range(4)]
    workers = [processes.start(work, postgres_url, n, str(file)) for n, file in enumerate(files)]
    assert [await anyio.to_thread.run_sync(processes.end, worker) for worker in workers] == [0] * 4
    told = [file.read_text().split() for file in files]
    granted, spent = (sum(float(each[at]) for each in told) for at in (0, 1))
    # What others hold at that instant may leave no room for the last call or two, though they cost less.
    assert 48 <= granted <= 50
    assert spent <= 977
    database = postgres_url.rpartition("/")[2]
    kept = postgres_server.run(
        "SELECT key, (SELECT sum(a) FROM unnest(amounts) a), held FROM squad_ledger.counts", database
    )
    assert sorted(kept) == [("calls", granted, 0), ("money", spent, 0)]
    taken = postgres_server.run("SELECT number, name FROM squad_ledger.migrations ORDER BY number", database)
    assert taken == [(number, name) for number, name, _ in steps()]


async def test_a_schema_of_a_later_version_is_left_alone_and_one_that_is_gone_is_made_anew(
    postgres_url, postgres_server: PostgresServer
):
    database = postgres_url.rpartition("/")[2]
    async with opened(postgres_url) as ledger:
        await ledger.spend([(METER, 1)], time.time())
        postgres_server.run("INSERT INTO squad_ledger.migrations VALUES (999, '999_later.sql')", database)
        async with opened(postgres_url) as another:
            assert (await another.usage([METER], time.time()))[0].used == 1
        postgres_server.run("DROP SCHEMA squad_ledger CASCADE", database)
        await ledger.spend([(METER, 2)], time.time())
        assert (await ledger.usage([METER], time.time()))[0].used == 2


async def test_connections_that_the_server_has_let_go_of_are_no_outage(postgres_url, postgres_server: PostgresServer):
    async with opened(postgres_url) as ledger:
        for _round in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):  # on all of its connections
                    tasks.start_soon(ledger.spend, [(METER, 1)], time.time())
            postgres_server.stop()
            postgres_server.start()
        assert (await ledger.usage([METER], time.time()))[0].used == 40


async def test_a_call_that_holds_all_the_same_where_the_answer_was_lost_holds_once(postgres_url):
    meter = LimitKey("one", 1, Rolling(60))
    async with opened(postgres_url) as ledger:
        for _ in range(2):
            assert await ledger.reserve([(meter, 1)], "a", time.time(), 60) is None
        (seen,) = await ledger.usage([meter], time.time())
        assert (seen.used, seen.held) == (1, 1)
        await ledger.settle([(meter, 0)], "a", time.time())
        assert (await ledger.usage([meter], time.time()))[0].used == 0


async def test_money_is_on_disk_and_survives_a_crash_of_the_server(postgres_url, postgres_server: PostgresServer):
    async with opened(postgres_url) as ledger:
        await ledger.reserve([(BUDGET, 7)], "a", time.time(), 600)
        await ledger.reserve([(BUDGET, 20)], "b", time.time(), 600)
        await ledger.settle([(BUDGET, 5)], "a", time.time())
        postgres_server.kill()
        postgres_server.start()
        (seen,) = await ledger.usage([BUDGET], time.time())
    assert (seen.used, seen.held) == (25, 20)


async def test_a_server_that_is_killed_and_comes_back(postgres_url, postgres_server: PostgresServer):
    events, clock = [], time.time()
    async with opened(postgres_url) as shared:
        ledger = FallbackLedger(shared, emit=events.append)
        assert await ledger.reserve([(BUDGET, 200)], "a", clock, 600) is None
        postgres_server.kill()
        granted = 0
        while not isinstance(await ledger.reserve([(BUDGET, 50)], f"b{granted}", clock, 60), NoRoom):
            await ledger.settle([(BUDGET, 50)], f"b{granted}", clock)
            granted += 1
        assert granted == 5, "a quarter of the cap"
        assert [type(event) for event in events] == [LedgerLost]
        await ledger.settle([(BUDGET, 180)], "a", clock)
        postgres_server.start()
        (seen,) = await ledger.usage([BUDGET], clock + RETRY_S)
    assert [type(event) for event in events] == [LedgerLost, LedgerRegained]
    assert (seen.used, seen.held) == (430, 0)


@pytest.mark.long
async def test_a_server_that_stands_still_is_down_within_its_time_out_and_then_back(
    postgres_url, postgres_server: PostgresServer
):
    async with opened(postgres_url, timeout_s=2.0) as ledger:
        await ledger.spend([(METER, 1)], time.time())
        assert postgres_server.process is not None
        with frozen(postgres_server.process.pid):
            for _connected in (True, False):
                with anyio.fail_after(PATIENCE_S), pytest.raises(LedgerDown, match="no answer within 2 s"):
                    await ledger.spend([(METER, 1)], time.time())
    async with opened(postgres_url) as ledger:
        assert 1 <= (await ledger.usage([METER], time.time()))[0].used <= 3, "what was asked may have been done"


async def test_who_waits_for_it_may_be_cancelled_and_it_is_as_good_as_before(postgres_url):
    async with opened(postgres_url) as ledger:
        for seconds in (0.0, 0.0005, 0.001, 0.002, 0.01, 0.05):
            with anyio.move_on_after(seconds):
                while True:
                    await ledger.spend([(METER, 0)], time.time())
        assert await ledger.reserve([(METER, 1)], "b", time.time(), 60) is None


async def test_any_name_is_a_name(postgres_url):
    names = ["", "\0", "a\0b", "\ud800", "ü", "日本", "'; DROP SCHEMA squad_ledger; --", "\\x00", "%s", "x" * 10_000]
    meters = [LimitKey(name, 5, Rolling(60)) for name in names]
    async with opened(postgres_url) as ledger:
        for at, meter in enumerate(meters):
            await ledger.reserve([(meter, at / 4)], meter.key, time.time(), 60)
            await ledger.settle([(meter, at / 4)], meter.key, time.time())
        assert [each.used for each in await ledger.usage(meters, time.time())] == [at / 4 for at in range(len(names))]


async def test_what_cannot_matter_any_more_is_swept_by_a_process_that_begins(postgres_url, postgres_server):
    meters = [LimitKey("old", 5, Rolling(10)), LimitKey("new", 5, Rolling(10)), LimitKey("paced", 60, Paced(60))]
    database = postgres_url.rpartition("/")[2]
    async with opened(postgres_url) as ledger:
        await ledger.reserve([(meter, 1) for meter in meters], "a", time.time(), 60)
    postgres_server.run("UPDATE squad_ledger.counts SET keep_until = 1 WHERE key = 'old'", database)
    async with opened(postgres_url) as ledger:
        await ledger.usage(meters[1:], time.time())
    assert postgres_server.run("SELECT key FROM squad_ledger.counts ORDER BY key", database) == [("new",), ("paced",)]
    assert postgres_server.run("SELECT key FROM squad_ledger.leases", database) == [("new",)]


@pytest.mark.parametrize(
    ("ours", "wrong", "says"),
    [
        (f":{PASSWORD}@", ":hunter3-%7E@", "password authentication failed"),
        (r"1:\d+/", "1:1/", "refused"),
        ("/test_", "/none_", "does not exist"),
        ("127.0.0.1", "no-such-host.invalid", "no-such-host"),
    ],
)
async def test_an_address_that_leads_nowhere_is_told_without_its_password(postgres_url, ours, wrong, says):
    async with opened(re.sub(ours, wrong, postgres_url)) as ledger:
        with pytest.raises(LedgerDown, match=says) as told:
            await ledger.usage([METER], time.time())
    said = f"{told.value!r} {told.value.__cause__!r}"
    assert PASSWORD not in said
    assert "hunter3" not in said


async def test_a_role_that_may_make_no_schema_is_told_and_counts_in_one_that_is_made_for_it(
    postgres_url, postgres_server: PostgresServer
):
    role, database = "guest_" + postgres_url.rpartition("_")[2], postgres_url.rpartition("/")[2]
    postgres_server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    try:
        async with opened(postgres_url.replace(f"postgres:{PASSWORD}", f"{role}:p")) as ledger:
            with pytest.raises(LedgerDown, match=r"permission denied .*its schema squad_ledger cannot be made"):
                await ledger.usage([METER], time.time())
            postgres_server.run(f"CREATE SCHEMA squad_ledger AUTHORIZATION {role}", database)
            await ledger.spend([(METER, 1)], time.time())
            assert (await ledger.usage([METER], time.time()))[0].used == 1
    finally:
        postgres_server.run("DROP SCHEMA IF EXISTS squad_ledger CASCADE", database)
        postgres_server.run(f"DROP ROLE {role}")


async def test_a_database_whose_transactions_see_the_past_is_told(postgres_url, postgres_server: PostgresServer):
    database = postgres_url.rpartition("/")[2]
    postgres_server.run(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")
    async with opened(postgres_url) as ledger:
        with pytest.raises(LedgerDown, match="needs default_transaction_isolation = 'read committed'"):
            await ledger.usage([METER], time.time())
