"""Going on with a run in this process, on every journal: what is handed back, what is done again, what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents import tool
from orchestrator import GateAnswered, GateOpened, RunResult, Squad
from orchestrator.errors import CommentMissing, RunCancelled, RunChanged, RunNotFound, RunOver
from orchestrator.events import Event
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Fenced, Journal, JournalError, RunBusy, StepChanged
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.run.approvals import answer_gate
from orchestrator.run.history import history_of
from orchestrator.runtime import open_run, resume_run
from orchestrator.units import Unit
from providers.errors import AllAttemptsFailed, ServerFault
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.event_loops import VIRTUAL
from tests.orchestrator.squads import Answers, of_type, squad, types

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    made: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    yield made
    await made.aclose()


async def begin(given: Squad, journal: Journal, manager: Answers, **options: Any) -> RunResult:
    """Run it to its end."""
    async with open_run(given, run_id="r", journal=journal, manager=manager, **options) as run:
        async for _ in run:
            pass
    return run.result


async def cut(given: Squad, journal: Journal, manager: Answers, when: Callable[[Event], bool], **options: Any) -> None:
    """Run it until an event, then be gone: what is at work is never heard of again."""
    async with open_run(given, run_id="r", journal=journal, manager=manager, **options) as run:
        async for event in run:
            if when(event):
                return
    raise AssertionError("it was over before")


async def go_on(given: Squad, journal: Journal, manager: Answers, **options: Any) -> tuple[RunResult, list[Event]]:
    async with resume_run(given, "r", journal=journal, manager=manager, **options) as run:
        events = [event async for event in run]
    return run.result, events


def hanging_at(number: int, answer: Callable[[str, Request], Any] | None = None) -> Answers:
    """A manager that never answers its `number`-th question."""
    given = answer or (lambda agent, request: f"{agent}: done")

    async def respond(agent: str, request: Request) -> Any:
        if len(manager.asked) == number:
            await anyio.sleep_forever()
        return given(agent, request)

    manager = Answers(respond)
    return manager


def turn(number: int) -> Callable[[Event], bool]:
    """Return what tells the start of the run's `number`-th turn."""
    begun: list[Event] = []

    def is_it(event: Event) -> bool:
        begun.extend([event] if event.type == "turn.started" else [])
        return len(begun) == number

    return is_it


CHAIN = {
    "a": {"agent": "ann", "description": "x", "output_file": "a.md"},
    "b": {"agent": "bob", "needs": ["a"], "description": "y ${{ tasks.a.output }}", "output_file": "b.md"},
}


async def test_recorded_turns_are_handed_back_and_the_one_in_flight_is_made_again_and_reported(
    journal: Journal, tmp_path: Path
) -> None:
    given = squad(CHAIN, outputs={"b": "${{ tasks.b.output }}"})
    first = hanging_at(2)
    await cut(
        given, journal, first, lambda event: event.type == "turn.started" and event.path == "b/try-1", out=tmp_path
    )
    second = Answers()
    result, events = await go_on(given, journal, second)
    assert (result.status, result.outputs) == ("done", {"b": "bob: done"})
    assert [agent for agent, _ in second.asked] == ["bob"]
    assert [event.step for event in of_type(events, "call.repeated")] == ["b/try-1/turn-1/model"]
    assert events[0].data.done == ("a",)
    assert (result.usage, result.cost) == (Usage(20, output=10), 20), "each recorded turn counts once"
    recorded = await journal.events("r")
    assert len({event.id for event in recorded}) == len(recorded)
    assert (types(list(recorded))[0], types(list(recorded))[-1]) == ("run.started", "run.finished")
    with pytest.raises(RunOver, match="done"):
        await go_on(given, journal, second)


async def test_artifacts_are_written_again_only_where_they_are_gone(journal: Journal, tmp_path: Path) -> None:
    given = squad({**CHAIN, "c": {"agent": "ann", "needs": ["b"], "description": "z"}})
    manager = hanging_at(3)
    await cut(given, journal, manager, turn(3), out=tmp_path)
    (tmp_path / "a.md").unlink()
    (tmp_path / "b.md").write_text("a person's own")
    kept = (tmp_path / "b.md").stat().st_mtime_ns
    result, _ = await go_on(given, journal, Answers())
    assert (tmp_path / "a.md").read_text() == "ann: done"
    assert (tmp_path / "b.md").stat().st_mtime_ns == kept
    assert sorted(result.artifacts) == ["a.md", "b.md"]


