"""What nobody takes whole goes without its older middle: of every transcript, whatever its characters."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import Agent, History, RunContext
from agents.context import count_tokens, fit, without_middle
from agents.events import HistoryFitted
from agents.fitting import TRIES, fit_request
from agents.tools import tool
from providers.catalog.model import Candidate, Model, Provider
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, ContextTooLong, NoRoute
from providers.messages import (
    Capability,
    Request,
    ToolCall,
    ToolResult,
    assistant,
    estimate_tokens,
    system,
    user,
)
from providers.messages import tool as tool_message
from providers.policy.model import Policy
from providers.stub.scripted import Scripted

pytestmark = pytest.mark.anyio
PAST = tuple(said for n in range(40) for said in (user(f"Question {n}? " + "word " * 60), assistant(f"Answer {n}.")))


UNCOMPACTED = History(compact_at="off")


def agent_of(script: Scripted, *contexts: int, **more) -> Agent:
    """Return an agent whose tier has models of these contexts, the first choice first."""
    models = [Model("m", context, 1000, frozenset(Capability) - {Capability.PREFILL}) for context in contexts]
    known = [
        Candidate(Provider(name, "local", "", None, {"m": model}), model)
        for name, model in zip("abc", models, strict=False)
    ]
    policy = Policy({"worker": tuple(one.name for one in known)}, last_resort=())
    manager = ProviderManager(known, policy, adapters={"local": script}, rng=Random(1))
    return Agent(
        **{"name": "ann", "tier": "worker", "manager": manager, "instructions": "Help.", "history": UNCOMPACTED} | more
    )


async def test_a_conversation_that_no_model_takes_goes_without_its_older_middle():
    script, events = Scripted(["Done."]), []
    result = await agent_of(script, 1000, 2000).work("And now?", RunContext(emit=events.append), history=PAST)
    assert result.text == "Done."
    [sent] = script.requests
    assert result.provider == "b"  # the largest
    assert sent.input_tokens <= 2000 - 250
    assert sent.messages[:2] == (system("Help."), PAST[0])
    assert "earlier messages were left out" in sent.messages[2].text
    assert sent.messages[-2:] == (PAST[-1], user("And now?"))
    [fitted] = [event for event in events if isinstance(event, HistoryFitted)]
    assert (fitted.agent, fitted.turn, fitted.tokens, fitted.room) == ("ann", 1, sent.input_tokens, 1750)
    assert fitted.left_out == len(PAST) + 2 - (len(sent.messages) - 1)


async def test_a_model_that_takes_all_of_it_is_preferred():
    script, events = Scripted(["Done."]), []
    result = await agent_of(script, 1000, 100_000).work("And now?", RunContext(emit=events.append), history=PAST)
    assert result.provider == "b"
    assert script.requests[0].messages == (system("Help."), *PAST, user("And now?"))
    assert not [event for event in events if isinstance(event, HistoryFitted)]


async def test_a_long_loop_of_tools_ends_in_an_answer():
    @tool
    def read(page: int) -> str:
        """Read a page."""
        return f"page {page}: " + "text " * 500

    calls = [assistant(ToolCall(str(n), "read", f'{{"page": {n}}}')) for n in range(10)]
    script, events = Scripted([*calls, "It is all read."]), []
    agent = agent_of(script, 4000, tools=(read,))
    result = await agent.work("Read the book.", RunContext(emit=events.append))
    assert result.text == "It is all read."
    assert len(result.transcript) == 1 + 2 * 10 + 1  # what is told of the work is whole
    for sent in script.requests:
        asked = {call.id for message in sent.messages for call in message.tool_calls}
        told = {part.call_id for m in sent.messages for part in m.parts if isinstance(part, ToolResult)}
        assert asked == told
        assert sent.input_tokens <= 4000 - 500
    assert [event.turn for event in events if isinstance(event, HistoryFitted)][-1] == 11


async def test_one_result_that_is_larger_than_the_window_loses_its_middle():
    @tool(max_chars=50_000)
    def read() -> str:
        """Read the book."""
        return "It begins. " + "text " * 9000 + " It ends."

    script, events = Scripted([assistant(ToolCall("1", "read", "{}")), "Read."]), []
    agent = agent_of(script, 4000, tools=(read,))
    assert (await agent.work("Read the book.", RunContext(emit=events.append))).text == "Read."
    [told] = [part for part in script.requests[-1].messages[-1].parts if isinstance(part, ToolResult)]
    assert told.content.startswith("It begins. ")
    assert told.content.endswith(" It ends.")
    assert "the middle was left out here" in told.content
    assert [(e.left_out, e.shortened) for e in events if isinstance(e, HistoryFitted)] == [(0, 1)]


async def test_what_a_model_refuses_though_it_should_take_it_is_asked_for_with_less():
    refusals = [ContextTooLong("too long")] * 3
    script = Scripted([*refusals, "Done."])
    assert (await agent_of(script, 100_000).work("And now?", history=PAST)).text == "Done."
    sizes = [request.input_tokens for request in script.requests]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] * 0.3


async def test_what_is_always_refused_ends_in_the_error():
    script = Scripted([ContextTooLong("too long")] * 20)
    with pytest.raises((ContextTooLong, AllAttemptsFailed)):
        await agent_of(script, 100_000).work("And now?", history=PAST)
    assert len(script.requests) <= TRIES


async def test_a_task_that_is_too_long_itself_is_refused_as_before():
    script = Scripted(["Never."])
    with pytest.raises(NoRoute, match="do not fit its context of 1000"):
        await agent_of(script, 1000).work("word " * 4000)
    assert not script.requests


async def test_a_run_of_an_earlier_edition_asks_what_it_asked():
    script = Scripted(["Never."])
    with pytest.raises(NoRoute):
        await agent_of(script, 1000).work("And now?", RunContext(edition=2), history=PAST)


@st.composite
def loops(draw):
    """Return a transcript of a tool loop, and the texts of any script in it."""
    texts = st.text(st.characters(), max_size=400) | st.integers(0, 900).map(lambda n: "語👩‍👩‍👧é" * n)
    found = [system(draw(st.text(max_size=20))), user(draw(st.text(max_size=60)))]
    for turn in range(draw(st.integers(0, 6))):
        ids = [f"{turn}-{n}" for n in range(draw(st.integers(1, 3)))]
        found.append(assistant(*(ToolCall(each, "t", "{}") for each in ids)))
        found.append(tool_message(*(ToolResult(each, "t", draw(texts)) for each in ids)))
    return tuple(found)


@settings(max_examples=settings().max_examples // 4)
@given(loops(), st.integers(100, 4000))
def test_what_is_sent_fits_and_tells_each_call_its_result(messages, room):
    try:
        fitted = fit_request(Request(messages), room)
    except ContextTooLong:
        must = fit(messages, None, keep_last=1)
        small = sum(64 + 4 for message in must for part in message.parts if isinstance(part, ToolResult))
        fixed = [m for m in must if m.role != "tool"]
        assert count_tokens(fixed) + small + 40 > room
        return
    assert fitted.input_tokens <= room
    sent = fitted.messages
    calls = [call.id for message in sent for call in message.tool_calls]
    told = [part.call_id for message in sent for part in message.parts if isinstance(part, ToolResult)]
    assert calls == told
    assert sent[:2] == messages[:2]
    newest = [part.call_id for part in messages[-1].parts if isinstance(part, ToolResult)]
    assert told[len(told) - len(newest) :] == newest


@given(st.text(st.characters()) | st.integers(0, 500).map(lambda n: "語👩é" * n), st.integers(40, 400))
def test_a_text_without_its_middle_is_so_long_at_the_most(text, tokens):
    short = without_middle(text, tokens)
    assert estimate_tokens(short) <= tokens
    assert short == text or "was left out here" in short
