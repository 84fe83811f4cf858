"""Alerts that are posted to a webhook: live, to a server of this process, which may be of no use."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from providers.catalog.file import load_catalog
from providers.client.alerts import posting, request_of, signing_key
from providers.client.manager import open_manager
from providers.errors import CatalogError
from providers.events import AlertNotPosted, BudgetAlert
from providers.messages import Needs, Request, user
from providers.policy.model import DailyBudget
from providers.policy.parse import parse_policy
from providers.transport import open_transport
from tests.event_loops import VIRTUAL
from tests.loopback import Loopback

pytestmark = pytest.mark.anyio
SECRET = "T0K/s3cret-part"


class Hook:
    """A webhook. Its n-th answer is the n-th of `statuses`, later ones the last; 0 hangs until it is over."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Any]] = []
        self.statuses = [200]
        self.over = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = hook.statuses[min(len(hook.posted), len(hook.statuses) - 1)]
                hook.posted.append((self.path, json.loads(body)))
                if status == 0:
                    hook.over.wait(30)
                    return
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hooks/{SECRET}?for=us"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.over.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def ask_twice(hook: Hook, loopback: Loopback, url: str | None = None) -> tuple[list[Any], list[Any], float]:
    """Return what the turns told, what the process told, and how long each turn took at most."""
    price = {"input": 100, "output": 100}
    data = {
        "tiers": {"t": ["lab/m"]},
        "default": {"tier": "t"},
        "budget": {"max_cost_per_day": 1, "alert_at": ["0.1%"], "webhook_env": "HOOK"},
        "providers": {
            "lab": {
                "dialect": "openai-chat",
                "base_url": loopback.url("ok"),
                "models": {"m": {"context": 9000, "max_output": 100, "price": price}},
            }
        },
    }
    policy, catalog = parse_policy(data, load_catalog())
    told: list[Any] = []
    noticed: list[Any] = []
    longest = 0.0
    environ = {"HOOK": hook.url if url is None else url}
    async with open_manager(policy, catalog, environ, notify=noticed.append) as manager:
        for _ in range(2):
            began = time.monotonic()
            await manager.complete(Request((user("hi"),), needs=Needs(tier="t")), emit=told.append)
            longest = max(longest, time.monotonic() - began)
    return [each for each in told if isinstance(each, BudgetAlert)], noticed, longest


async def test_an_alert_is_posted_once_and_says_it_in_words_and_figures(hook: Hook, loopback: Loopback) -> None:
    alerts, noticed, _ = await ask_twice(hook, loopback)
    assert (alerts, noticed) == ([BudgetAlert("day", 0.001, 1900, 1_000_000)], [])
    ((path, document),) = hook.posted
    assert SECRET in path
    assert document.pop("at").startswith("20")
    assert document == {
        "type": "budget.alert",
        "schema_version": 1,
        "text": "The day's budget has reached 0.1%: $0.0019 of $1.00 spent",
        "which": "day",
        "share": 0.001,
        "spent_usd": 0.0019,
        "cap_usd": 1.0,
    }


async def test_a_webhook_that_fails_is_tried_again_then_one_notice_without_its_address(
    hook: Hook, loopback: Loopback
) -> None:
    hook.statuses = [500]
    alerts, noticed, _ = await ask_twice(hook, loopback)
    assert len(alerts) == 1
    assert len(hook.posted) == 3
    assert hook.posted[0] == hook.posted[2]
    assert noticed == [AlertNotPosted("HOOK", "day", "HTTP 500")]
    hook.posted.clear()
    hook.statuses = [500, 200]
    assert (await ask_twice(hook, loopback))[1] == []


@pytest.mark.long  # it waits as long as a hook may take
async def test_a_webhook_that_hangs_delays_no_turn_and_ends_with_the_process(hook: Hook, loopback: Loopback) -> None:
    hook.statuses = [0]
    began = time.monotonic()
    alerts, noticed, longest = await ask_twice(hook, loopback)
    assert len(alerts) == 1
    assert longest < 2.5, "less than one try at the webhook takes"
    assert time.monotonic() - began < 15
    assert [each.variable for each in noticed] == ["HOOK"]