async def test_without_a_folder_the_artifacts_of_both_processes_are_in_the_result(journal: Journal) -> None:
    given, manager = squad(CHAIN), hanging_at(2)
    await cut(given, journal, manager, turn(2))
    result, _ = await go_on(given, journal, Answers())
    assert result.texts == {"a.md": "ann: done", "b.md": "bob: done"}


async def test_a_try_that_failed_is_not_tried_again(journal: Journal) -> None:
    def answer(agent: str, request: Request) -> str:
        if len(first.asked) == 1:
            raise AllAttemptsFailed("down", [ServerFault("down")])
        return ""

    # The second try's first answer is empty, so that a recorded turn lies in it when its second call is cut short.
    first = hanging_at(3, answer)
    retry = {"max_attempts": 2, "on": ["provider"]}
    given = squad({"a": {"agent": "ann", "description": "x", "retry": retry}})
    await cut(given, journal, first, lambda event: event.type == "turn.started" and event.turn == 2)
    second = Answers()
    result, events = await go_on(given, journal, second)
    assert result.status == "done"
    assert len(second.asked) == 1
    assert of_type(events, "turn.started")[0].turn == 2


async def test_what_was_spent_before_counts_on_every_account(journal: Journal) -> None:
    people = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "budget": {"max_turns": 2}}}
    tasks = {"a": "x", "b": {"agent": "ann", "needs": ["a"], "description": "x"}}
    tasks["c"] = {"agent": "ann", "needs": ["b"], "description": "x"}
    given, manager = squad(tasks, people=people), hanging_at(2)
    await cut(given, journal, manager, turn(2))
    result, _ = await go_on(given, journal, Answers())
    assert result.tasks == {"a": "ok", "b": "ok", "c": "failed"}
    assert "agent ann" in result.errors["c"]


async def test_a_paused_run_goes_on_once_its_cap_is_raised(journal: Journal) -> None:
    def capped(turns: int) -> Squad:
        return squad(CHAIN, budget={"max_turns": turns, "on_exceed": "pause"})

    assert (await begin(capped(1), journal, Answers())).status == "paused"
    result, events = await go_on(capped(1), journal, Answers())
    assert (result.status, of_type(events, "budget.reached")[0].which) == ("paused", "squad")
    manager = Answers()
    result, _ = await go_on(capped(2), journal, manager)
    assert (result.status, len(manager.asked)) == ("done", 1)


@virtual_time
async def test_time_at_work_counts_and_time_in_between_does_not() -> None:
    journal = MemoryJournal()  # a thread that writes knows no virtual time

    async def answer(agent: str, request: Request) -> str:
        await anyio.sleep(40)
        return "done"

    given = squad({**CHAIN, "c": {"agent": "ann", "needs": ["b"], "description": "z"}})
    options: dict[str, Any] = {"clock": anyio.current_time}
    await cut(given, journal, Answers(answer), lambda event: event.type == "task.ended", timeout_s=60, **options)
    await anyio.sleep(10_000)
    began = anyio.current_time()
    result, _ = await go_on(given, journal, Answers(answer), **options)
    assert (result.status, result.tasks["a"]) == ("stopped", "ok")
    assert round(anyio.current_time() - began) == 20


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_to_set_the_clock_spends_no_time_and_takes_no_event_back(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    real = time.time

    def answer(agent: str, request: Request) -> str:
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        return "done"

    given = squad({"a": "x", "b": {"agent": "ann", "description": "y", "needs": ["a"]}}, budget={"max_time": "1h"})
    assert (await begin(given, journal, Answers(answer))).status == "done"
    stamps = [event.at for event in await journal.events("r")]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] < 3600


GATED = {
    "stories": "Write.",
    "gate": {
        "approval": {"prompt": "Build?", "show": ["stories"], "choices": ["approve", "revise", "reject"]},
        "needs": ["stories"],
        "on_revise": {"rerun": ["stories"], "max_attempts": 2},
    },
    "build": {"agent": "bob", "needs": ["gate"], "description": "Build."},
}


