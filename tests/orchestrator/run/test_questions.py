"""People's answers: which count, over kills and resumes, and whose time is spent while they are awaited."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from agents import tool
from agents.tools import Tool
from orchestrator import GateAnswered, GateOpened, RunResult, Squad
from orchestrator.errors import AnsweredAlready, NoQuestion, RunCancelled, RunOver
from orchestrator.events import AnswerOverruled, Event
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question, goes_on, questions_of
from orchestrator.run.history import history_of
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.conftest import VIRTUAL
from tests.orchestrator.squads import Answers, of_type, squad, types
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)
PERSONA = {"name": "T", "role": "r", "tier": "worker"}
TALK = {"pattern": "round_robin", "participants": ["human", "ann"], "terminate": {"max_turns": 4}}


class Till:
    """Two tools that change the world, and what they did: `pay` asks before each call, `note` does not."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.done: list[str] = []
        self.noted = anyio.Event()
        self.hangs = hangs

        @tool(approval="ask")
        async def pay(to: str) -> str:
            """Pay."""
            self.done.append(to)
            if self.hangs:
                await anyio.sleep_forever()
            return f"paid {to}"

        @tool(timeout_s=None)
        async def note(what: str) -> str:
            """Note it, once that is allowed."""
            await self.noted.wait()
            self.done.append(what)
            return f"noted {what}"

        self.tools: tuple[Tool, ...] = (pay, note)

    def squad(self, **more: Any) -> Squad:
        people = {"ann": {"persona": PERSONA, "tools": ["pay", "note"]}, "bob": {"persona": PERSONA}}
        tasks = more.pop("tasks", {"a": "x"})
        used = {name: people[name] for name in people if name == "ann" or f"'{name}'" in str(tasks)}
        outputs = {"said": "${{ tasks.a.output }}"}
        return squad(tasks, tools=self.tools, people=used, outputs=outputs, **more)


