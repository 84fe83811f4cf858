"""A recorded run, run again from its record: nobody is asked, and it says the same, byte for byte."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import yaml

from agents import ToolFault, tool
from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.errors import CannotWrite
from orchestrator.events import TaskEnded
from orchestrator.fork import fork_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.diff import changes_between
from orchestrator.rerun.export import copy_run, export_run
from orchestrator.rerun.replay import Replay, read_record, replay
from orchestrator.rerun.requests import attempts_of, body_of
from orchestrator.runtime import open_run, resume_run
from providers.emit import ignore
from providers.errors import AllAttemptsFailed, RateLimited, ServerFault
from providers.events import LedgerLost
from providers.messages import FinishReason, Message, Request, Response, ToolCall, ToolSpec, Usage, system, user
from tests.e2e.command import ROOT, orchestrator
from tests.event_loops import VIRTUAL
from tests.orchestrator.crashes import SQUADS, Counting, Order, run_to_its_end, squad_for
from tests.orchestrator.squads import Answers, squad
from tests.orchestrator.vendors import Vendors
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)


def assert_equal(ended: Replay) -> None:
    assert ended.is_equal, ended.difference


async def replayed(folder: Path, **options: Any) -> Replay:
    async with SqliteJournal(folder / "journal.db") as journal:
        with anyio.fail_after(PATIENCE_S):
            return await replay(journal, "r", **options)


# -- whole and killed runs of processes of their own


@pytest.mark.parametrize("name", ["small", "large"])
async def test_a_replay_says_what_was_recorded(name: str, tmp_path: Path) -> None:
    with Counting().serving() as provider:
        assert await anyio.to_thread.run_sync(run_to_its_end, Order(name, str(tmp_path), provider.port)) == 0
        asked = provider.answered.total()
        ended = await replayed(tmp_path)
        assert provider.answered.total() == asked, "nobody is asked"
    assert_equal(ended)
    status, _, artifacts, *_ = json.loads((tmp_path / "result.json").read_text())
    assert (status, dict(ended.artifacts)) == ("done", artifacts)
    assert ended.has_end


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("commits", [1, 23, 41, 58, 96])
@pytest.mark.few(1)
async def test_a_run_that_was_killed_and_resumed_twice_replays(commits: int, tmp_path: Path) -> None:
    with Counting().serving() as provider:
        for more in ({"commits": commits}, {"commits": max(4, commits // 3), "resume": True}, {"resume": True}):
            order = Order("large", str(tmp_path), provider.port, **more)  # type: ignore[arg-type]  # its fields
            await anyio.to_thread.run_sync(run_to_its_end, order)
            ended = await replayed(tmp_path)
            assert_equal(ended)
    assert ended.has_end


# -- each thing that may happen to a run


async def record(
    given: Squad,
    manager: Any,
    *,
    resumes: int = 0,
    later: Squad | None = None,
    ask: Any = None,
    watch: Callable[[Any, Any], None] | None = None,
) -> tuple[Replay, list[str]]:
    """Run the squad, resume it (as `later`) so often, and replay it. Returns the replay, and each process's status."""
    journal, statuses = MemoryJournal(), []
    asking = {} if ask is None else {"ask": ask}
    for number in range(resumes + 1):
        shared: dict[str, Any] = {"manager": manager, "journal": journal, **asking}
        opening: AbstractAsyncContextManager[Any]
        opening = resume_run(later or given, "r", **shared) if number else open_run(given, run_id="r", **shared)
        async with opening as run:
            async for event in run:
                if watch is not None:
                    watch(run, event)
        statuses.append(run.result.status)
    with anyio.fail_after(PATIENCE_S):
        return await replay(journal, "r"), statuses


def failing(times: int, error: Callable[[], Exception]) -> Callable[[str, Request], str]:
    left = [times]

    def answer(agent: str, request: Request) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error()
        return f"{agent}: done"

    return answer


def attempts_failed() -> Exception:
    return AllAttemptsFailed("nobody answered", [ServerFault("broke"), RateLimited("slow", retry_at=0.0)])


RETRIED = {"agent": "ann", "description": "x", "retry": {"max_attempts": 3, "on": ["provider", "rate_limit"]}}


@virtual_time
@pytest.mark.parametrize(("times", "status"), [(1, "done"), (2, "done"), (5, "failed")])
async def test_retries_and_failures_replay(times: int, status: str) -> None:
    given = squad({"a": RETRIED, "b": {"agent": "bob", "needs": ["a"], "description": "y"}})
    ended, statuses = await record(given, Answers(failing(times, attempts_failed)))
    assert_equal(ended)
    assert statuses == [status]


async def test_a_time_limit_that_was_reached_replays_in_no_time() -> None:
    async def slow(agent: str, request: Request) -> str:
        await anyio.sleep(30 if agent == "ann" else 0)
        return "done"

    limited = {"agent": "ann", "description": "x", "timeout": "200ms", "continue_on_error": True}
    given = squad({"a": limited, "b": {"agent": "bob", "description": "y"}})
    ended, _ = await record(given, Answers(slow))
    assert_equal(ended)


async def test_a_run_that_ran_out_of_time_replays() -> None:
    async def slow(agent: str, request: Request) -> str:
        await anyio.sleep(30)
        return "done"

    given = squad({"a": "x", "b": {"agent": "bob", "description": "y"}}, budget={"max_time": "200ms"})
    ended, statuses = await record(given, Answers(slow))
    assert_equal(ended)
    assert statuses == ["stopped"]