async def test_a_gate_is_answered_from_outside_and_only_for_what_was_shown(journal: Journal) -> None:
    given = squad(GATED)
    assert (await begin(given, journal, Answers(lambda agent, request: "one"))).status == "waiting"
    (first,) = [event.data for event in await journal.events("r") if event.type == "gate.opened"]
    with pytest.raises(ValueError, match="approve, revise, reject"):
        await answer_gate(journal, "r", first, "perhaps")
    with pytest.raises(CommentMissing, match="gate: `revise` needs a comment"):
        await answer_gate(journal, "r", first, "revise", " ")
    await answer_gate(journal, "r", first, "revise", "smaller")
    manager = Answers(lambda agent, request: "two")
    result, events = await go_on(given, journal, manager)
    assert (result.status, "smaller" in manager.prompts("ann")[0]) == ("waiting", True)
    assert of_type(events, "gate.answered")[0].by == "api"
    await answer_gate(journal, "r", first, "approve")
    assert (await go_on(given, journal, Answers()))[0].status == "waiting", "that was said of what is no more"
    (second,) = of_type(events, "gate.opened")
    await answer_gate(journal, "r", second, "approve")
    assert (await go_on(given, journal, Answers()))[0].status == "done"


async def test_an_answer_from_outside_counts_while_the_run_is_at_work(journal: Journal) -> None:
    side = {"agent": "ann", "description": "Something else."}
    answered = anyio.Event()

    async def respond(agent: str, request: Request) -> Any:
        if "Something else" in str(request.messages):
            await answered.wait()
        return "done"

    given, opened = squad({**GATED, "side": side}), []
    async with open_run(given, run_id="r", journal=journal, manager=Answers(respond)) as run:
        async for event in run:
            if event.type == "gate.opened":
                await answer_gate(journal, "r", event.data, "approve")
                opened.append(event)
            if event.type == "gate.answered":
                answered.set()
    assert (run.result.status, run.result.tasks["build"], len(opened)) == ("done", "ok", 1)


async def test_an_answer_from_outside_ends_a_question_at_the_terminal(journal: Journal) -> None:
    async def never(gate: GateOpened) -> None:
        await answer_gate(journal, "r", gate, "approve")
        await anyio.sleep_forever()

    assert (await begin(squad(GATED), journal, Answers(), ask=never)).status == "done"


async def test_an_answered_gate_stays_answered(journal: Journal) -> None:
    async def approve(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "approve", "", "terminal")

    given, manager = squad(GATED), hanging_at(2)
    await cut(given, journal, manager, turn(2), ask=approve)
    result, _ = await go_on(given, journal, Answers())  # nobody would answer now
    assert result.status == "done"


@virtual_time
async def test_a_gates_time_runs_on_while_nobody_is_there() -> None:
    journal = MemoryJournal()
    approval = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": "1h", "on_timeout": "approve"}
    given = squad({"a": "x", "gate": {"approval": approval, "needs": ["a"]}})

    async def never(gate: GateOpened) -> None:
        await anyio.sleep_forever()

    options: dict[str, Any] = {"clock": anyio.current_time, "ask": never}
    await cut(given, journal, Answers(), lambda event: event.type == "gate.opened", **options)
    await anyio.sleep(3000)
    began = anyio.current_time()
    result, _ = await go_on(given, journal, Answers(), **options)
    assert result.status == "done"
    assert round(anyio.current_time() - began) == 600


def deploying(ran: list[str], **more: Any) -> tuple[Squad, Callable[[str, Request], Any]]:
    """A squad whose agent deploys with a tool, once."""

    @tool(**more)
    async def deploy(where: str) -> str:
        """Deploy it."""
        ran.append(where)
        if len(ran) == 1:
            await anyio.sleep_forever()
        return "deployed"

    def answer(agent: str, request: Request) -> Any:
        if request.messages[-1].role == "tool":
            return f"it said: {request.messages[-1].parts[0].content}"  # type: ignore[union-attr]
        call = ToolCall("c1", "deploy", json.dumps({"where": "prod"}))
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    persona = {"name": "T", "role": "r", "tier": "worker"}
    people = {"ann": {"persona": persona, "tools": ["deploy"]}}
    return squad({"a": "x"}, tools=[deploy], people=people, outputs={"said": "${{ tasks.a.output }}"}), answer


