"""One driver a run over all machines: who is silent is given up, who is not keeps its run; a zombie writes nothing."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack

import anyio
import pytest
from anyio import to_thread

from orchestrator.journal.postgres.journal import PostgresJournal
from orchestrator.journal.protocols import Fenced, RunBusy, RunManifest
from orchestrator.journal.timing import ClusterTiming
from orchestrator.units import Unit
from tests.orchestrator.journal.postgres.units import A, event, key, opened
from tests.patience import PATIENCE_S
from tests.postgres import PostgresServer

pytestmark = pytest.mark.anyio
SILENT = ClusterTiming(retry_s=None, heartbeat_s=1e6, lease_s=0.4)
"""Of a process that drives runs and never says so again, as one that is frozen."""
LIVELY = ClusterTiming(retry_s=None, heartbeat_s=0.1, lease_s=3.0)


async def drive_when_free(journal: PostgresJournal, run: str, stack: AsyncExitStack) -> None:
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                await stack.enter_async_context(journal.driving(run))
            except RunBusy:
                await anyio.sleep(0.05)
            else:
                return


async def test_a_run_is_driven_by_one_process_of_all(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        async with one.driving("r"):
            assert await other.is_driven("r")
            with pytest.raises(RunBusy, match="another process"):
                async with other.driving("r"):
                    raise AssertionError("two at once")
            with pytest.raises(RunBusy):
                await other.remove("r")
            assert not await other.reclaim()
        assert not await other.is_driven("r")
        async with other.driving("r"):
            assert await one.is_driven("r")


async def test_who_is_silent_is_given_up_and_writes_nothing_any_more(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    await wait_for_uptime(postgres_server, SILENT.lease_s)
    async with opened(postgres_url, SILENT) as zombie, opened(postgres_url) as heir, AsyncExitStack() as stack:
        await zombie.create("r", RunManifest("one"))
        async with zombie.driving("r"):
            await zombie.append("r", [event(1)])
            await drive_when_free(heir, "r", stack)
            await heir.append("r", [event(2)])
            with pytest.raises(Fenced, match="driven by another process"):
                await zombie.append("r", [event(3)])
            with pytest.raises(Fenced):
                await zombie.edit("r", RunManifest("two"), [event(4)])
            with pytest.raises(Fenced):
                async with zombie.transaction() as made:
                    await made.append("r", [event(5)])
        assert await heir.is_driven("r"), "who was given up gives nothing back"
        assert [found.seq for found in await heir.events("r")] == [1, 2]
        assert (await heir.manifest("r")).squad == "one"


async def test_who_says_that_it_lives_keeps_its_run(postgres_server: PostgresServer, postgres_url: str) -> None:
    timing = ClusterTiming(retry_s=None, heartbeat_s=0.1, lease_s=1.0)
    await wait_for_uptime(postgres_server, timing.lease_s)
    async with opened(postgres_url, timing) as driver, opened(postgres_url, timing) as other, driver.driving("r"):
        for _ in range(25):
            await anyio.sleep(0.1)
            assert await other.is_driven("r")
            with pytest.raises(RunBusy):
                async with other.driving("r"):
                    raise AssertionError("two at once")


@pytest.mark.parametrize("how", ["stop", pytest.param("kill", marks=pytest.mark.long)])
async def test_an_outage_longer_than_the_lease_robs_nobody(
    postgres_server: PostgresServer, postgres_url: str, how: str
) -> None:
    """All leases look old then. Who comes first must not take what its driver is about to renew."""
    async with opened(postgres_url, LIVELY) as driver, opened(postgres_url, LIVELY) as other, driver.driving("r"):
        await driver.append("r", [event(1)])
        await to_thread.run_sync(getattr(postgres_server, how))
        await anyio.sleep(LIVELY.lease_s + 0.2)
        await to_thread.run_sync(postgres_server.start)
        async with opened(postgres_url, LIVELY) as newcomer:
            for one in (newcomer, other):
                with pytest.raises(RunBusy):
                    async with one.driving("r"):
                        raise AssertionError("the driver was robbed")
                assert await one.is_driven("r")
        await driver.append("r", [event(2)])
        assert len(await driver.events("r")) == 2


@pytest.mark.long
async def test_a_server_that_froze_longer_than_the_lease_robs_nobody(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """It was not started anew: the one who wants to take over has seen the gap itself."""
    await wait_for_uptime(postgres_server, LIVELY.lease_s)
    assert postgres_server.process is not None
    timing = ClusterTiming(retry_s=None, heartbeat_s=0.1, lease_s=6.0)
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(opened(postgres_url, timing))
        other = await stack.enter_async_context(opened(postgres_url, timing))
        await stack.enter_async_context(driver.driving("r"))
        await stack.enter_async_context(other.driving("s"))
        backends = [pid for (pid,) in postgres_server.run("SELECT pid FROM pg_stat_activity")]
        for pid in (postgres_server.process.pid, *backends):
            _signal(pid, signal.SIGSTOP)
        await anyio.sleep(timing.lease_s + 0.3)
        for pid in (postgres_server.process.pid, *backends):
            _signal(pid, signal.SIGCONT)
        with pytest.raises(RunBusy):
            await stack.enter_async_context(other.driving("r"))
        await driver.append("r", [event(1)])


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


async def wait_for_uptime(server: PostgresServer, seconds: float) -> None:
    """Silence counts only while the server was up."""
    query = f"SELECT pg_sleep(greatest(0, {seconds + 0.1} - extract(epoch FROM now() - pg_postmaster_start_time())))"
    await to_thread.run_sync(server.run, query)


async def test_a_stale_fence_of_a_unit_writes_nothing_whoever_holds_it(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        old = await one.claim("r", A, "one")
        assert old is not None
        await one.begin("r", A, key("turn-1"), b"h", old)
        new = await other.claim("r", A, "other")
        assert new == old + 1
        for call in (
            lambda: one.finish("r", A, key("turn-1"), old, "late", [event(1)]),
            lambda: one.begin("r", A, key("turn-2"), b"h", old, [event(2)]),
            lambda: one.give_up("r", A, key("turn-1"), old),
            lambda: one.record("r", A, old, [event(3)]),
            lambda: one.park("r", A, old, [event(4)]),
            lambda: one.end("r", A, old, [event(5)]),
            lambda: one.record("r", Unit("never claimed"), 1, [event(6)]),
            lambda: one.record("no such run", A, 1, [event(7)]),
        ):
            with pytest.raises(Fenced):
                await call()
        assert await other.events("r") == []
        assert [step.in_flight for step in await other.steps("r")] == [True]
        assert [line.run for line in await other.runs()] == ["r"]
