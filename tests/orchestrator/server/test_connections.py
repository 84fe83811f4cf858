"""What a connection tells the requests that came over it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.server.connections import DISCONNECT, ClientDisconnect
from tests.orchestrator.server.served import listening
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_a_client_that_leaves_ends_what_is_done_for_it_and_what_would_begin() -> None:
    disconnect, before, spared, after = (
        ClientDisconnect(),
        anyio.CancelScope(),
        anyio.CancelScope(),
        anyio.CancelScope(),
    )
    disconnect.cancels(before)
    disconnect.cancels(spared)
    disconnect.forget(spared)
    disconnect.happened()
    disconnect.cancels(after)
    assert (before.cancel_called, spared.cancel_called, after.cancel_called) == (True, False, True)


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
async def test_a_request_hears_that_its_client_has_left(parser: str) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def app(scope: Any, _: Any, __: Any) -> None:
        with anyio.CancelScope() as work:
            scope["state"][DISCONNECT].cancels(work)
            begun.set()
            await anyio.sleep_forever()
        ended.set()

    async with listening(app, parser=parser) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        with anyio.fail_after(PATIENCE_S):
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                await begun.wait()
            await ended.wait()
