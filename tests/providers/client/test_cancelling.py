"""Callers that are cancelled at any step of the event loop, by asyncio itself or by a scope."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from providers.client.manager import ProviderManager
from tests.providers.client.test_manager import ASK, Budgets, Net, manager_of, ok

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
    pytest.mark.parametrize("how", ["complete", "stream"]),
]
NEVER = 1000
PACES = {
    "the hedge answers": (NEVER, 3),
    "the first answers": (6, NEVER),
    "both do in one step": (6, 3),
    "nobody does": (NEVER, NEVER),
}
"""How many steps of the event loop the answers of the first and of its hedge take."""


class Steps(Net):
    """Answers come after so many steps of the event loop."""

    async def send(self, request, **limits):
        late, answer = self._next(request.url)
        for _ in range(late):
            await anyio.lowlevel.checkpoint()
        return answer


def manager(how: str, paces: tuple[int, int], hedge_after: float | None) -> tuple[Steps, ProviderManager]:
    said = ok("x") if how == "complete" else [b"one\n", b"two\n", b"END\n"]
    net = Steps({name: [(pace, said)] for name, pace in zip("ab", paces, strict=True)})
    return net, manager_of(net, hedge_after=hedge_after, strategy="chain")


async def ask(manager: ProviderManager, how: str, budgets: Budgets) -> str:
    if how == "complete":
        return (await manager.complete(ASK, budgets=budgets)).text
    async with manager.stream(ASK, budgets=budgets) as deltas:
        return "".join([delta.text async for delta in deltas])


async def cancelled(how: str, paces: tuple[int, int], hedge_after: float | None, steps: int, again: int | None) -> None:
    """Cancel a turn after so many steps, and `again` so many later; look at what is left behind."""
    (net, asked), budgets = manager(how, paces, hedge_after), Budgets()
    task = asyncio.ensure_future(ask(asked, how, budgets))
    await past(steps)
    was_over = task.done()
    task.cancel()
    if again is not None:
        await past(again)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or was_over, task
    nothing_is_left(net, asked, budgets)


async def past(steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)


def nothing_is_left(net: Net, asked: ProviderManager, budgets: Budgets) -> None:
    assert net.open_sockets == 0
    assert budgets.closed_once()
    assert all(state.in_flight == 0 and not state.waiting for state in asked.fleet.states.values())


@pytest.mark.parametrize("paces", PACES.values(), ids=PACES)
@pytest.mark.parametrize("hedge_after", [None, 0.0])
@pytest.mark.few(8)
async def test_by_asyncio_once_and_twice(how, paces, hedge_after):
    for steps in range(61):
        for again in (None, 0, 2):
            await cancelled(how, paces, hedge_after, steps, again)


@pytest.mark.long
@pytest.mark.parametrize("hedge_after", [None, 0.0])
async def test_by_asyncio_at_every_pair_of_steps(how, hedge_after):
    for first in (0, 3, NEVER):
        for second in (0, 3, 8):
            for steps in range(61):
                for again in range(6):
                    await cancelled(how, (first, second), hedge_after, steps, again)


@pytest.mark.few(4)
@pytest.mark.parametrize("paces", PACES.values(), ids=PACES)
@pytest.mark.parametrize("hedge_after", [None, 0.0])
async def test_by_a_scope(how, paces, hedge_after):
    for steps in range(61):
        (net, asked), budgets = manager(how, paces, hedge_after), Budgets()
        scope = anyio.CancelScope()

        async def within(scope=scope, asked=asked, budgets=budgets) -> None:
            with scope:
                await ask(asked, how, budgets)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(within)
            await past(steps)
            scope.cancel()
        nothing_is_left(net, asked, budgets)


async def within(seconds: float, asked: ProviderManager, how: str, budgets: Budgets) -> None:
    async with asyncio.timeout(seconds):
        await ask(asked, how, budgets)


@pytest.mark.parametrize("limited", ["wait_for", "timeout"])
async def test_a_time_limit_of_asyncio_is_told_as_one(how, limited):
    for seconds in (0.0, 0.001, 0.005):
        (net, asked), budgets = manager(how, (10**6, 10**6), 0.001), Budgets()
        asking = ask(asked, how, budgets) if limited == "wait_for" else within(seconds, asked, how, budgets)
        with pytest.raises(TimeoutError):
            await (asyncio.wait_for(asking, seconds) if limited == "wait_for" else asking)
        assert asyncio.current_task().cancelling() == 0
        nothing_is_left(net, asked, budgets)
