"""A chat in Python: what is told, what is undone, and what goes on after days and kills."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest

from agents import Agent, tool
from orchestrator import Event, GateAnswered, GateOpened, RunBusy, SqliteJournal, edit_of_run, fork_run, resume_run
from orchestrator.errors import AnswerSuspended, IsAChat, NoSuchAgent, NotAChat, RunCancelled
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import leave_unanswered
from orchestrator.rerun.replay import NotReplayable, replay
from orchestrator.run.approvals import answer_question
from orchestrator.run.exchanges import addressed
from orchestrator.session import Session
from personas import Personas, packaged
from providers.catalog.model import Candidate, Model, Provider
from providers.client.manager import ProviderManager
from providers.errors import ContextTooLong, ServerFault
from providers.messages import Capability, FinishReason, Message, Request, Response, TextDelta, ToolCall, Usage
from providers.policy.model import Policy
from providers.stub.scripted import Scripted
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio


def echo(_: str, request: Request) -> str:
    return f"{len(request.messages)}: {request.messages[-1].text}"


def said(request: Request) -> list[str]:
    return [message.text for message in request.messages[1:]]


async def test_each_answer_knows_what_was_said_before() -> None:
    manager = Answers(lambda _, request: f"to {request.messages[-1].text}")
    async with Session(manager=manager) as session:
        assert (await session.say("one")).answer == "to one"
        await session.say("two")
        assert session.cost == 20
    assert said(manager.asked[-1][1]) == ["one", "to one", "two"]


async def test_what_is_undone_is_told_to_nobody_and_stays_on_record() -> None:
    journal, manager = MemoryJournal(), Answers(lambda _, request: f"to {request.messages[-1].text}")
    async with Session(id="s", journal=journal, manager=manager) as session:
        for text in ("one", "two", "three"):
            await session.say(text)
        assert [one.text for one in await session.undo(2)] == ["two", "three"]
        assert [one.text for one in await session.undo(5)] == ["one"]
        assert await session.undo() == []
        await session.say("four")
    assert said(manager.asked[-1][1]) == ["four"]
    async with Session(id="s", journal=journal, manager=manager) as later:
        assert [(one.text, one.is_undone) for one in later.exchanges] == [
            ("one", True),
            ("two", True),
            ("three", True),
            ("four", False),
        ]
        assert later.cost == 40
        await later.say("five")
    assert said(manager.asked[-1][1]) == ["four", "to four", "five"]


async def test_who_is_addressed_sees_what_the_others_said_under_their_names() -> None:
    manager = Answers(lambda agent, _: f"I am {agent}")
    given = squad({"a": "x", "b": {"agent": "bob", "description": "y"}})
    async with Session(given, manager=manager) as session:
        assert session.agents == ("ann", "bob")
        await session.say("hi")
        assert (await session.say("and you?", to="bob")).agent == "bob"
        await session.say("hm")
        with pytest.raises(NoSuchAgent, match="zoe"):
            await session.say("x", to="zoe")
    last = manager.asked[-1][1].messages[1:]
    assert [(m.role, m.name, m.text) for m in last] == [
        ("user", None, "hi"),
        ("assistant", None, "I am ann"),
        ("user", None, "and you?"),
        ("user", "bob", "I am bob"),
        ("user", None, "hm"),
    ]


async def test_a_chat_goes_on_with_the_agent_and_the_model_that_were_chosen() -> None:
    journal, manager = MemoryJournal(), Answers()
    given = squad({"a": "x", "b": {"agent": "bob", "description": "y"}})
    async with Session(given, id="s", journal=journal, manager=manager) as session:
        await session.say("hi")
        await session.talk_to("bob", model="openai/gpt-5.4")
        await session.say("hi")
    assert manager.asked[-1][1].needs.model == "openai/gpt-5.4"
    async with Session(given, id="s", journal=journal, manager=manager) as later:
        assert (later.agent, later.model) == ("bob", "openai/gpt-5.4")
        await later.talk_to(model="")
        await later.say("hi")
    assert manager.asked[-1][1].needs.model is None


async def test_a_failed_answer_ends_its_exchange_and_not_the_chat() -> None:
    def answer(_: str, request: Request) -> str:
        if request.messages[-1].text == "bad":
            raise ServerFault("down")
        return "fine"

    manager = Answers(answer)
    async with Session(manager=manager) as session:
        with pytest.raises(ServerFault):
            await session.say("bad")
        assert (await session.say("good")).answer == "fine"
        assert [one.status for one in session.exchanges] == ["failed", "ok"]
    assert said(manager.asked[-1][1]) == ["good"]


async def test_a_cancelled_answer_ends_its_exchange_and_not_the_chat() -> None:
    began = anyio.Event()

    async def answer(_: str, request: Request) -> str:
        if request.messages[-1].text == "wait":
            began.set()
            await anyio.sleep_forever()
        return "fine"

    journal = MemoryJournal()
    async with Session(id="s", journal=journal, manager=Answers(answer)) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.say, "wait")
            await began.wait()
            tasks.cancel_scope.cancel()
        assert session.pending is None
        assert (await session.say("go on")).answer == "fine"
    async with Session(id="s", journal=journal, manager=Answers()) as later:
        assert [one.status for one in later.exchanges] == ["cancelled", "ok"]


class Killed(BaseException):
    """Stands for the end of the process."""


async def test_an_answer_that_was_cut_short_goes_on_and_nothing_is_paid_twice() -> None:
    """Two turns: the first, with its tool's call, is on record when the process ends in the second."""
    done: list[str] = []

    @tool
    def note(text: str) -> str:
        """Note it."""
        done.append(text)
        return "noted"

    def answer(_: str, request: Request) -> Any:
        if request.messages[-1].role == "tool":
            if len(done) == 1 and not later:
                raise Killed
            return "all noted"
        call = ToolCall("c1", "note", '{"text": "milk"}')
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "f", "f", 10)

    later = False
    journal, given = MemoryJournal(), squad({"a": "x"}, tools=[note], people={"ann": TOOLED})
    with pytest.raises((Killed, BaseExceptionGroup)):
        async with Session(given, id="s", journal=_Dying(journal), manager=Answers(answer)) as session:
            await session.say("note milk")
    later = True
    manager = Answers(answer)
    async with Session(given, id="s", journal=journal, manager=manager) as session:
        assert session.pending is not None
        assert session.pending.text == "note milk"
        exchange = await session.go_on()
        assert exchange is not None
        assert (exchange.answer, exchange.status) == ("all noted", "ok")
        assert await session.go_on() is None
    assert done == ["milk"]
    assert len(manager.asked) == 1


