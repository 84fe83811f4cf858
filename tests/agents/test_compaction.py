"""A history that grows long is summarised by a cheap model, once, in a step of its own."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import anyio
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from agents import Agent, History, RunContext
from agents.context import count_tokens
from agents.events import HistoryFitted, HistorySummarised, TurnEnded, TurnStarted
from agents.summaries import (
    Covered,
    HistoryMemo,
    Summary,
    asked,
    asked_for_task,
    coverable,
    digest_of,
    due,
    lost,
    with_summary,
)
from agents.tools import tool
from providers.catalog.model import Candidate, Model, Provider
from providers.client.manager import ProviderManager
from providers.errors import ServerFault
from providers.messages import Capability, Message, Request, ToolCall, ToolResult, assistant, system, user
from providers.messages import tool as tool_message
from providers.policy.model import Policy
from providers.stub.scripted import Scripted, Stub
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
LIMIT = History(summarise_over_tokens=1000)


def is_a_summary(request: Request) -> bool:
    return "You shorten the older part" in request.messages[0].text


def models(answer: Any, summary: Any, **adapters: Any) -> ProviderManager:
    """Return a manager of two tiers: the thinker's answers, and the worker's summaries."""
    known = [
        Candidate(Provider(name, name, "", None, {"m": model}), model)
        for name in ("think", "cheap")
        for model in [Model("m", 100_000, 1000, frozenset(Capability) - {Capability.PREFILL})]
    ]
    policy = Policy({"architect": ("think/m",), "worker": ("cheap/m",)}, last_resort=(), attempts_per_turn=1)
    return ProviderManager(known, policy, adapters={"think": answer, "cheap": summary}, rng=Random(1))


def agent_of(answer: Any, summary: Any, **more: Any) -> Agent:
    manager = models(answer, summary)
    given = {"name": "ann", "tier": "architect", "manager": manager, "instructions": "Help.", "history": LIMIT}
    return Agent(**given | more)


@tool
def read(page: int) -> str:
    """Read a page."""
    return f"page {page}: " + "text " * 120


def calling(name: str, page: int) -> Message:
    return assistant(ToolCall(str(page), name, f'{{"page": {page}}}'))


CALLS = [calling("read", n) for n in range(12)]


async def test_a_long_loop_goes_on_from_a_summary_that_grows():
    answers, summaries = Scripted([*CALLS, "Read."]), Scripted([f"Summary {n}. Page 1 is read." for n in range(9)])
    events: list[Any] = []
    result = await agent_of(answers, summaries, tools=(read,)).work("Read the book.", RunContext(emit=events.append))
    assert result.text == "Read."
    assert len(result.transcript) == 2 + 2 * 12
    made = [event for event in events if isinstance(event, HistorySummarised)]
    assert 1 < len(made) == len(summaries.requests) < 9
    first, second = (request.messages[-1].text for request in summaries.requests[:2])
    assert "summary so far" not in first
    assert "read: page 0:" in first
    assert "Summary 0." in second
    assert "page 0:" not in second  # nothing is summarised twice
    for sent in answers.requests:
        assert sent.input_tokens < 1000 + 400
        assert sent.messages[:2] == (system("Help."), user("Read the book."))
        calls = [call.id for message in sent.messages for call in message.tool_calls]
        told = [part.call_id for m in sent.messages for part in m.parts if isinstance(part, ToolResult)]
        assert calls == told
    last = answers.requests[-1].messages
    assert f"Summary {len(made) - 1}." in last[2].text
    assert last[-1].parts[0].content.startswith("page 11")
    agents = [event.provider for event in events if isinstance(event, TurnEnded)]
    assert agents.count("cheap") == len(made)


async def test_others_go_on_while_it_is_looked_for_what_a_summary_lost():
    @tool
    def names(page: int) -> str:
        """Read a page."""
        return " ".join(f"of Name{page}x{n} and {n}.{page}" for n in range(400))

    answers, summaries = Scripted([*[calling("names", n) for n in range(5)], "Read."]), Scripted(["Short."] * 3)
    went_on, is_made, threads = 0, False, to_thread.current_default_thread_limiter()

    def hear(event: Any) -> None:
        nonlocal is_made
        if isinstance(event, HistorySummarised | TurnStarted):
            is_made = isinstance(event, HistorySummarised)

    async def beside() -> None:
        nonlocal went_on
        while True:
            await anyio.lowlevel.checkpoint()
            went_on += is_made and threads.borrowed_tokens > 0

    agent = agent_of(answers, summaries, tools=(names,), history=History(summarise_over_tokens=9_000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beside)
        await agent.work("Read the book.", RunContext(emit=hear))
        tasks.cancel_scope.cancel()
    assert went_on, "steps of others during the search"


@pytest.mark.parametrize(
    "summary", ["", "word " * 900, ServerFault("down")], ids=["empty", "longer than allowed", "no provider"]
)
async def test_without_a_summary_the_work_goes_on_and_tells(summary: Any):
    answers, summaries = Scripted([*CALLS, "Read."]), Scripted([summary] * 60)
    events: list[Any] = []
    agent = agent_of(answers, summaries, tools=(read,), history=History(keep_last=4, summarise_over_tokens=1000))
    assert (await agent.work("Read the book.", RunContext(emit=events.append))).text == "Read."
    made = [event for event in events if isinstance(event, HistorySummarised)]
    assert made
    assert all(event.failed for event in made)
    assert len(made) < 6  # it is not asked for before each turn
    assert len(answers.requests[-1].messages) <= 2 + 1 + 4


async def test_who_is_pinned_to_a_model_sends_its_words_to_no_other():
    answers, summaries = Scripted(then=Stub()), Scripted()
    past = tuple(said for n in range(20) for said in (user(f"Q{n} " + "word " * 60), assistant(f"A{n}")))
    await agent_of(answers, summaries, tier=None, model="think/m").work("And now?", history=past)
    assert [is_a_summary(request) for request in answers.requests] == [True, False]
    assert not summaries.requests
    assert "No model made this" in answers.requests[1].messages[2].text


async def test_works_with_a_history_in_common_share_its_summary():
    answers, summaries = Scripted(["One.", "Two.", "Three."]), Scripted(["All is well."] * 3)
    agent, ctx = agent_of(answers, summaries), RunContext(memo=HistoryMemo())
    past = tuple(said for n in range(20) for said in (user(f"Q{n} " + "word " * 60), assistant(f"A{n}")))
    for brief in ("a", "b", "c"):
        await agent.work(brief, ctx, history=past)
    assert len(summaries.requests) == 1
    assert all("All is well." in request.messages[2].text for request in answers.requests)
    changed = (user("Another beginning"), *past[3:])
    await agent_of(Scripted(["Four."]), summaries).work("d", ctx, history=changed)
    assert len(summaries.requests) == 2  # it stands for what it was made of, and for nothing else


async def test_a_slow_summary_keeps_no_other_agent_waiting():
    gate = anyio.Event()

    class Slow:
        async def complete(self, request: Request, **_: Any) -> Any:
            if is_a_summary(request):
                await gate.wait()
            return await models(Scripted(["Done."]), Scripted(["Short."])).complete(request)

    past = tuple(said for n in range(20) for said in (user(f"Q{n} " + "word " * 60), assistant(f"A{n}")))
    done: list[str] = []

    async def work(name: str, history: Any) -> None:
        await agent_of(None, None, name=name, manager=Slow()).work("Now?", history=history)
        done.append(name)

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as both:
            both.start_soon(work, "slow", past)
            await anyio.wait_all_tasks_blocked()
            await work("quick", ())
            assert done == ["quick"]
            gate.set()
    assert done == ["quick", "slow"]


async def test_an_older_edition_asks_for_no_summary():
    answers, summaries = Scripted(["Done."]), Scripted()
    past = tuple(said for n in range(20) for said in (user(f"Q{n} " + "word " * 60), assistant(f"A{n}")))
    await agent_of(answers, summaries).work("Now?", RunContext(edition=2), history=past)
    assert answers.requests[0].messages[1:-1] == past


async def test_what_is_too_long_for_who_summarises_loses_its_middle():
    model = Model("m", 2000, 200, frozenset(Capability) - {Capability.PREFILL})
    known = [Candidate(Provider("think", "think", "", None, {"m": model}), model)]
    script = Scripted(["Brief.", "Done."])
    manager = ProviderManager(known, Policy({"architect": ("think/m",)}, last_resort=()), adapters={"think": script})
    past = tuple(said for n in range(60) for said in (user(f"Q{n} " + "word " * 60), assistant(f"A{n}")))
    events: list[Any] = []
    agent = agent_of(None, None, manager=manager)
    assert (await agent.work("Now?", RunContext(emit=events.append), history=past)).text == "Done."
    assert "middle was left out" in script.requests[0].messages[-1].text
    assert not [event for event in events if isinstance(event, HistoryFitted)]


def test_what_a_summary_lost_is_listed_with_what_is_repeated_first():
    source = (
        "ann: We spend $4,200 on Kafka. Kafka stays until 2027-03-01, said Zoë Müller. See src/app/main.py and "
        "https://example.org/x?y=1. The queue of 12 GB is in EU-West. We agreed."
    )
    found = lost(source, "They spend $4,200.")
    assert found[0] == "Kafka"
    assert {"2027-03-01", "Zoë", "Müller", "src/app/main.py", "EU-West"} <= set(found)
    assert any(one.startswith("12 GB") for one in found)
    assert any(one.startswith("https://example.org/x") for one in found)
    assert "We" not in found
    assert "$4,200" not in found


@pytest.mark.parametrize(
    ("source", "summary", "found"),
    [
        ("Sie zahlen ٤٢٠٠ am １２. März.", "They pay 4200 on 12 march.", []),
        (
            "预算为3500万元，2027年3月1日，《北极星计划》用PostgreSQL和user_id。",
            "x",
            "3500万元 2027年 3月 《北极星计划》 PostgreSQL",
        ),
        ("東京で「ひかり号」を30分待つ。", "「ひかり号」", ["30分"]),
        ("이름은 Kim이고 2027년에 v1.2.3 을 쓴다", "", ["Kim", "2027", "v1.2.3"]),
        ("我们决定由他负责。", "", []),
    ],
)
def test_names_and_numbers_are_found_in_whichever_script(source: str, summary: str, found: Any):
    words = found.split() if isinstance(found, str) else found
    made = lost(source, summary)
    assert made == [] if not words else set(words) <= set(made)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "text", ["我们在2027年3月1日决定。", "Aa1-", "「", "１２", "/a", "1,", "我1", "a’", "@", "v1."]
)
def test_what_was_lost_is_found_in_time_that_the_length_bounds(text: str):
    began = time.process_time()
    lost(text * (60_000 // len(text)), "x")
    assert time.process_time() - began < 2


@given(
    st.lists(st.sampled_from(["user", "assistant", "tools"]), max_size=20),
    st.integers(1, 4000),
    st.none() | st.integers(1, 8),
    st.text(max_size=300),
)
def test_what_is_due_is_whole_and_leaves_the_newest(kinds, limit, keep_last, text):
    old: list[Any] = []
    for n, kind in enumerate(kinds):
        if kind == "tools":
            old += [assistant(ToolCall(str(n), "t", "{}")), tool_message(ToolResult(str(n), "t", text * 3))]
        else:
            old.append({"user": user, "assistant": assistant}[kind](text))
    count = due(old, max(limit, 512), keep_last, HistoryMemo())
    if not count:
        return
    assert count < len(old)
    assert old[count].role != "tool"
    assert count_tokens(old) > limit
    messages = [system("s"), user("brief"), *old, user("now")]
    brief = len(messages) - 1
    summary = Summary("short", count, digest_of(old[:count]))
    assert summary.stands_for(coverable(messages, brief))
    sent = with_summary(messages, brief, summary)
    assert sent == (*messages[:2], summary.message, *old[count:], messages[-1])


def test_the_offline_stub_says_how_paragraphs_begin_and_that_no_model_did() -> None:
    candidate = Candidate(Provider("stub", "scripted", "", None, {}), Model("stub", 1000, 100, frozenset()))
    of_history = asked(Covered("", (user("The queue is Kafka.\n\nIt holds " + "words " * 60, name="ann"),)), 400)
    of_context = asked_for_task("notes", "The queue is Kafka.\n\nMore.", "Plan it with Redis.", 400)
    for text in (of_history, of_context):
        said = Stub().respond(Request((system("s"), user(text))), candidate).text
        assert "No model made this" in said
        assert "The queue is Kafka." in said
        assert "Redis" not in said
        assert len(said) < 300
