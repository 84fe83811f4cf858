"""`ORCHESTRATOR_DEBUG`: what goes to a provider and comes back is shown, and no key is."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.ui.notices import telling
from providers import Request, load_catalog, open_manager, parse_policy, user
from providers.trace_context import CallScope, calls_of
from tests.loopback import Loopback

pytestmark = [pytest.mark.anyio, pytest.mark.long]
KEY = "sk-canary-4f9a7c1e5b2d8f60"
MODELS = {"m": {"context": 8192, "max_output": 512}}


def routing(**addresses: str) -> dict[str, Any]:
    rows = {
        name: {"dialect": "openai-chat", "base_url": url, "api_key_env": "LAB_KEY", "models": MODELS}
        for name, url in addresses.items()
    }
    return {"tiers": {"worker": ["lab/m", "other/m"]}, "last_resort": [], "providers": rows}


async def asked(loopback: Loopback, named: str, mode: str, *, streamed: bool) -> tuple[list[str], list[str]]:
    """Return what was said, and what was shown."""
    policy, catalog = parse_policy(routing(lab=loopback.url(mode), other=loopback.url("ok")), load_catalog())
    said, shown = list[str](), list[str]()
    environ = {"LAB_KEY": KEY, "ORCHESTRATOR_DEBUG": named}
    request = Request((user(f"My key is {KEY}. \x1b[31m"),))
    notify: Any = telling(said.append, shown.append)
    async with open_manager(policy, catalog, environ, notify=notify) as manager:
        with calls_of(CallScope("run-1", "draft/try-1", 2)):
            if streamed:
                async with manager.stream(request) as deltas:
                    async for _ in deltas:
                        pass
            else:
                await manager.complete(request)
    return said, shown


@pytest.mark.parametrize("streamed", [False, True])
async def test_each_exchange_is_shown_with_what_it_was_for_and_without_keys(loopback: Loopback, streamed: bool) -> None:
    said, (first, *more) = await asked(loopback, "LAB, nobody", "500", streamed=streamed)
    assert said == more == [], "the other provider is not asked for"
    lines = first.splitlines()
    assert lines[0] == "[lab] run-1 draft/try-1 turn 2"
    assert lines[1].startswith("> POST http://127.0.0.1:")
    assert "> authorization: ***" in lines
    assert "My key is ***." in first
    assert any(line.startswith("< 500 after ") for line in lines)
    assert KEY not in first
    assert "\x1b" not in first


async def test_a_stream_is_shown_whole_and_nothing_where_nobody_asks(loopback: Loopback) -> None:
    _, (shown,) = await asked(loopback, "all", "ok", streamed=True)
    assert "data: " in shown
    assert "[DONE]" in shown
    assert await asked(loopback, "", "ok", streamed=True) == ([], [])
