"""The Messages dialect against a real engine: llama.cpp serves it beside its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from providers.adapters.anthropic.encode import AnthropicMessages
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.catalog.quirks import Quirks
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, ContextTooLong
from providers.messages import (
    Capability,
    FinishReason,
    Request,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    assistant,
    system,
    tool,
    user,
)
from providers.policy.model import Policy, Timeouts
from providers.transport.sockets import SocketTransport
from tests.llama import Llama

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

ASK = Request((system("Be brief."), user("Hello 🛒, write something.")), max_output_tokens=24)
LOOK = ToolSpec("look", "Looks out of the window.")


@asynccontextmanager
async def asking(llama: Llama) -> AsyncIterator[ProviderManager]:
    row = Model(llama.model, 8192, 512, frozenset({Capability.TOOLS}), Price(0, 0))
    provider = Provider(
        "llama", "anthropic-messages", llama.base_url, "KEY", {row.name: row}, Quirks(json_mode="prompt")
    )
    policy = Policy({"worker": (f"llama/{row.name}",)}, timeouts=Timeouts(5.0, 30.0, 30.0, 60.0), last_resort=())
    async with SocketTransport() as transport:
        yield ProviderManager(
            [Candidate(provider, row, "none")],
            policy,
            adapters={"anthropic-messages": AnthropicMessages()},
            transport=transport,
            rng=Random(1),
        )


async def test_llama_answers(llama: Llama):
    async with asking(llama) as manager:
        answer = await manager.complete(ASK)

    assert answer.text
    assert answer.finish in (FinishReason.STOP, FinishReason.LENGTH)
    assert answer.usage.input + answer.usage.cache_read > 20
    assert 0 < answer.usage.output <= 24
    assert answer.cost == 0


async def test_llama_streams(llama: Llama):
    pieces: list[str] = []
    async with asking(llama) as manager, manager.stream(ASK) as deltas:
        async for delta in deltas:
            assert isinstance(delta, TextDelta)
            pieces.append(delta.text)

    assert len(pieces) > 1
    assert "".join(pieces) == deltas.response.text
    # Where its first token is part of a character, llama.cpp leaves `message_start` out, and the input's count with it.
    usage = deltas.response.usage
    assert 0 < usage.output <= 24 or (usage == Usage() and deltas.response.counted.output > 0)


async def test_llama_takes_a_whole_conversation(llama: Llama):
    messages = (
        *ASK.messages,
        assistant("I look out.", ToolCall("call:0", "look", "{}"), ToolCall("call:1", "look", "not JSON")),
        tool(ToolResult("call:0", "look", "It rains.")),
        user("And now?", name="Ada"),
        assistant("I think"),
    )
    async with asking(llama) as manager:
        answer = await manager.complete(Request(messages, tools=(LOOK,), tool_choice="none", max_output_tokens=8))

    assert answer.text
    assert answer.usage.input + answer.usage.cache_read > 40


async def test_llama_says_when_the_context_is_full(llama: Llama):
    async with asking(llama) as manager:
        with pytest.raises((ContextTooLong, AllAttemptsFailed)) as raised:
            await manager.complete(Request((user("x" * 20_000),), max_output_tokens=8))

    causes = raised.value.exceptions if isinstance(raised.value, AllAttemptsFailed) else (raised.value,)
    assert isinstance(causes[0], ContextTooLong)
