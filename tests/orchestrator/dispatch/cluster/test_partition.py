"""A worker that is cut off from the database, while the others are not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from orchestrator.dispatch.cluster.settings import EXIT_FENCED
from tests.orchestrator.dispatch.cluster.workers import Workers, eventually, unit_job, workers
from tests.postgres import PostgresServer

__all__ = ["workers"]

pytestmark = pytest.mark.anyio


class Wire:
    """Hands bytes on between one worker and the database, or not."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self._open = anyio.Event()
        self._open.set()
        self._is_refusing = False
        self._streams = set[SocketStream]()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[None]:
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            tasks.start_soon(listener.serve, self._carry)
            yield
            tasks.cancel_scope.cancel()

    async def cut(self, *, silently: bool) -> None:
        """Let nothing through: `silently`, or with all connections broken."""
        self._open = anyio.Event()
        if not silently:
            self._is_refusing = True
            for stream in list(self._streams):
                with suppress(OSError, anyio.BrokenResourceError):
                    await stream.aclose()

    def heal(self) -> None:
        self._is_refusing = False
        self._open.set()

    async def _carry(self, client: SocketStream) -> None:
        if self._is_refusing:
            await client.aclose()
            return
        await self._open.wait()
        with suppress(OSError):
            async with client, await anyio.connect_tcp("127.0.0.1", self._to) as server:
                self._streams |= {client, server}
                async with anyio.create_task_group() as both:
                    both.start_soon(self._pump, client, server, both.cancel_scope)
                    both.start_soon(self._pump, server, client, both.cancel_scope)

    async def _pump(self, source: SocketStream, sink: SocketStream, scope: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                data = await source.receive()
                await self._open.wait()
                await sink.send(data)
        scope.cancel()


@pytest.mark.long
@pytest.mark.parametrize("silently", [False, True])
async def test_a_worker_that_is_cut_off_loses_its_jobs_and_says_no_more_about_them(
    jobs: Any, workers: Workers, postgres_server: PostgresServer, silently: bool
) -> None:
    workers.is_supervised = False
    wire = Wire(postgres_server.port)
    async with wire.laid():
        # Its processes are the fixture's too, which ends them.
        far = replace(workers, url=workers.url.replace(f":{postgres_server.port}/", f":{wire.port}/"))
        cut_off = far.start()
        await jobs.submit([unit_job("long", 8), unit_job("short", 1)])
        await workers.until(lambda: len(workers.tasks("begin")) == 2)
        await wire.cut(silently=silently)
        at = time.monotonic()
        near = workers.start()
        await workers.until(lambda: [one for one in workers.said() if one.pid == near and one.task == "long"])
        assert cut_off in far.processes
        assert far.processes[cut_off].poll() is None, "it waits for the database"
        wire.heal()
        await workers.until(lambda: far.processes[cut_off].poll() is not None)
        assert far.exit_code(cut_off) == EXIT_FENCED
        assert {job.unit.task for job in await jobs.live("r") if job.unit} >= {"long"}, "its other worker still has it"

        async def is_done() -> bool:
            return not await jobs.live("r")

        await eventually(is_done)
    assert workers.overlaps({cut_off: at}) == []
    assert [one.task for one in workers.said() if one.pid == near and one.what == "end"].count("long") == 1
