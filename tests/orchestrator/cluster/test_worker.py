"""Runs that several workers do: what comes of them is what comes of them in one process."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from orchestrator.cluster.run_dispatcher import ClusterDispatcher
from orchestrator.cluster.unit_host import open_unit_host
from orchestrator.dispatch import Handler, Settle, TakeEvents
from orchestrator.dispatch.cluster.job import Job
from orchestrator.events import Event, RunFinished, TaskParked, TaskStarted
from orchestrator.execution import Run
from orchestrator.journal.protocols import Fenced
from orchestrator.options import RunOptions
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question, questions_of
from orchestrator.run.unit_work import UnitOutcome
from orchestrator.run_opening import resume_with
from orchestrator.subscribers import Feed, Subject, Subscriber
from orchestrator.units import Unit
from providers.emit import ignore
from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.people import Till, calls
from tests.orchestrator.squads import Answers, of_type, run, squad, types
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]
CHAIN = {
    "plan": "plan it",
    "build": {
        "agent": "bob",
        "description": "build ${{ item }} after ${{ tasks.plan.output }}",
        "needs": ["plan"],
        "for_each": "${{ inputs.parts }}",
        "key": "${{ item }}",
    },
    "sum": {"agent": "ann", "description": "sum ${{ tasks.build.output }}", "needs": ["build"]},
}
INPUTS = {"parts": {"type": "list"}}


async def test_a_run_on_two_workers_ends_as_in_one_process() -> None:
    given, parts = squad(CHAIN, inputs=INPUTS, outputs={"x": "${{ tasks.sum.output }}"}), list("abcdefgh")
    alone, _ = await run(given, inputs={"parts": parts}, run_id="r")
    manager = Answers()
    async with in_memory_cluster(given, manager) as cluster:
        await cluster.worker("w1")
        await cluster.worker("w2")
        await cluster.start(inputs={"parts": parts})
        finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
    assert isinstance(finished, RunFinished)
    assert (finished.status, finished.outputs, finished.cost, finished.usage) == (
        alone.status,
        alone.outputs,
        alone.cost,
        alone.usage,
    )
    assert len(manager.asked) == len(parts) + 2
    assert len(of_type(events, "element.ended")) == len(parts)
    assert types(events).count("run.resumed") == 0


async def test_a_killed_worker_s_units_go_on_elsewhere_and_nothing_recorded_is_paid_twice() -> None:
    given, parts = squad(CHAIN, inputs=INPUTS), list("abcd")
    asked = anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        if not asked.is_set() and "build c" in request.messages[-1].text:
            asked.set()
            await anyio.sleep_forever()
        return "done"

    manager = Answers(answer)
    async with in_memory_cluster(given, manager) as cluster:
        await cluster.worker("w1")
        await cluster.start(inputs={"parts": parts})
        await asked.wait()
        await cluster.kill("w1")
        await cluster.worker("w2")
        finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
        replayed = await replay(cluster.journal, "r", against=given)
    assert replayed.difference is None
    assert finished.status == "done"
    repeated = of_type(events, "call.repeated")
    assert "build[c]/try-1/turn-1/model" in [one.step for one in repeated]
    assert len(manager.asked) == len(parts) + 2 + len(repeated)
    assert types(events).count("run.resumed") == 0


async def test_a_unit_that_waits_for_a_person_holds_no_slot_and_goes_on_with_the_answer() -> None:
    till = Till()
    given = till.squad(tasks={"a": "x", "b": {"agent": "bob", "description": "y"}})
    waiting = anyio.Event()

    async def slow(agent: str, request: Request) -> Any:
        if agent == "bob":
            await waiting.wait()
            return "done"
        return await_calls(agent, request)

    await_calls = calls(("pay", "ann"))
    async with in_memory_cluster(given, Answers(slow)) as cluster:
        await cluster.worker("w1", slots=3)
        await cluster.start()
        await cluster.until(lambda: Job("r", Unit("a")) not in cluster.at_work and bool(cluster.at_work))
        assert len(cluster.at_work) == 2  # the run's job, and bob's
        await answer_question(cluster.journal, "r", None, "approve")
        await cluster.until(lambda: bool(till.done))
        waiting.set()
        finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
        replayed = await replay(cluster.journal, "r", against=given)
    assert replayed.difference is None
    assert finished.status == "done"
    assert till.done == ["ann"]
    assert len(of_type(events, "task.resumed")) == 1


async def test_a_run_that_waits_for_a_person_has_no_job_and_goes_on_once_it_is_told() -> None:
    till = Till()
    async with in_memory_cluster(till.squad(), Answers(calls(("pay", "ann")))) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        assert (await cluster.ended()).status == "waiting"
        assert not cluster.jobs
        assert not (await questions_of(cluster.journal, "r")).is_run_to_go_on
        await answer_question(cluster.journal, "r", None, "approve")
        assert (await questions_of(cluster.journal, "r")).is_run_to_go_on
        await cluster.drive()
        assert (await cluster.ended()).status == "done"
        assert not (await questions_of(cluster.journal, "r")).is_run_to_go_on
    assert till.done == ["ann"]


async def test_a_cancelled_run_lets_its_calls_end_and_begins_no_more() -> None:
    given, begun = squad(CHAIN, inputs=INPUTS), anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        if agent == "bob":
            begun.set()
            await anyio.sleep(10)
        return "done"

    manager = Answers(answer)
    async with in_memory_cluster(given, manager) as cluster:
        await cluster.worker("w1", slots=3)
        await cluster.start(inputs={"parts": list("abcdefgh")})
        await begun.wait()
        await cluster.journal.request_cancel("r")
        finished = await cluster.ended()
    assert finished.status == "cancelled"
    assert len(manager.asked) == 3  # the plan, and the two that were at work
    assert finished.cost == 30


async def test_a_stopping_worker_hands_over_what_it_works_on_after_the_calls_in_flight() -> None:
    given, begun = squad(CHAIN, inputs=INPUTS), anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        begun.set()
        await anyio.sleep(10)
        return "done"

    manager = Answers(answer)
    async with in_memory_cluster(given, manager) as cluster:
        await cluster.worker("w1")
        await cluster.start(inputs={"parts": list("abcd")})
        await begun.wait()
        cluster.stop("w1")
        await cluster.worker("w2")
        finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
    assert finished.status == "done"
    assert len(manager.asked) == 6
    assert not of_type(events, "call.repeated")


async def test_a_replay_of_what_several_workers_did_says_the_same() -> None:
    given, parts = squad(CHAIN, inputs=INPUTS, outputs={"x": "${{ tasks.sum.output }}"}), list("abcdefgh")
    async with in_memory_cluster(given, Answers()) as cluster:
        await cluster.worker("w1")
        await cluster.worker("w2")
        await cluster.start(inputs={"parts": parts})
        await cluster.ended()
        replayed = await replay(cluster.journal, "r", against=given)
    assert replayed.difference is None
    assert replayed.is_equal


async def test_the_end_of_a_task_that_wrote_a_file_is_on_record() -> None:
    """What the worker tells of the unit and what the driver tells of the task are numbered as one place's."""
    given = squad({"plan": {"agent": "ann", "description": "plan it", "output_file": "plan.md"}})
    async with in_memory_cluster(given) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        await cluster.ended()
        events = list(await cluster.journal.events("r"))
    assert len(of_type(events, "artifact.written")) == 1
    assert [ended.task for ended in of_type(events, "task.ended")] == ["plan"]
    assert len({event.id for event in events}) == len(events)