async def test_an_answer_that_was_cut_short_by_an_agent_who_is_gone_fails_and_the_chat_goes_on() -> None:
    def answer(agent: str, request: Request) -> Any:
        if agent == "bob":
            raise Killed
        return "here"

    journal, both = MemoryJournal(), squad({"a": "x"}, people={"ann": {"role": "r"}, "bob": {"role": "r"}})
    with pytest.raises((Killed, BaseExceptionGroup)):
        async with Session(both, id="s", journal=_Dying(journal), manager=Answers(answer)) as session:
            await session.say("hi", to="bob")
    alone = squad({"a": "x"}, people={"ann": {"role": "r"}})
    async with Session(alone, id="s", journal=journal, manager=Answers(answer)) as session:
        with pytest.raises(NoSuchAgent, match="no agent 'bob'"):
            await session.go_on()
        assert session.pending is None
        assert (await session.say("hi")).answer == "here"


TOOLED = {"persona": {"name": "T", "role": "r", "tier": "worker"}, "tools": ["note"]}


class _Dying:
    """A journal of a process that is over once `Killed` was raised: nothing more is recorded."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self._began = 0

    def __getattr__(self, name: str) -> Any:
        if name == "append" and self._began > 0:
            return self._nothing
        return getattr(self._journal, name)

    async def begin(self, *given: Any) -> Any:
        self._began += 1
        return await self._journal.begin(*given)

    async def _nothing(self, *_: Any) -> None:
        """Record nothing."""


@pytest.mark.long
@pytest.mark.parametrize("how", ["here", "elsewhere"])
async def test_a_tool_that_asks_is_asked_about_and_waits_where_nobody_can_answer(how: str) -> None:
    paid: list[str] = []

    @tool(approval="ask")
    def note(text: str) -> str:
        """Pay."""
        paid.append(text)
        return "paid"

    def answer(_: str, request: Request) -> Any:
        if request.messages[-1].role == "tool":
            return f"it said: {request.messages[-1].parts[0].content}"  # type: ignore[union-attr]  # a tool's result
        call = ToolCall("c1", "note", '{"text": "5"}')
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "f", "f", 10)

    journal, given, manager = MemoryJournal(), squad({"a": "x"}, tools=[note], people={"ann": TOOLED}), Answers(answer)
    async with Session(given, id="s", journal=journal, manager=manager) as session:
        with pytest.raises(AnswerSuspended, match="approval of note"):
            await session.say("pay")
        assert session.pending is not None
    if how == "elsewhere":
        await answer_question(journal, "s", None, "approve", "", by="cli")
    ask = allow if how == "here" else leave_unanswered
    async with Session(given, id="s", journal=journal, manager=manager, ask=ask) as session:
        exchange = await session.go_on()
    assert exchange is not None
    assert exchange.answer == "it said: paid"
    assert paid == ["5"]
    assert len(manager.asked) == 2, "no turn is paid twice"


async def test_what_tools_did_in_an_undone_exchange_is_told() -> None:
    @tool
    def note(text: str) -> str:
        """Note it."""
        return "noted"

    @tool(risk="read_only")
    def look(text: str) -> str:
        """Look it up."""
        return "found"

    def answer(_: str, request: Request) -> Any:
        if request.messages[-1].role == "tool":
            return "done"
        calls = tuple(ToolCall(name, name, '{"text": "5"}') for name in ("look", "note", "note"))
        return Response(Message("assistant", calls), FinishReason.TOOL_CALLS, Usage(10, output=5), "f", "f", 10)

    people = {"ann": {**TOOLED, "tools": ["note", "look"]}}
    async with Session(squad({"a": "x"}, tools=[note, look], people=people), manager=Answers(answer)) as session:
        await session.say("note it")
        (undone,) = await session.undo()
        assert session.effects_of(undone) == ("note",)


async def test_what_a_model_cannot_take_is_left_out() -> None:
    def answer(_: str, request: Request) -> str:
        if len(request.messages) > 6:
            raise ContextTooLong("too long")
        return f"{len(request.messages)}"

    async with Session(manager=Answers(answer)) as session:
        for number in range(12):
            exchange = await session.say(f"{number}")
            assert exchange.status == "ok"


async def test_two_processes_cannot_hold_one_session(tmp_path: Any) -> None:
    async with SqliteJournal(tmp_path / "j.db") as journal:
        async with Session(id="s", journal=journal, manager=Answers()) as session:
            await session.say("hi")
            with pytest.raises(RunBusy):
                async with Session(id="s", journal=journal, manager=Answers()):
                    pass
        async with Session(id="s", journal=journal, manager=Answers()) as session:
            assert len(session.history) == 1


async def test_a_run_of_tasks_is_no_chat_and_a_cancelled_chat_is_over() -> None:
    journal = MemoryJournal()
    await run(squad({"a": "x"}), journal=journal, run_id="r")
    with pytest.raises(NotAChat):
        async with Session(id="r", journal=journal, manager=Answers()):
            pass
    async with Session(id="s", journal=journal, manager=Answers()) as session:
        await session.say("hi")
    await journal.request_cancel("s")
    with pytest.raises(RunCancelled):
        async with Session(id="s", journal=journal, manager=Answers()):
            pass


async def test_nothing_is_recorded_before_something_is_said() -> None:
    journal = MemoryJournal()
    async with Session(id="s", journal=journal, manager=Answers()) as session:
        assert await session.undo() == []
        assert await session.go_on() is None
    assert await journal.runs() == []


async def test_an_answer_can_be_read_as_it_comes() -> None:
    async with Session(manager=Answers()) as session:
        async with session.stream("hi") as reply:
            deltas = [delta async for delta in reply]
        assert [d.delta for d in deltas if isinstance(d.delta, TextDelta)] == [TextDelta("assistant: done")]
        assert reply.exchange.answer == "assistant: done"
        async with session.stream("hi") as reply:
            pass
        with pytest.raises(RuntimeError, match="read all"):
            _ = reply.exchange
        assert "ok" not in [one.status for one in session.exchanges[1:]]


async def test_an_agent_of_the_program_can_be_talked_to() -> None:
    agent = Agent("lena", Personas(packaged()).get("tech-writer"), Answers())
    async with Session(agent) as session:
        assert (await session.say("hi")).answer == "lena: done"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hello", (None, "hello")),
        ("@bob hi there", ("bob", "hi there")),
        ("@BOB, hi", ("bob", "hi")),
        ("@zoe hi", (None, "@zoe hi")),
        ("@ann", ("ann", "")),
        ("mail me @bob", (None, "mail me @bob")),
    ],
)
async def test_whom_a_message_names(text: str, found: tuple[str | None, str]) -> None:
    assert addressed(text, ("ann", "bob")) == found


async def test_a_chat_is_neither_resumed_nor_forked_nor_replayed_as_a_run_of_tasks() -> None:
    journal, given = MemoryJournal(), squad({"a": "x"})
    async with Session(given, id="s", journal=journal, manager=Answers()) as session:
        await session.say("hi")
    with pytest.raises(IsAChat, match="is a chat"):
        async with resume_run(given, "s", journal=journal):
            pass
    with pytest.raises(IsAChat):
        await edit_of_run(given, "s", journal=journal)
    with pytest.raises(IsAChat):
        async with fork_run(given, "s", journal=journal):
            pass
    with pytest.raises(NotReplayable, match="is a chat"):
        await replay(journal, "s")


class _DyingAt:
    """A journal of a process that ends at its write number `last`, before that is done."""

    def __init__(self, journal: MemoryJournal, last: int) -> None:
        self._journal, self._left = journal, last

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if name not in ("create", "append", "claim", "begin", "finish", "give_up", "end", "park", "edit"):
            return method

        async def write(*given: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise Killed
            return await method(*given)

        return write


async def allow(gate: GateOpened) -> GateAnswered:
    return GateAnswered(gate.name, "approve", "", "terminal")


@pytest.mark.long
async def test_a_chat_that_is_killed_at_any_write_comes_to_the_same_and_repeats_no_effect_untold() -> None:
    """Each write of a chat with a tool: what stands in the end is the same, and an effect that came twice was told."""
    kills = 0
    for last in range(100):
        done: list[str] = []

        @tool
        def note(text: str) -> str:
            """Note it."""
            done.append(text)  # noqa: B023  # called within this round
            return "noted"

        def answer(_: str, request: Request) -> Any:
            said_last = request.messages[-1]
            if said_last.role == "tool":
                return f"noted {request.messages[-3].text}"
            call = ToolCall("c1", "note", f'{{"text": "{said_last.text}"}}')
            return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(10, output=5), "f", "f", 10)

        journal, given = MemoryJournal(), squad({"a": "x"}, tools=[note], people={"ann": TOOLED})
        first, second = Answers(answer), Answers(answer)
        told: list[Event] = []
        try:
            async with Session(given, id="s", journal=_DyingAt(journal, last), manager=first) as session:  # type: ignore[arg-type]  # as much of a journal as is needed
                for text in ("milk", "tea"):
                    await session.say(text)
            break
        except (Killed, BaseExceptionGroup):
            kills += 1
        async with Session(given, id="s", journal=journal, manager=second, ask=allow, on_event=told.append) as session:
            await session.go_on()
            for text in ("milk", "tea"):
                if text not in [one.text for one in session.history]:
                    await session.say(text)
            assert [(one.text, one.answer) for one in session.history] == [("milk", "noted milk"), ("tea", "noted tea")]
        repeated = len(done) - 2
        assert repeated in (0, 1)
        types = [event.type for event in told]
        assert repeated == 0 or "gate.opened" in types, f"untold at write {last}: {done}"
        assert len(first.asked) + len(second.asked) <= 4 + types.count("call.repeated")
    assert kills > 15


@pytest.mark.parametrize("text", ["", " \n"])
async def test_nothing_is_not_said(text: str) -> None:
    async with Session(manager=Answers()) as session:
        with pytest.raises(ValueError, match="nothing"):
            await session.say(text)
        assert session.exchanges == ()


@pytest.mark.few(2)
@pytest.mark.parametrize("context", [1024, 200_000, 2048, 8192])
async def test_a_chat_outgrows_no_context_however_small(context: int) -> None:
    """With a model of such a context, and answers as long as may be."""
    model = Model("m", context, context // 8, frozenset(Capability) - {Capability.PREFILL})
    known = [Candidate(Provider("a", "local", "", None, {"m": model}), model)]
    script = Scripted(["word " * (context // 40)] * 60)  # a few of them are summaries
    manager = ProviderManager(known, Policy({"worker": ("a/m",)}), adapters={"local": script}, rng=Random(1))
    agent = Agent("lena", None, manager, instructions="Help.", tier="worker")
    async with Session(agent) as session:
        for number in range(40):
            await session.say(f"{number}: {'go on ' * 5}")
        assert [one.status for one in session.history] == ["ok"] * 40
    assert max(sent.input_tokens for sent in script.requests) + min(1024, context // 8) <= context