async def test_a_tool_that_does_no_harm_twice_is_simply_called_again(journal: Journal) -> None:
    ran: list[str] = []
    given, answer = deploying(ran, idempotent=True)
    await cut(given, journal, Answers(answer), lambda event: event.type == "tool.started")
    result, events = await go_on(given, journal, Answers(answer))
    assert (result.outputs["said"], ran) == ("it said: deployed", ["prod", "prod"])
    assert [event.step for event in of_type(events, "call.repeated")] == ["a/try-1/turn-1/tool-1"]


@pytest.mark.parametrize(("choice", "times", "said"), [("approve", 2, "deployed"), ("reject", 1, "refused")])
async def test_another_tool_that_was_cut_short_is_called_again_only_with_leave(
    journal: Journal, choice: str, times: int, said: str
) -> None:
    ran: list[str] = []
    given, answer = deploying(ran)
    await cut(given, journal, Answers(answer), lambda event: event.type == "tool.started")
    result, events = await go_on(given, journal, Answers(answer))
    assert (result.status, ran) == ("waiting", ["prod"])
    gate = of_type(events, "gate.opened")[0]
    assert "it was cut short and may have taken effect" in gate.prompt
    await answer_gate(journal, "r", gate, choice)
    result, _ = await go_on(given, journal, Answers(answer))
    assert (result.status, len(ran)) == ("done", times)
    assert said in result.outputs["said"]


async def test_leave_for_one_call_of_a_tool_is_no_leave_for_the_next_one_like_it(journal: Journal) -> None:
    ran: list[str] = []

    @tool(approval="ask")
    async def deploy(where: str) -> str:
        """Deploy it."""
        ran.append(where)
        return "deployed"

    def answer(agent: str, request: Request) -> Any:
        if sum(message.role == "tool" for message in request.messages) == 2:
            return "done"
        call = ToolCall("c1", "deploy", json.dumps({"where": "prod"}))
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    people = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "tools": ["deploy"]}}
    given = squad({"a": "x"}, tools=[deploy], people=people)
    assert (await begin(given, journal, Answers(answer))).status == "waiting"
    for times in (1, 2):
        (gate,) = history_of(await journal.events("r")).gates.values()
        await answer_gate(journal, "r", gate.opened, "approve")
        result, _ = await go_on(given, journal, Answers(answer))
        assert (result.status, ran) == ("waiting" if times == 1 else "done", ["prod"] * times)


async def test_a_persons_words_may_come_from_outside(journal: Journal) -> None:
    talk = {"pattern": "round_robin", "participants": ["human", "ann"], "terminate": {"max_turns": 2}}
    given = squad({"talk": {"conversation": "meeting", "description": "Agree."}}, conversations={"meeting": talk})
    assert (await begin(given, journal, Answers())).status == "waiting"
    (waiting,) = history_of(await journal.events("r")).gates.values()
    await answer_gate(journal, "r", waiting.opened, "say", "I agree.")
    result, events = await go_on(given, journal, Answers())
    assert result.status == "done"
    assert of_type(events, "message.spoken")[0].text == "I agree."
    assert not history_of(await journal.events("r")).gates


async def test_a_person_who_spoke_is_not_asked_to_speak_again(journal: Journal) -> None:
    talk = {"pattern": "round_robin", "participants": ["human", "ann"], "terminate": {"max_turns": 3}}
    given = squad({"talk": {"conversation": "meeting", "description": "Agree."}}, conversations={"meeting": talk})
    spoken: list[str] = []

    async def ask(gate: GateOpened) -> GateAnswered | None:
        if spoken:
            return None
        spoken.append("I say so")
        return GateAnswered(gate.task, "say", "I say so", "terminal")

    manager = Answers()
    assert (await begin(given, journal, manager, ask=ask)).status == "waiting"

    async def again(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "say", "And so", "terminal")

    result, events = await go_on(given, journal, manager, ask=again)
    assert result.status == "done"
    assert len(manager.asked) == 1
    assert [event.text for event in of_type(list(await journal.events("r")), "message.spoken")] == [
        "I say so",
        "ann: done",
        "And so",
    ]
    assert [event.text for event in of_type(events, "message.spoken")] == ["And so"], "what was said is told once"


