"""Budget alerts to a webhook: a small JSON document, posted in the background to an address of the operator's.

The address may be a secret (many chat services' are). It comes from the environment alone, and is written to no log; so
does the secret by which alerts are signed, as Standard Webhooks has it, where one is named.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import anyio

from providers.adapters import HttpRequest
from providers.budgets import BudgetRef
from providers.documents.problems import variable_problem
from providers.emit import Emit, ignore
from providers.errors import CatalogError, ProviderError
from providers.events import AlertNotPosted, BudgetAlert
from providers.limits.rules import dollars
from providers.policy.model import DailyBudget
from providers.transport import Transport

PATIENCE_S = 3.0
"""For one try, from the connection to the reply."""
PAUSES_S = (0.5, 1.5)
"""Before the second try, and before the last."""
ENCODED = "whsec_"
CLOSE_S = 5.0
"""How long what is not posted yet may hold up the end of a process."""


@asynccontextmanager
async def posting(
    budget: DailyBudget, environ: Mapping[str, str], transport: Transport | None, notify: Emit = ignore
) -> AsyncIterator[Emit]:
    """Yield a function that takes alerts; they are posted while the block lasts. A failure there is not raised here.

    `notify` is called for an alert that was not posted. Raises `CatalogError` for an address that can be none.
    """
    url, variable = _address(budget, environ), budget.webhook_env or ""
    if url is None or transport is None:
        yield ignore if not variable else lambda alert: notify(AlertNotPosted(variable, alert.which, "it is not set"))
        return
    key = signing_key(budget, environ)
    send, receive = anyio.create_memory_object_stream[tuple[BudgetAlert, float]](math.inf)
    pending: list[BudgetAlert] = []
    over = anyio.Event()

    def take(alert: BudgetAlert) -> None:
        pending.append(alert)
        try:
            send.send_nowait((alert, time.time()))
        except anyio.ClosedResourceError:  # of a turn that outlives its manager
            lost("the process ended before it could be")

    def lost(reason: str) -> None:
        notify(AlertNotPosted(variable, pending.pop(0).which, reason))

    async def work() -> None:
        try:
            with receive:
                async for alert, at in receive:
                    failure = await _post_until_taken(request_of(url, alert, at, key), transport)
                    if failure is None:
                        pending.pop(0)
                    else:
                        lost(failure)
        finally:  # a cancelled block posts nothing more, so nothing is waited for
            over.set()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            try:
                yield take
            finally:
                send.close()
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await over.wait()
                tasks.cancel_scope.cancel()
                while pending:
                    lost("the process ended before it could be")
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None  # as it was raised in the block


def _address(budget: DailyBudget, environ: Mapping[str, str]) -> str | None:
    if budget.webhook_env is None:
        return None
    url = environ.get(budget.webhook_env, "").strip()
    if not url:
        return None
    if not url.isascii() or not url.isprintable() or " " in url or not _is_http(url):
        message = "the value is not a URL that begins with http:// or https://"
        raise CatalogError([variable_problem(budget.webhook_env, message)])
    return url


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def signing_key(budget: DailyBudget, environ: Mapping[str, str]) -> bytes | None:
    """Return the key by which alerts are signed. One that begins with `whsec_` is in base64, any other is as it is."""
    if budget.webhook_secret_env is None:
        return None
    secret = environ.get(budget.webhook_secret_env, "").strip()
    if not secret:  # an alert that is not signed as is asked for would be taken for a forged one
        raise CatalogError([variable_problem(budget.webhook_secret_env, "it is not set, and alerts are signed by it")])
    if not secret.startswith(ENCODED):
        return secret.encode("utf-8", "surrogateescape")
    try:
        key = base64.b64decode(secret.removeprefix(ENCODED), validate=True)
    except binascii.Error:
        message = f"what follows {ENCODED} is not base64"
        raise CatalogError([variable_problem(budget.webhook_secret_env, message)]) from None
    if not key:  # everybody could sign by it
        raise CatalogError([variable_problem(budget.webhook_secret_env, f"nothing follows {ENCODED}")])
    return key


def request_of(url: str, alert: BudgetAlert, at: float, key: bytes | None) -> HttpRequest:
    """Return the request that tells of an alert: the same for each try, so a receiver can tell one that comes twice."""
    body = json.dumps(document(alert, at)).encode()
    ident = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
    headers = {"content-type": "application/json", "webhook-id": ident, "webhook-timestamp": str(int(at))}
    if key is not None:
        signed = hmac.new(key, f"{ident}.{int(at)}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return HttpRequest("POST", url, headers, body)


async def _post_until_taken(request: HttpRequest, transport: Transport) -> str | None:
    """Return why the last of three tries did not go well, None where one did."""
    failure = await _post(request, transport)
    for pause in PAUSES_S:
        if failure is None:
            return None
        await anyio.sleep(pause)
        failure = await _post(request, transport)
    return failure


async def _post(request: HttpRequest, transport: Transport) -> str | None:
    """Return why the request failed, in words that hold nothing of its address; None: it did not."""
    try:
        with anyio.fail_after(PATIENCE_S):
            reply = await transport.send(
                request, connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, idle_s=PATIENCE_S, total_s=PATIENCE_S
            )
    except (ProviderError, TimeoutError) as error:
        return type(error).__name__
    return None if 200 <= reply.status < 300 else f"HTTP {reply.status}"


def document(alert: BudgetAlert, at: float) -> dict[str, Any]:
    """Return what is posted. `text` is for services that show a message; `at` is epoch seconds UTC."""
    name = BudgetRef.read(alert.which).name
    of = "The day's budget" + (f" for {name}" if name else "")
    share = "is used up" if alert.share == 1 else f"has reached {alert.share * 100:g}%"
    return {
        "type": "budget.alert",
        "schema_version": 1,
        "text": f"{of} {share}: {dollars(alert.spent)} of {dollars(alert.cap)} spent",
        "which": alert.which,
        "share": alert.share,
        "spent_usd": alert.spent / 1e6,
        "cap_usd": alert.cap / 1e6,
        "at": f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
