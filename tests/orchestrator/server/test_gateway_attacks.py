"""What keys allow, under attack: clients that leave, keys that are revoked meanwhile, servers that are killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from orchestrator.server.gateway.allowance import meters_of
from orchestrator.server.gateway.keys import ClientKeys, KeyBudget
from orchestrator.squad.load import Squad
from providers.catalog.model import Model, Price
from providers.limits.counter import Used
from providers.messages import Capability
from tests.loopback import Loopback
from tests.orchestrator.server.priced import NOON, Answers, priced
from tests.orchestrator.server.served import Served, asking_at, listening, served
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.long]
CHAT = "/v1/chat/completions"
ASK: Any = {"model": "tier/worker", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}
ROW = Model("m", context=8192, max_output=512, capabilities=frozenset({Capability.TOOLS}), price=Price(1000, 1000))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's


@asynccontextmanager
async def at_work(
    folder: Path, *modes: str, row: Model = ROW, **allowed: Any
) -> AsyncIterator[tuple[Served, str, str]]:
    """Serve a provider whose tokens cost 0.001 USD; yield the server, its address and a key."""
    keys = ClientKeys(folder)
    key = keys.make("one", NOON, **allowed)
    async with (
        asking_at(*modes, row=ROW) as manager,
        served(manager, folder, keys) as server,
        listening(server.app) as address,
    ):
        yield server, address, key


async def used(server: Served) -> list[Used]:
    """Return what is counted of the first key's rates and budgets."""
    assert server.state.keys is not None
    meters = meters_of(server.state.keys.all()[0], "UTC")
    ledger, wall = server.state.manager.reservations.ledger, server.state.manager.reservations.wall
    return await ledger.usage([*meters.rates, *meters.budgets], wall())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_pays_for_what_may_be_billed_and_no_more(
    stream: bool, loopback: Loopback, tmp_path: Path
) -> None:
    allowed = {"rpm": 10, "tpm": 5000, "at_once": 1, "budgets": (KeyBudget(1, "day"),)}
    async with at_work(tmp_path, loopback.url("stall", "ok"), **allowed) as (server, address, key):
        headers = {"authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=PATIENCE_S) as http:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(http.post, CHAT, json={**ASK, "stream": stream}))
                await anyio.to_thread.run_sync(loopback.wait_for, 1)
                held = (await used(server))[-1]
                assert held.held > 100_000
                assert (await http.post(CHAT, json=ASK)).status_code == 429  # one at once
                tasks.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(loopback.requests[0].left.wait, PATIENCE_S)
            with anyio.fail_after(PATIENCE_S):
                while (now := await used(server))[-1].held:  # noqa: ASYNC110  # the server has no event for it
                    await anyio.sleep(0.01)
            requests, tokens, spent = now
            assert requests.used == 1
            assert 0 < spent.used <= held.held
            assert tokens.used == spent.used / 1000  # a token costs a thousandth of a USD, which is 1000 micro-USD
            assert (await http.post(CHAT, json=ASK)).status_code == 200


async def test_a_key_that_is_revoked_during_a_stream_opens_nothing_more(loopback: Loopback, tmp_path: Path) -> None:
    async with at_work(tmp_path, loopback.url("slow=0.2", "ok"), budgets=(KeyBudget(1, "day"),)) as (
        server,
        address,
        key,
    ):
        headers = {"authorization": f"Bearer {key}"}
        async with (
            httpx2.AsyncClient(base_url=address, headers=headers, timeout=PATIENCE_S) as http,
            http.stream("POST", CHAT, json={**ASK, "stream": True}) as answer,
        ):
            before = await used(server)
            assert ClientKeys(tmp_path).revoke("one")
            assert (await http.post(CHAT, json=ASK)).status_code == 401
            told = (await answer.aread()).decode()
        assert told.rstrip().endswith("data: [DONE]")
        ledger, wall = server.state.manager.reservations.ledger, server.state.manager.reservations.wall
        [spent] = await ledger.usage([before[-1].meter], wall())
        assert (spent.held, spent.used) == (0, 19_000)


@pytest.mark.parametrize(
    ("path", "more", "limit"),
    [
        (CHAT, {}, "x-ratelimit-limit-requests"),
        ("/v1/messages", {}, "anthropic-ratelimit-requests-limit"),
        ("/v1/responses", {"input": "Hi"}, "x-ratelimit-limit-requests"),
    ],
)
async def test_a_stream_says_who_answers_before_its_first_word(
    path: str, more: Any, limit: str, loopback: Loopback, tmp_path: Path
) -> None:
    async with at_work(tmp_path, loopback.url("503"), loopback.url("ok"), rpm=5) as (_, address, key):
        told = {}
        async with (
            httpx2.AsyncClient(base_url=address, headers={"authorization": f"Bearer {key}"}) as http,
            http.stream("POST", path, json={**ASK, **more, "stream": True}, timeout=PATIENCE_S) as answer,
        ):
            told = dict(answer.headers)
            await answer.aread()
    assert (told["x-orchestrator-provider"], told["x-orchestrator-model"]) == ("p1", "m")
    assert told["x-orchestrator-attempts"] == "2"
    assert "x-orchestrator-cost-usd" not in told
    assert told[limit] == "5"


async def test_a_model_without_a_price_is_not_asked_under_a_budget(tmp_path: Path) -> None:
    keys, answers = ClientKeys(tmp_path), Answers()
    capped, other = keys.make("capped", NOON, budgets=(KeyBudget(0.2, "day"),)), keys.make("other", NOON)
    prices = {"unknown": None, "free": Price(0, 0), "dear": Price(1000, 1000)}
    async with served(priced(answers, prices, order=("local/unknown", "local/dear")), tmp_path, keys) as server:

        async def ask(key: str, model: str) -> httpx2.Response:
            headers = {"authorization": f"Bearer {key}"}
            return await server.http.post(CHAT, json={**ASK, "model": model}, headers=headers)

        assert (await ask(capped, "tier/worker")).headers["x-orchestrator-model"] == "dear"
        assert (await ask(other, "tier/worker")).headers["x-orchestrator-model"] == "unknown"
        refused = await ask(capped, "unknown")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "price_unknown")
        for _ in range(8):
            last = await ask(capped, "tier/worker")
        assert (last.status_code, last.json()["error"]["code"]) == (429, "insufficient_quota")
        assert (await ask(capped, "free")).status_code == 200  # what costs nothing is no spending


