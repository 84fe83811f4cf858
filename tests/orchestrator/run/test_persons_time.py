"""Whose time is spent while people are awaited, and what a gate's own time does."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import GateAnswered, GateOpened
from orchestrator.errors import AnsweredAlready
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question
from orchestrator.run.history import history_of
from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.people import A_TASK, GATE, PERSONA, TALK, Till, begin, calls, cut, go_on, never
from tests.orchestrator.squads import Answers, of_type, squad

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)


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


MINUTE = {"budget": {"max_time": "1m"}}


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


@pytest.mark.few(2)
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