async def test_an_interrupted_run_goes_on(journal: Journal) -> None:
    given = squad({**CHAIN, "c": {"agent": "ann", "needs": ["b"], "description": "z"}})
    async with open_run(given, run_id="r", journal=journal, manager=Answers()) as run:
        async for event in run:
            if event.type == "task.ended":
                run.stop()
    assert run.result.status == "cancelled"
    manager = Answers()
    result, events = await go_on(given, journal, manager)
    assert result.status == "done"
    assert of_type(events, "call.repeated") == [], "its calls in flight had ended"


@pytest.mark.long
async def test_a_changed_squad_is_refused_by_name_unless_only_its_limits_changed(journal: Journal) -> None:
    given, manager = squad(CHAIN), hanging_at(2)
    await cut(given, journal, manager, turn(2))
    other = {**CHAIN, "b": {**CHAIN["b"], "description": "another"}, "c": "new"}
    with pytest.raises(RunChanged, match="changed since it began: task b, task c"):
        await go_on(squad(other), journal, Answers())
    limits = {**CHAIN, "b": {**CHAIN["b"], "timeout": "5m", "budget": {"max_turns": 9}}}
    result, _ = await go_on(squad(limits, max_parallel=1), journal, Answers())
    assert result.status == "done"


async def test_one_process_drives_a_run_and_a_cancelled_one_is_not_resumed(journal: Journal) -> None:
    given = squad(CHAIN)
    with pytest.raises(RunNotFound):
        await go_on(given, journal, Answers())
    async with open_run(given, run_id="r", journal=journal, manager=hanging_at(1)):
        with pytest.raises(RunBusy):
            await go_on(given, journal, Answers())
    await journal.request_cancel("r")
    with pytest.raises(RunCancelled):
        await go_on(given, journal, Answers())


async def test_a_tool_that_was_changed_under_the_run_stops_it(journal: Journal) -> None:
    """Its text in the squad is the same, but the model would be asked with another schema."""

    @tool(name="deploy", idempotent=True)
    async def other(where: str, how: str) -> str:
        """Deploy it."""
        return f"{where} {how}"

    given, answer = deploying([], idempotent=True)
    await cut(given, journal, Answers(answer), lambda event: event.type == "tool.started")
    people = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "tools": ["deploy"]}}
    changed = squad({"a": "x"}, tools=[other], people=people, outputs={"said": "${{ tasks.a.output }}"})
    with pytest.raises(StepChanged, match="a/try-1/turn-1/model was recorded for another request"):
        await go_on(changed, journal, Answers(answer))


async def test_who_was_taken_over_writes_nothing_more(journal: Journal) -> None:
    """A process that froze and thaws: its unit was claimed by another, so its answer is not recorded."""
    taken = anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        await taken.wait()
        return "late"

    given = squad({"a": "x"})

    async def be_taken_over() -> None:
        async with open_run(given, run_id="r", journal=journal, manager=Answers(answer)) as run:
            async for event in run:
                if event.type == "turn.started":
                    assert await journal.claim("r", Unit("a"), "other") == 2
                    taken.set()

    with pytest.raises(Fenced):
        await be_taken_over()
    assert "late" not in str(await journal.events("r"))
    assert issubclass(Fenced, JournalError)


async def test_elements_keep_their_keys_whatever_ended_first(journal: Journal) -> None:
    build = {
        "for_each": "${{ inputs.stories }}",
        "as": "story",
        "key": "${{ story.id }}",
        "agent": "ann",
        "description": "Code ${{ story.id }}.",
    }
    stories = {"stories": {"type": "list", "default": [{"id": f"S-{n}"} for n in range(1, 5)]}}
    given = squad({"build": build}, inputs=stories, outputs={"all": "${{ tasks.build.output }}"})

    def code(agent: str, request: Request) -> str:
        return f"code of {request.messages[-1].text.partition('Code ')[2][:3]}"

    async def answer(agent: str, request: Request) -> str:
        if "S-1" in request.messages[-1].text or "S-3" in request.messages[-1].text:
            await anyio.sleep_forever()
        return code(agent, request)

    ended: list[str] = []

    def two_ended(event: Event) -> bool:
        ended.extend([event.data.key] if event.type == "element.ended" else [])
        return len(ended) == 2

    await cut(given, journal, Answers(answer), two_ended)
    manager = Answers(code)
    result, _ = await go_on(given, journal, manager)
    assert result.outputs["all"] == [f"code of S-{n}" for n in range(1, 5)]
    assert len(manager.asked) == 2
