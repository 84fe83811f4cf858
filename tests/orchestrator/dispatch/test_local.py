"""The dispatcher's contract, on the local one."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.dispatch.local import LocalDispatcher
from orchestrator.units import Unit
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


async def settle_nothing(ended: object) -> None:
    raise AssertionError("no other process works")


async def test_every_unit_runs_once_and_no_more_than_the_queue_allows_at_a_time() -> None:
    dispatcher, ran, at_work, most = LocalDispatcher(), [], 0, 0
    all_ran = anyio.Event()

    async def handle(unit: Unit) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await anyio.lowlevel.checkpoint()
        at_work -= 1
        ran.append(unit.task)
        if len(ran) == 50:
            all_ran.set()

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.serve, handle, settle_nothing, list, 4)
            for number in range(50):
                await dispatcher.submit([Unit(f"t{number}")], list)
                await dispatcher.submit([Unit(f"t{number}")], list)  # idempotent
            await all_ran.wait()
            tasks.cancel_scope.cancel()
    assert sorted(ran) == sorted(f"t{number}" for number in range(50))
    assert most == 4


async def test_a_unit_submitted_while_all_workers_wait_gets_a_worker() -> None:
    dispatcher, second_ran = LocalDispatcher(), anyio.Event()

    async def handle(unit: Unit) -> None:
        if unit.task == "first":
            await second_ran.wait()
        else:
            second_ran.set()

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.serve, handle, settle_nothing, list, 2)
            await dispatcher.submit([Unit("first")], list)
            await anyio.wait_all_tasks_blocked()
            await dispatcher.submit([Unit("second")], list)
            await second_ran.wait()
            tasks.cancel_scope.cancel()
