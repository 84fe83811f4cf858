"""Who is told of what happens in a run, and what none of them can do to it."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from orchestrator import Subject, Subscriber
from orchestrator.events import Event
from orchestrator.journal.memory import MemoryJournal
from orchestrator.runtime import open_run, resume_run
from orchestrator.subscribers import CLOSE_S, CallContent, Feed, SubjectEnded, SubscriberTrouble, subject_of
from providers.trace_context import CallScope, TraceContext, call_scope, read_trace_context
from tests.orchestrator.squads import Answers, run, squad
from tests.patience import PATIENCE_S

ASKED_BY = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Keeper(Subscriber):
    def __init__(self, *, traces: bool = False, wants_content: bool = False) -> None:
        self.heard: list[tuple[Subject, Event]] = []
        self.traces, self.wants_content = traces, wants_content

    def hear(self, subject: Subject, event: Event) -> None:
        self.heard.append((subject, event))


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        (ASKED_BY, TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")),
        (f" {ASKED_BY[:-1]}0 ", TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=False)),
        ("cc" + ASKED_BY[2:] + "-what-comes", TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")),
        (ASKED_BY + "-more", None),
        ("ff" + ASKED_BY[2:], None),
        (ASKED_BY.upper(), None),
        ("00-" + "0" * 32 + ASKED_BY[35:], None),
        (ASKED_BY[:36] + "0" * 16 + "-01", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_has_it(text: str, trace: TraceContext | None) -> None:
    assert read_trace_context(text) == trace
    assert trace is None or read_trace_context(trace.headers["traceparent"]) == trace


@pytest.mark.anyio
async def test_a_subscriber_hears_each_event_once_in_its_order_and_the_end() -> None:
    keeper = Keeper(wants_content=True)
    _, events = await run(squad({"a": "Hi.", "b": "Ho."}), run_id="r", subscribers=[keeper])
    assert {subject for subject, _ in keeper.heard} == {subject_of("r", name="test")}
    heard = [event for _, event in keeper.heard]
    assert [event for event in heard if not isinstance(event.data, CallContent | SubjectEnded)] == events
    assert isinstance(heard[-1].data, SubjectEnded)
    told = [event for event in heard if isinstance(event.data, CallContent)]
    assert {(event.path, event.turn, event.data.response.text) for event in told} == {
        ("a/try-1", 1, "ann: done"),
        ("b/try-1", 1, "ann: done"),
    }


@pytest.mark.anyio
async def test_one_that_fails_is_told_of_once_and_disturbs_nobody() -> None:
    class Failing(Subscriber):
        def hear(self, subject: Subject, event: Event) -> None:
            raise RuntimeError("no luck")

    keeper, notices = Keeper(), list[Any]()
    result, events = await run(squad({"a": "Hi."}), subscribers=[Failing(), keeper], notify=notices.append)
    assert result.status == "done"
    assert len(keeper.heard) == len(events) + 1
    assert notices == [SubscriberTrouble("Failing", "RuntimeError: no luck")]


@pytest.mark.anyio
async def test_one_that_is_too_slow_misses_what_it_has_no_room_for_and_holds_nothing_up() -> None:
    begun, released = threading.Event(), threading.Event()

    class Slow(Keeper):
        def hear(self, subject: Subject, event: Event) -> None:
            begun.set()
            released.wait(PATIENCE_S)
            super().hear(subject, event)

    slow, notices, subject = Slow(), list[Any](), subject_of("r")
    feed = Feed(slow, notices.append, most_waiting=3)
    feed.hear(subject, Event("r", None, (), 0, 1, 0.0, "first"))
    await anyio.to_thread.run_sync(begun.wait, PATIENCE_S)
    for number in range(10):
        feed.hear(subject, Event("r", None, (), 0, number, 0.0, number))
    assert not await feed.heard_all(0.0)
    released.set()
    await feed.aclose()
    assert [event.data for _, event in slow.heard] == ["first", 0, 1, 2]
    assert notices == [SubscriberTrouble("Slow", "it is slower than what happens: events are left out")]


@pytest.mark.anyio
async def test_what_comes_is_gathered_until_somebody_wants_it_heard() -> None:
    keeper, subject = Keeper(), subject_of("r")
    feed = Feed(keeper, pytest.fail, gather_s=2 * PATIENCE_S)
    for number in range(3):
        feed.hear(subject, Event("r", None, (), 0, number, 0.0, number))
    assert not keeper.heard
    assert await feed.heard_all(PATIENCE_S)
    assert [event.data for _, event in keeper.heard] == [0, 1, 2]
    feed.hear(subject, Event("r", None, (), 0, 3, 0.0, 3))
    await feed.aclose()
    assert [event.data for _, event in keeper.heard] == [0, 1, 2, 3]


@pytest.mark.anyio
async def test_calls_know_where_they_come_from_and_are_traced_only_where_somebody_traces() -> None:
    seen: list[CallScope] = []

    def answer(agent: str, _: object) -> str:
        seen.append(call_scope())
        return "done"

    await run(squad({"a": "Hi."}), Answers(answer), run_id="r", subscribers=[Keeper()])
    await run(squad({"a": "Hi."}), Answers(answer), run_id="r", subscribers=[Keeper(traces=True)])
    await run(squad({"a": "Hi."}), Answers(answer), run_id="r", subscribers=[Keeper(traces=True)], traceparent=ASKED_BY)
    own = subject_of("r").trace
    assert seen[0] == CallScope("r", "a/try-1", 1)
    assert [scope.trace and scope.trace.trace_id for scope in seen] == [None, own.trace_id, ASKED_BY[3:35]]
    assert call_scope() == CallScope()


@pytest.mark.anyio
async def test_a_resumed_run_stays_in_the_trace_that_it_was_begun_in() -> None:
    given, journal = squad({"a": "Hi.", "b": {"agent": "ann", "description": "Ho.", "needs": ["a"]}}), MemoryJournal()
    async with open_run(given, manager=Answers(), journal=journal, run_id="r", traceparent=ASKED_BY) as opened:
        async for event in opened:
            if event.type == "task.ended":
                break
    keeper = Keeper()
    async with resume_run(given, "r", manager=Answers(), journal=journal, subscribers=[keeper]) as resumed:
        async for _ in resumed:
            pass
    assert {subject for subject, _ in keeper.heard} == {subject_of("r", ASKED_BY, name="test")}
    assert keeper.heard[0][1].type == "run.resumed"


@pytest.mark.anyio
async def test_a_run_that_is_left_ends_for_its_subscribers_too() -> None:
    keeper = Keeper()
    with anyio.fail_after(PATIENCE_S + CLOSE_S):
        async with open_run(squad({"a": "Hi."}), manager=Answers(), subscribers=[keeper]) as opened:
            async for _ in opened:
                break
    assert keeper.heard[-1][1].type == "subject.ended"
