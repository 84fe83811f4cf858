"""A history that a real engine refuses for its length: llama.cpp counts a byte as a token here, we three bytes."""

from __future__ import annotations

import pytest

from agents import Agent, RunContext
from agents.events import HistoryFitted, HistorySummarised
from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
from providers.events import AttemptEnded
from providers.messages import assistant, user
from providers.policy.parse import parse_policy
from tests.e2e.test_real_engine import ROUTING
from tests.e2e.test_streaming_engine import SHAPE
from tests.llama import CONTEXT, Llama

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.anyio]


async def test_what_the_server_refuses_is_asked_for_with_less(llama: Llama):
    spoken = ((user(f"Question {n}? " + "words " * 40), assistant(f"It is {n}.")) for n in range(40))
    past = tuple(message for exchange in spoken for message in exchange)
    assert sum(len(message.text) for message in past) > CONTEXT
    events: list[object] = []
    policy, catalog = parse_policy(ROUTING, load_catalog())
    async with open_manager(policy, catalog, {"LOCAL_BASE_URL": llama.base_url}) as manager:
        agent = Agent("ann", manager=manager, instructions="Say words.", tier="worker", max_output_tokens=300)
        result = await agent.work("Now?", RunContext(emit=events.append), output_schema=SHAPE, history=past)
    assert result.output["words"]
    ended = [event.error for event in events if isinstance(event, AttemptEnded)]
    assert ended == ["ContextTooLong", None]
    [fitted] = [event for event in events if isinstance(event, HistoryFitted)]
    assert fitted.left_out > 10
    assert not [event for event in events if isinstance(event, HistorySummarised)]