def calls(*made: tuple[str, str]) -> Callable[[str, Request], Any]:
    """Return what answers agent ann's first turn with these calls, and her second with the tools' results."""

    def answer(agent: str, request: Request) -> Any:
        results = [part.content for m in request.messages if m.role == "tool" for part in m.parts]  # type: ignore[union-attr]
        if agent != "ann" or results:
            return " | ".join(results) or "done"
        fields = {"pay": "to", "note": "what"}
        parts = tuple(
            ToolCall(f"c{i}", name, json.dumps({fields[name]: value})) for i, (name, value) in enumerate(made)
        )
        return Response(Message("assistant", parts), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    return answer


async def begin(given: Squad, journal: Journal, manager: Answers, **options: Any) -> RunResult:
    async with open_run(given, run_id="r", journal=journal, manager=manager, **options) as run:
        async for _ in run:
            pass
    return run.result


async def go_on(given: Squad, journal: Journal, manager: Answers, **options: Any) -> RunResult:
    async with resume_run(given, "r", journal=journal, manager=manager, **options) as run:
        async for _ in run:
            pass
    return run.result


async def cut(given: Squad, journal: Journal, manager: Answers, kind: str, **options: Any) -> None:
    """Run it until an event of a kind, then be gone."""
    async with open_run(given, run_id="r", journal=journal, manager=manager, **options) as run:
        async for event in run:
            if event.type == kind:
                return
    raise AssertionError("it was over before")


async def names(journal: Journal) -> list[str]:
    return [gate.name for gate in (await questions_of(journal, "r")).open]


async def never(gate: GateOpened) -> None:
    await anyio.sleep_forever()


GATE = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": "1h"}


@virtual_time
@pytest.mark.parametrize("on_timeout", ["approve", "reject", "pause"])
@pytest.mark.parametrize(("choice", "status"), [("approve", "done"), ("reject", "rejected")])
@pytest.mark.parametrize("waits_s", [600, 7200])
async def test_an_answer_counts_though_the_run_goes_on_only_after_the_gates_time(
    on_timeout: str, choice: str, status: str, waits_s: float
) -> None:
    """Given in time, or later while no process was there to enter that the time is up."""
    journal, options = MemoryJournal(), {"clock": anyio.current_time}
    after = {"agent": "ann", "description": "x", "needs": ["gate"]}
    given = squad({"gate": {"approval": {**GATE, "on_timeout": on_timeout}}, "a": after})
    await cut(given, journal, Answers(), "gate.opened", ask=never, **options)
    await anyio.sleep(waits_s)
    await answer_question(journal, "r", "gate", choice)
    await anyio.sleep(7200)
    assert (await go_on(given, journal, Answers(), ask=never, **options)).status == status
    answers = of_type(list(await journal.events("r")), "gate.answered")
    assert [(one.choice, one.by) for one in answers] == [(choice, "api")]


@virtual_time
@pytest.mark.parametrize(("on_timeout", "status"), [("approve", "done"), ("reject", "rejected")])
async def test_a_gate_whose_time_is_up_takes_no_answer_after(on_timeout: str, status: str) -> None:
    journal, options = MemoryJournal(), {"clock": anyio.current_time}
    side = {"agent": "ann", "description": "x"}
    given = squad({"gate": {"approval": {**GATE, "on_timeout": on_timeout}}, "side": side})

    async def slow(agent: str, request: Request) -> str:
        await anyio.sleep(4000)
        with pytest.raises(AnsweredAlready, match=f"gate is answered already: {on_timeout} by timeout"):
            await answer_question(journal, "r", "gate", "approve" if on_timeout == "reject" else "reject")
        return "done"

    assert (await begin(given, journal, Answers(slow), **options)).status == status


@virtual_time
async def test_a_gate_that_pauses_can_be_answered_for_ever() -> None:
    journal, options = MemoryJournal(), {"clock": anyio.current_time}
    given = squad({"gate": {"approval": {**GATE, "on_timeout": "pause"}}})
    assert (await begin(given, journal, Answers(), ask=never, **options)).status == "waiting"
    for _ in range(2):  # a person at the terminal is asked for as long again each time
        await anyio.sleep(10_000)
        began = anyio.current_time()
        assert (await go_on(given, journal, Answers(), ask=never, **options)).status == "waiting"
        assert anyio.current_time() - began == 3600

    async def approve(gate: GateOpened) -> GateAnswered:
        await anyio.sleep(1800)
        return GateAnswered(gate.name, "approve", "", "terminal")

    assert (await go_on(given, journal, Answers(), ask=approve, **options)).status == "done"


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
@pytest.mark.parametrize("at_once", [True, False])
async def test_each_call_of_a_turn_is_a_question_of_its_own(order: tuple[int, int], at_once: bool) -> None:
    journal, till = MemoryJournal(), Till()
    till.noted.set()
    given, manager = till.squad(), Answers(calls(("pay", "x"), ("pay", "y"), ("note", "z")))
    result = await begin(given, journal, manager)
    assert (result.status, till.done) == ("waiting", ["z"]), "a call beside them is made, and recorded"
    assert sorted(await names(journal)) == ["a/try-1/turn-1/tool-1", "a/try-1/turn-1/tool-2"]
    with pytest.raises(NoQuestion, match="several questions of r may be meant by a: name one"):
        await answer_question(journal, "r", "a", "approve")
    for i in order:
        await answer_question(journal, "r", f"a/try-1/turn-1/tool-{i}", "approve" if i == 1 else "reject", "too dear")
        if not at_once and i == order[0]:
            assert (await go_on(given, journal, manager)).status == "waiting"
            assert await names(journal) == [f"a/try-1/turn-1/tool-{order[1]}"]
    result = await go_on(given, journal, manager)
    assert result.outputs["said"] == "paid x | pay failed: a person refused this call: too dear | noted z"
    assert till.done == ["z", "x"]
    opened = of_type(list(await journal.events("r")), "gate.opened")
    assert len(opened) == 2, "nothing is asked twice"


@pytest.mark.parametrize("answered", [False, True])
async def test_a_question_that_was_open_at_a_kill_is_the_same_one_after_it(answered: bool) -> None:
    """The call had not begun: nobody is asked whether it may be made again, nor told that it was."""
    journal, till = MemoryJournal(), Till()
    given, manager = till.squad(), Answers(calls(("pay", "x")))
    await cut(given, journal, manager, "gate.opened", ask=never)
    if answered:
        await answer_question(journal, "r", "a", "approve")
    else:
        assert (await go_on(given, journal, manager)).status == "waiting"
        await answer_question(journal, "r", "a", "approve")
    assert (await go_on(given, journal, manager)).outputs["said"] == "paid x"
    events = list(await journal.events("r"))
    assert (len(of_type(events, "gate.opened")), len(of_type(events, "call.repeated"))) == (1, 0)


async def test_leave_holds_for_one_call_and_what_was_cut_short_is_asked_anew_each_time() -> None:
    journal, till = MemoryJournal(), Till(hangs=True)
    given, manager = till.squad(), Answers(calls(("pay", "x")))

    async def approve(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.name, "approve", "", "terminal")

    await cut(given, journal, manager, "gate.answered", ask=approve)
    for number in (2, 3):
        till.done.clear()
        assert (await go_on(given, journal, manager)).status == "waiting"
        (gate,) = (await questions_of(journal, "r")).open
        assert (gate.attempt, till.done) == (number, [])
        assert "again, though it was cut short and may have taken effect" in gate.prompt
        await answer_question(journal, "r", "a", "approve")
        if number == 2:
            async with resume_run(given, "r", journal=journal, manager=manager) as run:
                async for event in run:
                    if event.type == "gate.answered":
                        break
    till.hangs = False
    assert (await go_on(given, journal, manager)).status == "done"


async def test_a_refusal_stands_when_the_process_ends_before_the_model_hears_of_it() -> None:
    journal, till = MemoryJournal(), Till()
    given, manager = till.squad(), Answers(calls(("pay", "x")))

    async def deny(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.name, "reject", "no", "terminal")

    await cut(given, journal, manager, "gate.answered", ask=deny)
    result = await go_on(given, journal, manager)
    assert result.outputs["said"] == "pay failed: a person refused this call: no"
    repeated = of_type(list(await journal.events("r")), "call.repeated")
    assert "a/try-1/turn-1/tool-1" not in [one.step for one in repeated]


async def test_a_question_of_a_unit_takes_an_answer_while_something_else_is_at_work() -> None:
    journal, till = MemoryJournal(), Till()
    answered = anyio.Event()

    async def answer(agent: str, request: Request) -> Any:
        if agent == "bob":
            await answered.wait()
        return calls(("pay", "x"))(agent, request)

    given = till.squad(tasks={"a": "x", "b": {"agent": "bob", "description": "y"}})
    async with open_run(given, run_id="r", journal=journal, manager=Answers(answer)) as run:
        async for event in run:
            if event.type == "gate.opened":
                await answer_question(journal, "r", "a", "approve")
                assert await goes_on(journal, "r")
            if event.type == "tool.ended":
                answered.set()  # the call was made while the other task was at work
    assert (run.result.status, till.done) == ("done", ["x"])


async def test_a_unit_that_waits_for_a_person_gives_its_slot_to_another_and_goes_on_in_the_same_process() -> None:
    journal, till = MemoryJournal(), Till()
    seen: list[Event] = []

    async def answer(agent: str, request: Request) -> Any:
        if agent == "bob":
            await answer_question(journal, "r", "a", "approve")
            assert await goes_on(journal, "r")
        return calls(("pay", "x"))(agent, request)

    tasks = {"a": "x", "b": {"agent": "bob", "description": "y"}}
    given = till.squad(tasks=tasks, max_parallel=1)
    async with open_run(given, run_id="r", journal=journal, manager=Answers(answer)) as run:
        seen = [event async for event in run]
    assert (run.result.status, till.done) == ("done", ["x"]), " ".join(types(seen))
    assert types(seen).count("run.finished") == 1
    assert await names(journal) == []


async def test_more_units_may_wait_for_people_than_work_at_once() -> None:
    journal, till = MemoryJournal(), Till()
    tasks = {name: {"agent": "ann", "description": "x"} for name in ("a", "b", "c")}
    given, manager = till.squad(tasks=tasks, max_parallel=1), Answers(calls(("pay", "x")))
    assert (await begin(given, journal, manager)).status == "waiting"
    with anyio.fail_after(PATIENCE_S):
        assert (await go_on(given, journal, manager)).status == "waiting"
    for name in tasks:
        await answer_question(journal, "r", name, "approve")
    assert (await go_on(given, journal, manager)).status == "done"
    assert till.done == ["x"] * 3


async def test_of_two_who_answer_at_once_the_first_counts_and_the_other_is_told() -> None:
    journal, notices = MemoryJournal(), list[Any]()

    async def too_late(gate: GateOpened) -> GateAnswered:
        await answer_question(journal, "r", "gate", "reject", "no", by="cli")
        return GateAnswered(gate.name, "approve", "", "terminal")

    given = squad({"gate": {"approval": {"prompt": "Go?"}}})
    assert (await begin(given, journal, Answers(), ask=too_late, notify=notices.append)).status == "rejected"
    assert notices in [[AnswerOverruled("gate", choice, "reject", "cli")] for choice in ("approve", "")]
    with pytest.raises(RunOver):
        await answer_question(journal, "r", "gate", "approve")


async def test_a_person_who_is_still_asked_is_told_that_another_answered() -> None:
    journal, notices = MemoryJournal(), list[Any]()

    async def slow(gate: GateOpened) -> GateAnswered:
        await answer_question(journal, "r", "gate", "approve", by="cli")
        await anyio.sleep_forever()
        raise AssertionError

    given = squad({"gate": {"approval": {"prompt": "Go?"}}})
    assert (await begin(given, journal, Answers(), ask=slow, notify=notices.append)).status == "done"
    assert notices == [AnswerOverruled("gate", "", "approve", "cli")]


async def test_a_cancelled_run_takes_no_answer() -> None:
    journal = MemoryJournal()
    given = squad({"gate": {"approval": {"prompt": "Go?"}}})
    assert (await begin(given, journal, Answers())).status == "waiting"
    await journal.request_cancel("r")
    assert await names(journal) == []
    with pytest.raises(RunCancelled):
        await answer_question(journal, "r", "gate", "approve")


async def test_a_persons_turn_beside_anothers_leaves_the_others_words_recorded() -> None:
    journal, manager = MemoryJournal(), Answers()
    party = {
        "pattern": "party",
        "participants": ["human", "ann", "bob"],
        "independent_first_round": True,
        "terminate": {"max_turns": 3},
    }
    given = squad({"t": {"conversation": "m", "description": "Agree."}}, conversations={"m": party})
    assert (await begin(given, journal, manager)).status == "waiting"
    assert len(manager.asked) == 2
    await answer_question(journal, "r", "t", "say", "I agree.")
    assert (await go_on(given, journal, manager)).status == "done"
    assert len(manager.asked) == 2
    spoken = of_type(list(await journal.events("r")), "message.spoken")
    assert [one.text for one in spoken] == ["I agree.", "ann: done", "bob: done"]
    assert of_type(list(await journal.events("r")), "gate.answered")[0].by == "api"


async def test_a_person_is_shown_their_own_words_as_theirs() -> None:
    journal = MemoryJournal()
    given = squad({"t": {"conversation": "m", "description": "Agree."}}, conversations={"m": TALK})
    shown: list[Any] = []

    async def speak(gate: GateOpened) -> GateAnswered:
        shown.append(dict(gate.shown))
        return GateAnswered(gate.name, "say", "I say", "terminal")

    assert (await begin(given, journal, Answers(), ask=speak)).status == "done"
    assert [list(one) for one in shown] == [["the topic"], ["the topic", "human", "ann"]]
    assert shown[1]["human"] == "I say"


LIMITED: dict[str, dict[str, Any]] = {
    "task": {"tasks": {"a": {"agent": "ann", "description": "x", "timeout": "1m"}}},
    "step": {"tasks": {"a": {"steps": [{"id": "s", "agent": "ann", "description": "x", "timeout": "1m"}]}}},
    "task budget": {"tasks": {"a": {"agent": "ann", "description": "x", "budget": {"max_time": "1m"}}}},
    "squad": {"budget": {"max_time": "1m"}},
    "agent": {},
}


@virtual_time
@pytest.mark.parametrize("limited", LIMITED)
@pytest.mark.parametrize("works_s", [50, 70])
async def test_a_persons_time_counts_for_no_limit_of_work(limited: str, works_s: float) -> None:
    journal, till = MemoryJournal(), Till()

    async def approve(gate: GateOpened) -> GateAnswered:
        await anyio.sleep(3600)
        return GateAnswered(gate.name, "approve", "", "terminal")

    async def answer(agent: str, request: Request) -> Any:
        if request.messages[-1].role != "tool":
            await anyio.sleep(works_s)
        return calls(("pay", "x"))(agent, request)

    given = till.squad(**LIMITED[limited])
    if limited == "agent":
        people = {"ann": {"persona": PERSONA, "tools": ["pay"], "budget": {"max_time": "1m"}}}
        given = squad({"a": "x"}, tools=till.tools, people=people)
    result = await begin(given, journal, Answers(answer), ask=approve, clock=anyio.current_time)
    assert result.status == "done" if works_s < 60 else result.status in ("failed", "stopped")


@virtual_time
async def test_a_call_beside_a_question_is_work() -> None:
    journal, till = MemoryJournal(), Till()
    tasks = {"a": {"agent": "ann", "description": "x", "timeout": "1m"}}
    given = till.squad(tasks=tasks)
    result = await begin(given, journal, Answers(calls(("pay", "x"), ("note", "z"))), ask=never)
    assert result.error_kinds == {"a": "TaskTimedOut"}, "its other call never ended"


@virtual_time
async def test_the_squads_time_stands_still_for_an_approval_alone() -> None:
    async def approve(gate: GateOpened) -> GateAnswered:
        await anyio.sleep(3600)
        return GateAnswered(gate.name, "approve", "", "terminal")

    async def work(agent: str, request: Request) -> str:
        await anyio.sleep(25)
        return "done"

    tasks = {"gate": {"approval": {"prompt": "Go?"}}, "a": {"agent": "ann", "description": "x", "needs": ["gate"]}}
    given = squad({**tasks, "b": {"agent": "ann", "description": "y", "needs": ["a"]}}, budget={"max_time": "1m"})
    options: dict[str, Any] = {"ask": approve, "clock": anyio.current_time}
    assert (await begin(given, MemoryJournal(), Answers(work), **options)).status == "done"


@virtual_time
@pytest.mark.parametrize("kind", ["approval", "call", "turn"])
async def test_a_persons_time_is_no_work_of_a_run_that_is_taken_up_again(kind: str) -> None:
    """The person answers an hour later, or leaves after an hour; then the run goes on in another process."""
    journal, till, asked = MemoryJournal(), Till(), list[str]()
    given = {
        "approval": squad({"gate": {"approval": {"prompt": "Go?"}}, "a": {**A_TASK, "needs": ["gate"]}}, **MINUTE),
        "call": till.squad(**MINUTE),
        "turn": squad({"t": {"conversation": "m", "description": "x"}}, conversations={"m": TALK}, **MINUTE),
    }[kind]

    async def leave_after_an_hour(gate: GateOpened) -> None:
        await anyio.sleep(3600)

    async def answer_after_an_hour(gate: GateOpened) -> GateAnswered:
        asked.append(gate.name)
        await anyio.sleep(3600)
        return GateAnswered(gate.name, gate.choices[0], "yes", "terminal")

    async def work(agent: str, request: Request) -> Any:
        await anyio.sleep(10)
        return calls(("pay", "x"))(agent, request)

    options: dict[str, Any] = {"clock": anyio.current_time}
    assert (await begin(given, journal, Answers(work), ask=leave_after_an_hour, **options)).status == "waiting"
    assert (await go_on(given, journal, Answers(work), ask=answer_after_an_hour, **options)).status == "done"
    assert asked
    assert history_of(await journal.events("r")).worked_s <= 40


MINUTE = {"budget": {"max_time": "1m"}}
A_TASK = {"agent": "ann", "description": "x"}


@virtual_time
@pytest.mark.parametrize(("works_s", "leaves", "turns"), [(10, False, 6), (10, True, 6), (40, False, 3), (40, True, 5)])
async def test_a_persons_time_ends_no_conversation_and_its_replay_is_equal(
    works_s: float, turns: int, *, leaves: bool
) -> None:
    """An hour for each of the person's turns; where they leave first, another process goes on, with time of its own."""
    journal, options = MemoryJournal(), {"clock": anyio.current_time}
    talk = {**TALK, "participants": ["ann", "human"], "terminate": {"any": [{"time": "1m"}, {"max_turns": 6}]}}
    given = squad({"t": {"conversation": "m", "description": "x"}}, conversations={"m": talk})
    asked = 0

    async def speak(gate: GateOpened) -> GateAnswered | None:
        nonlocal asked
        asked += 1
        await anyio.sleep(3600)
        return None if leaves and asked == 1 else GateAnswered(gate.name, "say", f"words {asked}", "terminal")

    async def work(agent: str, request: Request) -> str:
        await anyio.sleep(works_s)
        return f"other things {anyio.current_time()}"

    result = await begin(given, journal, Answers(work), ask=speak, **options)
    if leaves:
        assert result.status == "waiting"
        result = await go_on(given, journal, Answers(work), ask=speak, **options)
    assert result.status == "done"
    events = list(await journal.events("r"))
    (ended,) = of_type(events, "conversation.ended")
    assert (ended.turns, ended.kind) == (turns, "max_turns" if turns == 6 else "time")
    again = await replay(journal, "r")
    assert again.is_equal, again.difference


@pytest.mark.parametrize("kind", ["approval", "call", "turn"])
@pytest.mark.parametrize(
    "when", ["between", *(pytest.param(one, marks=pytest.mark.long) for one in ("before", "after"))]
)
async def test_an_answer_counts_though_the_task_is_given_another_name(kind: str, when: str) -> None:
    """Given before the edit; after it, to the new name; or before a second one."""
    journal, till = MemoryJournal(), Till()
    manager = Answers(calls(("pay", "x")))

    def named(name: str) -> Squad:
        match kind:
            case "approval":
                return squad({name: {"approval": {"prompt": "Go?"}}, "a": {**A_TASK, "needs": [name]}})
            case "call":
                people = {"ann": {"persona": PERSONA, "tools": ["pay"]}}
                return squad({name: A_TASK}, tools=till.tools, people=people)
        return squad({name: {"conversation": "m", "description": "x"}}, conversations={"m": {**TALK, **ONE_TURN}})

    assert (await begin(named("old"), journal, manager)).status == "waiting"
    (gate,) = (await questions_of(journal, "r")).open
    if when == "before":
        await answer_question(journal, "r", "old", gate.choices[0])
    else:
        assert (await go_on(named("mid"), journal, manager, edited=True)).status == "waiting"
        (now,) = (await questions_of(journal, "r")).open
        assert now.name == gate.name.replace("old", "mid")
        await answer_question(journal, "r", "mid", gate.choices[0])
    last = "mid" if when == "after" else "new"
    assert (await go_on(named(last), journal, manager, edited=last == "new")).status == "done"
    assert till.done == ["x"] * (kind == "call")
    events = list(await journal.events("r"))
    assert (len(of_type(events, "gate.opened")), len(of_type(events, "gate.answered"))) == (1, 1)
    again = await replay(journal, "r")
    assert again.is_equal, again.difference


ONE_TURN = {"participants": ["ann", "human"], "terminate": {"max_turns": 2}}


async def test_a_question_of_a_task_that_an_edit_removed_takes_no_answer() -> None:
    journal = MemoryJournal()
    gate = {"approval": {"prompt": "Go?"}}
    assert (await begin(squad({"gate": gate, "other": gate}), journal, Answers())).status == "waiting"
    await answer_question(journal, "r", "gate", "reject")
    assert (await go_on(squad({"other": gate}), journal, Answers(), edited=True)).status == "waiting"
    with pytest.raises(NoQuestion, match="gate"):
        await answer_question(journal, "r", "gate", "approve")
    assert await names(journal) == ["other"]


@virtual_time
@pytest.mark.parametrize(("on_timeout", "status"), [("approve", "done"), ("reject", "rejected"), ("pause", "waiting")])
@pytest.mark.parametrize("hours", [-24, 0, 24])
async def test_a_gate_is_waited_for_no_longer_than_its_time_whatever_the_clock_says(
    on_timeout: str, status: str, hours: float
) -> None:
    """The process is killed, the clock set back or on, and the run is taken up where nobody answers."""
    journal = MemoryJournal()
    given = squad({"gate": {"approval": {**GATE, "on_timeout": on_timeout}}})
    await cut(given, journal, Answers(), "gate.opened", ask=never, clock=lambda: 1e6 + anyio.current_time())
    began = anyio.current_time()
    clock = lambda: 1e6 + 3600 * hours + anyio.current_time()  # noqa: E731
    assert (await go_on(given, journal, Answers(), ask=never, clock=clock)).status == status
    at_once = hours > 0 and on_timeout != "pause"
    assert anyio.current_time() - began == pytest.approx(0 if at_once else 3600)
    assert [one.by for one in of_type(list(await journal.events("r")), "gate.answered")] == (
        [] if on_timeout == "pause" else ["timeout"]
    )


@virtual_time
async def test_a_try_of_a_task_asks_for_itself() -> None:
    journal, till, asked = MemoryJournal(), Till(), list[str]()
    retry = {"retry": {"max_attempts": 2, "on": ["timeout"]}, "timeout": "1m"}
    given = till.squad(tasks={"a": {**A_TASK, **retry}})

    async def answer(gate: GateOpened) -> GateAnswered:
        asked.append(gate.name)
        return GateAnswered(gate.name, "approve" if len(asked) == 1 else "reject", "no", "terminal")

    async def work(agent: str, request: Request) -> Any:
        if len(asked) == 1 and request.messages[-1].role == "tool":
            await anyio.sleep(70)
        return calls(("pay", "x"))(agent, request)

    result = await begin(given, journal, Answers(work), ask=answer)
    assert asked == ["a/try-1/turn-1/tool-1", "a/try-2/turn-1/tool-1"]
    assert (till.done, result.outputs["said"]) == (["x"], "pay failed: a person refused this call: no")


@pytest.mark.parametrize("choice", ["approve", "reject"])
async def test_a_call_that_was_cut_short_is_made_again_with_leave_alone(choice: str) -> None:
    """Of a tool that never asks otherwise."""
    journal, till = MemoryJournal(), Till()
    given, manager = till.squad(), Answers(calls(("note", "x")))
    await cut(given, journal, manager, "tool.started")
    till.noted.set()
    assert (await go_on(given, journal, manager)).status == "waiting"
    (gate,) = (await questions_of(journal, "r")).open
    assert "again, though it was cut short and may have taken effect" in gate.prompt
    await answer_question(journal, "r", "a", choice, "look first")
    said = (await go_on(given, journal, manager)).outputs["said"]
    assert said == ("noted x" if choice == "approve" else "note failed: a person refused this call: look first")
    assert till.done == ["x"] * (choice == "approve")
    assert len(of_type(list(await journal.events("r")), "gate.opened")) == 1


@virtual_time
@pytest.mark.parametrize("works_s", [10, 70])
async def test_a_persons_time_is_none_of_a_conversations_budget(works_s: float) -> None:
    journal = MemoryJournal()
    talk = {**TALK, "participants": ["ann", "human"], "budget": {"max_time": "1m"}}
    given = squad({"t": {"conversation": "m", "description": "x"}}, conversations={"m": talk})

    async def speak(gate: GateOpened) -> GateAnswered:
        await anyio.sleep(3600)
        return GateAnswered(gate.name, "say", "words", "terminal")

    async def work(agent: str, request: Request) -> str:
        await anyio.sleep(works_s)
        return f"at {anyio.current_time()}"

    await begin(given, journal, Answers(work), ask=speak, clock=anyio.current_time)
    (ended,) = of_type(list(await journal.events("r")), "conversation.ended")
    assert (ended.kind, ended.budget) == (("max_turns", "") if works_s == 10 else ("budget", "max_time"))
    again = await replay(journal, "r")
    assert again.is_equal, again.difference
