"""A run's budgets are exact however many workers do its units: what was billed never passes a cap, and all that fits
is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import anyio
import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from orchestrator.events import Event, RunFinished
from orchestrator.rerun.replay import replay
from orchestrator.run.history import history_of
from orchestrator.units import place_of
from tests.event_loops import VIRTUAL, event_loop
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.run.test_held_money import CALL, SENT, USD, Lab, crowd, fan_out, manager, run
from tests.orchestrator.squads import of_type, squad

virtual = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)
LONGEST_S = 600
"""Virtual seconds after which a run that has not ended is stuck."""


def spent_of(lab: Lab) -> dict[str, float]:
    return {"max_cost": lab.cost / USD, "max_tokens": lab.tokens, "max_turns": lab.answers}


async def on_workers(
    squad_of: Any, lab: Lab, workers: int = 4, slots: int = 4, kills: Mapping[int, int] | None = None, **inputs: Any
) -> tuple[RunFinished, list[Event]]:
    """Run it on workers. `kills`: with the so-manieth answer on its way, the worker of this number dies."""
    async with in_memory_cluster(squad_of, manager(lab, clock=anyio.current_time)) as cluster:
        for number in range(workers):
            await cluster.worker(f"w{number}", slots)
        left = dict(kills or {})

        def after(answers: int) -> None:
            if (number := left.pop(answers, None)) is not None:
                cluster.kill_soon(f"w{number}", slots)

        lab.after = after
        with anyio.fail_after(LONGEST_S):
            await cluster.start(**inputs)
            finished = await cluster.ended()
        assert isinstance(finished, RunFinished), "nothing of a run is recorded after its end"
        return finished, list(await cluster.journal.events("r"))


@pytest.mark.anyio
@virtual
@pytest.mark.parametrize("level", ["squad", "agent", "elements"])
@pytest.mark.parametrize(("kind", "cap"), [("max_cost", 0.4), ("max_tokens", 32 * 1500 + 4000), ("max_turns", 32)])
async def test_calls_that_fit_are_all_made(level: str, kind: str, cap: float) -> None:
    lab, budget, inputs = Lab(), {kind: cap}, {}
    match level:
        case "squad":
            given = crowd(32, 16, budget=budget)
        case "agent":
            persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
            given = crowd(32, 16, people={"ann": {"persona": persona, "budget": budget}})
        case _:
            given, inputs = fan_out(16, budget=budget), {"inputs": {"items": list(range(32))}}
    finished, events = await on_workers(given, lab, **inputs)
    assert not of_type(events, "budget.reached")
    assert (finished.status, finished.cost, lab.cost) == ("done", 32 * CALL, 32 * CALL)
    assert lab.most_at_work > 1


@pytest.mark.anyio
@virtual
@pytest.mark.parametrize("kind", ["max_cost", "max_tokens", "max_turns"])
@pytest.mark.parametrize("action", ["stop", "pause"])
@pytest.mark.parametrize("at_once", [1, 8])
async def test_a_cap_ends_the_run_within_it_as_in_one_process(kind: str, action: str, at_once: int) -> None:
    lab, cap = Lab(), {"max_cost": 0.25, "max_tokens": 30_000, "max_turns": 20}[kind]
    given = crowd(64, at_once, budget={kind: cap, "on_exceed": action})
    finished, events = await on_workers(given, lab)
    alone, told = await run(given, Lab())
    assert finished.status == alone.status == {"stop": "stopped", "pause": "paused"}[action]
    assert {event.kind for event in of_type(events, "budget.reached")} == {kind}
    reached = len(of_type(events, "budget.reached"))
    assert 1 <= reached <= at_once == len(of_type(told, "budget.reached")), "each that is at work then tells it once"
    spent, one_more = spent_of(lab)[kind], {"max_cost": 2 * CALL / USD, "max_tokens": 3000, "max_turns": 1}[kind]
    assert cap - one_more < spent <= cap
    assert finished.cost == lab.cost


@pytest.mark.anyio
@virtual
async def test_nested_budgets_are_waited_for_together() -> None:
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    people = {"ann": {"persona": persona, "budget": {"max_turns": 8}}, "bob": {"persona": persona}}
    tasks = {
        f"{who}{n}": {"agent": who, "description": f"Do {n}.", "budget": {"max_cost": 0.2}}
        for who in people
        for n in range(8)
    }
    lab = Lab()
    finished, events = await on_workers(squad(tasks, max_parallel=16, people=people, budget={"max_cost": 0.27}), lab)
    assert (finished.status, lab.cost, lab.answers) == ("done", 16 * CALL, 16)
    assert of_type(events, "waiting.for_budget")


@pytest.mark.anyio
@virtual
async def test_a_run_goes_on_with_a_raised_cap_after_what_was_spent_on_all_workers() -> None:
    lab, given = Lab(), crowd(12, 6, budget={"max_turns": 8, "on_exceed": "pause"})
    async with in_memory_cluster(given, manager(lab, clock=anyio.current_time)) as cluster:
        for number in range(3):
            await cluster.worker(f"w{number}")
        with anyio.fail_after(LONGEST_S):
            await cluster.start()
            first = await cluster.ended()
            await cluster.drive()
            again = await cluster.ended()
    assert (first.status, again.status, lab.answers) == ("paused", "paused", 8)


@pytest.mark.anyio
@virtual
async def test_a_run_without_caps_holds_nothing() -> None:
    lab, asked = Lab(), list[str]()
    async with in_memory_cluster(crowd(6, 3), manager(lab, clock=anyio.current_time)) as cluster:
        hold = cluster.journal.hold
        cluster.journal.hold = lambda *args: asked.append("hold") or hold(*args)  # type: ignore[method-assign]
        await cluster.worker("w0")
        await cluster.start()
        finished = await cluster.ended()
    assert (finished.status, lab.answers, asked) == ("done", 6, [])


@pytest.mark.anyio
@virtual
async def test_a_call_of_a_worker_that_dies_is_waited_for_no_longer_and_counts() -> None:
    """All slots but those of the dead worker are taken by calls that wait for what it held."""
    lab = Lab(hangs=3)
    given = fan_out(6, budget={"max_turns": 9})
    async with in_memory_cluster(given, manager(lab, clock=anyio.current_time)) as cluster:
        await cluster.worker("w0", 4)
        await cluster.start(inputs={"items": list(range(6))})
        await cluster.until(lambda: lab.at_work == 3)
        assert lab.hangs == 0
        await cluster.worker("w1", 4)
        await cluster.kill("w0")
        with anyio.fail_after(LONGEST_S):
            finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
        past = history_of(events)
    assert all(place_of(event.path) == (event.unit, event.step) for event in events), "as they are read from a database"
    assert (finished.status, lab.answers, len(past.paid)) == ("done", 6, 9)


kinds = st.sampled_from(["max_cost", "max_tokens", "max_turns"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@drawn(
    kind=kinds,
    share=st.floats(0.05, 1.5),
    tasks=st.integers(1, 24),
    at_once=st.integers(1, 16),
    workers=st.integers(1, 4),
    slots=st.integers(2, 5),
    said=st.integers(1, 4000),
    fails=st.integers(0, 3),
    action=st.sampled_from(["stop", "pause", "downgrade_tier"]),
    kills=st.dictionaries(st.integers(1, 24), st.integers(0, 3), max_size=4),
)
# The driver dies, and the next one finds the report that ends the run: others are at work on it still.
@example("max_cost", 0.684, 20, 6, 2, 3, 2965, 3, "stop", {12: 0})
@example("max_tokens", 0.607, 24, 8, 3, 3, 1000, 0, "stop", {13: 2, 5: 1, 1: 3})
def test_no_cap_is_passed_whatever_is_killed_and_the_run_ends(
    kind: str,
    share: float,
    tasks: int,
    at_once: int,
    workers: int,
    slots: int,
    said: int,
    fails: int,
    action: str,
    kills: dict[int, int],
) -> None:
    lab = Lab({"ann": said}, fails=fails)
    each = {"max_cost": (SENT + 20 * said) / USD, "max_tokens": SENT + said, "max_turns": 1}[kind]
    cap = each * tasks * share if kind == "max_cost" else max(1, round(each * tasks * share))
    given = crowd(tasks, at_once, budget={kind: cap, "on_exceed": action})
    loop, options = event_loop(VIRTUAL)
    finished, events = anyio.run(
        on_workers, given, lab, workers, slots, kills, backend=loop, backend_options=cast(dict[str, Any], options)
    )
    past = history_of(events)
    counted = {
        "max_cost": sum(call.cost or 0 for call in past.paid) / USD,
        "max_tokens": sum(call.tokens for call in past.paid),
        "max_turns": sum(call.turns for call in past.paid),
    }[kind]
    # What is sent is reckoned too low by up to SENT tokens until the first answers tell what it came to: calls that are
    # out by then may pass a cap by that, in one process too.
    unlearned = min(at_once, tasks, workers * slots) * SENT
    surplus = {"max_cost": unlearned / USD, "max_tokens": unlearned, "max_turns": 0}[kind]
    assert spent_of(lab)[kind] <= (cap + surplus) * (1 + 1e-9)
    # Of a call that a kill cut short what was reckoned counts.
    reckoned = surplus if kills else 0
    assert spent_of(lab)[kind] <= (counted + reckoned) * (1 + 1e-9), "what was answered counts, known or not"
    one_more = {"max_cost": 0.11, "max_tokens": 6200, "max_turns": 1}[kind]
    # A provider that fails three times opens its circuit breaker: tasks may end by that, and leave room in the budget.
    is_down = any("dear/dear" in (ended.error or "") for ended in of_type(events, "task.ended"))
    if finished.status != "done" and action != "downgrade_tier" and not is_down:
        assert counted + one_more > cap, "nothing more fits"
    if not kills:
        assert finished.cost == lab.cost


@pytest.mark.anyio
@virtual
@pytest.mark.parametrize("workers", [1, 3])
async def test_the_time_of_a_task_is_that_of_all_its_elements_on_all_workers(workers: int) -> None:
    """Two at a time take 4 s each: after 10 s the third two are cut off, on whichever worker they are."""
    lab = Lab()
    given, items = fan_out(2, {"budget": {"max_time": "10 s"}}), {"items": list(range(8))}

    async def send(request: Any, **_: float) -> Any:
        await anyio.sleep(4)
        return await Lab.send(lab, request)

    lab.send = send  # type: ignore[method-assign]
    finished, events = await on_workers(given, lab, workers, slots=3, inputs=items)
    assert (finished.status, lab.answers) == ("stopped", 4)
    assert {(one.which, one.kind) for one in of_type(events, "budget.reached")} == {("task all", "max_time")}


@pytest.mark.anyio
@virtual
async def test_a_capped_run_of_which_a_worker_died_is_replayed_as_it_was() -> None:
    lab, given = Lab(hangs=2), crowd(6, 4, budget={"max_turns": 20})
    async with in_memory_cluster(given, manager(lab, clock=anyio.current_time)) as cluster:
        await cluster.worker("w0", 3)
        await cluster.start()
        await cluster.until(lambda: lab.hangs == 0)
        await cluster.kill("w0")
        await cluster.worker("w1", 3)
        with anyio.fail_after(LONGEST_S):
            finished = await cluster.ended()
        events = list(await cluster.journal.events("r"))
        replayed = await replay(cluster.journal, "r", against=given)
    assert (finished.status, lab.answers) == ("done", 6)
    assert len(of_type(events, "calls.cut_short")) == 2
    assert finished.cut_short == sum(one.reserved for one in of_type(events, "attempt.started")[:2])
    assert replayed.difference is None