async def test_a_run_that_a_budget_paused_replays_with_the_part_after_it() -> None:
    tasks = {"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "y"}}
    given = squad(tasks, budget={"max_turns": 1, "on_exceed": "pause"})
    ended, statuses = await record(given, Answers(), resumes=1)
    assert_equal(ended)
    assert statuses == ["paused", "paused"]


async def test_a_conversation_that_its_own_budget_ended_replays() -> None:
    talk = {
        "pattern": "round_robin",
        "participants": ["ann", "bob"],
        "terminate": {"max_turns": 9},
        "budget": {"max_turns": 3},
    }
    given = squad({"a": {"conversation": "talk", "description": "x"}}, conversations={"talk": talk})
    ended, statuses = await record(given, Answers())
    assert_equal(ended)
    assert statuses == ["done"]


async def test_a_run_that_went_on_under_other_limits_replays() -> None:
    tasks = {f"t{i}": {"agent": "ann", "description": str(i)} for i in range(6)}
    first = squad(tasks, max_parallel=1, budget={"max_turns": 2, "on_exceed": "pause"})
    later = squad(tasks, max_parallel=3, budget={"max_turns": 99, "on_exceed": "pause"})
    ended, statuses = await record(first, Answers(), later=later, resumes=1)
    assert_equal(ended)
    assert statuses == ["paused", "done"]


async def test_a_run_that_was_stopped_replays_with_the_part_after_it() -> None:
    tasks = {f"t{i}": {"agent": "ann", "description": str(i), "needs": [f"t{i - 1}"] if i else []} for i in range(5)}
    stopped = []

    def stop(run: Any, event: Any) -> None:
        if event.type == "task.ended" and event.data.task == "t1" and not stopped:
            stopped.append(run)
            run.stop()

    ended, statuses = await record(squad(tasks), Answers(), resumes=1, watch=stop)
    assert_equal(ended)
    assert statuses == ["cancelled", "done"]


async def test_a_person_who_asked_for_changes_and_waited_for_days_replays() -> None:
    answers = iter([None, ("revise", "shorter"), ("approve", "")])

    async def ask(gate: GateOpened) -> GateAnswered | None:
        said = next(answers)
        return None if said is None else GateAnswered(gate.task, *said, "terminal")

    gate = {
        "needs": ["a"],
        "approval": {"prompt": "Good?", "show": ["a"], "choices": ["approve", "revise", "reject"]},
        "on_revise": {"rerun": ["a"], "max_attempts": 2},
    }
    given = squad({"a": "x", "gate": gate, "b": {"agent": "bob", "needs": ["gate"], "description": "y"}})
    ended, statuses = await record(given, Answers(), resumes=1, ask=ask)
    assert_equal(ended)
    assert statuses == ["waiting", "done"]


async def test_a_person_who_takes_part_in_a_conversation_replays() -> None:
    answers = iter(["First.", None, "Second."])

    async def ask(gate: GateOpened) -> GateAnswered | None:
        said = next(answers)
        return None if said is None else GateAnswered(gate.task, "say", said, "terminal")

    talk = {"pattern": "round_robin", "participants": ["ann", "human"], "terminate": {"max_turns": 4}}
    given = squad({"a": {"conversation": "talk", "description": "x"}}, conversations={"talk": talk})
    ended, statuses = await record(given, Answers(), resumes=1, ask=ask)
    assert_equal(ended)
    assert statuses == ["waiting", "done"]


def calling(agent: str, request: Request) -> Response | str:
    if request.messages[-1].role != "user":
        return f"{agent}: done"
    calls = tuple(ToolCall(f"c{i}", "note", json.dumps({"what": str(i)})) for i in range(2))
    return Response(Message("assistant", calls), FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)


@pytest.mark.parametrize("outcome", ["works", "breaks", "faults", "is asked for"])
async def test_tools_replay_and_are_not_called_again(outcome: str) -> None:
    called: list[str] = []
    resumed: list[Any] = []

    @tool(approval="ask" if outcome == "is asked for" else "never")
    def note(what: str) -> str:
        """Note it."""
        called.append(what)
        if outcome == "faults":
            raise ToolFault("note", "no paper")
        if outcome == "breaks":
            raise ValueError("no ink")
        return "noted"

    async def ask(gate: GateOpened) -> GateAnswered | None:
        return GateAnswered(gate.task, "approve", "", "terminal") if resumed else None

    def watch(_: Any, event: Any) -> None:
        resumed.extend([event] if event.type == "run.resumed" else [])

    people = {"ann": {"persona": {"name": "Ann", "role": "Answers.", "tier": "worker"}, "tools": ["note"]}}
    given = squad({"a": "x", "b": {"agent": "ann", "description": "y"}}, people=people, tools=[note])
    resumes = 1 if outcome == "is asked for" else 0
    ended, statuses = await record(given, Answers(calling), ask=ask, resumes=resumes, watch=watch)
    before = len(called)
    assert_equal(ended)
    assert statuses[0] == {"faults": "failed", "is asked for": "waiting"}.get(outcome, "done")
    assert len(called) == before > 0


@virtual_time
async def test_elements_that_fail_and_an_answer_of_the_wrong_shape_replay() -> None:
    def answer(agent: str, request: Request) -> str:
        if "Number 2" in request.messages[1].text:
            raise attempts_failed()
        return '{"n": 1}' if len(request.messages) > 2 else "no JSON"

    each = {
        "agent": "ann",
        "description": "Number ${{ item }}",
        "for_each": "${{ inputs.numbers }}",
        "key": "k/${{ item }}",
        "fail_fast": False,
        "max_parallel": 2,
        "output_schema": {"type": "object", "required": ["n"]},
        "continue_on_error": True,
    }
    given = squad({"a": each}, inputs={"numbers": {"type": "list", "default": [1, 2, 3, 4]}})
    ended, statuses = await record(given, Answers(answer))
    assert_equal(ended)
    assert statuses == ["done"]


@pytest.mark.long
@pytest.mark.parametrize("max_parallel", [1, 3, 16])
async def test_many_branches_at_once_replay_in_the_recorded_order(max_parallel: int) -> None:
    async def answer(agent: str, request: Request) -> str:
        await anyio.sleep(hash(request.messages[-1].digest) % 7 / 1000)
        return "done"

    tasks: dict[str, Any] = {f"t{i}": {"agent": "ann", "description": f"{i}"} for i in range(30)}
    tasks |= {f"u{i}": {"agent": "bob", "needs": [f"t{i}", f"t{29 - i}"], "description": f"{i}"} for i in range(15)}
    ended, statuses = await record(squad(tasks, max_parallel=max_parallel), Answers(answer))
    assert_equal(ended)
    assert statuses == ["done"]


async def test_a_file_that_the_disk_refused_replays_where_the_disk_is_another(tmp_path: Path) -> None:
    (tmp_path / "docs").write_text("in the way")
    journal = MemoryJournal()
    given = squad({"a": {"agent": "ann", "description": "x", "output_file": "docs/a.md"}})
    async with open_run(given, run_id="r", manager=Answers(), journal=journal, out=tmp_path) as run:
        async for _ in run:
            pass
    assert run.result.status == "paused"
    assert_equal(await replay(journal, "r"))


@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_conversation_whose_file_is_written_while_other_work_goes_on_replays(
    is_cut: bool, tmp_path: Path
) -> None:
    cuts = [False, is_cut]
    has_ended = anyio.Event()  # the conversation, whose file is not written yet
    threads = anyio.to_thread.current_default_thread_limiter()
    taken: list[object] = []

    async def answer(agent: str, request: Request) -> str:
        asked = str(request.messages)
        if "Talk it over." in asked and not taken:
            taken.extend(object() for _ in range(int(threads.available_tokens)))
            for borrower in taken:
                threads.acquire_on_behalf_of_nowait(borrower)
        if "Meanwhile." in asked:
            await has_ended.wait()
        if "After the talk." in asked and cuts.pop():
            await anyio.sleep_forever()
        return "done"

    talk = {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": 4}}
    tasks: dict[str, Any] = {
        "talk": {"conversation": "talk", "description": "Talk it over.", "output_file": "talk.md"},
        "last": {"agent": "ann", "needs": ["talk"], "description": "After the talk."},
        "other": "Meanwhile.",
    }
    given, journal = squad(tasks, conversations={"talk": talk}), MemoryJournal()
    shared: dict[str, Any] = {"journal": journal, "manager": Answers(answer)}
    async with open_run(given, run_id="r", out=tmp_path, **shared) as run:
        async for event in run:
            if event.type == "conversation.ended":
                has_ended.set()
            elif has_ended.is_set():
                while taken:
                    threads.release_on_behalf_of(taken.pop())
            if is_cut and event.type == "turn.started" and event.unit.task == "last":
                break
    if is_cut:
        async with resume_run(given, "r", **shared) as run:
            async for _ in run:
                pass
    told = [event.type for event in await journal.events("r")]
    between = told[told.index("conversation.ended") : told.index("artifact.written")]
    assert len(between) > 1, "other work went on while the file was written"
    assert_equal(await replay(journal, "r"))


async def test_units_that_wait_for_a_slot_after_a_kill_replay() -> None:
    async def hang(agent: str, request: Request) -> str:
        await anyio.sleep_forever()
        raise AssertionError("it hangs")

    tasks = {f"t{i}": {"agent": "ann", "description": f"{i}"} for i in range(6)}
    journal = MemoryJournal()
    async with open_run(squad(tasks, max_parallel=6), run_id="r", journal=journal, manager=Answers(hang)) as run:
        started = 0
        async for event in run:
            started += event.type == "turn.started"
            if started == len(tasks):
                break  # leaving it cuts it off
    async with resume_run(squad(tasks, max_parallel=1), "r", journal=journal, manager=Answers()) as run:
        repeated = [event async for event in run if event.type == "call.repeated"]
    assert len(repeated) == len(tasks), "all were at work, and one at a time went on"
    assert_equal(await replay(journal, "r"))


async def test_a_run_that_the_stub_began_and_a_provider_ended_replays() -> None:
    journal, given = MemoryJournal(), squad({"a": {"agent": "ann", "description": "x"}})
    async with open_run(given, run_id="r", offline=True, journal=journal) as run:
        async for event in run:
            if event.type == "turn.started":
                break
    async with resume_run(given, "r", manager=Answers(), journal=journal) as run:
        async for _ in run:
            pass
    assert (run.result.status, run.result.stub) == ("done", False)
    assert_equal(await replay(journal, "r"))


async def test_an_edited_run_and_a_fork_of_it_replay() -> None:
    tasks = {f"t{i}": {"agent": "ann", "description": f"{i}", "needs": [f"t{i - 1}"] if i else []} for i in range(4)}
    other = {**tasks, "t2": {**tasks["t2"], "description": "other"}, "late": {**tasks["t3"], "description": "late"}}
    journal = MemoryJournal()
    shared: dict[str, Any] = {"journal": journal, "manager": Answers()}
    for opening in (
        open_run(squad(tasks), run_id="r", **shared),
        resume_run(squad(other), "r", edited=True, **shared),
        fork_run(squad(other), "r", run_id="f", start="t1", **shared),
    ):
        async with opening as run:
            async for _ in run:
                pass
        assert run.result.status == "done"
    for name in ("r", "f"):
        ended = await replay(journal, name)
        assert_equal(ended)
        assert ended.has_end


TALK = {"pattern": "party", "participants": ["ann", "bob", "cay"], "independent_first_round": True}


async def recorded(given: Squad, manager: Any, journal: MemoryJournal, until: str = "", **more: Any) -> None:
    """Run the squad, or go on with it, as far as an event of type `until`: there its process is killed."""
    begun = bool([line for line in await journal.runs() if line.run == "r"])
    shared: dict[str, Any] = {"manager": manager, "journal": journal, **more}
    opening: AbstractAsyncContextManager[Any]
    opening = resume_run(given, "r", **shared) if begun else open_run(given, run_id="r", **shared)
    async with opening as run:
        async for event in run:
            if event.type == until:
                break


async def test_a_run_that_was_killed_between_two_of_those_who_speak_together_replays() -> None:
    silent = ["bob", "cay"]

    async def answer(agent: str, request: Request) -> str:
        if agent in silent:
            await anyio.sleep_forever()
        return f"{agent}: view"

    terminate = {"terminate": {"max_turns": 5}}
    given = squad(
        {"a": {"conversation": "talk", "description": "x"}}, "ann bob cay", conversations={"talk": TALK | terminate}
    )
    journal, manager = MemoryJournal(), Answers(answer)
    await recorded(given, manager, journal, until="turn.ended")
    assert_equal(await replay(journal, "r"))
    silent.clear()
    await recorded(given, manager, journal)
    assert_equal(await replay(journal, "r"))
    assert [name for name, _ in manager.asked].count("ann") == 2, "what was said is not asked for again"


async def test_a_person_who_takes_part_in_an_independent_first_round_replays() -> None:
    answers = iter([None, "Mine.", "More."])

    async def ask(gate: GateOpened) -> GateAnswered | None:
        said = next(answers)
        return None if said is None else GateAnswered(gate.task, "say", said, "terminal")

    people = ["human", "ann", "bob"]
    talk = TALK | {"participants": people, "moderator": "ann", "terminate": {"max_turns": 6}}
    given = squad({"a": {"conversation": "talk", "description": "x"}}, conversations={"talk": talk})
    ended, statuses = await record(given, Answers(), resumes=1, ask=ask)
    assert_equal(ended)
    assert statuses == ["waiting", "done"]


async def test_a_tool_of_who_moderates_a_person_replays() -> None:
    @tool
    def note(what: str) -> str:
        """Note it."""
        return "noted"

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "say", "I see.", "terminal")

    people = {"cay": {"persona": {"name": "Cay", "role": "Moderates.", "tier": "worker"}, "tools": ["note"]}}
    talk = {"pattern": "party", "participants": ["human", "ann"], "moderator": "cay", "terminate": {"max_turns": 6}}
    given = squad(
        {"a": {"conversation": "talk", "description": "x"}}, people=people, tools=[note], conversations={"talk": talk}
    )

    def answer(agent: str, request: Request) -> Response | str:
        return calling(agent, request) if agent == "cay" else f"{agent}: done"

    ended, statuses = await record(given, Answers(answer), ask=ask)
    assert_equal(ended)
    assert statuses == ["done"]


async def test_a_budget_that_ends_an_independent_first_round_replays() -> None:
    talk = TALK | {"terminate": {"max_turns": 9}, "budget": {"max_turns": 2}}
    tasks = {"a": {"conversation": "talk", "description": "x"}}
    ended, statuses = await record(squad(tasks, "ann bob cay", conversations={"talk": talk}), Answers())
    assert_equal(ended)
    assert statuses == ["done"]


@pytest.mark.parametrize("is_nested", [True, False])
async def test_a_budget_that_ended_a_conversation_before_a_resume_replays(is_nested: bool) -> None:
    async def ask(_: GateOpened) -> GateAnswered | None:
        return next(answers)

    answers = iter([None, GateAnswered("", "say", "Yes.", "terminal")])
    short = TALK | {"terminate": {"max_turns": 9}, "budget": {"max_turns": 2}}
    talks = {
        "short": short,
        "outer": {"participants": [{"conversation": "short"}, "bob"], "terminate": {"max_turns": 2}},
        "desk": {"participants": ["ann", "human"], "terminate": {"max_turns": 2}},
    }
    first = {"id": "one", "conversation": "outer" if is_nested else "short", "description": "x"}
    steps = [first, {"id": "two", "conversation": "desk", "description": "y"}]
    given = squad({"a": {"steps": steps}}, "ann bob cay", conversations=talks)
    ended, statuses = await record(given, Answers(), resumes=1, ask=ask)
    assert_equal(ended)
    assert statuses == ["waiting", "done"]


async def test_a_conversation_that_went_on_beside_work_that_is_cut_off_replays() -> None:
    stuck = ["bob"]

    async def answer(agent: str, request: Request) -> str:
        if agent in stuck:
            await anyio.sleep_forever()
        is_asked_first = agent == "cay" and len(request.messages) < 4
        return "DELEGATE bob: this\nDELEGATE inner: that" if is_asked_first else f"{agent}: done"

    talks = {
        "outer": {"pattern": "hierarchical", "manager": "cay", "participants": ["bob", {"conversation": "inner"}]},
        "inner": TALK | {"participants": ["ann", "dee"], "terminate": {"max_turns": 4}},
    }
    given = squad({"a": {"conversation": "outer", "description": "x"}}, "ann bob cay dee", conversations=talks)
    journal = MemoryJournal()
    await recorded(given, Answers(answer), journal, until="conversation.ended")
    assert_equal(await replay(journal, "r"))
    stuck.clear()
    await recorded(given, Answers(answer), journal)
    assert_equal(await replay(journal, "r"))


async def test_conversations_in_the_steps_of_a_fan_out_replay_after_a_kill() -> None:
    stuck = ["About z, 1"]

    async def answer(agent: str, request: Request) -> str:
        if any(words in message.text for words in stuck for message in request.messages):
            await anyio.sleep_forever()
        return f"{agent}: done"

    talk = TALK | {"terminate": {"max_turns": 4}, "participants": ["ann", "bob"]}
    held = [{"id": f"s{i}", "conversation": "talk", "description": "About ${{ item }}, " + str(i)} for i in range(2)]
    each = {"steps": held, "for_each": "${{ inputs.n }}", "key": "${{ item }}", "max_parallel": 3}
    given = squad({"a": each}, conversations={"talk": talk}, inputs={"n": {"type": "list", "default": ["x", "y", "z"]}})
    journal = MemoryJournal()
    await recorded(given, Answers(answer), journal, until="conversation.ended")
    assert_equal(await replay(journal, "r"))
    stuck.clear()
    await recorded(given, Answers(answer), journal)
    assert_equal(await replay(journal, "r"))


async def test_a_hundred_elements_at_once_replay_in_whichever_order_they_were_answered() -> None:
    async def answer(agent: str, request: Request) -> str:
        for _ in range(request.messages[-1].digest[0] % 7):
            await anyio.lowlevel.checkpoint()
        return request.messages[-1].text

    each = {"agent": "ann", "description": "N ${{ item }}", "for_each": "${{ inputs.n }}", "key": "${{ item }}"}
    tasks = {"a": each, "b": {"agent": "bob", "needs": ["a"], "description": "y"}}
    inputs = {"n": {"type": "list", "default": list(range(100))}}
    ended, statuses = await record(squad(tasks, max_parallel=100, inputs=inputs), Answers(answer))
    assert_equal(ended)
    assert (statuses, ended.events) == (["done"], 1 + 1 + 4 * 100 + 1 + 4 + 1)


@virtual_time
async def test_a_task_that_failed_once_more_after_a_resume_replays() -> None:
    errors = iter([attempts_failed(), attempts_failed(), None])

    async def answer(agent: str, request: Request) -> str:
        if (error := next(errors)) is not None:
            raise error
        return "done"

    given, journal = squad({"a": RETRIED}), MemoryJournal()
    await recorded(given, Answers(answer), journal, until="task.retried")
    await recorded(given, Answers(answer), journal)
    assert_equal(await replay(journal, "r"))


# -- a record that was changed


async def altered(change: Callable[[list[Any]], None]) -> Replay:
    """Record a run, change its events, and replay it."""
    journal, other = MemoryJournal(), MemoryJournal()
    talk = {"pattern": "party", "participants": ["ann", "bob"], "moderator": "cay", "terminate": {"max_turns": 4}}
    held = {"conversation": "talk", "description": "x", "output_file": "talk.md"}
    gate = {"needs": ["talk"], "approval": {"prompt": "Good?"}}
    tasks = {"talk": held, "gate": gate, "last": {"agent": "ann", "needs": ["gate"], "description": "y"}}

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "approve", "", "terminal")

    await recorded(squad(tasks, "ann bob cay", conversations={"talk": talk}), Answers(), journal, ask=ask)
    events = list(await journal.events("r"))
    change(events)
    steps = [step for step in await journal.steps("r") if step.done]
    await other.create("r", await journal.manifest("r"), events, steps)
    return await replay(other, "r")


