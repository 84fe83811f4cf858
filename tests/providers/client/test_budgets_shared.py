"""One budget of several processes: in a file that they share, and over sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from providers.adapters import HttpReply
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.errors import NoRoute
from providers.events import BudgetAlert
from providers.limits.ledger import Ledger
from providers.limits.ledger.postgres.ledger import PostgresLedger
from providers.limits.ledger.redis import RedisLedger
from providers.limits.ledger.sqlite import SqliteLedger
from providers.limits.rules import caps_of
from providers.messages import FinishReason, Request, Response, Usage, assistant, user
from providers.policy.model import DailyBudget, Policy
from tests import processes
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer

CAP, COST = 20_000, 120
KINDS = {"redis": RedisLedger, "postgresql": PostgresLedger}


class Net:
    async def send(self, request: Any, **limits: Any) -> HttpReply:
        await anyio.sleep(0.02)
        return HttpReply(200, {}, b"{}")


class Dialect:
    def encode(self, request: Any, candidate: Any, *, stream: bool) -> HttpReply:
        return HttpReply(200, {}, b"x")

    def decode(self, reply: Any, request: Any, candidate: Any, now: float) -> Response:
        return Response(assistant("hello"), FinishReason.STOP, Usage(20, output=10))


def work(address: str, told: str) -> None:
    """Be one process: make a hundred calls, and write how many were answered and refused, and which alerts came."""
    anyio.run(_work, address, told)


async def _work(address: str, told: str) -> None:
    model = Model("m", 10_000, 1_000, price=Price(1, 10))
    one = Candidate(Provider("a", "test", "a", None, {"m": model}), model, "k")
    policy = Policy({"worker": ("a/m",)}, last_resort=(), budget=DailyBudget(CAP))
    kind = KINDS.get(address.partition(":")[0])
    ledger = SqliteLedger(Path(address)) if kind is None else kind(address, timeout_s=PATIENCE_S)
    manager = ProviderManager([one], policy, adapters={"test": Dialect()}, transport=Net(), ledger=ledger)
    alerts, answered, refused = [], 0, 0

    def emit(event: Any) -> None:
        if isinstance(event, BudgetAlert):
            alerts.append(event.share)

    async def call() -> None:
        nonlocal answered, refused
        try:
            await manager.complete(Request((user("hi"),), max_output_tokens=50), emit=emit)
            answered += 1
        except NoRoute as error:
            refused += error.over_budget

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(call)
    await ledger.aclose()
    Path(told).write_text(json.dumps([answered, refused, alerts]))


late = pytest.mark.skipif(
    time.gmtime().tm_hour == 23 and time.gmtime().tm_min > 57, reason="the day is about to end: run it after midnight"
)


@pytest.mark.long
@late
def test_processes_that_share_a_file_do_not_pass_a_cap_and_tell_of_each_share_once(tmp_path: Path) -> None:
    path = tmp_path / "limits.sqlite3"
    check_cap(tmp_path, str(path), 3, lambda: SqliteLedger(path))


@late
def test_workers_on_one_redis_do_not_pass_a_cap(tmp_path: Path, redis_server: RedisServer) -> None:
    check_cap(tmp_path, redis_server.url, 4, lambda: RedisLedger(redis_server.url, timeout_s=PATIENCE_S))


@late
def test_workers_on_one_postgresql_do_not_pass_a_cap(tmp_path: Path, postgres_url: str) -> None:
    check_cap(tmp_path, postgres_url, 4, lambda: PostgresLedger(postgres_url, timeout_s=PATIENCE_S))


def check_cap(folder: Path, address: str, count: int, opened: Callable[[], Ledger]) -> None:
    """Hold that so many processes with a hundred calls each spend what a cap allows, to the last call, and not more."""
    files = [folder / f"{number}.json" for number in range(count)]
    workers = [processes.start(work, address, str(file)) for file in files]
    assert [processes.end(worker) for worker in workers] == [0] * count
    told = [json.loads(file.read_text()) for file in files]

    async def spent() -> float:
        ledger = opened()
        (used,) = await ledger.usage([cap.meter for cap in caps_of(DailyBudget(CAP))], time.time())
        await ledger.aclose()
        return used.used

    total = anyio.run(spent)
    answered = sum(each[0] for each in told)
    assert [each[0] + each[1] for each in told] == [100] * count
    assert total == answered * COST <= CAP
    assert total > CAP - 505, "no more is left than one call may cost"
    assert sorted(share for each in told for share in each[2]) == [0.5, 0.8, 1.0]
