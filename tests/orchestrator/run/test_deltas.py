"""What agents say as they say it: in a run, from several at once, and again after a reconnect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest

from agents.hooks import Hooks
from orchestrator import SqliteJournal, run_squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.run.delta_stream import answers_after
from orchestrator.run.deltas import KEPT, AnswerEnded, DeltaLog, Position, RunDelta
from orchestrator.runtime import open_run, resume_run
from orchestrator.units import Unit
from providers.budgets import BudgetRef
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager, built_in
from providers.errors import BudgetSpent
from providers.messages import (
    Capability,
    FinishReason,
    Request,
    Response,
    Restarted,
    TextDelta,
    ToolCallDelta,
    Usage,
    assistant,
)
from providers.policy.model import Policy, Timeouts
from providers.transport.over_httpx2 import HttpxTransport
from tests.loopback import ANSWER, WORDS, Loopback, Seen
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def asking(*urls: str, dialect: str = "openai-chat", **policy: Any) -> AsyncIterator[ProviderManager]:
    """Yield a manager of providers at these addresses, asked in this order."""
    model = Model("m", 8192, 512, frozenset(Capability), Price(1_000_000, 1_000_000))
    known = [
        Candidate(Provider(f"p{n}", dialect, url, "KEY", {"m": model}), model, key="k") for n, url in enumerate(urls)
    ]
    names = tuple(one.name for one in known)
    rules = Policy({"worker": names}, **{"strategy": "chain", "last_resort": (), **policy})
    async with HttpxTransport() as transport:
        yield ProviderManager(known, rules, adapters=built_in(), transport=transport, rng=Random(1))


def text_of(deltas: list[RunDelta]) -> str:
    """Return what a reader who does as the deltas say has in the end."""
    text = ""
    for delta in deltas:
        if delta.anew or isinstance(delta.delta, Restarted):
            text = ""
        if isinstance(delta.delta, TextDelta):
            text += delta.delta.text
    return text


async def test_an_answer_comes_in_pieces_with_its_place_before_the_task_ends(loopback: Loopback) -> None:
    async with (
        asking(loopback.url("ok")) as manager,
        open_run(squad({"a": "x"}), manager=manager, stream=True) as opened,
    ):
        deltas = [delta async for delta in opened.stream()]
    assert text_of(deltas) == ANSWER
    assert {(d.unit, d.step, d.turn, d.agent, d.attempt) for d in deltas} == {(Unit("a"), ("try-1",), 1, "ann", 1)}
    assert deltas[-1].delta == AnswerEnded(True, deltas[-1].delta.finish, "p0", "m")
    assert loopback.requests[0].body["stream"] is True
    assert [Position.of(d.position).number for d in deltas] == sorted({Position.of(d.position).number for d in deltas})


async def test_what_a_broken_stream_said_is_void_and_the_run_goes_on_as_without_a_stream(loopback: Loopback) -> None:
    async with asking(loopback.url("cut=2"), loopback.url("ok")) as manager:
        deltas: list[RunDelta] = []
        result = await run_squad(squad({"a": "x"}), manager=manager, on_delta=deltas.append)
    assert result.status == "done"
    assert [type(d.delta) for d in deltas].count(Restarted) == 1
    assert text_of(deltas) == ANSWER
    before = [d for d in deltas if d.attempt == 1]
    assert "".join(d.delta.text for d in before if isinstance(d.delta, TextDelta)) == "".join(WORDS[:2])


async def test_who_cannot_stream_is_told_of_whole_answers() -> None:
    deltas: list[RunDelta] = []
    result = await run_squad(squad({"a": "x", "b": "y"}), manager=Answers(), on_delta=deltas.append)
    assert result.status == "done"
    assert [type(d.delta) for d in deltas] == [TextDelta, AnswerEnded] * 2
    assert text_of(deltas[:2]) == "ann: done"


async def test_a_run_that_is_not_streamed_asks_for_whole_answers_and_has_no_stream(loopback: Loopback) -> None:
    async with asking(loopback.url("ok")) as manager, open_run(squad({"a": "x"}), manager=manager) as opened:
        with pytest.raises(RuntimeError, match="stream=True"):
            opened.stream()
        assert [event.type async for event in opened][-1] == "run.finished"
    assert not loopback.requests[0].body.get("stream")


async def test_the_record_is_the_same_with_and_without_a_stream() -> None:
    given = squad({"a": "x", "b": {"agent": "bob", "description": "y", "needs": ["a"]}})
    async with open_run(given, manager=Answers(), stream=True) as opened:
        streamed = [event async for event in opened]
    _, plain = await run(given)
    assert [(e.type, e.path) for e in streamed] == [(e.type, e.path) for e in plain]


async def test_a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice() -> None:
    async with open_run(squad({"a": "x", "b": "y"}), manager=Answers(), stream=True) as opened:
        deltas = [delta async for delta in opened.stream()]
        for seen in range(len(deltas)):
            again = [delta async for delta in opened.stream(deltas[seen].position)]
            assert again == deltas[seen + 1 :]


async def test_what_earlier_processes_said_comes_from_the_journal() -> None:
    journal, given = MemoryJournal(), squad({"a": "x", "b": {"agent": "bob", "description": "y", "needs": ["a"]}})

    async def answer(agent: str, _: Any) -> str:
        if agent == "bob":
            await anyio.sleep_forever()
        return "one"

    async with open_run(given, manager=Answers(answer), stream=True, journal=journal, run_id="r") as first:
        async for event in first:
            if event.type == "task.ended":
                break
    async with resume_run(given, "r", manager=Answers(), stream=True, journal=journal) as second:
        fresh = [delta async for delta in second.stream()]
        everything = [delta async for delta in second.stream("0")]
    assert {delta.agent for delta in fresh} == {"bob"}
    assert [(d.agent, d.anew, d.recorded) for d in everything if isinstance(d.delta, TextDelta)] == [
        ("ann", True, True),
        ("bob", True, True),
    ]


async def test_an_unknown_position_is_refused() -> None:
    async with open_run(squad({"a": "x"}), manager=Answers(), stream=True) as opened:
        for wrong in ("", "x", "1.2", "-1.0.a", "1.2.3.4"):
            with pytest.raises(ValueError, match="not a position"):
                opened.stream(wrong)


async def test_a_slow_reader_holds_nobody_up_and_misses_nothing() -> None:
    """More is said than is kept; the reader begins once all is over, and has each answer whole."""
    long = "word " * (KEPT // 15)
    given = squad(dict.fromkeys("abcdefg", "x"))
    async with open_run(given, manager=Answers(lambda *_: long), stream=True) as opened:
        async for _ in opened:
            pass
        stream = opened.stream()
        deltas = [delta async for delta in stream]
    assert len(stream.log.after(0)) < 14, "not all of it is kept"
    answers = {delta.answer for delta in deltas}
    assert len(answers) == 7
    for answer in answers:
        assert text_of([delta for delta in deltas if delta.answer == answer]) == long


async def test_a_reader_that_comes_in_the_middle_of_an_answer_gets_its_beginning() -> None:
    log = DeltaLog("r", ended=3)
    heard = log.listen_to(Unit("a"))(("try-1",), 2, "mary")
    for word in WORDS:
        heard.take(TextDelta(word))
    heard.take(ToolCallDelta(0, "c1", "look", '{"a'))
    heard.take(ToolCallDelta(0, arguments='": 1}'))
    text, call = log.so_far()
    assert (text.anew, text.delta) == (True, TextDelta(ANSWER))
    assert (call.anew, call.delta) == (False, ToolCallDelta(0, "c1", "look", '{"a": 1}'))
    heard.take(Restarted("broke"))
    assert log.so_far() == []
    heard.take(TextDelta("anew"))
    assert [(d.delta, d.attempt) for d in log.so_far()] == [(TextDelta("anew"), 2)]
    heard.end(None)
    assert log.so_far() == []


async def test_parallel_answers_are_told_apart(loopback: Loopback) -> None:
    gate = anyio.Event()

    async def answer(agent: str, _: Any) -> str:
        if agent == "ann":
            await gate.wait()
        gate.set()
        return f"{agent} says"

    deltas: list[RunDelta] = []
    given = squad({"a": "x", "b": {"agent": "bob", "description": "y"}})
    await run_squad(given, manager=Answers(answer), on_delta=deltas.append)
    said = {d.agent: text_of([one for one in deltas if one.agent == d.agent]) for d in deltas}
    assert said == {"ann": "ann says", "bob": "bob says"}


async def test_an_answer_that_breaks_its_schema_is_void_and_another_is_asked(loopback: Loopback) -> None:
    """`accept` holds for streamed turns: the second answer is asked of another where the first will not do."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    def wrong(_: Seen) -> str:
        return "ok"

    loopback.literal = b'"{\\"n\\": 4}"'
    async with asking(loopback.by(wrong), loopback.url("literal")) as manager:
        deltas: list[RunDelta] = []
        task = {"agent": "ann", "description": "x", "output_schema": schema}
        result = await run_squad(squad({"a": task}), manager=manager, on_delta=deltas.append)
    assert result.status == "done"
    assert text_of([d for d in deltas if d.turn == 2]) == '{"n": 4}'
    assert any(isinstance(d.delta, Restarted) for d in deltas if d.turn == 2)