async def test_nobody_listens_there(hook: Hook, loopback: Loopback) -> None:
    _, noticed, _ = await ask_twice(hook, loopback, f"http://127.0.0.1:1/{SECRET}")
    assert noticed == [AlertNotPosted("HOOK", "day", "Unreachable")]


async def test_a_variable_that_is_not_set_is_told_with_the_first_alert(hook: Hook, loopback: Loopback) -> None:
    _, noticed, _ = await ask_twice(hook, loopback, " ")
    assert noticed == [AlertNotPosted("HOOK", "day", "it is not set")]


@pytest.mark.parametrize("url", [f"ftp://x/{SECRET}", f"hooks/{SECRET}", f"http:///{SECRET}", f"https://x/é{SECRET}"])
async def test_what_is_no_address_is_found_at_once_and_not_repeated(url: str) -> None:
    with pytest.raises(CatalogError, match=r"HOOK: error\[bad-variable\]: the value is not a URL") as caught:
        async with posting(DailyBudget(1, webhook_env="HOOK"), {"HOOK": url}, None):
            pass
    assert "s3cret" not in str(caught.value)


async def test_what_is_raised_beside_it_comes_out_as_it_was(hook: Hook) -> None:
    async with open_transport() as transport:
        with pytest.raises(KeyError, match="own"):
            async with posting(DailyBudget(1, webhook_env="HOOK"), {"HOOK": hook.url}, transport):
                raise KeyError("own")
        with anyio.move_on_after(0.05) as scope:
            async with posting(DailyBudget(1, webhook_env="HOOK"), {"HOOK": hook.url}, transport):
                await anyio.sleep_forever()
        assert scope.cancelled_caught


async def test_a_turn_that_outlives_its_manager_does_not_fail_by_its_alert(hook: Hook) -> None:
    noticed: list[Any] = []
    async with open_transport() as transport:
        async with posting(DailyBudget(1, webhook_env="HOOK"), {"HOOK": hook.url}, transport, noticed.append) as take:
            pass
        take(BudgetAlert("day", 1.0, 1, 1))
    assert [each.which for each in noticed] == ["day"]


@pytest.mark.parametrize("secret", ["plain words", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_an_alert_is_signed_as_standard_webhooks_are(secret: str) -> None:
    key = signing_key(DailyBudget(1, webhook_secret_env="SECRET"), {"SECRET": f"{secret}\n"})
    request = request_of("https://x", BudgetAlert("day", 0.5, 1, 2), 1_700_000_000.9, key)
    ident, at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert at == "1700000000"
    decoded = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = hmac.new(decoded, f"{ident}.{at}.".encode() + request.body, "sha256").digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
    assert request_of("https://x", BudgetAlert("day", 0.5, 1, 2), 1_700_000_000.9, None).headers == {
        "content-type": "application/json",
        "webhook-id": ident,
        "webhook-timestamp": at,
    }


@pytest.mark.parametrize("given", [{}, {"SECRET": " "}, {"SECRET": "whsec_s3cret!"}, {"SECRET": "whsec_"}])
def test_a_secret_that_cannot_sign_is_found_before_anything_is_spent(given: dict[str, str]) -> None:
    with pytest.raises(CatalogError, match="SECRET") as caught:
        signing_key(DailyBudget(1, webhook_secret_env="SECRET"), given)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)
async def test_a_process_that_is_cancelled_waits_for_no_webhook() -> None:
    never_asked: Any = object()
    began = anyio.current_time()
    with anyio.move_on_after(1.0):
        async with posting(DailyBudget(1, webhook_env="HOOK"), {"HOOK": "http://127.0.0.1:1"}, never_asked):
            await anyio.sleep_forever()
    assert anyio.current_time() - began == pytest.approx(1.0)