def place_of(events: list[Any], name: str) -> int:
    return next(i for i, event in enumerate(events) if event.type == name)


DECIDED = ["task.started", "gate.opened", "task.ended", "run.finished"]
SAID = ["message.spoken", "conversation.ended", "artifact.written"]


async def test_a_record_as_it_was_written_is_equal() -> None:
    assert_equal(await altered(lambda events: None))


async def test_a_time_limit_may_cut_work_off_right_after_an_answer_was_recorded() -> None:
    def cut(events: list[Any]) -> None:
        ended = next(event for event in events if event.type == "task.ended" and event.data.task == "talk")
        late = TaskEnded("talk", "failed", error="task talk took longer than 1 s", error_kind="TaskTimedOut")
        events[place_of(events, "turn.ended") + 1 :] = [ended._replace(seq=2, data=late)]

    ended = await altered(cut)
    assert_equal(ended)
    assert not ended.has_end


async def test_a_step_that_was_never_recorded_is_a_difference_with_its_request() -> None:
    journal = MemoryJournal()
    agreed = squad({"a": {"agent": "ann", "description": "x"}})
    await recorded(agreed, Answers(lambda agent, request: ""), journal)
    twice = {"agent": "ann", "description": "x", "repeat": {"until": "${{ output }}", "max_attempts": 2}}
    ended = await replay(journal, "r", against=squad({"a": twice}))
    assert ended.difference is not None
    assert ended.difference.number == 2
    assert ended.difference.step is not None
    assert ended.difference.step.path == "a/try-1/repeat-1/turn-1/model"
    assert ended.difference.request is not None