async def test_a_reader_that_comes_back_to_another_process_gets_what_ended_since(tmp_path: Any) -> None:
    """It saw `a`, and half of `b` when the process was killed: `b` is done again, and told anew."""
    given = squad({"a": "x", "b": {"agent": "bob", "description": "y", "needs": ["a"]}})

    async def answer(agent: str, _: Any) -> str:
        if agent == "bob":
            await anyio.sleep_forever()
        return "one"

    async with SqliteJournal(tmp_path / "j.db") as journal:
        async with open_run(given, manager=Answers(answer), stream=True, journal=journal, run_id="r") as first:
            stream = first.stream()
            seen = [await anext(stream), await anext(stream)]
            positions = [delta.position for delta in seen]
        async with resume_run(given, "r", manager=Answers(), stream=True, journal=journal) as second:
            after_all = [delta async for delta in second.stream(positions[1])]
            after_half = [delta async for delta in second.stream(positions[0])]
            from_a_lost_future = [delta async for delta in second.stream("9.9.zzz")]
        assert [answer.number for answer in await answers_after(journal, "r", 0)] == [1, 2]
    assert [(d.agent, d.anew) for d in after_all if isinstance(d.delta, TextDelta)] == [("bob", True)]
    assert text_of(after_all) == "bob: done"
    assert [(d.agent, d.anew) for d in after_half if isinstance(d.delta, TextDelta)] == [("ann", True), ("bob", True)]
    assert {delta.agent for delta in from_a_lost_future} == {"bob"}


