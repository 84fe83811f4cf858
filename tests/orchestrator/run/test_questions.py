"""People's answers: which count, over kills and resumes."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.errors import NoQuestion, RunCancelled, RunOver
from orchestrator.events import AnswerOverruled, Event
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question, goes_on, questions_of
from orchestrator.runtime import open_run, resume_run
from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.people import A_TASK, PERSONA, TALK, Till, begin, calls, cut, go_on, names, never
from tests.orchestrator.squads import Answers, of_type, squad, types
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)


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