async def test_a_squad_is_paid_by_the_key_that_asks_for_it(loopback: Loopback, tmp_path: Path) -> None:
    text = "name: notes\nagents: {ann: {persona: analyst}}\ntasks:\n  draft: {agent: ann, description: Write.}\n"
    squads = [Squad.from_text(text, "notes.yaml")]
    keys = ClientKeys(tmp_path)
    key = keys.make("one", NOON, budgets=(KeyBudget(20, "day"),))
    asked = {"model": "squad/notes", "messages": [{"role": "user", "content": "go"}]}
    async with (
        asking_at(loopback.url("ok"), row=ROW) as manager,
        served(manager, tmp_path, keys, squads) as server,
    ):
        headers = {"authorization": f"Bearer {key}"}
        for number in range(1, 4):
            answer = await server.http.post(CHAT, json=asked, headers=headers)
            assert answer.status_code == 200, answer.text
            [spent] = await used(server)
            assert (spent.held, spent.used) == (0, 19_000 * number)
        assert answer.headers["x-orchestrator-cost-usd"] == "0.019000"


@pytest.mark.parametrize("mode", ["stall", "hang"])
@pytest.mark.parametrize(("path", "stream"), [(CHAT, False), (CHAT, True), ("/v1/messages", True)])
async def test_a_server_that_stops_tells_the_clients_that_it_leaves(
    path: str, stream: bool, mode: str, loopback: Loopback, tmp_path: Path
) -> None:
    async with asking_at(loopback.url(mode), row=ROW) as manager, served(manager, tmp_path) as server:
        heard, begun = bytearray(), anyio.Event()
        body = json.dumps({**ASK, "stream": stream}).encode()
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [(b"host", b"test")]}
        came: list[Any] = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            if not came:
                await anyio.sleep_forever()
            return came.pop()

        async def send(message: Any) -> None:
            heard.extend(message.get("body", str(message).encode()))
            if b'"assistant"' in heard:
                begun.set()

        asked = asyncio.create_task(server.app(scope, receive, send))
        await anyio.to_thread.run_sync(loopback.wait_for, 1)
        if stream and mode == "stall":
            await begun.wait()
        server.app.stop()
        asked.cancel()  # as uvicorn does once its grace is over
        with anyio.fail_after(PATIENCE_S):
            await asked
    said = heard.decode()
    assert "the server stops" in said
    assert '"error":{' in said
    assert ("'status': 503" in said) is not begun.is_set()
    assert "[DONE]" not in said
