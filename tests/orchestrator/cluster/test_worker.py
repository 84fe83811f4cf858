"""Runs that several workers do: what comes of them is what comes of them in one process."""

from __future__ import annotations

import pytest

from orchestrator.events import RunFinished
from tests.event_loops import VIRTUAL
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.squads import Answers, of_type, run, squad, types

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
        cluster.worker("w1")
        cluster.worker("w2")
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
