"""A breaker that opens at one worker is open at the others that share its ledger, and closes for all of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest

from providers.adapters import HttpReply
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.client.shared_breakers import FRESH_S, LOOK_S
from providers.limits.ledger import Ledger
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.postgres.ledger import PostgresLedger
from providers.limits.ledger.redis import RedisLedger
from providers.messages import FinishReason, Request, Response, Usage, assistant, user
from providers.policy.model import Policy
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
HI = Request((user("hi"),), max_output_tokens=50)


class Dialect:
    def encode(self, request, candidate, *, stream):
        return HttpReply(200, {}, candidate.model.name.encode())

    def decode(self, reply, request, candidate, now):
        return Response(assistant("hello"), FinishReason.STOP, Usage(20, output=10))


class Worker:
    """A worker that may ask `first`, and else `second`; its clock stands still, and may be wrong by minutes."""

    def __init__(self, ledger: Ledger, wrong_s: float) -> None:
        self.now, self.asked = time.time() + wrong_s, list[str]()
        model = [Model(name, 10_000, 1_000, price=Price(1, 10)) for name in ("first", "second")]
        rows = [Provider(each.name, "test", each.name, None, {each.name: each}) for each in model]
        both = [Candidate(row, each, "k") for row, each in zip(rows, model, strict=True)]
        policy = Policy({"worker": ("first/first", "second/second")}, last_resort=())
        self.manager = ProviderManager(
            both,
            policy,
            adapters={"test": Dialect()},
            transport=self,
            ledger=ledger,
            clock=lambda: self.now,
        )

    async def send(self, request, **limits):
        self.asked.append(request.body.decode())
        return HttpReply(200, {}, b"{}")

    async def ask(self) -> str:
        """Ask something after a while, and return who answered."""
        self.now += LOOK_S
        await self.manager.complete(HI)
        return self.asked[-1]

    def lose_first(self) -> None:
        """Find out that nobody answers at the address of the first."""
        state = self.manager.fleet.states["first/first"]
        self.manager.fleet.checked(state.candidate.provider, well=False, now=self.now)

    @property
    def breaker(self) -> str:
        return self.manager.fleet.states["first/first"].breaker.state(self.now)


@pytest.fixture(params=["redis", "postgres"])
async def workers(request) -> AsyncIterator[Callable]:
    if request.param == "redis":
        url, prefix = request.getfixturevalue("shared_redis").url, f"{{{uuid4().hex}}}:"
        kind = partial(RedisLedger, url, prefix=prefix, timeout_s=PATIENCE_S)
    else:
        kind = partial(PostgresLedger, request.getfixturevalue("postgres_url"), timeout_s=PATIENCE_S)
    async with opened(kind) as made:
        yield made


@asynccontextmanager
async def opened(kind) -> AsyncIterator[Callable]:
    ledgers = []

    def make(wrong_s: float = 0.0) -> Worker:
        ledgers.append(kind())
        return Worker(ledgers[-1], wrong_s)

    try:
        yield make
    finally:
        for ledger in ledgers:
            await ledger.aclose()


async def test_what_one_finds_down_the_others_do_not_ask_whatever_their_clocks_say(workers):
    one, fast, slow = workers(), workers(300.0), workers(-300.0)
    one.lose_first()
    assert await one.ask() == "second"
    for other in (fast, slow):
        assert await other.ask() == "second"
        assert other.breaker == "open"
        assert other.asked == ["second"]
        # Its rest is as long as the first one's, by its own clock.
        ends = other.manager.fleet.states["first/first"].breaker.open_until - other.now
        assert ends == pytest.approx(30.0, abs=5.0)


async def test_who_was_answered_a_moment_ago_goes_by_what_it_sees(workers):
    one, other = workers(), workers()
    assert await other.ask() == "first"
    one.lose_first()
    await one.ask()
    assert [await other.ask() for _ in range(3)] == ["first"] * 3
    other.now += FRESH_S  # it has seen nothing for a while
    assert await other.ask() == "second"


async def test_an_answer_closes_it_for_all(workers):
    one, other = workers(), workers()
    one.lose_first()
    await one.ask()
    assert await other.ask() == "second"
    other.now += 40.0
    assert await other.ask() == "first", "its rest is over: a probe"
    assert other.breaker == "recovering"
    await other.ask()  # which tells
    third = workers()
    assert await third.ask() == "first"
    assert one.breaker == "open", "its own it has found out itself, and it finds out itself when that is over"


async def test_a_process_alone_asks_its_ledger_nothing_about_breakers():
    class Asked(MemoryLedger):
        async def usage(self, meters, now):
            raise AssertionError("it asked")

    worker = Worker(Asked(), 0.0)
    worker.lose_first()
    assert await worker.ask() == "second"
