"""Kills at random instants: what was answered, recorded or not, never passes a cap, and all that fits is done."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Squad
from orchestrator.errors import RunNotFound, RunOver
from orchestrator.events import Event
from orchestrator.events.bills import bill_of
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.run.history import history_of
from orchestrator.runtime import open_run, resume_run
from providers.limits.ledger.sqlite import SqliteLedger
from tests import processes
from tests.orchestrator.crashes import LEDGER, Counting, paying, seeds
from tests.orchestrator.run.test_held_money import CALL, USD, Lab, crowd, manager
from tests.orchestrator.squads import of_type

KILLED = -9
LONG = partial(pytest.param, marks=pytest.mark.long)
KINDS = ("max_cost", "max_tokens", "max_turns")


async def live(given: Squad, journal: Journal, lab: Lab, *, resume: bool, answers: int | None) -> Any:
    """Live through one process that is killed with its so-manieth answer on the way; return the result, or None."""
    with anyio.CancelScope() as scope:
        lab.after = lambda number: scope.cancel() if number == answers else None
        opening = (
            resume_run(given, "r", journal=journal, manager=manager(lab))
            if resume
            else open_run(given, run_id="r", journal=journal, manager=manager(lab))
        )
        async with opening as run:
            async for _ in run:
                pass
        return run.result
    return None


def spent_of(lab: Lab) -> dict[str, float]:
    return {"max_cost": lab.cost / USD, "max_tokens": lab.tokens, "max_turns": lab.answers}


AMPLE = {"max_cost": 60.0, "max_tokens": 20_000_000, "max_turns": 400}
SHORT = {"max_cost": 1.0, "max_tokens": 200_000, "max_turns": 40}


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [LONG(1), LONG(4), 16, LONG(64)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds(1, 3))
async def test_no_cap_is_passed_over_any_number_of_kills(kind: str, at_once: int, seed: int) -> None:
    rng, tasks, most = random.Random(f"{seed} {kind} {at_once}"), 24 if seed else 8, 6 if seed else 2
    for caps in (AMPLE, SHORT) if seed else (SHORT,):
        given, journal, lab = crowd(tasks, at_once, budget={kind: caps[kind]}), MemoryJournal(), Lab()
        result, kills = None, 0
        while result is None:
            last = None if kills == most else lab.answers + rng.randint(1, 2 * at_once)
            result = await live(given, journal, lab, resume=kills > 0, answers=last)
            kills += 1
        assert spent_of(lab)[kind] <= caps[kind]
        past = history_of(await journal.events("r"))
        counted = {
            "max_cost": sum(call.cost or 0 for call in past.paid) / USD,
            "max_tokens": sum(call.tokens for call in past.paid),
            "max_turns": len(past.paid),
        }[kind]
        assert spent_of(lab)[kind] <= counted, "what was answered counts, known or not"
        if caps is AMPLE or counted + {"max_cost": 0.09, "max_tokens": 6000, "max_turns": 1}[kind] <= caps[kind]:
            assert result.status == "done"
        known = len([event for event in past.events if event.type == "turn.ended"]) * CALL
        # A kill may let the bill of a call that it cut short be recorded before the process is gone.
        lost = [bill.cost for event in past.events if event.type != "turn.ended" and (bill := bill_of(event.data))]
        assert result.cost == known + sum(cost or 0 for cost in lost), "only what is known"


@pytest.mark.anyio
async def test_a_call_that_is_killed_again_and_again_counts_each_time() -> None:
    given, journal, lab = crowd(1, 1, budget={"max_turns": 3}), MemoryJournal(), Lab()
    for lives in range(3):
        assert await live(given, journal, lab, resume=lives > 0, answers=lives + 1) is None
    result = await live(given, journal, lab, resume=True, answers=None)
    assert (result.status, lab.answers, result.cost) == ("stopped", 3, 0)
    finished = of_type(list(await journal.events("r")), "run.finished")[0]
    assert finished.cut_short >= 3 * CALL
    started = of_type(list(await journal.events("r")), "attempt.started")
    assert finished.cut_short == sum(event.reserved for event in started)


@pytest.mark.anyio
async def test_a_cap_that_is_raised_leaves_counted_what_a_killed_call_may_have_cost() -> None:
    given, journal, lab = crowd(1, 1, budget={"max_cost": 0.1, "on_exceed": "pause"}), MemoryJournal(), Lab()
    assert await live(given, journal, lab, resume=False, answers=1) is None
    lab.after = lambda _: None
    for usd, status in ((None, "paused"), (0.15, "paused"), (0.2, "done")):
        async with resume_run(given, "r", journal=journal, manager=manager(lab), max_cost_usd=usd) as run:
            async for _ in run:
                pass
        assert (run.result.status, run.result.cut_short > 80_000) == (status, True)


@pytest.mark.anyio
async def test_what_an_attempt_costs_that_failed_or_was_given_up_is_known_to_a_resume() -> None:
    given, journal, lab = crowd(2, 1, budget={"max_turns": 4}), MemoryJournal(), Lab(fails=1)
    assert await live(given, journal, lab, resume=False, answers=1) is None
    past = history_of(await journal.events("r"))
    assert 1 <= len(past.paid) <= 2, "the answer that nobody recorded; the refusal where its end is not recorded"


@dataclass(frozen=True)
class Life:
    """What a process is to do."""

    folder: str
    port: int
    tasks: int
    at_once: int
    budget: Mapping[str, Any]
    backend: str = "asyncio"


def child(life: Life) -> None:
    """Be the process. How the run ended stands in `result.json`."""
    anyio.run(_drive, life, backend=life.backend)


async def _drive(life: Life) -> None:
    folder = Path(life.folder)
    given, ledger = crowd(life.tasks, life.at_once, budget=dict(life.budget)), SqliteLedger(folder / LEDGER)
    async with SqliteJournal(folder / "journal.db") as journal:
        shared: dict[str, Any] = {"manager": paying(life.port, ledger), "journal": journal}
        try:
            await journal.manifest("r")
            opening = resume_run(given, "r", **shared)
        except RunNotFound:
            opening = open_run(given, run_id="r", **shared)
        try:
            async with opening as run:
                async for _ in run:
                    pass
        except RunOver:  # it was killed right after its last record
            return
        finally:
            await ledger.aclose()
    (folder / "result.json").write_text(json.dumps([run.result.status, run.result.cost]))


def recorded(folder: Path) -> list[Event]:
    async def read() -> list[Event]:
        async with SqliteJournal(folder / "journal.db") as journal:
            return list(await journal.events("r"))

    return anyio.run(read)


@pytest.mark.long
@pytest.mark.parametrize("at_once", [1, 4, 16, 64])
@pytest.mark.parametrize(
    ("kind", "cap", "each"), [("max_cost", 0.02, 7e-6), ("max_tokens", 20_000, 15), ("max_turns", 70, 1)]
)
@pytest.mark.parametrize("seed", range(1))
def test_no_cap_is_passed_by_processes_that_are_killed(
    kind: str, cap: float, each: float, at_once: int, seed: int, tmp_path: Path
) -> None:
    rng, kills = random.Random(f"{seed} {kind} {at_once}"), 12
    with Counting().serving() as provider:
        for life in range(kills + 1):
            backend = rng.choice(["asyncio", "trio"])
            process = processes.start(child, Life(str(tmp_path), provider.port, 64, at_once, {kind: cap}, backend))
            until, late = provider.answered.total() + rng.randint(1, 2 * at_once), rng.choice([0, 0, 0.003])

            def kill(number: int, until: int = until, late: float = late, process: Any = process) -> None:
                if number >= until and process.pid is not None:
                    time.sleep(late)
                    process.kill()

            moment = rng.choice(["before", "after"])
            setattr(provider, moment, kill if life < kills else (lambda number: None))
            setattr(provider, "after" if moment == "before" else "before", lambda number: None)
            code = processes.end(process)
            assert code in (0, KILLED)
            assert provider.answered.total() * each <= cap + 1e-12
            if code == 0:
                break
        status = json.loads((tmp_path / "result.json").read_text())[0]
    past = history_of(recorded(tmp_path))
    counted = {
        "max_cost": sum(call.cost or 0 for call in past.paid) / USD,
        "max_tokens": sum(call.tokens for call in past.paid),
        "max_turns": len(past.paid),
    }[kind]
    # It may be more than the cap: what had come back, and was not recorded, counts as all that it had reserved.
    assert provider.answered.total() * each <= counted + 1e-12
    if status != "done":
        assert counted + {"max_cost": 1100e-6, "max_tokens": 1200, "max_turns": 1}[kind] > cap, "nothing more fits"