@pytest.mark.parametrize("name", [*DECIDED[:-1], *SAID, "turn.ended"])
async def test_an_event_that_is_missing_is_found(name: str) -> None:
    ended = await altered(lambda events: events.pop(place_of(events, name)))
    assert ended.difference is not None


@pytest.mark.parametrize("name", [*DECIDED, *SAID])
async def test_an_event_that_says_something_else_is_found_where_it_stands(name: str) -> None:
    fields = {"task.started": "who", "gate.opened": "prompt", "task.ended": "output", "run.finished": "status"}
    fields |= {"message.spoken": "text", "conversation.ended": "reason", "artifact.written": "sha256"}
    places = []

    def change(events: list[Any]) -> None:
        i = place_of(events, name)
        places.append(i)
        events[i] = events[i]._replace(data=replace(events[i].data, **{fields[name]: "another"}))

    ended = await altered(change)
    assert ended.difference is not None
    assert ended.difference.number == places[0]
    assert ended.difference.recorded is not None
    assert ended.difference.recorded.type == name


@pytest.mark.parametrize("name", [*SAID, "task.ended"])
async def test_an_event_that_came_before_what_led_to_it_is_found(name: str) -> None:
    def change(events: list[Any]) -> None:
        i = place_of(events, name)
        events[i - 1 : i + 1] = events[i], events[i - 1]

    assert (await altered(change)).difference is not None


