"""A run of a cluster that goes on as its squad was edited: by the same workers, which hold it open as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from orchestrator import RunBusy, RunCancelled, RunOver, Squad
from orchestrator.cluster.going_on import resume_edited
from orchestrator.cluster.unit_host import HostOutdated, open_unit_host
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question
from orchestrator.units import Unit
from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.in_memory_cluster import InMemoryCluster, in_memory_cluster
from tests.orchestrator.people import PERSONA, Till, calls
from tests.orchestrator.squads import Answers, of_type, squad

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]
GATE = {"prompt": "Go?", "choices": ["approve", "reject"]}


def gated(*, plan: str = "plan it", tell: str = "tell it", **more: Any) -> Squad:
    tasks = {
        "plan": plan,
        "parts": {
            "agent": "bob",
            "needs": ["plan"],
            "for_each": "${{ ['a', 'b'] }}",
            "key": "${{ item }}",
            "description": "Part ${{ item }}",
        },
        "gate": {"approval": GATE, "needs": ["parts"]},
        "tell": {"agent": "ann", "needs": ["gate"], "description": f"{tell} ${{{{ tasks.plan.output }}}}"},
        **more,
    }
    return squad(tasks, outputs={"told": "${{ tasks.tell.output }}"})


async def edit(cluster: InMemoryCluster, edited: Squad, **more: Any) -> None:
    cluster.given = edited
    await resume_edited(edited, "r", cluster, RunOptions(clock=anyio.current_time, **more))


def asked(manager: Answers) -> list[str]:
    return [request.messages[-1].text for _, request in manager.asked]


async def test_what_is_unchanged_is_kept_with_its_approval_and_the_rest_runs_again() -> None:
    manager = Answers()
    async with in_memory_cluster(gated(), manager) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        assert (await cluster.ended()).status == "waiting"
        await answer_question(cluster.journal, "r", None, "approve")
        await cluster.drive()
        assert (await cluster.ended()).status == "done"
        before = len(manager.asked)
        edited = gated(tell="shout it")
        await edit(cluster, edited)
        finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
        replayed = await replay(cluster.journal, "r")
        with pytest.raises(RunOver):
            await edit(cluster, edited)
    assert replayed.difference is None
    assert finished.status == "done"
    assert [line for line in asked(manager)[before:] if "shout it" in line], "the worker took the new squad"
    assert len(manager.asked) == before + 1
    assert len(of_type(events, "gate.opened")) == 1
    assert of_type(events, "run.edited")[0].again == ("tell",)


async def test_a_run_that_waits_for_a_person_asks_anew_where_what_the_question_is_about_changed() -> None:
    manager = Answers()
    async with in_memory_cluster(gated(), manager) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        assert (await cluster.ended()).status == "waiting"
        before = len(manager.asked)
        await edit(cluster, gated(plan="plan it well", more="and more"), max_cost_usd=1.0)
        assert (await cluster.ended()).status == "waiting"
        assert len(manager.asked) == before + 4, "the plan, its two parts, and the new task"
        await answer_question(cluster.journal, "r", None, "approve")
        await cluster.drive()
        finished = await cluster.ended()
        manifest = await cluster.journal.manifest("r")
        events = list(await cluster.journal.events("r"))
    assert finished.status == "done"
    assert manifest.options["max_cost_usd"] == 1.0
    assert len(of_type(events, "gate.opened")) == 2
    assert finished.cost == 10 * len(manager.asked), "what no longer counts was paid, too"


async def test_a_task_that_waits_inside_for_a_person_goes_on_under_another_name() -> None:
    """What was answered counts, and the turn before it is paid once."""
    till = Till()
    manager = Answers(calls(("pay", "ann")))
    async with in_memory_cluster(till.squad(), manager) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        assert (await cluster.ended()).status == "waiting"
        people = {"ann": {"persona": PERSONA, "tools": ["pay", "note"]}}
        renamed = squad({"b": "x"}, tools=till.tools, people=people, outputs={"said": "${{ tasks.b.output }}"})
        await edit(cluster, renamed)
        assert (await cluster.ended()).status == "waiting"
        assert len(manager.asked) == 1
        await answer_question(cluster.journal, "r", None, "approve")
        await cluster.drive()
        finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
    assert finished.status == "done"
    assert finished.outputs == {"said": "paid ann"}
    assert till.done == ["ann"]
    assert len(manager.asked) == 2
    assert of_type(events, "run.edited")[0].renamed == {"a": "b"}


async def test_a_run_at_work_or_cancelled_is_not_edited() -> None:
    began, may_go_on = anyio.Event(), anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        began.set()
        await may_go_on.wait()
        return "done"

    async with in_memory_cluster(gated(), Answers(answer)) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        await began.wait()
        before = await cluster.journal.manifest("r")
        with pytest.raises(RunBusy, match="the run r is at work: it is edited once it waits or has ended") as refused:
            await resume_edited(gated(tell="shout it"), "r", cluster, RunOptions(clock=anyio.current_time))
        assert "runs fork" in refused.value.hint
        assert await cluster.journal.manifest("r") == before
        may_go_on.set()
        assert (await cluster.ended()).status == "waiting"
        await cluster.journal.request_cancel("r")
        with pytest.raises(RunCancelled):
            await resume_edited(gated(tell="shout it"), "r", cluster, RunOptions(clock=anyio.current_time))


class EditedMeanwhile(MemoryJournal):
    """Another process edits the run just before this one drives it, for the first time."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def driving(self, run: str) -> AsyncIterator[None]:
        if (edit := self.meanwhile) is not None:
            self.meanwhile = None
            await edit()
        async with super().driving(run):
            yield


async def test_a_worker_that_read_a_run_before_an_edit_drives_it_as_it_is_after_it() -> None:
    manager = Answers()
    async with in_memory_cluster(gated(), manager) as cluster:
        cluster.journal = journal = EditedMeanwhile()
        await cluster.start()
        journal.meanwhile = partial(edit, cluster, gated(plan="plan it well"))
        await cluster.worker("w1")
        assert (await cluster.ended()).status == "waiting"
    assert journal.meanwhile is None
    assert len(manager.asked) == 3
    assert "plan it well" in asked(manager)[0]


async def test_a_run_that_no_worker_has_begun_is_edited() -> None:
    manager = Answers()
    async with in_memory_cluster(gated(), manager) as cluster:
        await cluster.start()  # no worker is there yet
        await edit(cluster, gated(plan="plan it well"))
        await cluster.worker("w1")
        assert (await cluster.ended()).status == "waiting"
    assert len(manager.asked) == 3
    assert "plan it well" in asked(manager)[0]


async def test_what_was_opened_for_units_before_an_edit_does_none_after_it() -> None:
    manager = Answers()
    async with in_memory_cluster(gated(), manager) as cluster:
        await cluster.start()
        options = RunOptions(manager=manager, clock=anyio.current_time)
        async with open_unit_host("r", cluster.journal, lambda _: gated(), options) as host:
            await edit(cluster, gated(plan="plan it well"))
            with pytest.raises(HostOutdated):
                await host.work(Unit("plan"), "w1")