class Told(Subscriber):
    """Keeps what it is told, by whose work it is."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.traces_of: set[str] = set()

    def hear(self, subject: Subject, event: Event) -> None:
        self.traces_of.add(subject.trace.trace_id)
        self.heard.append((subject.part, event.type if event.seq else type(event.data).__name__))


async def test_subscribers_are_told_once_of_all_that_several_workers_do() -> None:
    given, parts, told = squad(CHAIN, inputs=INPUTS), list("abcd"), Told()
    async with in_memory_cluster(given) as cluster:
        feed = Feed(told, ignore)
        cluster.subscribers.append(feed)
        await cluster.worker("w1")
        await cluster.worker("w2")
        await cluster.start(inputs={"parts": parts})
        await cluster.ended()
        assert await feed.heard_all(PATIENCE_S)
    heard = Counter(told.heard)
    assert heard["units", "turn.ended"] == heard["units", "turn.started"] == len(parts) + 2
    assert heard["units", "ElementEnded"] == len(parts)
    assert heard["units", "TaskEnded"] == 2
    assert heard["", "task.ended"] == 1  # of the list as a whole
    assert heard["", "run.finished"] == 1
    assert heard["", "turn.ended"] == heard["", "element.ended"] == 0
    assert len(told.traces_of) == 1


class TakenOver(ClusterDispatcher):
    """The dispatcher of a driver that finds out from its first report that another process drives the run."""

    async def serve(self, handler: Handler, settle: Settle, take: TakeEvents, slots: int) -> None:
        raise Fenced("the run r is being driven by another process now")


async def test_a_driver_that_was_taken_over_ends_with_that_alone() -> None:
    given = squad(CHAIN, inputs=INPUTS)
    async with in_memory_cluster(given) as cluster:
        await cluster.start(inputs={"parts": ["a"]})
        dispatcher = TakenOver("r", cluster.journal, cluster.hand_over, cluster.cut_off, anyio.current_time)
        options = RunOptions(manager=Answers(), clock=anyio.current_time, dispatcher=dispatcher)
        async with resume_with(given, "r", cluster.journal, options) as opened:
            with pytest.raises(Fenced):
                async for _ in opened:
                    pass
        assert not of_type(list(await cluster.journal.events("r")), "run.finished")


class PausedElsewhere(ClusterDispatcher):
    """Its one unit paused elsewhere. As its driver ends with that, what the unit waits for comes."""

    run: Run

    async def serve(self, handler: Handler, settle: Settle, take: TakeEvents, slots: int) -> None:
        unit = Unit("plan")
        await settle([(unit, UnitOutcome(TaskParked("plan", None, "a person's reply", None), None, 0))])
        try:
            await anyio.sleep_forever()
        finally:
            await self.run.resume_units([unit])


async def test_an_answer_that_comes_as_a_driver_ends_is_left_to_who_takes_the_run_up_next() -> None:
    given = squad({"plan": "plan it"})
    async with in_memory_cluster(given) as cluster:
        await cluster.start()
        dispatcher = PausedElsewhere("r", cluster.journal, cluster.hand_over, cluster.cut_off, anyio.current_time)
        options = RunOptions(manager=Answers(), clock=anyio.current_time, dispatcher=dispatcher)
        async with resume_with(given, "r", cluster.journal, options) as opened:
            dispatcher.run = opened
            async for _ in opened:
                pass
        assert opened.result.status == "waiting"
        assert not of_type(list(await cluster.journal.events("r")), "task.resumed")


async def test_a_unit_that_has_paused_is_left_to_its_driver_where_its_job_is_run_again() -> None:
    """Its worker died after it had told of the pause: by that report the driver numbers what it tells of the unit."""
    given, unit, manager = squad({"plan": "plan it"}), Unit("plan"), Answers()
    async with in_memory_cluster(given) as cluster:
        await cluster.start()
        started = Event("r", unit, (), 0, 1, 0.0, TaskStarted("plan", 1, "ann"))
        async with cluster.journal.driving("r"):
            await cluster.journal.append("r", [started])
        fence = await cluster.journal.claim("r", unit, "w1")
        assert fence is not None
        paused = UnitOutcome(TaskParked("plan", None, "a person's reply", None), None, 0)
        await cluster.journal.report("r", unit, fence, paused, [], is_final=False)
        options = RunOptions(manager=manager, clock=anyio.current_time)
        async with open_unit_host("r", cluster.journal, lambda _: given, options) as host:
            await host.work(unit, "w2")
    assert not manager.asked