async def test_speakers_of_a_conversation_are_heard_also_at_once(loopback: Loopback) -> None:
    talk = {"pattern": "party", "participants": ["ann", "bob"], "moderator": "cat", "independent_first_round": True}
    given = squad(
        {"t": {"conversation": "talk", "description": "Settle it."}},
        "ann bob cat",
        conversations={"talk": {**talk, "terminate": {"max_turns": 4}}},
    )
    async with asking(loopback.url("ok")) as manager:
        deltas: list[RunDelta] = []
        result = await run_squad(given, manager=manager, on_delta=deltas.append)
    assert result.status == "done"
    answers = {delta.answer: delta.agent for delta in deltas}
    assert set(answers.values()) == {"ann", "bob", "cat"}
    for answer in answers:
        assert text_of([delta for delta in deltas if delta.answer == answer]) == ANSWER


class Improving(Hooks):
    def after_model(self, request: Request, response: Response, at: Any) -> Response:  # a hook's
        return replace(response, message=assistant("better"))


async def test_what_hooks_make_of_an_answer_is_told_in_its_place() -> None:
    async with open_run(squad({"a": "x"}), manager=Answers(), stream=True, hooks=[Improving()]) as opened:
        deltas = [delta async for delta in opened.stream()]
    assert text_of(deltas) == "better"


@pytest.mark.parametrize("mode", ["hang", "stall"])
@pytest.mark.long
async def test_a_silent_stream_counts_under_the_caps_as_a_whole_answer_does(loopback: Loopback, mode: str) -> None:
    """Nobody says what it cost: up to all that it had reserved may be billed."""
    timeouts = Timeouts(connect=30.0, first_token=2.0, between_chunks=2.0, total=30.0)
    given = squad({"a": "x"}, budget={"max_cost": 10_000})
    async with asking(loopback.url(mode), loopback.url("ok"), timeouts=timeouts) as manager:
        deltas: list[RunDelta] = []
        result = await run_squad(given, manager=manager, on_delta=deltas.append)
    assert result.status == "done"
    assert text_of(deltas) == ANSWER
    assert (result.cut_short > 0) is (mode == "hang")


class Poor:
    """A manager whose first tier breaks off in mid-answer and then has no money left for another attempt."""

    async def complete(self, request: Request, **_: Any) -> Response:
        raise AssertionError("it is asked to relay")

    async def relay(self, request: Request, hear: Any, **_: Any) -> Response:
        if request.needs.tier != "fallback":
            hear(TextDelta("half an"))
            raise BudgetSpent(BudgetRef("agent", "ann"), "max_cost", 5, 5, 1)
        hear(TextDelta("cheap"))
        return Response(assistant("cheap"), FinishReason.STOP, Usage(1), "f", "f", 1)


async def test_what_a_dearer_tier_began_is_void_where_a_cheaper_one_answers() -> None:
    people = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "budget": BUDGET}}
    deltas: list[RunDelta] = []
    result = await run_squad(squad({"a": "x"}, people=people), manager=Poor(), on_delta=deltas.append)
    assert result.status == "done"
    assert [type(d.delta) for d in deltas] == [TextDelta, Restarted, TextDelta, AnswerEnded]
    assert text_of(deltas) == "cheap"


BUDGET = {"max_cost": 1, "on_exceed": "downgrade_tier"}