async def test_news_that_came_when_its_turn_was_long_over_replays() -> None:
    class Late(Answers):
        tell: Any = None

        async def complete(self, request: Request, *, emit: Any = ignore, **more: Any) -> Response:
            if self.tell is not None:
                self.tell(LedgerLost("down", 0.5))
            self.tell = emit
            return await super().complete(request, emit=emit, **more)

    ended, _ = await record(squad({"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "y"}}), Late())
    assert_equal(ended)


# -- what differs


def edited(name: str, change: Callable[[dict[str, Any]], None]) -> Squad:
    other = copy.deepcopy(SQUADS[name])
    change(other)
    return Squad.from_mapping(other, tools=squad_for(name, 0).tools)


async def small_run(folder: Path) -> None:
    with Counting().serving() as provider:
        assert await anyio.to_thread.run_sync(run_to_its_end, Order("small", str(folder), provider.port)) == 0


@pytest.mark.long
async def test_a_changed_prompt_fails_with_what_differs_in_the_request(tmp_path: Path) -> None:
    await small_run(tmp_path)

    def change(squad: dict[str, Any]) -> None:
        squad["agents"]["bob"]["persona"]["role"] = "Answers well."
        squad["tasks"]["plan"]["description"] = "Plan it all."

    ended = await replayed(tmp_path, against=edited("small", change))
    assert ended.difference is not None
    assert ended.difference.step is not None
    assert ended.difference.step.path == "plan/try-1/turn-1/model"
    assert ended.difference.request is not None
    assert ended.difference.request.needs.agent == "bob"
    assert [change.field for change in ended.changes] == ["messages[0] (system)", "messages[1] (user)"]
    lines = [line for change in ended.changes for line in change.lines()]
    assert {"-Answers.", "+Answers well.", "-Plan.", "+Plan it all."} <= set(lines)


async def test_another_order_of_events_is_told_by_the_first_that_differs(tmp_path: Path) -> None:
    await small_run(tmp_path)
    ended = await replayed(tmp_path, against=edited("small", lambda squad: squad["tasks"].update(more=_more())))
    assert ended.difference is not None
    assert (ended.difference.number, ended.difference.step) == (0, None)
    assert ended.difference.replayed is not None
    assert "more" in ended.difference.replayed.data.tasks


def _more() -> dict[str, Any]:
    return {"agent": "ann", "description": "More."}


async def test_work_that_never_comes_ends_the_replay_instead_of_waiting_for_it(tmp_path: Path) -> None:
    await small_run(tmp_path)

    def change(squad: dict[str, Any]) -> None:
        squad["tasks"]["gate"]["if"] = "${{ tasks.brief.output == '' }}"

    ended = await replayed(tmp_path, against=edited("small", change))
    assert ended.difference is not None
    assert (ended.difference.recorded is None, ended.difference.replayed is None) != (True, True)


def test_requests_are_compared_field_by_field() -> None:
    one = Request((system("s"), user("a\nb")), (ToolSpec("t", "old"), ToolSpec("gone", "")), temperature=0.2)
    other = Request((system("s"), user("a\nc"), user("more")), (ToolSpec("t", "new"),), temperature=0.7, effort="low")
    changes = {change.field: change for change in changes_between(one, other)}
    fields = ["messages[1] (user)", "messages[2] (user)", "tools.t.description", "tools.gone", "temperature", "effort"]
    assert list(changes) == fields
    assert changes["temperature"].lines() == ["temperature: 0.2 -> 0.7"]
    assert changes["effort"].lines() == ["effort: (nothing) -> low"]
    assert "-b" in changes["messages[1] (user)"].lines()
    assert changes_between(one, one) == []


# -- export, and a machine that has nothing else


def written_squad(folder: Path, root: str) -> None:
    """Write a squad with a persona file and a routing file of three dialects, under one address."""
    model = {"context": 9000, "max_output": 900, "price": {"input": 1, "output": 1}, "tools": True, "json_schema": True}
    dialects = {"one": "openai-chat", "two": "anthropic-messages", "three": "gemini"}
    rows = {
        name: {"dialect": dialect, "base_url": f"{root}/v1", "models": {f"m-{name}": model}}
        for name, dialect in dialects.items()
    }
    names = [f"{name}/m-{name}" for name in rows]
    chains = {"three": {"chain": ["three/m-three", "two/m-two"]}}
    routing = {"version": 1, "tiers": {"worker": names}, "agents": chains, "last_resort": [], "providers": rows}
    (folder / "agent_routing.yaml").write_text(yaml.safe_dump(routing), "utf-8")
    persona = {"name": "Fay", "role": "Reads 🛒 files.", "tier": "worker", "principles": ["No haste."]}
    (folder / "people").mkdir()
    (folder / "people" / "fay.yaml").write_text(yaml.safe_dump(persona, allow_unicode=True), "utf-8")
    agents = {
        "fay": {"persona": "people/fay.yaml", "model": "one/m-one", "tools": ["read_file"]},
        "two": {"persona": "people/fay.yaml", "model": "two/m-two"},
        "three": {"persona": "people/fay.yaml"},
    }
    tasks = {
        "read": {"agent": "fay", "description": "Read it.", "output_file": "read.md"},
        "each": {
            "agent": "two",
            "needs": ["read"],
            "description": "Do ${{ item }}.",
            "for_each": "${{ inputs.parts }}",
            "key": "${{ item }}",
        },
        "last": {"agent": "three", "needs": ["each"], "description": "Close é it.", "output_file": "last.md"},
    }
    squad = {
        "version": 1,
        "name": "far",
        "inputs": {"parts": {"type": "list", "default": ["a", "b"]}},
        "agents": agents,
        "tasks": tasks,
    }
    (folder / "squad.yaml").write_text(yaml.safe_dump(squad, allow_unicode=True, sort_keys=False), "utf-8")


CANARY = "canary7Zq9xW2pKu3Lm"
KEYS = {f"{name}_API_KEY": CANARY for name in ("ONE", "TWO", "THREE")}

GUARDED = """
import runpy, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit("the network was used: " + event)
sys.addaudithook(refuse)
sys.argv = ["orchestrator", *sys.argv[1:]]
runpy.run_module("orchestrator", run_name="__main__", alter_sys=True)
"""


def without_network(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", GUARDED, *arguments]
    return subprocess.run(
        command, cwd=cwd, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Vendors]:
    """A run over three dialects, with a retry and a failover: its folder, and what the providers got."""
    home = tmp_path_factory.mktemp("home")
    with Vendors({"/chat/completions": 1, ":generateContent": 9}).serving() as vendors:
        written_squad(home, vendors.root)
        ended = orchestrator("run", "squad.yaml", "--run-id", "r", cwd=home, env=KEYS)
        assert ended.code == 0, ended.err
    return home, vendors


@pytest.fixture
def away(far: tuple[Path, Vendors], tmp_path: Path) -> Path:
    """Another machine: a folder with the exported run, and nothing that it was made from."""
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    shutil.copytree(far[0], home)
    elsewhere.mkdir()
    exported = orchestrator("runs", "export", "r", str(elsewhere / "r.db"), cwd=home)
    assert exported.code == 0, exported.err
    shutil.rmtree(home)
    return elsewhere


def test_an_exported_run_replays_where_nothing_else_is_left_of_it(away: Path) -> None:
    ended = without_network("runs", "replay", "r.db", cwd=away)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("r: equal: ")
    told = without_network("runs", "replay", "r", "--from-file", "r.db", "--json", cwd=away)
    document = json.loads(told.stdout)
    assert (document["equal"], sorted(document["artifacts"])) == (True, ["last.md", "read.md"])
    assert sorted(path.name for path in away.iterdir()) == ["r.db"], "nothing is written"


@pytest.mark.long
def test_the_example_on_the_stub_replays_without_its_files(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "examples" / "sprint.yaml", tmp_path / "sprint.yaml")
    ended = orchestrator("run", "sprint.yaml", "--offline", "--run-id", "r", "--approve", "auto", cwd=tmp_path)
    assert ended.code == 0, ended.err
    (tmp_path / "sprint.yaml").unlink()
    shutil.rmtree(tmp_path / "out")
    again = without_network("runs", "replay", "r", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert not (tmp_path / "out").exists(), "artifacts are compared, not written"


def test_an_exported_run_is_one_file_that_other_commands_read(away: Path) -> None:
    shown = orchestrator("runs", "show", "r", "--db", "sqlite:///r.db", cwd=away)
    assert "r: done" in shown.out
    explained = orchestrator("explain", "r", "last", "--db", "sqlite:///r.db", cwd=away)
    assert "answered by two/m-two" in explained.out


def test_an_exported_run_holds_no_key(away: Path) -> None:
    with closing(sqlite3.connect(away / "r.db")) as db:
        texts = b"".join(zlib.decompress(body) for (body,) in db.execute("SELECT body FROM bodies"))
    assert b"No haste." in texts
    assert CANARY.encode() not in texts + (away / "r.db").read_bytes()


@pytest.mark.long
def test_an_export_overwrites_nothing_unless_it_is_told_to(far: tuple[Path, Vendors], tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    file.write_text("mine")
    refused = orchestrator("runs", "export", "r", str(file), cwd=far[0])
    assert (refused.code, file.read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.db"]
    assert orchestrator("runs", "export", "r", str(file), "--force", cwd=far[0]).code == 0
    assert without_network("runs", "replay", str(file), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("damage", [lambda data: data[:30000], lambda data: b"SQLite", lambda data: b""])
@pytest.mark.few(1)
def test_a_file_that_is_no_export_or_a_torn_one_is_named(away: Path, damage: Callable[[bytes], bytes]) -> None:
    (away / "torn.db").write_bytes(damage((away / "r.db").read_bytes()))
    ended = without_network("runs", "replay", "torn.db", cwd=away)
    assert ended.returncode in (2, 5)
    assert ended.stdout == ""
    assert "torn.db" in ended.stderr or "does not hold one run" in ended.stderr
    assert sorted(path.name for path in away.iterdir()) == ["r.db", "torn.db"]


async def test_a_copy_goes_on_where_the_run_was_cut_short(tmp_path: Path) -> None:
    with Counting().serving() as provider:
        order = Order("large", str(tmp_path), provider.port, commits=40)
        assert await anyio.to_thread.run_sync(run_to_its_end, order) != 0
        async with SqliteJournal(tmp_path / "journal.db") as journal:
            await export_run(journal, "r", tmp_path / "copy.db")
            cut, told = await journal.cut_short("r"), await journal.events("r")
            with pytest.raises(CannotWrite):
                await export_run(journal, "r", tmp_path / "copy.db")
        async with SqliteJournal(tmp_path / "copy.db") as copied:
            assert (await copied.cut_short("r"), await copied.events("r")) == (cut, told)
            assert_equal(await replay(copied, "r"))
            (tmp_path / "journal.db").unlink()
        shutil.copyfile(tmp_path / "copy.db", tmp_path / "journal.db")
        resumed = Order("large", str(tmp_path), provider.port, resume=True)
        assert await anyio.to_thread.run_sync(run_to_its_end, resumed) == 0
        assert_equal(await replayed(tmp_path))


async def test_a_copy_of_a_copy_holds_the_same() -> None:
    first, second, third = MemoryJournal(), MemoryJournal(), MemoryJournal()
    given = squad({"a": RETRIED, "b": {"agent": "bob", "needs": ["a"], "description": "y"}})
    async with open_run(given, run_id="r", manager=Answers(), journal=first) as run:
        async for _ in run:
            pass
    await copy_run(first, second, "r")
    await copy_run(second, third, "r")
    for read in ("manifests", "events", "steps", "signals", "cut_short"):
        assert await getattr(third, read)("r") == await getattr(first, read)("r"), read


# -- what went to the provider


ASKED = [
    ("read", 1, 1, "/chat/completions"),
    ("read", 1, 2, "/chat/completions"),
    ("read", 2, 1, "/chat/completions"),
    ("each[a]", 1, 1, "/messages"),
    ("each[b]", 1, 1, "/messages"),
    ("last", 1, 1, ":generateContent"),
    ("last", 1, 2, "/messages"),
]


@pytest.mark.parametrize(("task", "turn", "attempt", "end"), ASKED)
@pytest.mark.few(3)
def test_explain_prints_the_bytes_that_the_provider_got(
    far: tuple[Path, Vendors], away: Path, task: str, turn: int, attempt: int, end: str
) -> None:
    options = ("--request", "--turn", str(turn), "--attempt", str(attempt))
    ended = orchestrator("explain", "r", task, *options, "--db", "sqlite:///r.db", cwd=away)
    assert ended.code == 0, ended.err
    assert (end, ended.stdout) in far[1].bodies
    last_words = {"last": "Close é it.", "each[a]": "Do a.", "each[b]": "Do b."}.get(task, "Read it.")
    assert last_words in json.dumps(json.loads(ended.stdout), ensure_ascii=False)
    assert ("none.md" in ended.out) == (turn == 2), "the second turn shows what the tool answered"
    assert CANARY not in ended.out


def test_explain_asks_which_turn_is_meant_and_prints_it_for_people(away: Path) -> None:
    asked = orchestrator("explain", "r", "read", "--request", "--db", "sqlite:///r.db", cwd=away)
    assert (asked.code, asked.stdout) == (5, b"")
    assert "read/try-1 --turn 2 --attempt 1: one/m-one: ok" in asked.err
    options = ("--request", "--turn", "1", "--pretty", "--db", "sqlite:///r.db")
    pretty = orchestrator("explain", "r", "read/try-1", *options, cwd=away)
    assert '"role": "system"' in pretty.out
    assert json.loads(pretty.out)["model"] == "m-one"


def test_bytes_that_this_release_makes_otherwise_are_refused(away: Path, tmp_path: Path) -> None:
    async def change() -> None:
        async with SqliteJournal(away / "r.db") as journal, SqliteJournal(tmp_path / "changed.db") as target:
            manifest = await journal.manifest("r")
            sources = {name: text.replace("m-two", "m-2") for name, text in manifest.sources.items()}
            events = [
                event._replace(data=replace(event.data, model="m-2"))
                if getattr(event.data, "model", None) == "m-two"
                else event
                for event in await journal.events("r")
            ]
            text = manifest.text.replace("m-two", "m-2")
            await target.create("r", replace(manifest, text=text, sources=sources), events, await journal.steps("r"))

    anyio.run(change)
    ended = orchestrator(
        "explain", "r", "each[a]", "--request", "--db", f"sqlite:///{tmp_path / 'changed.db'}", cwd=away
    )
    assert (ended.code, ended.stdout) == (1, b"")
    assert "does not make the bytes that were sent" in ended.err


def test_a_resume_that_would_ask_otherwise_stops_with_the_step_that_does(tmp_path: Path) -> None:
    with Vendors().serving() as vendors:
        written_squad(tmp_path, vendors.root)
        with (tmp_path / "squad.yaml").open("a", encoding="utf-8") as file:
            file.write("budget: {max_turns: 1, on_exceed: pause}\n")
        orchestrator("run", "squad.yaml", "--run-id", "r", cwd=tmp_path, env=KEYS)
        with closing(sqlite3.connect(tmp_path / ".orchestrator" / "journal.db")) as db, db:
            db.execute("UPDATE intents SET hash = zeroblob(32) WHERE key LIKE '%/turn-1/model'")
        ended = orchestrator("runs", "resume", "r", "--max-cost", "9", cwd=tmp_path, env=KEYS)
        asked = len(vendors.bodies)
    assert (ended.code, asked) == (1, 1)
    assert "read/try-1/turn-1/model (agent fay)" in ended.err


async def test_bytes_are_made_again_by_the_routing_file_that_held_then(tmp_path: Path) -> None:
    file, journal = tmp_path / "agent_routing.yaml", MemoryJournal()
    model = {"context": 9000, "max_output": 900}

    def write(cap: int) -> None:
        row = {"dialect": "openai-chat", "base_url": vendors.root, "models": {"m": model}}
        row["quirks"] = {"default_max_tokens": cap}
        routing = {"tiers": {"worker": ["one/m"]}, "last_resort": [], "providers": {"one": row}}
        file.write_text(yaml.safe_dump({"version": 1, **routing}), "utf-8")

    async def swap(gate: GateOpened) -> GateAnswered:
        write(777)
        return GateAnswered(gate.task, "approve", "", "terminal")

    gate = {"needs": ["a"], "approval": {"prompt": "Good?"}}
    tasks = {"a": {"agent": "ann", "description": "x"}, "gate": gate}
    tasks["b"] = {"agent": "ann", "needs": ["gate"], "description": "y"}
    people = {"ann": {"persona": {"name": "Ann", "role": "Answers.", "tier": "worker"}}}
    text = yaml.safe_dump({"version": 1, "name": "test", "agents": people, "tasks": tasks})
    with Vendors().serving() as vendors:
        write(55)
        given = Squad.from_text(text, routing=file)
        async with open_run(given, run_id="r", journal=journal, environ=KEYS, ask=swap) as run:
            async for _ in run:
                pass
    assert run.result.status == "done"
    file.unlink()
    assert_equal(await replay(journal, "r"))
    made = await read_record(journal, "r")
    bodies = [await body_of(made, sent) for sent in attempts_of(made)]
    assert bodies == [body for _, body in vendors.bodies]
    assert [json.loads(body)["max_completion_tokens"] for body in bodies] == [55, 777]


async def test_bytes_are_made_again_whose_answers_a_budget_kept_short(tmp_path: Path) -> None:
    file, journal = tmp_path / "agent_routing.yaml", MemoryJournal()
    people = {"ann": {"persona": {"name": "Ann", "role": "Answers.", "tier": "worker"}}}
    tasks = {"a": {"agent": "ann", "description": "x"}, "b": {"agent": "ann", "needs": ["a"], "description": "y"}}
    text = yaml.safe_dump(
        {"version": 1, "name": "test", "agents": people, "tasks": tasks, "budget": {"max_tokens": 9000}}
    )
    with Vendors().serving() as vendors:
        models = {"m": {"context": 90_000, "max_output": 30_000}}
        row = {"dialect": "openai-chat", "base_url": vendors.root, "models": models}
        routing = {"tiers": {"worker": ["one/m"]}, "last_resort": [], "providers": {"one": row}}
        file.write_text(yaml.safe_dump({"version": 1, **routing}), "utf-8")
        given = Squad.from_text(text, routing=file)
        async with open_run(given, run_id="r", journal=journal, environ=KEYS) as run:
            async for _ in run:
                pass
    assert run.result.status == "done"
    assert_equal(await replay(journal, "r"))
    made = await read_record(journal, "r")
    bodies = [await body_of(made, sent) for sent in attempts_of(made)]
    assert bodies == [body for _, body in vendors.bodies]
    assert [json.loads(body)["max_completion_tokens"] for body in bodies] == [4096, 4096]
