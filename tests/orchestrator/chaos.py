"""One run of a cluster to which something is done, and the audit of what it came to."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from agents.events import TurnEnded
from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.errors import OrchestratorError
from orchestrator.run.approvals import answer_question, digest_of, questions_of
from tests.orchestrator.cluster_audit import AloneRun, Ask, AuditTable, alone, audit, record_of
from tests.orchestrator.cluster_workers import WorkedCluster, fan, worked_cluster
from tests.orchestrator.crashes import Counting, squad_for


@dataclass
class Chaos:
    """A cluster with a run `r` to be done, and what that run comes to alone."""

    cluster: WorkedCluster
    provider: Counting
    alone: AloneRun
    rng: random.Random

    async def turns(self) -> int:
        """Return how many turns are recorded."""
        found = await self.cluster.database.journal.events_of_kinds("r", (TurnEnded,))
        return len(found)

    async def until_turns(self, count: int) -> None:
        """Wait until so many turns are recorded."""

        async def are_there() -> bool:
            return await self.turns() >= count or await self.cluster.status() != "running"

        await self.cluster.until(are_there)

    async def pause(self, least_s: float, most_s: float) -> None:
        """Let a random time pass."""
        await anyio.sleep(self.rng.uniform(least_s, most_s))
        self.cluster.supervise()

    async def audited(self, **more: Any) -> AuditTable:
        """Wait for the run's end, and return the table of what it came to; nothing may be violated."""
        await self.cluster.ended(**more)
        record = await record_of(self.cluster.database)
        table = audit(record, self.alone, self.provider.answered, self.provider.tools)
        print(table)  # pytest shows it of a test that fails, and with `-s`
        assert not table.violations, str(table)
        return table


@asynccontextmanager
async def chaos(
    url: str,
    given: Callable[[int], Squad],
    /,
    *,
    seed: int = 0,
    slow_s: float = 0.05,
    ask: Ask | None = None,
    **more: Any,
) -> AsyncIterator[Chaos]:
    """Submit a run of a squad, made for the provider at a port, which takes up to `slow_s` for each answer."""
    rng = random.Random(seed)
    whole = await alone(given, ask)
    provider = Counting(before=lambda _: time.sleep(rng.uniform(0, slow_s)))
    with provider.serving():
        async with worked_cluster(url, provider.port, **more) as cluster:
            await cluster.submit(given(provider.port))
            yield Chaos(cluster, provider, whole, rng)


def fanned(units: int, **more: Any) -> Callable[[int], Squad]:
    return lambda _: Squad.from_mapping(fan(units, **more))


def named(name: str) -> Callable[[int], Squad]:
    """Return the squad of `crashes.py` of this name."""
    return partial(squad_for, name)


async def approve(gate: GateOpened) -> GateAnswered:
    """Be the person at the desk: what `answered` says from another process."""
    choice, comment = _said(gate)
    return GateAnswered(gate.name, choice, comment, "terminal")


def _said(gate: GateOpened) -> tuple[str, str]:
    if gate.choices == ("say",):
        return "say", "a person's word"
    choice = "revise" if "revise" in gate.choices and gate.attempt == 1 else "approve"
    return choice, "smaller" if choice == "revise" else ""


async def answered(chaos: Chaos, run: str = "r") -> None:
    """Until cancelled, answer all questions of a run from this process, as another command would. Now and then that
    process is killed before it has the run go on: then the cluster's sweep does."""
    database = chaos.cluster.database
    while True:
        for gate in (await questions_of(database.journal, run)).open:
            choice, comment = _said(gate)
            try:
                await answer_question(database.journal, run, gate.name, choice, comment, digest=digest_of(gate))
            except OrchestratorError:
                continue  # it is asked anew by now
            if chaos.rng.random() < 0.7:
                await database.drive(run)
        await anyio.sleep(0.1)
